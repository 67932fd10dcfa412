"""The program of one worker process: `python -m gateway.workers.worker FD`, started by the supervisor only.

FD is its end of a socket pair, on which it gets its orders. When the supervisor is gone, however that happened, the
worker finishes what is in flight and leaves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import uvloop

from gateway.app import started
from gateway.config import ConfigError, load
from gateway.server import serve_on, spare_the_collector
from gateway.settings import Settings, StartError
from gateway.shared import Shared
from gateway.stores.embedded import end_with

from .channel import Channel, Orders
from .line import Line

ORDERS_S = 10.0


def main() -> None:
    if sys.platform == "linux":
        # Before it listens to the supervisor itself. SIGTERM: what is in flight is finished and booked.
        end_with(os.getppid(), signal.SIGTERM)()
    said = "%(asctime)s %(levelname)s %(name)s[%(process)d]: %(message)s"
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=said)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    sys.exit(uvloop.run(_work(socket.socket(fileno=int(sys.argv[1])))))


async def _work(sock: socket.socket) -> int:
    channel = await Channel.over(sock)
    async with asyncio.timeout(ORDERS_S):
        orders = await channel.receive()
    if not isinstance(orders, Orders):
        return 1
    line = Line(channel)
    try:
        await _serve(orders, line)
    except (ConfigError, StartError) as error:
        sys.stderr.write(f"{error}\nThe worker was not started.\n")
        return 1
    finally:
        await line.close()
    return 0


async def _serve(orders: Orders, line: Line) -> None:
    settings = Settings.from_env(
        os.environ, routes=Path(orders.routes), host=orders.host, port=orders.port, data_dir=Path(orders.data_dir)
    )
    loaded = load(
        settings.routes, settings.env, now=datetime.now(UTC), routes_raw=orders.routes_raw,
        reviewed_raw=orders.reviewed_raw,
    )  # fmt: skip
    store_url = orders.store_url or settings.get("REDIS_URL")
    if store_url is None:
        raise StartError("neither the supervisor nor REDIS_URL names a store")
    shared = Shared(loaded, store_url, "", orders.simulated, line.others)
    async with started(settings, shared) as gateway:
        spare_the_collector()
        line.begin(gateway.metrics.report, on_lost=gateway.stop)
        await serve_on([socket.socket(fileno=number) for number in orders.sockets], gateway, line.ready)


if __name__ == "__main__":
    main()
