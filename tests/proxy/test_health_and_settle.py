"""Circuits and the writer's queue, each with its clock and its ledger in the test's hand."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.contracts import LedgerUnavailable, Settlement
from gateway.core.errors import Blame, GatewayError
from gateway.core.records import SpendRecord
from gateway.proxy.health import FAULTS_TO_OPEN, FIRST_PAUSE_S, LONGEST_PAUSE_S, Health
from gateway.proxy.settle import BATCH, Settler
from gateway.stores.ledger import SqlLedger, open_engine, sqlite_url
from gateway.stores.spend import both_kinds
from tests.stores.samples import by_chance

FAULT = GatewayError(Blame.UPSTREAM, 502, told="fault", retry=True, outcome="http_503")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock) -> Health:
    return Health(clock, lambda provider: (f"{provider}/a", f"{provider}/b"), chance=lambda: 0.0)


def fail(health: Health, times: int, model: str = "p/a", error: GatewayError = FAULT) -> None:
    for _ in range(times):
        health.failed(model, "p", error)


def test_faults_in_a_row_open_the_circuit_and_time_closes_it_for_one_try(health, clock):
    fail(health, FAULTS_TO_OPEN - 1)
    assert health.unhealthy() == {}
    fail(health, 1)
    assert health.unhealthy() == {"p/a": "5 faults in a row, last http_503; set aside for 5 s more"}

    clock.now += FIRST_PAUSE_S
    assert health.unhealthy() == {}
    health.began("p/a")
    assert health.unhealthy() == {"p/a": "being tried again; set aside for 5 s more"}
    fail(health, 1)
    assert "set aside for 10 s" in health.unhealthy()["p/a"]


def test_faults_of_attempts_that_were_under_way_do_not_lengthen_the_pause(health):
    fail(health, FAULTS_TO_OPEN)
    fail(health, 20)

    assert "set aside for 5 s" in health.unhealthy()["p/a"]


def test_an_answer_to_an_attempt_from_before_the_opening_does_not_close_the_circuit(health, clock):
    fail(health, FAULTS_TO_OPEN)

    health.answered("p/a", clock.now - 1)
    assert set(health.unhealthy()) == {"p/a"}
    health.answered("p/a", clock.now)
    assert health.unhealthy() == {}


def test_a_success_closes_the_circuit_and_forgets_the_past(health, clock):
    fail(health, FAULTS_TO_OPEN)
    health.answered("p/a", clock.now)
    fail(health, FAULTS_TO_OPEN - 1)

    assert health.unhealthy() == {}


def test_retry_after_is_obeyed_as_given(health, clock):
    fail(health, 1, error=GatewayError(Blame.UPSTREAM, 429, told="x", retry=True, retry_after_s=7, outcome="http_429"))

    assert health.recovers_in_s(("p/a", "p/b")) == 7
    clock.now += 7
    assert health.unhealthy() == {}


def test_bad_credentials_set_every_model_of_the_provider_aside(health):
    fail(health, 1, error=GatewayError(Blame.OPERATOR, 502, told="x", trips_provider=True, outcome="http_401"))

    assert set(health.unhealthy()) == {"p/a", "p/b"}


def test_a_callers_mistake_says_nothing_about_health(health):
    fail(health, 50, error=GatewayError(Blame.CALLER, 400, told="x", outcome="http_400"))

    assert health.unhealthy() == {}


def test_a_pause_that_was_asked_for_ends_with_no_answer_and_a_counted_one_does(health, clock):
    asked = GatewayError(Blame.UPSTREAM, 429, told="x", retry=True, retry_after_s=7, outcome="http_429")
    fail(health, 1, error=asked)
    fail(health, FAULTS_TO_OPEN, model="p/b")
    assert health.suspects() == ["p/b"]
    for model in ("p/a", "p/b"):
        health.answered(model, clock.now)

    assert set(health.unhealthy()) == {"p/a"}
    clock.now += 7
    health.began("p/a")
    health.answered("p/a", clock.now)
    assert health.unhealthy() == {}


def test_pauses_grow_to_a_bound_and_only_a_whole_answer_makes_them_short_again(health, clock):
    def next_pause() -> float:
        health.began("p/a")
        fail(health, 1)
        pause = health.recovers_in_s(("p/a",))
        clock.now += pause
        return pause

    fail(health, FAULTS_TO_OPEN - 1)
    assert [next_pause() for _ in range(4)] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_PAUSE_S]

    health.began("p/a")
    health.content("p/a", clock.now)  # it answers, and breaks off
    assert health.unhealthy() == {}
    assert next_pause() == LONGEST_PAUSE_S
    health.began("p/a")
    health.answered("p/a", clock.now)
    fail(health, FAULTS_TO_OPEN - 1)
    assert next_pause() == FIRST_PAUSE_S


@pytest.mark.parametrize(("faults", "of", "opens"), [(3, 4, True), (2, 3, True), (2, 5, False), (1, 4, False)])
def test_a_model_that_fails_more_often_than_not_is_set_aside_too(health, clock, faults, of, opens):
    reasons = []
    for number in range(200):
        if number % of < faults:
            fail(health, 1)
        else:
            health.answered("p/a", clock.now)
        reasons += health.unhealthy().values()

    assert bool(reasons) == opens
    assert not opens or "% of recent attempts failed, last http_503" in reasons[0]


def test_the_least_bad_suspect_is_the_one_that_opened_least_often(health, clock):
    for model in ("p/a", "p/b"):
        fail(health, FAULTS_TO_OPEN, model=model)
    clock.now += FIRST_PAUSE_S
    health.began("p/a")
    fail(health, 1)
    health.began("p/b")

    assert health.suspects() == ["p/b", "p/a"]


def test_what_one_worker_learns_the_other_obeys_and_an_answer_there_ends_it_here(clock):
    here, there = (Health(clock, lambda _: (), chance=lambda: 0.0) for _ in range(2))
    fail(here, FAULTS_TO_OPEN)
    (told,) = here.unsaid()
    here.hear([told], [told])
    there.hear([], [told])
    assert here.unsaid() == there.unsaid() == []
    assert set(there.unhealthy()) == {"p/a"}

    clock.now += FIRST_PAUSE_S
    there.began("p/a")
    there.answered("p/a", clock.now)
    *_, closed = there.unsaid()
    assert (closed.open, closed.replaces) == (False, told.mark)
    here.hear([], [])
    assert here.unhealthy() == {}


def test_what_has_changed_since_it_was_said_is_said_again(clock):
    health = Health(clock, lambda _: (), chance=lambda: 0.0)
    fail(health, FAULTS_TO_OPEN)
    said = health.unsaid()
    clock.now += FIRST_PAUSE_S
    health.began("p/a")
    health.hear(said, said)

    (again,) = health.unsaid()
    assert (again.reason, again.replaces) == ("being tried again", said[0].mark)


def settled(record: SpendRecord) -> Settlement:
    """As the accounts hand it over."""
    return Settlement(record.attempt_id, 0, record.cost_nano, [], [], [], record)


class Moody:
    """The real ledger behind a switch."""

    def __init__(self, ledger: SqlLedger) -> None:
        self.ledger = ledger
        self.error: Exception | None = None

    def append(self, records) -> None:
        if self.error is not None:
            raise self.error
        self.ledger.append(records)


@pytest.fixture
def moody(tmp_path) -> Moody:
    return Moody(SqlLedger(open_engine(sqlite_url(tmp_path / "ledger.sqlite"))))


@pytest.mark.parametrize("error", [LedgerUnavailable("away"), RuntimeError("a bug")])
async def test_no_record_is_lost_while_the_ledger_is_away(moody, error):
    records = by_chance(1, 3 * BATCH + 7)
    settler = Settler(moody)
    settler.start()
    moody.error = error
    for record in records:
        settler.put(settled(record))
    await asyncio.sleep(0.3)
    assert settler.pending == len(records)
    assert settler.failures > 0

    moody.error = None
    assert await settler.close(20) == 0
    assert sum(both_kinds(moody.ledger.engine)) == len(records)


async def test_a_full_queue_says_so_and_a_close_with_a_dead_ledger_tells_what_is_left(moody):
    settler = Settler(moody, limit=3)
    moody.error = LedgerUnavailable("away")
    settler.start()
    for record in by_chance(2, 3):
        assert not settler.full
        settler.put(settled(record))

    assert settler.full
    assert await settler.close(0.3) == 3
