"""The accounts while the store is frozen, killed, flushed or set back, and after: no record lost, no dollar twice."""

import asyncio
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.core.budget import Limit, Offline, Scope, ScopeKind, Unit, Window
from gateway.core.contracts import LedgerUnavailable
from gateway.core.errors import GatewayError
from gateway.core.money import Nano
from gateway.stores import gate, upkeep
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.gate import PREFIX
from gateway.stores.ledger import SqlLedger
from tests.stores.samples import numbered
from tests.stores.till import (
    USD,
    Worker,
    a_budget,
    a_worker,
    an_organisation,
    books_of,
    rows_of,
    until,
)

TEAM = Scope(ScopeKind.TEAM, "search")
BUDGET = a_budget(USD)
ROLLING = a_budget(USD, name="r", window=Window(Unit.DAY, rolling=True))
KNOWN_S = 3.0
"""By then everybody knows that the store is away: two answers of 0.25 s, two connections, and a busy machine."""


@pytest.fixture
async def one(valkey_url: str, book: SqlLedger, raw: Redis) -> AsyncIterator[Worker]:
    async with a_worker(valkey_url, book, an_organisation()) as worker:
        yield worker


async def forget(raw: Redis, organisation: str) -> None:
    """FLUSHALL, as this organisation sees it; other tests share the server."""
    names = ("books", "holds", "leases", "rates", "stream", "senders", "over")
    await raw.delete(*(f"{PREFIX}{{{organisation}}}:{name}" for name in names))


def in_the_ledger(worker: Worker, *costs: int) -> None:
    records = [
        msgspec.structs.replace(
            one, organisation=worker.organisation, at_us=worker.gate.now_us(), cost_nano=Nano(cost),
            attempt_id=f"{worker.organisation}-{one.attempt_id}",
        )
        for one, cost in zip(numbered(len(costs)), costs, strict=True)
    ]  # fmt: skip
    worker.upkeep._ledger.append(records)


# Seeds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [BUDGET, ROLLING], ids=["month", "rolling"])
async def test_a_crowd_that_meets_a_missing_counter_asks_the_ledger_once(one: Worker, raw: Redis, budget):
    in_the_ledger(one, 700_000_000, 200_000_000)
    asked, sums = [], one.accounts._sums

    def counted(*question):
        asked.append(question)
        time.sleep(0.05)
        return sums(*question)

    one.accounts._sums = counted
    crowd = (one.admit(10_000_000, budget) for _ in range(100))
    found = await asyncio.gather(*crowd, return_exceptions=True)

    assert len(asked) == 1
    assert sum(not isinstance(answer, Exception) for answer in found) == 10
    assert all(not isinstance(answer, Exception) or answer.status == 402 for answer in found)


async def test_without_a_ledger_a_missing_counter_is_not_taken_for_nothing(one: Worker, raw: Redis):
    def gone(*_):
        raise LedgerUnavailable("away")

    sums, one.accounts._sums = one.accounts._sums, gone
    with pytest.raises(GatewayError) as refused:
        await one.admit(1, BUDGET)
    assert refused.value.status == 503

    one.accounts._sums = sums
    await one.admit(1, BUDGET)


@pytest.mark.parametrize("budget", [BUDGET, ROLLING], ids=["month", "rolling"])
async def test_a_counter_is_raised_to_the_ledger_and_never_lowered(one: Worker, raw: Redis, budget):
    one.settle(await one.admit(100, budget), 90)
    await one.delivered()
    in_the_ledger(one, 50)
    bound = next(iter(one.accounts.bounds.values()))[1]

    await one.accounts.seed(one.organisation, [bound])
    assert set((await books_of(raw, one.organisation)).spent.values()) <= {90, 140}
    await one.rest()
    for _ in range(3):
        await one.accounts.seed(one.organisation, [bound])
    assert list((await books_of(raw, one.organisation)).spent.values()) == [140]


