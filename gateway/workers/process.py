"""One worker as the supervisor sees it: started, ready, told to leave, gone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Self

import msgspec

from gateway.config import Outcome, Standing
from gateway.proxy.reports import Report

from .channel import Ask, AskReload, Channel, Orders, Ready, Serve, Served

log = logging.getLogger("gateway.workers")

KILL_S = 5.0


class Worker:
    """Owns the process and its channel. `start` makes it; it is over when `gone` returns."""

    def __init__(
        self,
        process: Process,
        channel: Channel,
        *,
        others: Callable[[Worker], Report],
        on_reload: Callable[[Worker], None],
        on_gone: Callable[[Worker], None],
    ) -> None:
        self.report = Report()
        self.leaving = False
        self._served: asyncio.Future[str] | None = None
        self.ready_at: float | None = None
        self._process = process
        self._channel = channel
        self._others = others
        self._on_reload = on_reload
        self._on_gone = on_gone
        self._up: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._watch = asyncio.create_task(self._watching(), name=f"worker-{process.pid}")
        self._leave: asyncio.Task[None] | None = None

    @classmethod
    async def start(
        cls,
        orders: Orders,
        *,
        others: Callable[[Worker], Report],
        on_reload: Callable[[Worker], None],
        on_gone: Callable[[Worker], None],
    ) -> Self:
        """others: the sum of the reports but for this worker's. on_reload: it asks for a reload.

        on_gone: called once the process has ended.

        Raises OSError when the system grants no further process.
        """
        ours, theirs = socket.socketpair()
        # -P and the path: the same code as here, however this process was started.
        path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "gateway.workers.worker", str(theirs.fileno()),
                stdin=DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
                pass_fds=(theirs.fileno(), *orders.sockets),
                # Ctrl-C at the terminal reaches the supervisor alone, which lets the workers drain.
                start_new_session=True,
            )  # fmt: skip
        worker = cls(process, await Channel.over(ours), others=others, on_reload=on_reload, on_gone=on_gone)
        worker._channel.put(orders)
        return worker

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def code(self) -> int | None:
        """How it ended, or None while it runs. Negative: by which signal."""
        return self._process.returncode

    async def ready(self, within_s: float) -> bool:
        """Whether it takes connections; False when it ended instead, or took too long and was ended."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._up), within_s)
        except TimeoutError:
            log.error("worker %d was not ready within %g s", self.pid, within_s)
            self.leave(KILL_S)
            return False

    def tell(self, message: Serve | Outcome | Standing) -> None:
        self._channel.put(message)

    async def serves(self, serve: Serve, within_s: float) -> bool:
        """Let it put this configuration in force; whether it did, or is gone, in time."""
        served = self._served = asyncio.get_running_loop().create_future()
        self._channel.put(serve)
        await asyncio.wait((served, self._watch), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        return self._watch.done() or (served.done() and served.result() == serve.standing.version)

    def leave(self, within_s: float) -> None:
        """Tell it to finish what is in flight and go; it is killed when it takes longer."""
        self.leaving = True
        if self._leave is None:
            self._leave = asyncio.create_task(self._leaving(within_s), name=f"worker-{self.pid}-leaves")

    async def gone(self) -> None:
        """Returns when the process has ended; after `leave` that is bounded."""
        await asyncio.wait([self._watch])
        if self._leave is not None:
            await asyncio.wait([self._leave])

    async def _leaving(self, within_s: float) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        done, _ = await asyncio.wait([self._watch], timeout=within_s)
        if not done:
            log.error("worker %d did not leave within %g s and is killed", self.pid, within_s)
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def _watching(self) -> None:
        # Bounded by the process: its end is the end of the stream.
        try:
            while (message := await self._channel.receive()) is not None:
                self._hear(message)
        except msgspec.DecodeError as exc:
            log.error("worker %d is of another version (%s); stop the gateway and start it again", self.pid, exc)
            self.leave(KILL_S)
        await self._process.wait()
        await self._channel.close(KILL_S)
        if not self._up.done():
            self._up.set_result(False)
        self._on_gone(self)

    def _hear(self, message: object) -> None:
        if isinstance(message, Report):
            self.report = message
        elif isinstance(message, Ask):
            self._channel.put(self._others(self))
        elif isinstance(message, Served):
            if self._served is not None and not self._served.done():
                self._served.set_result(message.version)
        elif isinstance(message, AskReload):
            self._on_reload(self)
        elif isinstance(message, Ready) and not self._up.done():
            self.ready_at = monotonic()
            self._up.set_result(True)
