"""Circuits and the writer's queue, each with its clock and its ledger in the test's hand."""

from __future__ import annotations

import asyncio

import pytest

from gateway.core.contracts import LedgerUnavailable, Settlement
from gateway.core.errors import Blame, GatewayError
from gateway.core.records import SpendRecord
from gateway.proxy.health import FAULTS_TO_OPEN, FIRST_PAUSE_S, Health
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
