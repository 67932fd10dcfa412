"""The accounts against a real Valkey and a real ledger: crowds, repeats, callers that leave, workers that vanish."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.core.budget import Limit, Offline, Scope, ScopeKind, Unit, Window
from gateway.core.errors import GatewayError
from gateway.core.records import LOST
from gateway.stores import gate, upkeep
from gateway.stores.gate import OVER_KEPT_US, PREFIX, _Asked
from gateway.stores.ledger import SqlLedger, open_engine
from tests.stores.till import (
    NOON_US,
    USD,
    Worker,
    a_budget,
    a_worker,
    an_organisation,
    books_of,
    ended,
    rows_of,
    set_clock,
)

MINUTE_US = 60_000_000
TEAM = Scope(ScopeKind.TEAM, "search")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine is not an absent server."""
    monkeypatch.setattr(gate, "ANSWER_S", 10.0)


@pytest.fixture
async def two(valkey_url: str, book: SqlLedger, raw: Redis) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two workers of one organisation, at noon of a clock that stands still."""
    organisation = an_organisation()
    async with (
        a_worker(valkey_url, book, organisation, driven=True) as one,
        a_worker(valkey_url, book, organisation, driven=True) as other,
    ):
        await set_clock(raw, NOON_US, one, other)
        yield one, other


# Crowds -----------------------------------------------------------------------------------------------------------


async def test_a_crowd_never_spends_past_a_budget_and_is_never_refused_what_is_left(
    valkey_url: str, book: SqlLedger, raw: Redis
):
    dice, budget = random.Random(1), a_budget(USD)
    limit = Limit("at-once", TEAM, concurrency=10_000)
    organisation, refusals = an_organisation(), []

    async def attempt(worker: Worker) -> int:
        await asyncio.sleep(dice.random() * 0.1)
        amount = dice.randrange(1, 20_000_000)
        try:
            admission = await worker.admit(amount, budget, limits=[limit])
        except GatewayError as error:
            refusals.append(error.status)
            return 0
        await asyncio.sleep(dice.random() * 0.1)
        cost = dice.choice([0, amount, dice.randint(0, amount)])
        worker.settle(admission, cost)
        return cost

    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(a_worker(valkey_url, book, organisation)) for _ in range(4)]
        costs = await asyncio.gather(*(attempt(workers[number % 4]) for number in range(500)))
        for worker in workers:
            await worker.rest()
        answers = [heard for worker in workers for heard in worker.answers]
        books = await books_of(raw, organisation)

    assert books.spent == {"b": sum(costs)}
    assert sum(costs) <= USD
    assert (books.held, books.holds, books.busy, books.stream) == ({"b": 0}, set(), {}, [])
    assert sum(rows_of(book, organisation).values()) == sum(costs)
    assert set(refusals) == {402}
    for (_, amount, *_), answer in answers:
        if answer[0] == 1:  # which says no more when it was asked again
            assert answer == [1] or answer[1] <= USD
        elif answer[1] == "budget":
            assert answer[3] + amount > USD, "it would have fitted"
    assert len(refusals) > 50, "the crowd was no crowd"


async def test_what_the_answers_say_is_used_is_what_replaying_them_gives(two: tuple[Worker, Worker]):
    dice, budget, spent = random.Random(2), a_budget(USD), 0
    held: dict[str, int] = {}
    for _ in range(300):
        worker = dice.choice(two)
        if held and dice.random() < 0.4:
            hold = dice.choice(list(held))
            owner = next(one for one in two if hold in one.accounts.open)
            cost = dice.randint(0, held.pop(hold))
            owner.settle(owner.accounts.open[hold], cost)
            await owner.delivered()
            spent += cost
            continue
        ask = worker.ask(dice.randrange(1, 60_000_000), budget)
        try:
            await worker.accounts.admit(ask)
        except GatewayError:
            assert spent + sum(held.values()) + ask.amount > USD
            assert worker.answers[-1][1] == [0, "budget", 1, spent + sum(held.values())]
        else:
            held[ask.hold] = ask.amount
            assert worker.answers[-1][1] == [1, spent + sum(held.values())]
    assert spent > USD // 2


async def test_all_of_an_attempts_budgets_and_limits_are_taken_or_none(two: tuple[Worker, Worker], raw: Redis):
    worker, _ = two
    wide, narrow = a_budget(USD, name="wide"), a_budget(10, name="narrow", scope=Scope(ScopeKind.ROUTE))
    rate = Limit("rate", TEAM, requests_per_minute=1, concurrency=5)
    await worker.admit(4, wide, narrow)

    with pytest.raises(GatewayError, match="budget 'narrow' of route 'auto'"):
        await worker.admit(7, wide, narrow, limits=[rate])
    await worker.admit(6, wide, narrow, limits=[rate])

    books = await books_of(raw, worker.organisation)
    assert books.held == {"wide": 10, "narrow": 10}
    assert sum(books.busy.values()) == 1


async def test_a_soft_budget_counts_and_never_refuses(two: tuple[Worker, Worker], raw: Redis):
    worker, _ = two
    soft = a_budget(10, hard=False)
    worker.settle(await worker.admit(100, soft), 90)
    await worker.rest()
    await worker.admit(100, soft)
    assert (await books_of(raw, worker.organisation)).spent == {"b": 90}
    assert next(iter(worker.accounts.used.values())) == 190


async def test_a_cost_past_its_hold_is_a_debt_that_the_next_attempt_meets(two: tuple[Worker, Worker], raw: Redis):
    worker, other = two
    worker.settle(await worker.admit(60, a_budget(100)), 150)
    await worker.rest()
    assert (await books_of(raw, worker.organisation)).spent == {"b": 150}
    with pytest.raises(GatewayError, match=r"has \$0.000000000 left of \$0.000000100"):
        await other.admit(1, a_budget(100))


async def test_counters_of_the_same_name_are_apart_for_another_window_scope_or_organisation(
    valkey_url: str, book: SqlLedger, raw: Redis
):
    """A configuration that changed must not find the counter of what stood there before."""
    team, other = an_organisation(), an_organisation()
    same = [
        a_budget(USD, scope=Scope(ScopeKind.ROUTE, "auto")),
        a_budget(USD, scope=Scope(ScopeKind.PROVIDER, "deepseek")),
        a_budget(USD, window=Window(Unit.DAY)),
        a_budget(USD, window=Window(Unit.DAY, rolling=True)),
    ]
    async with a_worker(valkey_url, book, team) as one, a_worker(valkey_url, book, other) as two:
        for cost, budget in enumerate(same, start=1):
            one.settle(await one.admit(10, budget), cost)
        two.settle(await two.admit(10, same[0]), 7)
        await one.rest()
        await two.rest()
        counters = [value for name, value in (await books_of(raw, team)).raw.items() if name.startswith("s|")]
        assert sorted(counters) == [1, 2, 3, 4]
        assert not one.accounts.used.keys() & two.accounts.used.keys()


async def test_an_attempt_that_can_cost_nothing_is_admitted_and_settled(two: tuple[Worker, Worker], raw: Redis):
    worker, other = two
    limit = Limit("l", TEAM, concurrency=1, tokens_per_minute=1_000)
    worker.settle(await worker.admit(0, a_budget(10), limits=[limit], tokens=5), 0, tokens=5)
    await worker.rest()
    await other.admit(10, a_budget(10), limits=[limit])
    assert not worker.gate.away
    assert (await books_of(raw, worker.organisation)).held == {"b": 10}


# Repeats ----------------------------------------------------------------------------------------------------------


async def test_a_batch_that_is_delivered_again_counts_once(two: tuple[Worker, Worker], raw: Redis):
    worker, _ = two
    asked: list[list[bytes]] = []
    ask = worker.gate._link.ask

    async def heard(commands, **more):
        asked.append(list(commands))
        return await ask(commands, **more)

    worker.gate._link.ask = heard  # type: ignore[method-assign]
    budget, limit = a_budget(USD), Limit("l", TEAM, requests_per_minute=2, concurrency=2)
    admission = await worker.admit(100, budget, limits=[limit])
    again = list(asked[-1])
    await ask(again)
    books = await books_of(raw, worker.organisation)
    assert (books.held, sum(books.busy.values())) == ({"b": 100}, 1)

    worker.settle(admission, 70)
    await worker.delivered()
    before = await books_of(raw, worker.organisation)
    settling = next(commands for commands in reversed(asked) if b"deepseek" in b"".join(commands))
    for _ in range(3):
        await ask(settling)

    after = await books_of(raw, worker.organisation)
    assert after.raw == before.raw
    assert (after.spent, after.held, after.busy) == ({"b": 70}, {"b": 0}, {})
    await worker.rest()
    assert rows_of(worker.upkeep._ledger, worker.organisation) == {admission.ask.hold: 70}


async def test_the_same_attempt_twice_in_one_flight_is_admitted_once(two: tuple[Worker, Worker], raw: Redis):
    worker, _ = two
    ask = worker.ask(60, a_budget(100))
    await asyncio.gather(worker.accounts.admit(ask), worker.accounts.admit(ask))
    assert (await books_of(raw, worker.organisation)).held == {"b": 60}


async def test_a_late_truth_replaces_what_its_hold_was_charged(two: tuple[Worker, Worker], raw: Redis, book: SqlLedger):
    worker, other = two
    budget = a_budget(1_000)
    cheap, dear = await worker.admit(100, budget), await worker.admit(100, budget)
    await set_clock(raw, NOON_US + 2 * MINUTE_US)
    await other.upkeep.sweep("", other.gate)
    assert (await books_of(raw, worker.organisation)).spent == {"b": 200}

    worker.settle(cheap, 30)
    worker.settle(dear, 170)
    await worker.rest()

    books = await books_of(raw, worker.organisation)
    assert (books.spent, books.held, books.holds) == ({"b": 200}, {"b": 0}, set())
    await set_clock(raw, NOON_US + 3 * 60 * MINUTE_US, other)
    await other.upkeep.recover("", other.gate)
    assert rows_of(book, worker.organisation) == {cheap.ask.hold: 30, dear.ask.hold: 170}
    await other.accounts.seed(worker.organisation, [cheap.ask.budgets[0]])
    assert (await books_of(raw, worker.organisation)).spent == {"b": 200}


async def test_a_late_truth_is_not_undone_by_a_ledger_that_has_not_heard_of_it(
    two: tuple[Worker, Worker], raw: Redis, book: SqlLedger
):
    worker, other = two
    admission = await worker.admit(100, a_budget(1_000))
    await set_clock(raw, NOON_US + 2 * MINUTE_US)
    await other.upkeep.sweep("", other.gate)
    book.append([admission.ask.note])
    # given: the ledger believes in the hold, and the store has just learned better
    worker.settle(admission, 30)
    await worker.delivered()

    await other.accounts.seed(worker.organisation, [admission.ask.budgets[0]])

    assert (await books_of(raw, worker.organisation)).spent == {"b": 30}


async def test_an_attempt_whose_hold_the_store_forgot_is_charged_what_it_cost(two: tuple[Worker, Worker], raw: Redis):
    worker, _ = two
    budget = a_budget(1_000)
    admission = await worker.admit(100, budget)
    await raw.delete(*await raw.keys(f"{PREFIX}{{{worker.organisation}}}:*"))
    await worker.admit(1, budget)

    worker.settle(admission, 40)
    await worker.rest()

    books = await books_of(raw, worker.organisation)
    assert (books.spent, books.held) == ({"b": 40}, {"b": 1})


async def test_an_admission_that_comes_after_its_end_begins_nothing(two: tuple[Worker, Worker], raw: Redis):
    """What was sent and not answered may be carried out by the server much later."""
    worker, _ = two
    ask = worker.ask(60, a_budget(100))
    wire = worker.accounts.budget_wire(worker.gate, ask.budgets[0])
    await worker.accounts.seed(worker.organisation, [ask.budgets[0]])
    worker.gate._take_back([_asked([ask.hold, ask.amount, [wire], [], False])])
    await worker.rest()

    await worker.accounts.admit(ask)

    books = await books_of(raw, worker.organisation)
    assert (books.held, books.holds) == ({}, set())


def _asked(entry: list[Any]) -> _Asked:
    return _Asked(entry, b"", asyncio.get_running_loop().create_future())


# Callers that leave -----------------------------------------------------------------------------------------------


async def test_a_caller_that_is_cancelled_at_any_moment_leaves_nothing_held(two: tuple[Worker, Worker], raw: Redis):
    worker, _ = two
    budget = a_budget(USD)
    limit = Limit("l", TEAM, requests_per_minute=1_000_000, concurrency=1_000)
    worker.settle(await worker.admit(100, budget, limits=[limit]), 3)  # the first one makes the counter
    ends = Counter(settled=1)
    for steps in range(60):
        task = asyncio.create_task(worker.admit(100, budget, limits=[limit]))
        for _ in range(steps // 2):
            await asyncio.sleep(0)
        task.cancel()
        try:
            worker.settle(await task, 3)
            ends["settled"] += 1
        except asyncio.CancelledError:
            ends["cancelled"] += 1
    # Answered, but cancelled before it could wake up: nobody else knows of this hold.
    inner = worker.gate._has_answered

    def answered_and_cancelled(admits, reply):
        inner(admits, reply)
        for one in victims:
            one.cancel()

    worker.gate._has_answered = answered_and_cancelled  # type: ignore[method-assign]
    victims = [asyncio.create_task(worker.admit(100, budget, limits=[limit])) for _ in range(5)]
    found = await asyncio.gather(*victims, return_exceptions=True)
    await worker.rest()

    assert all(isinstance(one, asyncio.CancelledError) for one in found)
    assert ends["cancelled"] > 10
    books = await books_of(raw, worker.organisation)
    assert (books.held, books.holds, books.busy) == ({"b": 0}, set(), {})
    assert books.spent.get("b", 0) == 3 * ends["settled"]


async def test_a_storm_of_callers_that_leave_ends_with_nothing_held(valkey_url: str, book: SqlLedger, raw: Redis):
    dice, budget = random.Random(3), a_budget(1_000 * USD)
    limit = Limit("l", TEAM, concurrency=100_000)
    async with a_worker(valkey_url, book, an_organisation()) as worker:

        async def attempt() -> int:
            await asyncio.sleep(dice.random() * 0.2)
            admission = await worker.admit(100, budget, limits=[limit])
            worker.settle(admission, 7)
            return 7

        tasks = [asyncio.create_task(attempt()) for _ in range(1_500)]
        loop = asyncio.get_running_loop()
        for task in tasks:
            if dice.random() < 0.5:
                loop.call_later(dice.random() * 0.25, task.cancel)
        found = await asyncio.gather(*tasks, return_exceptions=True)
        await worker.rest()

        books = await books_of(raw, worker.organisation)
    assert (books.held, books.holds, books.busy) == ({"b": 0}, set(), {})
    assert books.spent["b"] == sum(one for one in found if isinstance(one, int))
    assert any(isinstance(one, asyncio.CancelledError) for one in found)


async def test_a_crowd_at_the_end_of_a_slot_is_answered_or_refused_and_never_fails(
    two: tuple[Worker, Worker], raw: Redis
):
    worker, _ = two
    hourly, full = a_budget(USD, name="h", window=Window(Unit.HOUR)), a_budget(1, name="full")
    worker.settle(await worker.admit(1, hourly, full), 1)
    await worker.rest()
    await raw.set("test:clock", NOON_US + 60 * MINUTE_US)

    found = await asyncio.gather(
        *(worker.admit(1, hourly) for _ in range(20)), *(worker.admit(1, full) for _ in range(20)),
        return_exceptions=True,
    )  # fmt: skip

    refused = [one for one in found if isinstance(one, Exception)]
    assert len(refused) == 20
    assert all(isinstance(one, GatewayError) and one.status == 402 for one in refused)


# Workers that vanish ----------------------------------------------------------------------------------------------


async def test_what_a_vanished_worker_held_is_charged_and_booked_once_however_many_sweep(
    two: tuple[Worker, Worker], valkey_url: str, book: SqlLedger, raw: Redis
):
    one, other = two
    budget, limit = a_budget(100_000), Limit("l", TEAM, concurrency=500)
    async with a_worker(valkey_url, book, one.organisation, driven=True) as gone:
        gone.gate._set_clock(NOON_US)
        lost = [await gone.admit(100 + number, budget, limits=[limit]) for number in range(250)]
        kept = await one.admit(7, budget)
    await set_clock(raw, NOON_US + MINUTE_US - 1, one, other)
    await one.upkeep.renew(one.organisation, one.gate)
    await set_clock(raw, NOON_US + MINUTE_US, one, other)

    await asyncio.gather(*(worker.upkeep.sweep("", worker.gate) for worker in two))

    total = sum(admission.ask.amount for admission in lost)
    books = await books_of(raw, one.organisation)
    assert (books.spent, books.held, books.holds, books.busy) == ({"b": total}, {"b": 7}, {kept.ask.hold}, {})
    assert sorted(record.attempt_id for record in books.stream) == sorted(admission.ask.hold for admission in lost)
    assert {(record.outcome, record.state) for record in books.stream} == {(LOST, "uncertain")}
    assert one.upkeep.swept + other.upkeep.swept == 250

    # What was found in the stream goes to the ledger, whoever finds it.
    ahead_us = 10**18  # entries are named by the real clock
    for worker in two:
        worker.gate._set_clock(ahead_us)
    await asyncio.gather(*(worker.upkeep.recover("", worker.gate) for worker in two))
    assert rows_of(book, one.organisation) == {admission.ask.hold: admission.ask.amount for admission in lost}
    assert (await books_of(raw, one.organisation)).stream == []


async def test_records_that_a_worker_left_in_the_stream_are_booked_once(
    two: tuple[Worker, Worker], valkey_url: str, tmp_path: Path, book: SqlLedger, raw: Redis
):
    one, _ = two
    unwritable = SqlLedger(open_engine("sqlite:////proc/none/ledger.sqlite"))
    async with a_worker(valkey_url, unwritable, one.organisation, driven=True) as gone:
        gone.gate._set_clock(NOON_US)
        await gone.accounts.seed(one.organisation, [])
        gone.accounts._sums = one.accounts._sums
        admissions = [await gone.admit(100, a_budget(USD)) for _ in range(30)]
        for admission in admissions:
            gone.settle(admission, 9)
        await gone.delivered()
        gone.settler._queue.clear()  # killed before it could write
    for worker in two:
        worker.gate._set_clock(10**18)
    await asyncio.gather(*(worker.upkeep.recover("", worker.gate) for worker in two))
    await one.upkeep.recover("", one.gate)

    assert rows_of(book, one.organisation) == {admission.ask.hold: 9 for admission in admissions}
    books = await books_of(raw, one.organisation)
    assert (books.spent, books.held, books.stream) == ({"b": 270}, {"b": 0}, [])


async def test_a_lost_row_and_its_truth_found_together_are_booked_as_the_truth(
    two: tuple[Worker, Worker], book: SqlLedger
):
    one, _ = two
    admission = await one.admit(100, a_budget(USD))
    book.append([admission.ask.note, ended(admission, 20)])
    assert rows_of(book, one.organisation) == {admission.ask.hold: 20}


async def test_a_record_that_cannot_be_read_does_not_keep_the_others_out_of_the_ledger(
    two: tuple[Worker, Worker], raw: Redis, book: SqlLedger, caplog: pytest.LogCaptureFixture
):
    one, _ = two
    await raw.xadd(one.gate.stream, {"r": b"\x81\xa1x\x01"})
    good = (await one.admit(5, a_budget(USD))).ask.note
    await raw.xadd(one.gate.stream, {"r": msgspec.msgpack.encode(good)})
    one.gate._set_clock(10**18)

    await one.upkeep.recover("", one.gate)

    assert rows_of(book, one.organisation) == {good.attempt_id: 5}
    assert "cannot be read" in caplog.text
    assert (await books_of(raw, one.organisation)).stream == []


async def test_a_hold_without_a_note_is_let_go_when_nobody_renews_it(two: tuple[Worker, Worker], raw: Redis):
    one, other = two
    slices = a_budget(1_000, offline=Offline.SLICE)
    one.settle(await one.admit(10, slices), 10)
    await one.rest()
    await one.upkeep.cut_slices(one.organisation, one.gate)
    assert (await books_of(raw, one.organisation)).held == {"b": 9}

    await set_clock(raw, NOON_US + MINUTE_US)
    await other.upkeep.sweep("", other.gate)

    books = await books_of(raw, one.organisation)
    assert (books.spent, books.held, books.stream) == ({"b": 10}, {"b": 0}, [])


async def test_what_is_over_is_forgotten_after_a_day(two: tuple[Worker, Worker], raw: Redis):
    one, _ = two
    over = f"{PREFIX}{{{one.organisation}}}:over"
    old = {f"old{number}": f"5:{NOON_US - OVER_KEPT_US - number}" for number in range(1, 3_000)}
    young = {f"young{number}": f"5:{NOON_US - number}" for number in range(100)}
    await raw.hset(over, mapping=old | young)

    for _ in range(150):
        await one.upkeep.sweep("", one.gate)

    assert await raw.hlen(over) <= 1_000
    assert {name.decode() for name in await raw.hkeys(over)} >= young.keys()


async def test_the_living_renew_before_anybody_sweeps_when_the_store_is_back(
    two: tuple[Worker, Worker], raw: Redis, monkeypatch: pytest.MonkeyPatch
):
    one, other = two
    monkeypatch.setattr(upkeep, "TICK_S", 0.01)
    monkeypatch.setattr(upkeep, "RETURN_S", 0.3)
    admission = await one.admit(100, a_budget(USD))
    await set_clock(raw, NOON_US + 10 * MINUTE_US, one, other)  # the store was away, and every lease has ended

    for worker in two:
        worker.gate.here_since = time.monotonic()
        worker.upkeep.start()
    await asyncio.sleep(0.8)  # both have swept
    for worker in two:
        await worker.upkeep.close()

    assert one.upkeep.swept + other.upkeep.swept == 0
    assert (await books_of(raw, one.organisation)).holds == {admission.ask.hold}


# Limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_minute", [7, 60, 999])
async def test_a_minutes_worth_of_requests_may_come_at_once(two: tuple[Worker, Worker], per_minute: int):
    limit = Limit("rate", TEAM, requests_per_minute=per_minute)
    crowd = await asyncio.gather(
        *(two[0].admit(1, limits=[limit]) for _ in range(per_minute + 1)), return_exceptions=True
    )
    assert sum(isinstance(one, GatewayError) for one in crowd) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_a_rate_admits_a_minutes_worth_at_once_and_then_no_more_than_its_rate(
    two: tuple[Worker, Worker], raw: Redis, seed: int
):
    dice, per_minute = random.Random(seed), 30
    limit = Limit("rate", TEAM, requests_per_minute=per_minute)
    now_us, admitted, waits_s = NOON_US, [], []
    for _ in range(250):
        now_us += dice.choice([0, dice.randrange(1_000_000), dice.randrange(5_000_000)])
        await raw.set("test:clock", now_us)
        try:
            await dice.choice(two).admit(1, limits=[limit])
            admitted.append(now_us)
        except GatewayError as over:
            waits_s.append(over.retry_after_s)
    assert len(waits_s) > 10
    assert all(0 < wait_s <= 60 / per_minute for wait_s in waits_s)
    for first, start in enumerate(admitted):
        for last in range(first, len(admitted)):
            within_us = admitted[last] - start
            assert last - first + 1 <= per_minute + within_us * per_minute // MINUTE_US + 1


async def test_after_the_time_it_was_told_a_caller_is_admitted(two: tuple[Worker, Worker], raw: Redis):
    one, _ = two
    limit = Limit("rate", TEAM, tokens_per_minute=6_000)
    for _ in range(6):
        await one.admit(1, limits=[limit], tokens=1_000)
    with pytest.raises(GatewayError) as over:
        await one.admit(1, limits=[limit], tokens=900)
    assert over.value.retry_after_s is not None
    wait_us = round(over.value.retry_after_s * 1e6)
    await raw.set("test:clock", NOON_US + wait_us - 1)
    with pytest.raises(GatewayError):
        await one.admit(1, limits=[limit], tokens=900)
    await raw.set("test:clock", NOON_US + wait_us)
    await one.admit(1, limits=[limit], tokens=900)


@pytest.mark.parametrize("seed", range(4))
async def test_tokens_that_were_not_taken_are_given_back_and_those_that_were_are_owed(
    two: tuple[Worker, Worker], raw: Redis, seed: int
):
    """All that was taken, at any moment: never more than a minute's worth and the rate since the beginning."""
    dice, per_minute, one = random.Random(seed), 10_000, two[0]
    limit = Limit("rate", TEAM, tokens_per_minute=per_minute)
    now_us, open_, charged = NOON_US, [], 0
    for _ in range(300):
        now_us += dice.randrange(2_000_000)
        await set_clock(raw, now_us)
        if open_ and dice.random() < 0.5:
            admission = open_.pop(dice.randrange(len(open_)))
            took = dice.choice([0, 200, admission.ask.tokens, 3 * admission.ask.tokens])
            one.settle(admission, 0, tokens=took)
            await one.delivered()
            charged += took - admission.ask.tokens
            continue
        tokens = dice.randrange(1, 2_000)
        try:
            open_.append(await one.admit(1, limits=[limit], tokens=tokens))
        except GatewayError:
            continue
        charged += tokens
        assert charged <= per_minute + (now_us - NOON_US) * per_minute // MINUTE_US


