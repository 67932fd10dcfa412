"""The worker's end of its channel: it is ready, what it has counted, what the others have, what it is to serve."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.config import Outcome, Standing
from gateway.core.errors import Blame, GatewayError
from gateway.proxy.reports import Report

from .channel import Ask, AskReload, Channel, Ready, Serve, Served

REPORT_S = 0.5
"""How often a worker reports: what a killed one can lose of its counts."""

ANSWER_S = 2.0
CLOSE_S = 2.0

Answer = TypeVar("Answer")


class Line:
    """Owns the tasks between `begin` and `close`. standing: what the supervisor has said last of the configuration."""

    def __init__(self, channel: Channel, standing: Standing) -> None:
        self.standing = standing
        self._channel = channel
        self._asked: deque[asyncio.Future[Report]] = deque()
        self._reloads: deque[asyncio.Future[Outcome]] = deque()
        self._to_take: asyncio.Queue[Serve | Standing] = asyncio.Queue()
        self._report: Callable[[], Report] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def begin(
        self, report: Callable[[], Report], on_lost: Callable[[], None], take: Callable[[Serve], Awaitable[str]]
    ) -> None:
        """on_lost: called once, when the supervisor is gone. take: puts a configuration in force; returns its version.

        Should it fail, it returns that of the one in force.
        """
        self._report = report
        self._tasks = [
            asyncio.create_task(self._listen(on_lost), name="supervisor-line"),
            asyncio.create_task(self._keep_taking(take), name="supervisor-configuration"),
            asyncio.create_task(self._keep_reporting(report), name="supervisor-reports"),
        ]

    def ready(self) -> None:
        """After a first report, so that whoever serves is in the sum."""
        if self._report is not None:
            self._channel.put(self._report())
        self._channel.put(Ready())

    async def others(self) -> Report:
        """The sum of what the other workers have reported. Raises GatewayError when it cannot be had in time.

        A sum without them would be a lie that looks like a restart: counters would fall and rise again.
        """
        self._channel.put(Ask())
        try:
            async with asyncio.timeout(ANSWER_S):
                return await _answer(self._asked)
        except TimeoutError as exc:
            told = "the other workers' counts could not be had in time; ask again"
            raise GatewayError(Blame.GATEWAY, 503, told=told) from exc

    async def reload(self) -> Outcome:
        """Reload in every worker. Whoever asks brings a deadline; what was asked for may still come about after it."""
        self._channel.put(AskReload())
        return await _answer(self._reloads)

    async def close(self) -> None:
        """Report for the last time and hang up."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        if self._report is not None:
            self._channel.put(self._report())
        await self._channel.close(CLOSE_S)

    async def _listen(self, on_lost: Callable[[], None]) -> None:
        # Bounded by its owner: `close` ends it.
        while (message := await self._channel.receive()) is not None:
            if isinstance(message, Report):
                _answered(self._asked, message)
            elif isinstance(message, Outcome):
                _answered(self._reloads, message)
            elif isinstance(message, Serve | Standing):
                self._to_take.put_nowait(message)
        on_lost()

    async def _keep_taking(self, take: Callable[[Serve], Awaitable[str]]) -> None:
        """One after the other, and beside the listening: the metrics need not wait for a configuration to be built."""
        while True:
            message = await self._to_take.get()  # bounded by its owner, as above
            if isinstance(message, Standing):
                self.standing = message
            else:
                version = await take(message)
                self.standing = message.standing
                self._channel.put(Served(version))

    async def _keep_reporting(self, report: Callable[[], Report]) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            if not self._channel.clogged:  # a supervisor that does not read must not fill this worker's memory
                self._channel.put(report())


async def _answer(asked: deque[asyncio.Future[Answer]]) -> Answer:
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    asked.append(answer)
    return await answer  # bounded by whoever asks


def _answered(asked: deque[asyncio.Future[Answer]], message: Answer) -> None:
    """Answers come in the order of the questions; one that came too late is nobody's."""
    if asked:
        answer = asked.popleft()
        if not answer.done():
            answer.set_result(message)