async def test_after_a_flush_counters_come_from_the_ledger_and_open_holds_come_back(one: Worker, raw: Redis):
    limit = Limit("l", TEAM, concurrency=9)
    for cost in (30, 40):
        one.settle(await one.admit(100, BUDGET, limits=[limit]), cost)
    open_ = [await one.admit(100 + number, BUDGET, limits=[limit]) for number in range(3)]
    await one.rest()
    await forget(raw, one.organisation)

    await one.upkeep.renew(one.organisation, one.gate)
    other = await one.admit(5, BUDGET, limits=[limit])

    books = await books_of(raw, one.organisation)
    assert books.spent == {"b": 70}
    assert books.held == {"b": 308}
    assert books.holds == {admission.ask.hold for admission in (*open_, other)}
    assert list(books.busy.values()) == [4]
    for admission in (*open_, other):
        one.settle(admission, 1)
    await one.rest()
    books = await books_of(raw, one.organisation)
    assert (books.spent, books.held, books.busy) == ({"b": 74}, {"b": 0}, {})


async def test_a_hold_that_ends_while_it_is_brought_back_stays_ended(one: Worker, raw: Redis):
    """The renewal finds it lost and asks for it anew; its settlement may go first."""
    open_ = [await one.admit(100, BUDGET) for _ in range(20)]
    await one.rest()
    await forget(raw, one.organisation)
    await one.accounts.seed(one.organisation, [open_[0].ask.budgets[0]])

    renewing = asyncio.create_task(one.upkeep.renew(one.organisation, one.gate))
    for admission in open_:
        one.settle(admission, 3)
        await asyncio.sleep(0.0005)
    await renewing
    await one.rest()

    books = await books_of(raw, one.organisation)
    assert (books.held.get("b", 0), books.holds) == (0, set())


async def test_what_the_ledger_had_when_a_counter_was_made_is_not_added_again(one: Worker, raw: Redis, book: SqlLedger):
    admission = await one.admit(100, BUDGET)
    await one.rest()
    one.gate._is_away("test", "frozen")
    one.settle(admission, 60)
    await until(lambda: not one.settler.pending)
    # Flushed and seeded by another worker before this one is back: the ledger's sum holds the 60.
    await forget(raw, one.organisation)
    async with a_worker(_url(raw), book, one.organisation) as other:
        await other.admit(1, BUDGET)
        assert (await books_of(raw, one.organisation)).spent == {"b": 60}
        await one.rest()
        assert (await books_of(raw, one.organisation)).spent == {"b": 60}


async def test_a_record_that_is_being_written_while_a_counter_is_made_is_not_added_again(
    one: Worker, raw: Redis, book: SqlLedger
):
    """The writer hears of its commit a little after everybody else may have read it."""
    admission = await one.admit(100, BUDGET)
    await one.rest()
    taken, one.settler.taken = one.settler.taken, None
    one.gate._is_away("test", "frozen")
    one.settle(admission, 60)
    await until(lambda: not one.settler.pending)
    await forget(raw, one.organisation)
    async with a_worker(_url(raw), book, one.organisation) as other:
        await other.admit(1, BUDGET)
        await until(lambda: not one.gate.waiting)
        assert (await books_of(raw, one.organisation)).spent == {"b": 60}
    one.settler.taken = taken


async def test_what_was_booked_before_the_store_heard_of_it_counts_once_when_counters_are_raised(
    one: Worker, raw: Redis, book: SqlLedger
):
    """Away, booked, back; and another worker compares the counter with the ledger before or after it is delivered."""
    async with a_worker(_url(raw), book, one.organisation) as other:
        for first in ("raised", "delivered"):
            before = (await books_of(raw, one.organisation)).spent.get("b", 0)
            admission = await one.admit(100, BUDGET)
            await one.rest()
            one.gate._is_away("test", "frozen")
            one.settle(admission, 60)
            await until(lambda: not one.settler.pending)
            if first == "raised":
                await other.accounts.seed(one.organisation, [admission.ask.budgets[0]])
            await one.rest()
            await other.accounts.seed(one.organisation, [admission.ask.budgets[0]])
            assert (await books_of(raw, one.organisation)).spent == {"b": before + 60}


def _url(raw: Redis) -> str:
    return f"unix://{raw.connection_pool.connection_kwargs['path']}"


