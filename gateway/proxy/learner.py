"""What this worker's answers teach, told to all workers, and what they all have learned, ready to be asked.

Invariants: `observe` appends and `estimates` looks up; neither waits, computes much or fails. Everything else happens
in one thread of its own, every few seconds. While the database is away the worker goes on with what it knew and what it
sees itself, keeps that within bounds, and adds it later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from gateway.core.candidate import Estimate
from gateway.core.contracts import LedgerUnavailable, TallyStore
from gateway.core.estimates import Learned, Length
from gateway.core.learning import BY_HOUR, DAY_US, HOUR_US, RECENT_HOURS, Tallies, learn, merge
from gateway.core.records import SpendRecord
from gateway.core.route import Route
from gateway.core.world import World

log = logging.getLogger("gateway.learning")

PAUSE_S = 5.0
DEADLINE_S = 30.0
"""How long a round may take before it is said that the database is slow. It is waited for, never repeated beside."""

START_S = CLOSE_S = 5.0
PAST_EVERY_ROUNDS = 120
"""So often days past are read anew: somebody whose database was away may have added to them."""

MOST_OBSERVED = 100_000
MOST_TALLIES = 50_000
"""Past these bounds what is learned while the database is away is dropped: oldest records, new tallies."""

_Asked = tuple[str, tuple[str, ...], str]


@dataclass(slots=True)
class _Snapshot:
    """What was learned, and the answers to what is asked of it: swapped by one reference."""

    world: World | None
    learned: Learned
    estimates: dict[_Asked, tuple[Route, Mapping[str, Estimate]]] = field(default_factory=dict)

    def of(self, route: Route, kind: str, world: World) -> Mapping[str, Estimate]:
        asked = (route.name, route.candidates, kind)
        found = self.estimates.get(asked)
        if found is None:
            found = self.estimates[asked] = (route, self.learned.estimates(route, kind, world))
        return found[1]


class Learner:
    """Owns the task and its thread. `start` it in a running loop; `close` writes what is left.

    world: the configuration in force. simulated: whether answers are simulated now. now_us: since the epoch.
    """

    def __init__(
        self,
        store: TallyStore,
        world: Callable[[], World],
        simulated: Callable[[], bool],
        now_us: Callable[[], int],
        *,
        pause_s: float = PAUSE_S,
        most_tallies: int = MOST_TALLIES,
    ) -> None:
        self._store = store
        self._world = world
        self._simulated = simulated
        self._now_us = now_us
        self._pause_s = pause_s
        self._most_tallies = most_tallies
        self._observed: deque[SpendRecord] = deque(maxlen=MOST_OBSERVED)
        self._pending: Tallies = {}
        self._past = Learned()
        self._present: Tallies = {}
        self._past_of: tuple[bool, int] | None = None
        self._rounds = 0
        self._snapshot = _Snapshot(None, Learned())
        self._task: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="learner")
        self._away = False
        self.failures = 0

    @property
    def pending(self) -> int:
        """Answers and tallies that the other workers have not been told of."""
        return len(self._observed) + len(self._pending)

    def observe(self, record: SpendRecord) -> None:
        """Learn from a finished attempt, soon."""
        self._observed.append(record)

    def estimates(self, route: Route, kind: str) -> Mapping[str, Estimate]:
        """What is expected of the route's models, by id: those of which something was learned.

        route: the one that a request names. kind: what its caller says, or what it seems to be, else the route's own.
        """
        snapshot = self._snapshot
        world = self._world()
        if snapshot.world is not world:
            snapshot = self._snapshot = _Snapshot(world, snapshot.learned)
        return snapshot.of(route, kind, world)

    def lengths(self, route: Route, kind: str) -> Mapping[str, Length]:
        """How long answers were, for people."""
        return self._snapshot.learned.lengths(route, kind, self._world())

    async def start(self) -> None:
        """Read what is known; a database that is away or slow is no reason not to start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                await self._round()
        self._task = asyncio.create_task(self._run(), name="learner")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._round()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._pause_s)
            await self._round()

    async def _round(self) -> None:
        """One round in the thread. The next begins when it is over, however long that takes: added twice is wrong."""
        done: Future[_Snapshot] = self._thread.submit(self._learn_and_tell)
        waiting = asyncio.wrap_future(done)
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    self._snapshot = await asyncio.shield(waiting)
                return
            except TimeoutError:
                log.warning("what was learned is being told for %g s already; the database is slow", DEADLINE_S)

    def _learn_and_tell(self) -> _Snapshot:
        try:
            self._fold()
            return self._with_answers(self._told())
        except LedgerUnavailable as exc:
            self._said(exc)
            return self._with_answers(self._alone())
        except Exception as exc:  # noqa: BLE001 - a fault of ours here must not end learning; it is logged
            self._said(exc)
            return self._snapshot

    def _told(self) -> Learned:
        """Tell what is new and read what all know. Raises LedgerUnavailable."""
        now_us, simulated = self._now_us(), self._simulated()
        day, hour = now_us // DAY_US, now_us // HOUR_US
        if self._pending:
            self._store.merge(self._pending)
            self._pending = {}
        self._read_past(simulated, day, hour)
        self._present = self._store.present(simulated, day, hour)
        self._said(None)
        learned = Learned(self._past)
        learned.add(self._present)
        return learned

    def _alone(self) -> Learned:
        """What was last read, and what this worker has seen since."""
        simulated, since = self._simulated(), self._now_us() // HOUR_US - RECENT_HOURS
        learned = Learned(self._past)
        for tallies in (self._present, self._pending):
            learned.add({
                key: tally for key, tally in tallies.items()
                if key.simulated == simulated and (key.what not in BY_HOUR or key.span > since)
            })  # fmt: skip
        return learned

    def _with_answers(self, learned: Learned) -> _Snapshot:
        """What is asked for is worked out here, so that no request has to."""
        before, world = self._snapshot, self._world()
        now = _Snapshot(world, learned)
        if before.world is world:
            for (_, _, kind), (route, _) in list(before.estimates.items()):
                now.of(route, kind, world)
        return now

    def _fold(self) -> None:
        folded = learn([self._observed.popleft() for _ in range(len(self._observed))])
        if len(self._pending) < self._most_tallies:
            merge(self._pending, folded)

    def _read_past(self, simulated: bool, day: int, hour: int) -> None:
        if self._past_of == (simulated, day) and self._rounds % PAST_EVERY_ROUNDS:
            self._rounds += 1
            return
        self._store.forget(day, hour)
        past = Learned()
        past.add(self._store.past(simulated, day))
        self._past, self._past_of, self._rounds = past, (simulated, day), 1

    def _said(self, fault: Exception | None) -> None:
        """Once when it fails and once when it is over."""
        if fault is None:
            if self._away:
                log.warning("what was learned is shared again")
            self._away = False
            return
        self.failures += 1
        if not self._away:
            known = isinstance(fault, LedgerUnavailable)
            log.error("what is learned cannot be shared, it is kept for later: %s", fault, exc_info=not known)
        self._away = True
