"""Any order of admissions, settlements, repeats, deaths and losses: the accounts agree with a model of a few lines.

The store is a real Valkey and the ledger a real SQLite file; only the clock is the machine's.
"""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from gateway.core.budget import Limit, Scope, ScopeKind, Unit, Window
from gateway.core.contracts import Admission
from gateway.core.errors import GatewayError
from gateway.proxy import settle
from gateway.stores import gate
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.gate import LEASE_US, PREFIX
from gateway.stores.ledger import SqlLedger, open_engine
from tests.stores.till import NOON_US, Worker, a_budget, a_worker, an_organisation, books_of, rows_of, set_clock

LIMITS = {"day": 1_000, "rolling": 700}
BUDGETS = (
    a_budget(LIMITS["day"], name="day", window=Window(Unit.DAY)),
    a_budget(LIMITS["rolling"], name="rolling", window=Window(Unit.MONTH, rolling=True)),
)
PLACES = Limit("places", Scope(ScopeKind.ORGANISATION), concurrency=4)
AMOUNTS = st.integers(0, 400)
WHICH = st.integers(0, 30)
"""Counted around what there is then: when a caller that leaves is too late is the event loop's to say, so what is drawn
must not depend on it."""


class Model:
    """What must be true. Both budgets count every attempt, and no window ends while the machine runs."""

    def __init__(self) -> None:
        self.spent = 0
        self.open: dict[str, int] = {}
        self.ends_us: dict[str, int] = {}
        self.given_up: dict[str, int] = {}
        self.rows: dict[str, int] = {}

    def refuses(self, amount: int) -> bool:
        used = self.spent + sum(self.open.values())
        return len(self.open) >= 4 or any(used + amount > limit for limit in LIMITS.values())

    def admit(self, hold: str, amount: int, now_us: int) -> None:
        self.open[hold], self.ends_us[hold] = amount, now_us + LEASE_US

    def settle(self, hold: str, cost: int) -> None:
        if self.open.pop(hold, None) is None:
            self.spent -= self.given_up.pop(hold, 0)
        self.spent += cost
        self.rows[hold] = cost

    def sweep(self, now_us: int) -> None:
        for hold in [hold for hold in self.open if self.ends_us[hold] <= now_us]:
            amount = self.open.pop(hold)
            self.spent += amount
            self.rows[hold] = self.given_up[hold] = amount