async def test_an_older_memory_of_the_store_is_raised_to_the_ledger(tmp_path: Path, book: SqlLedger):
    home, older = tmp_path / "data", tmp_path / "older"
    organisation, cost = an_organisation(), 1_000
    total = 0
    for days in range(2):
        async with EmbeddedStore(home) as store, a_worker(store.url, book, organisation) as worker:
            for _ in range(20):
                worker.settle(await worker.admit(cost, BUDGET, ROLLING), cost)
                total += cost
            await worker.rest()
        if days == 0:
            shutil.copytree(home, older)
    shutil.rmtree(home)
    older.rename(home)

    async with (
        EmbeddedStore(home) as store,
        Redis.from_url(store.url) as raw,
        a_worker(store.url, book, organisation) as worker,
    ):
        assert (await books_of(raw, organisation)).spent == {"b": total // 2, "r": total // 2}
        await worker.admit(1, BUDGET, ROLLING)
        await worker.upkeep.raise_counters(organisation, worker.gate)
        assert (await books_of(raw, organisation)).spent == {"b": total, "r": total}


# Reloaded ---------------------------------------------------------------------------------------------------------


async def test_what_was_set_aside_for_a_budget_is_given_back_once_the_budget_is_gone(one: Worker, raw: Redis):
    kept = a_budget(USD, name="kept", offline=Offline.SLICE)
    gone = a_budget(USD, name="gone", offline=Offline.SLICE)
    one.settle(await one.admit(1_000, kept, gone), 500)
    under_way = await one.admit(1_000, kept, gone)
    await one.upkeep.cut_slices(one.organisation, one.gate)

    one.accounts.follow((kept,))
    await one.upkeep.hold(one.organisation, one.gate)
    await one.delivered()
    assert {slice_.bound.budget for slice_ in one.accounts.slices.values()} == {kept}
    assert {bound.budget for _, bound in one.accounts.bounds.values()} == {kept}
    assert (await books_of(raw, one.organisation)).held["gone"] == 1_000  # the attempt's, which is under way

    one.settle(under_way, 300)
    await one.upkeep.close()
    await one.rest()
    books = await books_of(raw, one.organisation)
    assert books.spent == {"kept": 800, "gone": 800}
    assert set(books.held.values()) == {0}


async def test_a_slice_that_is_cut_while_its_budget_goes_is_given_back(one: Worker, raw: Redis):
    gone = a_budget(USD, name="gone", offline=Offline.SLICE)
    one.settle(await one.admit(1_000, gone), 500)
    cutting = asyncio.create_task(one.upkeep.cut_slices(one.organisation, one.gate))
    await asyncio.sleep(0)
    one.accounts.follow(())
    await cutting
    await one.rest()

    assert one.accounts.slices == {}
    assert set((await books_of(raw, one.organisation)).held.values()) == {0}


# Frozen -----------------------------------------------------------------------------------------------------------


async def test_away_money_is_closed_or_sliced_and_the_rest_flows(tmp_path: Path, book: SqlLedger):
    closed = BUDGET
    sliced = a_budget(USD, name="s", offline=Offline.SLICE)
    soft = a_budget(10, name="soft", hard=False)
    limit = Limit("l", TEAM, requests_per_minute=1_000, concurrency=50)
    costs = {"b": 0, "s": 0, "soft": 0}
    async with EmbeddedStore(tmp_path / "data") as store, a_worker(store.url, book, an_organisation()) as worker:
        for budget in (closed, sliced, soft):
            worker.settle(await worker.admit(1_000, budget), 500)
            costs[budget.name] += 500
        before = await worker.admit(2_000, closed, soft, limits=[limit])
        await worker.rest()
        await worker.upkeep.cut_slices(worker.organisation, worker.gate)
        share = sum(kept.amount for kept in worker.accounts.slices.values())
        assert share == (USD - 1_000) // 100  # of what was left when it was last heard of

        os.kill(store.pid, signal.SIGSTOP)
        try:
            began = time.monotonic()
            found = await asyncio.gather(*(worker.admit(1, closed) for _ in range(50)), return_exceptions=True)
            assert {answer.status for answer in found if isinstance(answer, GatewayError)} == {503}
            assert len(found) == 50
            assert time.monotonic() - began < KNOWN_S
            assert worker.gate.away

            # from here on nobody waits: no answer takes a turn of the loop
            turns = await _turns_of(worker, closed, sliced, soft, limit, costs)
            assert turns == 0
            late = await worker.admit(share // 4, sliced)
            spent = costs["s"] - 500
            with pytest.raises(GatewayError, match="cannot be checked"):
                await worker.admit(share - spent - share // 4 + 1, sliced)
            worker.settle(before, 1_700)
            costs["b"] += 1_700
            costs["soft"] += 1_700
            await until(lambda: not worker.settler.pending)  # booked all the same
            rows = rows_of(book, worker.organisation)
            assert rows[before.ask.hold] == 1_700
        finally:
            os.kill(store.pid, signal.SIGCONT)

        await until(lambda: not worker.gate.away)
        await worker.upkeep.hold(worker.organisation, worker.gate)
        async with Redis.from_url(store.url) as raw:
            books = await books_of(raw, worker.organisation)
            fresh = sum(kept.amount for kept in worker.accounts.slices.values())
            assert late.ask.hold in books.holds, "what began offline and goes on is held now"
            assert books.held["s"] == fresh + late.ask.amount
            worker.settle(late, 77)
            costs["s"] += 77
            await worker.upkeep.close()
            await worker.rest()
            books = await books_of(raw, worker.organisation)
            assert books.spent == costs
            assert set(books.held.values()) == {0}
            assert (books.holds, books.busy, books.stream) == (set(), {}, [])
    assert sum(rows_of(book, worker.organisation).values()) == costs["b"] + costs["s"] + costs["soft"] - 1_700


async def _turns_of(worker: Worker, closed, sliced, soft, limit, costs) -> int:
    """How many turns of the event loop a row of admissions took."""
    turns, stop = 0, False

    def turn() -> None:
        nonlocal turns
        turns += 1
        if not stop:
            asyncio.get_running_loop().call_soon(turn)

    asyncio.get_running_loop().call_soon(turn)
    for _ in range(20):
        with pytest.raises(GatewayError, match="the store is away"):
            await worker.admit(1, closed)
        worker.settle(await worker.admit(1_000, sliced), 900)
        costs["s"] += 900
        worker.settle(await worker.admit(10**12, soft, limits=[limit]), 10)
        costs["soft"] += 10
    stop = True
    return turns


async def test_those_in_the_queue_hear_of_an_absence_that_somebody_else_found(one: Worker):
    """The upkeep may be the first to know; the queue must not wait for the server's return."""
    waiting = [asyncio.create_task(one.admit(1, BUDGET)) for _ in range(5)]
    await asyncio.sleep(0)
    probe, one.gate._probe = one.gate._probe, _never
    one.gate._is_away("test", "frozen")
    found = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert {answer.status for answer in found if isinstance(answer, GatewayError)} == {503}
    one.gate._probe = probe


async def _never() -> None:
    pass


async def test_a_long_absence_fills_no_memory_and_is_made_up_from_the_ledger(
    one: Worker, raw: Redis, book: SqlLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(gate, "CROWDED", 100)
    one.gate._crowded = 100
    soft = a_budget(10, hard=False)
    held = [await one.admit(5, soft) for _ in range(20)]
    probe, one.gate._probe = one.gate._probe, _never
    one.gate._is_away("test", "frozen")
    most = 0
    for number in range(2_000):
        one.settle(await one.admit(5, soft), 3)
        if number % 100 == 0:
            await until(lambda: not one.settler.pending)
        most = max(most, one.gate.waiting)
    for admission in held:
        one.settle(admission, 4)
    await until(lambda: not one.settler.pending)

    one.gate._probe = probe
    await one.rest()
    await one.upkeep.raise_counters(one.organisation, one.gate)

    assert most < 500
    books = await books_of(raw, one.organisation)
    assert (books.spent, books.held, books.holds) == ({"b": 2_000 * 3 + 20 * 4}, {"b": 0}, set())
    assert sum(rows_of(book, one.organisation).values()) == 2_000 * 3 + 20 * 4


@pytest.mark.parametrize("blow", ["frozen", "killed"])
async def test_under_load_no_blow_to_the_store_loses_or_doubles_anything(
    tmp_path: Path, book: SqlLedger, monkeypatch: pytest.MonkeyPatch, blow: str
):
    """Two workers with their upkeep; counters and ledger are compared to the nano-dollar when all is quiet."""
    monkeypatch.setattr(gate, "PROBE_S", 0.1)
    for name, period_s in (("TICK_S", 0.05), ("RENEW_S", 0.2), ("SWEEP_S", 0.1), ("RECOVER_S", 0.3), ("RAISE_S", 0.2)):
        monkeypatch.setattr(upkeep, name, period_s)
    monkeypatch.setattr(upkeep, "ABANDONED_US", 300_000)
    dice, organisation, stop = random.Random(blow), an_organisation(), False
    budgets = [a_budget(1_000 * USD), a_budget(1_000 * USD, name="r", window=Window(Unit.HOUR, rolling=True))]
    sliced = a_budget(1_000 * USD, name="s", offline=Offline.SLICE, scope=Scope(ScopeKind.TEAM, "sliced"))
    kinds = [("search", budgets), ("sliced", [sliced]), ("free", [])]
    limit = Limit("l", Scope(ScopeKind.ROUTE), concurrency=1_000, tokens_per_minute=10**9)
    refusals = set()
    costs: dict[str, int] = {}
    by_budget = {"b": 0, "r": 0, "s": 0}

    async def caller(worker: Worker) -> None:
        while not stop:
            await asyncio.sleep(dice.random() * 0.01)
            team, mine = dice.choice(kinds)
            amount = dice.randrange(1, 10_000)
            try:
                admission = await worker.admit(amount, *mine, limits=[limit], tokens=100, team=team)
            except GatewayError as refused:
                refusals.add(refused.status)
                continue
            await asyncio.sleep(dice.choice([0, dice.random() * 0.05, dice.random() * 0.5]))
            cost = dice.randint(0, admission.ask.amount)
            costs[admission.ask.hold] = cost
            for budget in mine:
                by_budget[budget.name] += cost
            worker.settle(admission, cost, tokens=dice.randrange(200))

    store = EmbeddedStore(tmp_path / "data")
    await store.start()
    try:
        async with a_worker(store.url, book, organisation) as one, a_worker(store.url, book, organisation) as other:
            for worker in (one, other):
                worker.upkeep.start()
            callers = [asyncio.create_task(caller(worker)) for worker in (one, other) for _ in range(12)]
            for _ in range(2):
                await asyncio.sleep(0.7)
                if blow == "frozen":
                    os.kill(store.pid, signal.SIGSTOP)
                    await asyncio.sleep(1.6)
                    os.kill(store.pid, signal.SIGCONT)
                else:
                    os.kill(store.pid, signal.SIGKILL)
                    await asyncio.sleep(0.8)
                    await store.close()
                    store = EmbeddedStore(tmp_path / "data")
                    await store.start()
            await asyncio.sleep(1.0)
            stop = True
            await asyncio.gather(*callers)
            await until(lambda: not (one.gate.away or other.gate.away))
            for worker in (one, other):
                await worker.upkeep.close()
            for worker in (one, other):
                await worker.rest()
            async with Redis.from_url(store.url) as raw:
                await asyncio.sleep(0.35)  # what is left in the stream counts as abandoned
                await one.upkeep.recover(organisation, one.gate)
                for worker in (one, other):
                    await worker.upkeep.raise_counters(organisation, worker.gate)
                books = await books_of(raw, organisation)
    finally:
        await store.close()

    assert len(costs) > 500, "the load was no load"
    assert refusals == {503}
    assert rows_of(book, organisation) == costs
    assert books.spent == by_budget
    assert set(books.held.values()) == {0}
    assert (books.holds, books.busy, books.stream) == (set(), {}, [])


async def test_a_ledger_that_hangs_does_not_keep_leases_from_being_renewed(
    one: Worker, raw: Redis, monkeypatch: pytest.MonkeyPatch
):
    for name in ("TICK_S", "RENEW_S", "RAISE_S", "RECOVER_S"):
        monkeypatch.setattr(upkeep, name, 0.02)
    admission = await one.admit(100, BUDGET)
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hangs(*_):
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        return {}

    one.accounts._sums = hangs
    leases = f"{PREFIX}{{{one.organisation}}}:leases"
    first = await raw.zscore(leases, admission.ask.hold)
    one.upkeep.start()
    await asyncio.sleep(0.5)
    later = await raw.zscore(leases, admission.ask.hold)
    released.set()
    await one.upkeep.close()
    assert first is not None
    assert later is not None
    assert later - first > 300_000
