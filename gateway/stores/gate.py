"""The accounts' way into Redis: what many requests ask at the same moment goes in one round trip.

One flight at a time. What is asked while it is out gathers and goes with the next: an idle gateway adds one round trip
to a request, a busy one a fraction of the cost. A flight carries finished attempts (settlements) beside the admissions.

Invariants: a settlement is offered until it is answered, in batches that keep their number, so it is applied once. An
admission whose answer did not arrive is taken back with the next flight: the server may have granted it. While the
server is away nobody waits for it; a probe of the gate's own finds out when it is back.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from typing import Any

import msgspec
from redis.exceptions import NoScriptError, ResponseError

from gateway.core.contracts import Settlement

from .redis_link import GONE, RedisLink, Word, kind_of, packed

log = logging.getLogger("gateway.accounts")

PREFIX = "gw:a1:"
"""The number goes up when what is kept changes its form."""

ADMITS_AT_ONCE = 128
SETTLES_AT_ONCE = 256
TAKEN_AT_ONCE = 512
SETTLE_WITHIN_S = 0.005
"""How long a finished attempt may wait for company. A process that is killed meanwhile has it booked as lost."""

CROWD = 4
CROWD_S = 0.0005
"""A flight after one with so many admissions waits so long for company: on one core the server answers at once, and
most flights would carry one. Without it a request took 5 % more processor time at 32 connections."""

CROWDED = 20_000
"""Settlements that wait for an absent server before some are forgotten: about a kilobyte each."""

ANSWER_S = 0.25
"""How long an answer may take. A frozen server is noticed after two of them, and then nobody waits for it."""

PROBE_S = 0.5
"""How often an absent server is looked for."""

LEASE_US = 60_000_000
OVER_KEPT_US = 86_400_000_000

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode

Wire = list[Any]  # Any: an entry for a script, as lua/*.lua says
Answer = list[Any]


class Away(Exception):
    """The server did not answer."""


@dataclass(frozen=True, slots=True)
class _Asked:
    entry: Wire
    note: bytes
    future: asyncio.Future[Answer]


class _Script:
    """One script with what it shares with the others, by its SHA-1."""

    def __init__(self, name: str) -> None:
        folder = files("gateway.stores") / "lua"
        self.text = (folder / "common.lua").read_text() + (folder / f"{name}.lua").read_text()
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Gate:
    """The accounts of one organisation, as one worker sees them.

    worker: unlike any other's, and its life long. settled: told of each settlement once, when the server has it or is
    away: from then on the ledger may have it.
    """

    def __init__(
        self, link: RedisLink, organisation: str, worker: str, *, settled: Callable[[Settlement], None]
    ) -> None:
        self._link = link
        self._worker = worker
        self._settled = settled
        names = ("books", "holds", "leases", "rates", "stream", "senders", "over")
        self._keys = [f"{PREFIX}{{{organisation}}}:{name}" for name in names]
        self.stream = self._keys[4]
        self._scripts = {name: _Script(name) for name in ("admit", "settle", "sweep", "renew", "seed")}
        self._admits: deque[_Asked] = deque()
        self._settles: deque[Settlement] = deque()
        self._batch: list[Settlement] = []
        self._number = 0
        self._taken: deque[str] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._nudged = False
        self._carried = 0
        self._due = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._clock_us = time.time_ns() // 1_000
        self._clock_at = time.monotonic_ns()
        self.away = False
        self.absences = 0
        self.here_since = time.monotonic()
        self.failures = 0
        self._crowded = CROWDED

    # What others ask ---------------------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Settlements that the server does not have yet."""
        return len(self._settles) + len(self._batch)

    def now_us(self) -> int:
        """The server's clock, as far as it is known: its last answer and the time since then."""
        return self._clock_us + (time.monotonic_ns() - self._clock_at) // 1_000

    async def admit(self, entry: Wire, note: bytes) -> Answer:
        """What admit.lua answers for this entry; note as told there. Raises Away."""
        if self.away:
            raise Away
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        asked = _Asked(entry, note, future)
        self._admits.append(asked)
        self._wake.set()
        try:
            # Bounded: every flight ends within the link's deadlines, and every way out of it answers its futures.
            return await future
        except asyncio.CancelledError:
            if _granted(future):  # answered, but the caller was cancelled before it could hear of it
                self._take_back([asked])
            raise

    def settle(self, settlement: Settlement) -> None:
        self._settles.append(settlement)
        if self.away:
            self._hand_over(settlement)
            if len(self._settles) >= self._crowded:
                self._thin_out()
        elif len(self._settles) >= SETTLES_AT_ONCE:
            self._settle_now()
        elif self._timer is None:
            # With the next admission, or by itself a little later: an admission that comes meanwhile need not wait for
            # the return of a flight that carried nothing else.
            self._timer = asyncio.get_running_loop().call_later(SETTLE_WITHIN_S, self._settle_now)

    def _settle_now(self) -> None:
        self._due = True
        self._wake.set()

    def _thin_out(self) -> None:
        """Forget what the ledger has and the server knows no hold of: its counters are raised to the ledger's sums."""
        kept = (one for one in self._settles if one.record is not None or one.absence != self.absences)
        self._settles = deque(kept)
        self._crowded = max(CROWDED, 2 * len(self._settles))

    def taken(self, settlement: Settlement) -> None:
        """The ledger has this record, so neither the stream nor this process need keep it."""
        settlement.record = None
        if settlement.stream_id:
            self._taken.append(settlement.stream_id)

    def nudge(self) -> None:
        """Tell the server what the ledger has taken, also when nothing else is to be said."""
        if self._taken and not self.away:
            self._nudged = True
            self._wake.set()

    async def run(self, name: str, *words: Word) -> Any:  # Any: what the script answers
        """One script by itself, for the upkeep. Raises Away."""
        (reply,) = await self._ask([self._call(name, *words)], [name])
        return reply

    async def ask(self, *words: Word) -> Any:  # Any: what the command answers
        (reply,) = await self._ask([packed(*words)], [])
        return reply

    # The flights -------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._task = asyncio.create_task(self._fly(), name="accounts-gate")

    async def close(self, deadline_s: float) -> int:
        """Deliver what is waiting, at most this long. Returns how many settlements the server did not get."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait((self._task,), timeout=deadline_s)
            if not self._task.done():
                self._task.cancel()
                await asyncio.wait((self._task,), timeout=1.0)
        return self.waiting

    @property
    def _idle(self) -> bool:
        tell = self._taken and (self._nudged or self._closing)
        settle = self._settles and (self._due or self._closing)
        return not (self._admits or settle or self._batch or tell)

    async def _fly(self) -> None:
        while True:
            if self.away:
                if self._closing:
                    return
                await asyncio.sleep(PROBE_S)
                await self._probe()
                continue
            if self._idle:
                if self._closing:
                    return
                self._wake.clear()
                await self._wake.wait()  # woken by the next admission, settlement, or close
                continue
            if self._carried >= CROWD:
                await asyncio.sleep(CROWD_S)
            self._nudged = False
            try:
                await self._flight()
            except Exception:  # a fault of ours: accounts must go on, and those who wait must hear of it
                log.exception("a flight of the accounts failed inside the gateway")
                self._is_away("failed", "a fault of the gateway")

    async def _probe(self) -> None:
        try:
            await self.run("renew", str(LEASE_US), _encode([]))
        except Away:
            return
        self.away = False
        self.here_since = time.monotonic()
        self._due = True
        log.warning("the accounts are reachable again; %d settlements are delivered now", self.waiting)

    async def _flight(self) -> None:
        admits = [self._admits.popleft() for _ in range(min(len(self._admits), ADMITS_AT_ONCE))]
        self._carried = len(admits)
        admits = [one for one in admits if not one.future.done()]  # without those whose client left meanwhile
        try:
            await self._deliver(admits)
        except BaseException as exc:
            self._failed(admits)
            if not isinstance(exc, Away):
                raise

    async def _deliver(self, admits: list[_Asked]) -> None:
        commands: list[bytes] = []
        names: list[str] = []
        settling = self._next_batch()
        taken = list(islice(self._taken, TAKEN_AT_ONCE))
        if settling or taken:
            entries = [_settle_entry(one) for one in settling]
            records = [b"" if one.record is None else _encode(one.record) for one in settling]
            words = [self._worker.encode(), b"%d" % self._number, _encode(entries), _encode(taken)]
            commands.append(self._call("settle", *words, *records))
            names.append("settle")
        if admits:
            entries = [one.entry for one in admits]
            commands.append(self._call("admit", str(LEASE_US), _encode(entries), *(one.note for one in admits)))
            names.append("admit")
        if not commands:
            return
        replies = await self._ask(commands, names)
        if settling or taken:
            self._has_settled(settling, replies.pop(0), len(taken))
        if admits:
            self._has_answered(admits, replies[0])

    def _next_batch(self) -> list[Settlement]:
        """The batch that was not answered, unchanged; else the next one under a new number."""
        if not self._batch:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._batch = [self._settles.popleft() for _ in range(min(len(self._settles), SETTLES_AT_ONCE))]
            self._due = bool(self._settles)
            self._number += 1
        return self._batch

    def _has_settled(self, settling: list[Settlement], reply: bytes, taken: int) -> None:
        for _ in range(taken):
            self._taken.popleft()
        now_us, *rest = _decode(reply)
        self._set_clock(now_us)
        self._batch = []
        # Without ids the batch had been applied before; its records are in the stream, and found there in time.
        for settlement, stream_id in zip(settling, rest[0] if rest else [""] * len(settling), strict=True):
            settlement.stream_id = stream_id
            if settlement.record is None and stream_id:  # the ledger has taken it meanwhile
                self._taken.append(stream_id)
            self._hand_over(settlement)

    def _has_answered(self, admits: Sequence[_Asked], reply: bytes) -> None:
        now_us, answers = _decode(reply)
        self._set_clock(now_us)
        for one, answer in zip(admits, answers, strict=True):
            if not one.future.done():
                one.future.set_result(answer)
            elif answer[0] == 1:
                self._take_back([one])

    def _failed(self, admits: Sequence[_Asked]) -> None:
        self._take_back(admits)
        waiting = [*admits, *self._admits]
        self._admits.clear()
        for one in waiting:
            if not one.future.done():
                one.future.set_exception(Away())
        for settlement in (*self._batch, *self._settles):
            self._hand_over(settlement)

    def _take_back(self, admits: Sequence[_Asked]) -> None:
        self._settles.extend(_void(one.entry) for one in admits)
        self._settle_now()

    def _hand_over(self, settlement: Settlement) -> None:
        if not settlement.handed_us and settlement.record is not None:
            settlement.handed_us = self.now_us()
            self._settled(settlement)

    def _set_clock(self, now_us: int) -> None:
        self._clock_us, self._clock_at = now_us, time.monotonic_ns()

    # The wire ----------------------------------------------------------------------------------------------------

    def _call(self, name: str, *words: Word) -> bytes:
        return packed("EVALSHA", self._scripts[name].sha, str(len(self._keys)), *self._keys, *words)

    async def _ask(self, commands: Sequence[bytes], names: Sequence[str]) -> list[Any]:  # Any: replies of any kind
        """The replies. Raises Away, also when the server answers with an error: it cannot keep accounts then."""
        try:
            replies = await self._patiently(commands)
            if any(isinstance(reply, NoScriptError) for reply in replies):
                # A server that was started anew has forgotten them. What it did do of these, it recognises.
                await self._patiently([packed("SCRIPT", "LOAD", self._scripts[name].text) for name in set(names)])
                replies = await self._patiently(commands)
        except GONE as exc:
            self._is_away(kind_of(exc), type(exc).__name__)
            raise Away from exc
        for reply in replies:
            if isinstance(reply, ResponseError):
                self._is_away("refused", str(reply)[:120])
                raise Away from reply
        return replies

    async def _patiently(self, commands: Sequence[bytes]) -> list[Any]:  # Any: replies of any kind
        """Asked a second time before the server counts as away: a pause of this very process looks the same.

        Every script recognises what it has done already, so asking twice is asking once.
        """
        try:
            return await self._link.ask(commands, timeout_s=ANSWER_S)
        except GONE:
            return await self._link.ask(commands, timeout_s=ANSWER_S)

    def _is_away(self, kind: str, what: str) -> None:
        self.failures += 1
        if not self.away:
            self.away = True
            self.absences += 1
            log.error("the accounts cannot be reached (%s: %s); hard budgets refuse until they can", kind, what)
            self._failed([])  # whoever found out: nobody in the queue waits for the server's return


def _granted(future: asyncio.Future[Answer]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None and future.result()[0] == 1


def _void(entry: Wire) -> Settlement:
    """What takes an admission back, if it was granted: the hold, the place, and the share of its rates."""
    hold, amount, budgets, limits, forced = entry
    busy = [limit[0] for limit in limits if limit[1] == "c"]
    refunds = [(limit[0], limit[2]) for limit in limits if limit[1] == "a" and not forced]
    return Settlement(hold=hold, amount=amount, cost=0, budgets=budgets, busy=busy, refunds=refunds, record=None)


def _settle_entry(settlement: Settlement) -> Wire:
    return [
        settlement.hold, settlement.amount, settlement.cost, settlement.budgets, settlement.busy,
        settlement.refunds, settlement.handed_us,
    ]  # fmt: skip