async def test_more_tokens_than_a_minute_holds_are_never_admitted_and_the_caller_hears_so(two: tuple[Worker, Worker]):
    limit = Limit("rate", TEAM, tokens_per_minute=1_000)
    await two[0].admit(1, limits=[limit], tokens=1_000)
    with pytest.raises(GatewayError, match="1,001 tokens"):
        await two[1].admit(1, limits=[limit], tokens=1_001)


async def test_places_of_a_vanished_worker_are_free_again_once_it_is_swept(
    two: tuple[Worker, Worker], valkey_url: str, book: SqlLedger, raw: Redis
):
    one, _ = two
    limit = Limit("places", TEAM, concurrency=3)
    async with a_worker(valkey_url, book, one.organisation, driven=True) as gone:
        for _ in range(3):
            await gone.admit(1, limits=[limit])
    with pytest.raises(GatewayError, match="3 requests in progress"):
        await one.admit(1, limits=[limit])

    await set_clock(raw, NOON_US + MINUTE_US, one)
    await one.upkeep.sweep("", one.gate)

    admissions = [await one.admit(1, limits=[limit]) for _ in range(3)]
    with pytest.raises(GatewayError, match="3 requests in progress"):
        await one.admit(1, limits=[limit])
    for admission in admissions:
        one.settle(admission, 0)
    await one.rest()
    assert (await books_of(raw, one.organisation)).busy == {}
