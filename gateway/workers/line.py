"""The worker's end of its channel: it is ready, what it has counted, what the others have."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable

from gateway.core.errors import Blame, GatewayError
from gateway.proxy.reports import Report

from .channel import Ask, Channel, Ready

REPORT_S = 0.5
"""How often a worker reports: what a killed one can lose of its counts."""

ANSWER_S = 2.0
CLOSE_S = 2.0


class Line:
    """Owns the tasks between `begin` and `close`."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._asked: deque[asyncio.Future[Report]] = deque()
        self._report: Callable[[], Report] | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self, report: Callable[[], Report], on_lost: Callable[[], None]) -> None:
        """on_lost: called once, when the supervisor is gone."""
        self._report = report
        self._tasks = [
            asyncio.create_task(self._listen(on_lost), name="supervisor-line"),
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
        answer: asyncio.Future[Report] = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        self._channel.put(Ask())
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError as exc:
            told = "the other workers' counts could not be had in time; ask again"
            raise GatewayError(Blame.GATEWAY, 503, told=told) from exc

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
            if isinstance(message, Report) and self._asked:
                answer = self._asked.popleft()  # answers come in the order of the questions
                with contextlib.suppress(asyncio.InvalidStateError):  # nobody waits for it any more
                    answer.set_result(message)
        on_lost()

    async def _keep_reporting(self, report: Callable[[], Report]) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            if not self._channel.clogged:  # a supervisor that does not read must not fill this worker's memory
                self._channel.put(report())
