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
from .settings import BACKLOG, Settings, StartError

log = logging.getLogger("gateway")

GRACE_S = 1
"""How long an open connection waits for a next request once the server is told to stop."""

TAKEN_AT_ONCE = 2
TURN_S = 0.001
"""How many connections a worker takes before the others have a turn, and how long it is."""

PAUSE_S = 1.0
"""How long no connection is taken after the system refused one."""


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
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, gateway.on_hangup)
    loop.add_signal_handler(signal.SIGUSR2, _nothing_to_replace)
    try:
        await server.serve()
    except SystemExit as exc:  # uvicorn's way to say that the address cannot be had; it has logged the reason
        raise StartError(f"cannot listen on {settings.host}:{settings.port}; is another program using it?") from exc


def _nothing_to_replace() -> None:
    log.warning("SIGUSR2 replaces workers, and this gateway has none: it is one process")


async def serve_on(sockets: list[socket.socket], gateway: Gateway, on_listening: Callable[[], None]) -> None:
    """The same on sockets that listen already and that other workers may share."""
    await _SharingServer(gateway, on_listening).serve(sockets)


class _Server(uvicorn.Server):
    """uvicorn, with signals left to us: its own handlers would end the process before the ledger is written."""

    def __init__(
        self, gateway: Gateway, on_listening: Callable[[], None], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        super().__init__(
            uvicorn.Config(
                gateway.asgi, host=host, port=port, loop="none", http=_Connection, ws="none", lifespan="off",
                log_config=None, access_log=False, server_header=False, timeout_keep_alive=75, backlog=BACKLOG,
                proxy_headers=False,  # nothing here trusts an address that a client can write itself
            )
        )  # fmt: skip
        self._gateway = gateway
        self._on_listening = on_listening
        gateway.on_stop = self._leave
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, gateway.stop)

    def _leave(self) -> None:
        self.config.timeout_graceful_shutdown = ceil(self._gateway.config.loaded.world.server.drain_s)
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:  # Any: as uvicorn declares it
        await super().startup(sockets)
        if self.started:
            self._say_so()

    def _say_so(self) -> None:
        self._gateway.listening = True
        self._on_listening()


class _SharingServer(_Server):
    """Takes connections from sockets that other workers listen on too."""

    async def startup(self, sockets: list[Any] | None = None) -> None:  # Any: as uvicorn declares it
        await self.lifespan.startup()
        self.servers = [_Acceptor(one, self._connection) for one in sockets or ()]  # type: ignore[misc]  # as a server
        self.started = True
        self._say_so()

    def _connection(self) -> _Connection:
        return _Connection(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


class _Acceptor:
    """Takes two connections and lets the other workers have a turn, where the loop's own server takes all that wait.

    So a burst is shared, and clients keep their connections for long. Of 32 that came at once, four workers got 16, 2,
    14 and 0 by taking all, and 28, 4, 0 and 0 by taking one a turn of the loop: who is awake is quicker than who must
    wake up. With the pause they got 8, 8, 7 and 9. It bounds a worker to some 2,000 new connections a second, which is
    more than it can answer.
    """

    def __init__(self, sock: socket.socket, make: Callable[[], _Connection]) -> None:
        self._sock = sock
        self._make = make
        self._loop = asyncio.get_running_loop()
        self._taken: set[asyncio.Task[None]] = set()
        self._open = True
        self._loop.add_reader(sock, self._take)

    def close(self) -> None:
        """What waits is taken first: when this is the last worker to leave, nobody else would."""
        self._loop.remove_reader(self._sock)
        with contextlib.suppress(OSError):
            for _ in range(BACKLOG):
                self._welcome(self._sock.accept()[0])
        self._open = False

    async def wait_closed(self) -> None:
        if self._taken:
            await asyncio.wait(self._taken, timeout=GRACE_S)

    def _take(self) -> None:
        pause_s = TURN_S
        try:
            for _ in range(TAKEN_AT_ONCE):
                connection, _ = self._sock.accept()
                self._welcome(connection)
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass  # no more, or another worker was quicker, or the client has left again
        except OSError as exc:
            log.error("no connection can be taken: %s", exc.strerror)  # too many open files: others may take it
            pause_s = PAUSE_S
        self._loop.remove_reader(self._sock)
        self._loop.call_later(pause_s, self._resume)

    def _welcome(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = self._loop.create_task(self._connect(connection), name="connect")
        self._taken.add(task)
        task.add_done_callback(self._taken.discard)

    def _resume(self) -> None:
        if self._open:
            self._loop.add_reader(self._sock, self._take)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            _, protocol = await self._loop.connect_accepted_socket(self._make, connection)
        except OSError:  # the client has left again
            connection.close()
            return
        if not self._open:
            protocol.shutdown()  # it came while the server was told to stop


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