class Accounts(RuleBasedStateMachine):
    loop: asyncio.AbstractEventLoop
    store: EmbeddedStore
    book: SqlLedger

    def __init__(self) -> None:
        super().__init__()
        self.model, self.now_us, self.number = Model(), NOON_US, 0
        self.admitted: dict[str, tuple[Worker, Admission]] = {}
        self.last: list[bytes] = []
        self.stack = AsyncExitStack()
        self.workers: list[Worker] = []

    def do(self, act: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(act, 20))

    @initialize()
    def open(self) -> None:
        self.organisation = an_organisation()
        self.do(self._open())

    async def _open(self) -> None:
        self.raw = await self.stack.enter_async_context(Redis.from_url(self.store.url))
        for _ in range(2):
            worker = await self.stack.enter_async_context(
                a_worker(self.store.url, self.book, self.organisation, driven=True)
            )
            self._remember_flights(worker)
            self.workers.append(worker)
        await set_clock(self.raw, self.now_us, *self.workers)

    def _remember_flights(self, worker: Worker) -> None:
        ask = worker.gate._link.ask

        async def heard(commands: list[bytes], **more: Any) -> Any:
            self.last = list(commands)
            return await ask(commands, **more)

        worker.gate._link.ask = heard  # type: ignore[method-assign, assignment]

    def teardown(self) -> None:
        if self.workers:
            self.do(self.stack.aclose())

    def _ask(self, worker: Worker, amount: int) -> Any:
        return worker.ask(amount, *BUDGETS, limits=[PLACES])

    async def _rest(self) -> None:
        for worker in self.workers:
            await worker.rest()

    # What happens -------------------------------------------------------------------------------------------------

    @rule(who=st.integers(0, 1), amount=AMOUNTS)
    def admit(self, who: int, amount: int) -> None:
        self.do(self._admit(self.workers[who], amount))

    async def _admit(self, worker: Worker, amount: int) -> None:
        ask = self._ask(worker, amount)
        if self.model.refuses(amount):
            with pytest.raises(GatewayError):
                await worker.accounts.admit(ask)
        else:
            admission = await worker.accounts.admit(ask)
            self.model.admit(ask.hold, amount, self.now_us)
            self.admitted[ask.hold] = worker, admission

    @rule(who=st.integers(0, 1), amounts=st.lists(AMOUNTS, min_size=2, max_size=5))
    def a_crowd(self, who: int, amounts: list[int]) -> None:
        """In one flight, in their order."""
        self.do(self._crowd(self.workers[who], amounts))

    async def _crowd(self, worker: Worker, amounts: list[int]) -> None:
        await asyncio.gather(*(self._in_turn(worker, amount) for amount in amounts))

    async def _in_turn(self, worker: Worker, amount: int) -> None:
        ask = self._ask(worker, amount)
        with contextlib.suppress(GatewayError):
            admission = await worker.accounts.admit(ask)
            # Answers of one flight wake their callers in the order in which they were decided.
            assert not self.model.refuses(amount)
            self.model.admit(ask.hold, amount, self.now_us)
            self.admitted[ask.hold] = worker, admission

    @rule(which=WHICH, cost=AMOUNTS)
    def settle(self, which: int, cost: int) -> None:
        """In time, or after it was given up, or past its hold."""
        self.do(self._end(which, cost))

    @rule(which=WHICH, amount=AMOUNTS)
    def fall_back(self, which: int, amount: int) -> None:
        """An attempt that cost nothing, and the next one in the same flight."""
        self.do(self._end(which, 0, followed_by=amount))

    async def _end(self, which: int, cost: int, *, followed_by: int | None = None) -> None:
        if not self.admitted:
            return
        hold = list(self.admitted)[which % len(self.admitted)]
        worker, admission = self.admitted.pop(hold)
        worker.settle(admission, cost)
        self.model.settle(hold, cost)
        if followed_by is not None:
            await self._admit(worker, followed_by)
        await worker.delivered()

    @rule(who=st.integers(0, 1), amount=AMOUNTS, when=st.sampled_from(["waiting", "asked", "answered"]))
    def leave(self, who: int, amount: int, when: str) -> None:
        """A caller that is gone before its admission is sent, or answered, or before it has heard the answer."""
        self.do(self._leave(self.workers[who], amount, when))

    async def _leave(self, worker: Worker, amount: int, when: str) -> None:
        task = asyncio.create_task(worker.accounts.admit(self._ask(worker, amount)))
        answered = worker.gate._has_answered

        def answered_and_left(admits: Any, reply: bytes) -> None:
            answered(admits, reply)
            task.cancel()

        worker.gate._has_answered = answered_and_left  # type: ignore[method-assign]
        if when != "answered":
            for _ in range(1 if when == "waiting" else 3):
                await asyncio.sleep(0)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # One flight at a time: with this answer, which is always no, every earlier one is there.
        await worker.gate.admit(["none", 0, [], [["none", "c", 0, 0]], False], b"")
        await worker.delivered()
        worker.gate._has_answered = answered  # type: ignore[method-assign]

    @rule()
    def deliver_again(self) -> None:
        """The last flight's answer was lost, so it is sent once more."""
        if self.last and all(b"EVALSHA" in command for command in self.last):
            self.do(self.workers[0].gate._link.ask(list(self.last)))

    @rule(seconds=st.sampled_from([1, 20, 45, 70]))
    def time_passes(self, seconds: int) -> None:
        self.now_us += seconds * 1_000_000
        self.last = []  # a renewal or a sweep of another time is another one
        self.do(set_clock(self.raw, self.now_us, *self.workers))

    @rule(who=st.integers(0, 1))
    def renew(self, who: int) -> None:
        worker = self.workers[who]
        self.do(worker.upkeep.renew(self.organisation, worker.gate))
        for hold in self.model.open.keys() & worker.accounts.open.keys():
            self.model.ends_us[hold] = self.now_us + LEASE_US

    @rule()
    def sweep(self) -> None:
        self.model.sweep(self.now_us)
        self.do(self._both_sweep())

    async def _both_sweep(self) -> None:
        await asyncio.gather(*(worker.upkeep.sweep("", worker.gate) for worker in self.workers))

    @rule()
    def recover(self) -> None:
        self.do(self._recover())

    async def _recover(self) -> None:
        for worker in self.workers:
            known = worker.gate._clock_us
            worker.gate._set_clock(10**18)  # all of the stream counts as left there
            await worker.upkeep.recover("", worker.gate)
            worker.gate._set_clock(known)

    @rule(who=st.integers(0, 1))
    def raise_counters(self, who: int) -> None:
        self.do(self.workers[who].upkeep.raise_counters(self.organisation, self.workers[who].gate))

    @rule()
    def restart(self) -> None:
        """Killed, and started on its append-only file."""
        os.kill(self.store.pid, signal.SIGKILL)
        self.do(self.store.close())
        self.do(self.store.start())
        self.last = []

    @rule()
    def flush(self) -> None:
        """All memory lost. What was on its way is in the ledger; each worker brings back what it has open."""
        self.do(self._flush())

    async def _flush(self) -> None:
        await self._rest()
        await self._recover()
        names = ("books", "holds", "leases", "rates", "stream", "senders", "over")
        await self.raw.delete(*(f"{PREFIX}{{{self.organisation}}}:{name}" for name in names))
        self.last = []
        # Known and left out: who was given up before a flush and ends after it is charged its hold and its cost. The
        # store has forgotten the charge, and what it made of the ledger is never lowered.
        for hold in self.model.given_up:
            worker, _ = self.admitted.pop(hold)
            worker.accounts.open.pop(hold, None)
        self.model.given_up.clear()
        bounds = self._ask(self.workers[0], 0).budgets
        await self.workers[0].accounts.seed(self.organisation, list(bounds))
        for worker in self.workers:
            await worker.upkeep.renew(self.organisation, worker.gate)
        for hold in self.model.open:
            self.model.ends_us[hold] = self.now_us + LEASE_US

    # What is true at any moment -----------------------------------------------------------------------------------

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        if not self.workers:
            return
        books = self.do(books_of(self.raw, self.organisation))
        held = sum(self.model.open.values())
        assert {books.spent.get(name, 0) for name in LIMITS} == {self.model.spent}
        assert {books.held.get(name, 0) for name in LIMITS} == {held}
        assert books.holds == self.model.open.keys()
        assert sum(books.busy.values()) == len(self.model.open)
        rows = {record.attempt_id: int(record.cost_nano) for record in books.stream} | self._waiting()
        assert rows_of(self.book, self.organisation).keys() | rows.keys() == self.model.rows.keys()

    def _waiting(self) -> dict[str, int]:
        records = [one.record for worker in self.workers for one in worker.settler._queue]
        return {record.attempt_id: int(record.cost_nano) for record in records if record is not None}

    @precondition(lambda self: self.workers)
    @rule()
    def the_ledger_is_as_the_model_says(self) -> None:
        self.do(self._rest())
        self.do(self._recover())
        assert rows_of(self.book, self.organisation) == self.model.rows


@pytest.fixture
def machinery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(settle, "PAUSE_S", 0.0)
    monkeypatch.setattr(gate, "ANSWER_S", 10.0)  # a busy test machine is not an absent server
    Accounts.loop = asyncio.new_event_loop()
    Accounts.store = EmbeddedStore(Path(tempfile.mkdtemp(dir=tmp_path)))
    Accounts.book = SqlLedger(open_engine(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    Accounts.loop.run_until_complete(Accounts.store.start())
    yield
    Accounts.loop.run_until_complete(Accounts.store.close())
    Accounts.book.close()
    Accounts.loop.close()


def test_the_accounts_agree_with_their_model(machinery: None):
    run_state_machine_as_test(
        Accounts,
        settings=settings(
            max_examples=25, stateful_step_count=30, derandomize=True, deadline=None, database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )  # fmt: skip
