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
from gateway.config import ConfigError, build
from gateway.server import serve_on, spare_the_collector
from gateway.settings import Settings, StartError
from gateway.shared import Shared
from gateway.stores.embedded import end_with

from .channel import Channel, Orders, Serve
from .line import Line

log = logging.getLogger("gateway.workers")

ORDERS_S = 10.0


def main() -> None:
    for one in (signal.SIGHUP, signal.SIGUSR2):  # meant for the supervisor, wherever they were sent
        signal.signal(one, signal.SIG_IGN)
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
    line = Line(channel, orders.serve.standing)
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
    loaded = build(orders.serve.texts, settings.env, now=datetime.now(UTC))
    store_url = orders.store_url or settings.get("REDIS_URL")
    if store_url is None:
        raise StartError("neither the supervisor nor REDIS_URL names a store")
    shared = Shared(loaded, store_url, "", orders.serve.simulated, supervisor=line)
    async with started(settings, shared) as gateway:

        async def take(serve: Serve) -> str:
            """The version that is in force then."""
            try:
                found = await asyncio.to_thread(build, serve.texts, settings.env, now=datetime.now(UTC))
            except ConfigError as error:  # the supervisor took it, so this is another program; it will be replaced
                log.error("a configuration cannot be taken here, and the one of before stays in force:\n%s", error)
            else:
                gateway.config.take(found, serve.simulated)
            return gateway.config.loaded.world.version

        spare_the_collector()
        line.begin(gateway.metrics.report, gateway.stop, take)
        await serve_on([socket.socket(fileno=number) for number in orders.sockets], gateway, line.ready)


if __name__ == "__main__":
    main()
