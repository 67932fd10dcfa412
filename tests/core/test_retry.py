"""Who may be asked after an attempt has failed, how often, and after which pause."""

from __future__ import annotations

import pytest

from gateway.core.errors import Blame, GatewayError
from gateway.core.pricing import Usage
from gateway.core.retry import LONGEST_PAUSE_S, RETRIES_PER_S, SPAN_S, RetryBudget, following, pause_s
from gateway.core.routing import Candidate
from gateway.proxy import faults
from tests.core.market import model


def candidate(name: str, context_tokens: int) -> Candidate:
    return Candidate(model(name, context_tokens=context_tokens), None, Usage(), 0, None)


FAILED = candidate("openai/a", 100_000)
WAITING = [candidate("openai/b", 200_000), candidate("google/c", 100_000), candidate("google/d", 300_000)]
OTHERS, LARGER = WAITING[1:], [WAITING[0], WAITING[2]]


def told(**given) -> GatewayError:
    return GatewayError(Blame.UPSTREAM, 502, told="x", **given)


@pytest.mark.parametrize(
    ("error", "next_ones"),
    [
        (told(retry=True), WAITING),
        (told(retry=False), []),
        (told(retry=True, trips_provider=True), OTHERS),
        (faults.silent("p", "a"), OTHERS),
        (faults.lost("p", "x", repeatable=True), [FAILED, *WAITING]),
        (faults.lost("p", "x", repeatable=False), WAITING),
        (faults.truncated("p"), WAITING),
        (faults.client_stalled(), []),
        (faults.over_time(), []),
        (told(too_long=True), LARGER),
    ],
)
def test_who_may_be_asked_next(error, next_ones):
    assert following(error, FAILED, WAITING, repeated=False) == next_ones


def test_the_same_model_is_asked_twice_once():
    assert following(faults.lost("p", "x", repeatable=True), FAILED, WAITING, repeated=True) == WAITING


def test_a_pause_is_anything_up_to_a_bound_that_doubles():
    assert [pause_s(retries, 1.0) for retries in range(6)] == [0.025, 0.05, 0.1, 0.2, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert pause_s(3, 0.0) == 0
    assert pause_s(1, 0.5) == 0.025


def test_a_quiet_provider_has_a_few_retries_a_second():
    budget = RetryBudget()
    for second in (100.0, 101.5):
        assert [budget.take(second) for _ in range(RETRIES_PER_S + 2)] == [True] * RETRIES_PER_S + [False] * 2


def test_a_busy_providers_retries_are_a_tenth_of_its_attempts_of_late():
    budget = RetryBudget()
    for second in range(SPAN_S):
        for _ in range(100):
            budget.began(1000.0 + second)
    granted = sum(budget.take(1000.0 + SPAN_S - 1) for _ in range(500))

    assert granted == SPAN_S * 100 // 10
    assert sum(budget.take(1000.0 + 3 * SPAN_S) for _ in range(500)) == RETRIES_PER_S, "what is past counts no more"
