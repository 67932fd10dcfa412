"""The requests' way into the response cache: what many ask at the same moment goes in one round trip.

A few lanes, each with one batch out at a time, so that one large value does not hold up all. What is asked while all
are out gathers and goes with the next.

Invariants: nobody waits longer than `wait_s`. A server that says nothing for `patience_s` is left alone (see breaker),
and all who wait for it are released then. Neither happens because this process itself was held up: before a deadline
is believed, the loop reads what has arrived meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable

from redis.exceptions import NoScriptError, ResponseError

from .breaker import Pass
from .cache_health import Health
from .redis_link import GONE, RedisLink, Reply
from .scripts import Script

BATCH = 64
BATCH_BYTES = 2 * 2**20
"""Of what is asked, and of what is expected to come back: a server that works on a batch says nothing meanwhile."""

FORGETS = 0.98
"""What is left, after each reply, of the size that is expected."""

MOST_WAITING = 10_000
MOST_WAITING_BYTES = 64 * 2**20
"""Past these what is asked finds nothing at once."""

GRACE_S = 0.002
"""How long the loop has, after a deadline, to read what has arrived."""

HELD_UP = 5
"""A loop that came late to a deadline has so many times as long as it was late: it may only now have asked."""

GRACES = 5
"""How often it may be held up again meanwhile."""

PASSES = 12
"""Passes of the loop before a deadline is believed. In a crowd each takes milliseconds, and a reply needs a few:
to be sent for, to be read, to be told. An idle loop is through with them at once."""

LEFT_LATER_S = 0.01
"""How much sooner than its time a silent batch is judged when one of those in it has waited long enough."""

NEVER = float("inf")

Answer = Reply | ResponseError
Unheard = Callable[[Answer], None]


class _Asked:
    __slots__ = ("anyway", "command", "deadline", "future", "how", "unheard")

    def __init__(
        self,
        command: bytes,
        future: asyncio.Future[Answer],
        how: Pass,
        deadline: float,
        unheard: Unheard | None,
        anyway: bool,
    ) -> None:
        self.anyway = anyway
        self.command = command
        self.future = future
        self.how = how
        self.deadline = deadline
        self.unheard = unheard

    def hears(self, reply: Answer) -> None:
        if not self.future.done():
            self.future.set_result(reply)
        elif self.unheard is not None:
            self.unheard(reply)


class _Batch:
    __slots__ = ("asked", "how", "judged_at", "task")

    def __init__(self, asked: list[_Asked], judged_at: float) -> None:
        self.asked = asked
        self.how = Pass.PROBE if any(one.how is Pass.PROBE for one in asked) else Pass.FREE
        self.judged_at = judged_at
        self.task: asyncio.Task[None] | None = None


class Lanes:
    """scripts: those that are called here; a server that was started anew is told them."""

    def __init__(
        self,
        link: RedisLink,
        health: Health,
        scripts: Iterable[Script],
        *,
        lanes: int,
        wait_s: float,
        patience_s: float,
    ) -> None:
        self._link = link
        self._health = health
        self._load = [script.load for script in scripts]
        self._lanes = lanes
        self._wait_s = wait_s - 2 * GRACE_S
        self._patience_s = patience_s - 2 * GRACE_S
        self._queue: deque[_Asked] = deque()
        self._queued_bytes = 0
        self._waiting: deque[_Asked] = deque()
        self._out: list[_Batch] = []
        self._expected_bytes = 1.0
        self._called = False
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = NEVER

    def ask(self, command: bytes, unheard: Unheard | None = None, *, anyway: bool = False) -> asyncio.Future[Answer]:
        """The reply, or None when there is none to be had: commands that may answer nil are not asked here.

        unheard: told of a reply that came when nobody waited for it any more. anyway: sent also when nobody does.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        how = self._health.breaker.enter(time.monotonic())
        if how is Pass.CLOSED:
            future.set_result(None)
            return future
        if len(self._queue) >= MOST_WAITING or self._queued_bytes >= MOST_WAITING_BYTES:
            self._health.breaker.abandoned(how)
            self._health.count("busy")
            future.set_result(None)
            return future
        asked = _Asked(command, future, how, loop.time() + self._wait_s, unheard, anyway)
        self._queue.append(asked)
        self._queued_bytes += len(command)
        self._waiting.append(asked)
        if not self._called and len(self._out) < self._lanes:
            self._called = True
            loop.call_soon(self._depart)  # what is asked in the same pass of the loop comes along
        self._arm(asked.deadline)
        return future

    async def close(self) -> None:
        """Whoever waits finds nothing."""
        if self._timer is not None:
            self._timer.cancel()
        _release(self._waiting)
        self._forget_queue()
        tasks = [batch.task for batch in self._out if batch.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)

    # The lanes ---------------------------------------------------------------------------------------------------

    def _depart(self) -> None:
        self._called = False
        while self._queue and len(self._out) < self._lanes:
            asked = self._next()
            if not asked:
                continue
            loop = asyncio.get_running_loop()
            batch = _Batch(asked, loop.time() + self._patience_s)
            self._out.append(batch)
            batch.task = loop.create_task(self._carry(batch), name="cache-lane")
            self._arm(batch.judged_at)

    def _next(self) -> list[_Asked]:
        asked: list[_Asked] = []
        room = BATCH_BYTES
        most = min(BATCH, int(BATCH_BYTES / self._expected_bytes) + 1)
        while self._queue and len(asked) < most and (not asked or len(self._queue[0].command) <= room):
            one = self._queue.popleft()
            self._queued_bytes -= len(one.command)
            if one.future.done() and not one.anyway:  # its client left, or it waited too long
                self._health.breaker.abandoned(one.how)
                continue
            room -= len(one.command)
            asked.append(one)
        return asked

    async def _carry(self, batch: _Batch) -> None:
        try:
            await self._exchange(batch)
        except GONE as exc:
            self._lost(batch, exc)
        except BaseException:
            self._health.breaker.abandoned(batch.how)
            raise
        else:
            self._health.went_well(batch.how)
        finally:
            self._out.remove(batch)
            _release(batch.asked)
            self._depart()

    async def _exchange(self, batch: _Batch) -> None:
        again: list[_Asked] = []
        loop = asyncio.get_running_loop()

        def heard(number: int, reply: Answer) -> None:
            batch.judged_at = loop.time() + self._patience_s
            if isinstance(reply, NoScriptError):
                again.append(batch.asked[number])
                return
            self._expected_bytes = max(_size(reply), self._expected_bytes * FORGETS, 1.0)
            batch.asked[number].hears(reply)

        await self._link.carry([asked.command for asked in batch.asked], heard)
        if again:  # a server that was started anew has forgotten the scripts
            told = len(self._load)
            commands = [*self._load, *(asked.command for asked in again)]
            await self._link.carry(commands, lambda n, reply: again[n - told].hears(reply) if n >= told else None)

    def _lost(self, batch: _Batch, exc: Exception) -> None:
        """Whoever finds out: nobody waits on."""
        self._health.went_wrong(batch.how, exc)
        _release(batch.asked)
        self._forget_queue()

    def _forget_queue(self) -> None:
        for asked in self._queue:
            self._health.breaker.abandoned(asked.how)
        _release(self._queue)
        self._queue.clear()
        self._queued_bytes = 0

    # The deadlines -----------------------------------------------------------------------------------------------

    def _arm(self, at: float) -> None:
        if at < self._rings_at:
            if self._timer is not None:
                self._timer.cancel()
            self._rings_at = at
            self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _ring(self) -> None:
        """A deadline may be over: then the loop reads first."""
        loop = asyncio.get_running_loop()
        now, first = loop.time(), self._first_deadline()
        if first > now:
            self._timer, self._rings_at = None, NEVER
            if first < NEVER:
                self._arm(first)
            return
        self._give(max(min((now - first) * HELD_UP, self._wait_s), GRACE_S), now, GRACES)

    def _give(self, grace_s: float, rang_at: float, graces: int) -> None:
        loop = asyncio.get_running_loop()
        self._rings_at = loop.time() + grace_s
        self._timer = loop.call_at(self._rings_at, self._believe, rang_at, graces)

    def _believe(self, rang_at: float, graces: int, passes: int = PASSES) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if graces and now - self._rings_at > GRACE_S:  # held up again: it may not have read yet
            self._give(GRACE_S, rang_at, graces - 1)
            return
        if passes:
            self._rings_at = now
            self._timer = None
            loop.call_soon(self._believe, rang_at, 0, passes - 1)
            return
        for batch in list(self._out):
            # Batches leave a little later than their first was asked, and tell what ails him.
            if batch.judged_at <= now + LEFT_LATER_S and batch.task is not None and not batch.task.done():
                batch.judged_at = NEVER
                self._lost(batch, TimeoutError())
                batch.task.cancel()
        while self._waiting and self._waiting[0].deadline <= rang_at:
            asked = self._waiting.popleft()
            if not asked.future.done():
                self._health.count("busy")
                asked.future.set_result(None)
        self._ring()

    def _first_deadline(self) -> float:
        while self._waiting and self._waiting[0].future.done():
            self._waiting.popleft()
        first = self._waiting[0].deadline if self._waiting else NEVER
        return min((first, *(batch.judged_at for batch in self._out)))


def _size(reply: Answer) -> int:
    """Of what a reply begins with; the rest of it is short."""
    first = reply[0] if isinstance(reply, list) and reply else b""
    return len(first) if isinstance(first, bytes) else 0


def _release(asked: Iterable[_Asked]) -> None:
    for one in asked:
        if not one.future.done():
            one.future.set_result(None)
