"""Windows in the store: what counts when, and that what no longer counts is forgotten."""

import random
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from gateway.core.budget import Budget, Unit, Window
from gateway.core.errors import GatewayError
from gateway.stores import gate
from gateway.stores.gate import PREFIX
from gateway.stores.ledger import SqlLedger
from tests.stores.till import NOON_US, USD, Worker, a_budget, a_worker, an_organisation, books_of, set_clock

S = 1_000_000
HOUR = 3_600 * S
CALENDAR = [Window(unit) for unit in Unit]
ROLLING = [Window(unit, rolling=True) for unit in Unit]


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy test machine is not an absent server."""
    monkeypatch.setattr(gate, "ANSWER_S", 10.0)


@pytest.fixture
async def one(valkey_url: str, book: SqlLedger, raw: Redis) -> AsyncIterator[Worker]:
    async with a_worker(valkey_url, book, an_organisation(), driven=True) as worker:
        await set_clock(raw, NOON_US, worker)
        yield worker


def ends_us(window: Window, at_us: int) -> int:
    return window.slot(at_us // S).end_s * S


async def left_of(worker: Worker, budget: Budget) -> int:
    """What the store says is used, asked by an attempt that cannot fit."""
    with pytest.raises(GatewayError):
        await worker.admit(10 * budget.limit_nano, budget)
    answer = worker.answers[-1][1]
    assert answer[:3] == [0, "budget", 1]
    return budget.limit_nano - int(answer[3])


@pytest.mark.parametrize("window", CALENDAR, ids=str)
async def test_a_cost_belongs_to_the_slot_in_which_it_was_admitted(one: Worker, raw: Redis, window: Window):
    budget, last_us = a_budget(1_000, window=window), ends_us(window, NOON_US) - S
    await set_clock(raw, last_us, one)
    early, late = await one.admit(300, budget), await one.admit(400, budget)
    one.settle(early, 250)
    await one.delivered()
    assert await left_of(one, budget) == 350

    # when the next slot begins, all of its limit is there, and what ends now still belongs to the one before
    await set_clock(raw, last_us + S, one)
    assert await left_of(one, budget) == 1_000
    one.settle(late, 400)
    await one.delivered()
    assert await left_of(one, budget) == 1_000

    names = (await books_of(raw, one.organisation)).raw
    slot_s = last_us // S + 1
    assert not [name for name in names if name[:2] in ("s|", "h|") and not name.endswith(str(slot_s))]


@pytest.mark.parametrize("window", [*CALENDAR, *ROLLING], ids=str)
async def test_a_thousand_slots_later_the_store_holds_no_more_than_before(one: Worker, raw: Redis, window: Window):
    budget, dice, now_us, most = a_budget(USD, window=window), random.Random(5), NOON_US, 0
    open_ = []
    for number in range(1_000):
        await set_clock(raw, now_us, one)
        if number % 3 == 0:  # the first to see a slot may be whoever compares it with the ledger
            await one.accounts.seed(one.organisation, [_bound(one, budget)])
        if number % 3 < 2:
            open_.append(await one.admit(10, budget))
        if len(open_) > 2:
            one.settle(open_.pop(dice.randrange(len(open_))), 7)
            await one.delivered()
        now_us = ends_us(window, now_us) + dice.randrange(1_000)
        most = max(most, await raw.hlen(f"{PREFIX}{{{one.organisation}}}:books"))
    assert most <= window.slots + 4 + 6


def _bound(worker: Worker, budget: Budget):
    return worker.ask(1, budget).budgets[0]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("window", ROLLING, ids=str)
async def test_a_rolling_window_is_the_sum_of_its_newest_slots(one: Worker, raw: Redis, window: Window, seed: int):
    """Whatever is skipped: minutes, several windows, and attempts that end long after they were admitted."""
    dice, now_us = random.Random(seed), NOON_US
    budget = a_budget(USD, window=window)
    length_us = (window.slot(0).end_s - window.slot(0).start_s) * S
    spent: dict[int, int] = {}
    open_: list = []
    for _ in range(250):
        now_us += dice.choice([0, 0, length_us // 2, length_us, 7 * length_us, window.slots * length_us * 2 // 3,
                               window.slots * length_us, 3 * window.slots * length_us])  # fmt: skip
        await set_clock(raw, now_us, one)
        if open_ and dice.random() < 0.5:
            admitted_us, admission = open_.pop(dice.randrange(len(open_)))
            cost = dice.randrange(1_000)
            one.settle(admission, cost)
            await one.delivered()
            spent[admitted_us] = spent.get(admitted_us, 0) + cost
        elif dice.random() < 0.7:
            open_.append((now_us // length_us * length_us, await one.admit(1_000, budget)))
        first = now_us // length_us * length_us - (window.slots - 1) * length_us
        counted = sum(cost for at, cost in spent.items() if at >= first)
        # What was admitted before all that counts, and ended when its slot was gone, was never counted again.
        assert await left_of(one, budget) == USD - counted - 1_000 * len(open_)


async def test_what_was_spent_offline_counts_in_a_rolling_window_that_moved_on_meanwhile(one: Worker, raw: Redis):
    window = Window(Unit.HOUR, rolling=True)
    budget = a_budget(1_000, window=window, hard=False)
    one.settle(await one.admit(10, budget), 10)
    await one.delivered()
    # given: 70 minutes away, in the last of which 40 was spent
    await set_clock(raw, NOON_US + 70 * 60 * S, one)
    wire = one.accounts.budget_wire(one.gate, _bound(one, budget))
    admission = one.accounts._admit_offline(one.ask(50, budget), [wire], [])
    one.settle(admission, 40)
    await one.delivered()

    hard = a_budget(1_000, window=window)  # the same counter
    await set_clock(raw, NOON_US + 71 * 60 * S, one)
    assert await left_of(one, hard) == 960
    await set_clock(raw, NOON_US + 129 * 60 * S, one)
    assert await left_of(one, hard) == 960
    await set_clock(raw, NOON_US + 130 * 60 * S, one)
    assert await left_of(one, hard) == 1_000


async def test_a_look_into_the_ledger_that_took_long_adds_nothing_that_rolled_away(one: Worker, raw: Redis):
    window = Window(Unit.HOUR, rolling=True)
    budget = a_budget(1_000, window=window)
    bound = _bound(one, budget)
    old = one.accounts.budget_wire(one.gate, bound)
    first_s = window.began_s(window.slot(NOON_US // S))
    await one.accounts.seed(one.organisation, [bound])
    await set_clock(raw, NOON_US + 60 * S, one)
    assert await left_of(one, budget) == 1_000

    found = [(first_s, 500), (NOON_US // S, 30)]
    await one.gate.run("seed", msgspec.msgpack.encode([[old, found]]), "0")

    assert await left_of(one, budget) == 970
    await set_clock(raw, NOON_US + 2 * HOUR, one)
    assert await left_of(one, budget) == 1_000


async def test_a_look_into_the_ledger_that_took_long_leaves_a_slot_that_has_ended_alone(one: Worker, raw: Redis):
    budget = a_budget(1_000, window=Window(Unit.HOUR))
    bound = _bound(one, budget)
    old = one.accounts.budget_wire(one.gate, bound)
    await one.accounts.seed(one.organisation, [bound])
    await set_clock(raw, NOON_US + HOUR, one)
    assert await left_of(one, budget) == 1_000
    before = (await books_of(raw, one.organisation)).raw

    await one.gate.run("seed", msgspec.msgpack.encode([[old, [(NOON_US // S, 500)]]]), "0")

    assert (await books_of(raw, one.organisation)).raw == before
