"""Serving a started gateway over HTTP, and leaving without failing a request.

Told to stop, a server takes no new connections. What comes on the open ones is still answered, with
`connection: close`, and a connection is closed once nothing has come on it for a moment: a client that keeps its
connections alive hears that this one ends before it can have sent the next request into nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from math import ceil
from typing import Any

import uvicorn
import uvloop
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .app import Gateway, started
from .settings import Settings, StartError

log = logging.getLogger("gateway")

GRACE_S = 1
"""How long an open connection waits for a next request once the server is told to stop."""


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigError or StartError when the gateway cannot start."""
    uvloop.run(_run(settings))


async def _run(settings: Settings) -> None:
    async with started(settings) as gateway:
        spare_the_collector()
        await serve(gateway, settings)


def spare_the_collector() -> None:
    """What has been loaded stays loaded: the cycle collector need not walk it again, and seldom has cycles to find.

    At its default threshold of 700 allocations it ran several times a request and took a sixth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def serve(gateway: Gateway, settings: Settings) -> None:
    """Listen, print the banner, and stay until told to stop; requests in flight are finished first."""

    def say_so() -> None:
        sys.stderr.write("\n".join(gateway.banner) + "\n")

    server = _Server(gateway, say_so, host=settings.host, port=settings.port)
    try:
        await server.serve()
    except SystemExit as exc:  # uvicorn's way to say that the address cannot be had; it has logged the reason
        raise StartError(f"cannot listen on {settings.host}:{settings.port}; is another program using it?") from exc


async def serve_on(sockets: list[socket.socket], gateway: Gateway, on_listening: Callable[[], None]) -> None:
    """The same on sockets that listen already and that other workers may share."""
    await _Server(gateway, on_listening).serve(sockets)


class _Server(uvicorn.Server):
    """uvicorn, with signals left to us: its own handlers would end the process before the ledger is written."""

    def __init__(
        self, gateway: Gateway, on_listening: Callable[[], None], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(
            uvicorn.Config(
                gateway.asgi, host=host, port=port, loop="none", http=_Connection, ws="none", lifespan="off",
                log_config=None, access_log=False, server_header=False, timeout_keep_alive=75, backlog=2048,
                proxy_headers=False,  # nothing here trusts an address that a client can write itself
                timeout_graceful_shutdown=ceil(gateway.loaded.world.server.drain_s),
            )
        )  # fmt: skip
        self._gateway = gateway
        self._on_listening = on_listening
        gateway.on_stop = self._leave
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, gateway.stop)

    def _leave(self) -> None:
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:  # Any: as uvicorn declares it
        await super().startup(sockets)
        if self.started:
            self._gateway.listening = True
            self._on_listening()


class _Connection(HttpToolsProtocol):
    """uvicorn's, but for the end: it closes idle connections at once, and a request on its way to one is lost.

    Invariant: while draining, a connection closes right after a reply whose head said so, or GRACE_S after the last
    one whose head could not say so yet.
    """

    draining = False

    def shutdown(self) -> None:
        """Called once, by the server that is told to stop."""
        self.draining = True
        self.timeout_keep_alive = GRACE_S  # uvicorn arms it after every reply
        # uvicorn declares `cycle` without the None that it holds before the first request.
        if self.cycle is None or self.cycle.response_complete:  # type: ignore[redundant-expr]
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(GRACE_S, self.timeout_keep_alive_handler)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.draining:
            self.cycle.keep_alive = False
