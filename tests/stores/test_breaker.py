"""The breaker as a table of moments: who passes, who pays."""

from gateway.stores.breaker import Breaker, Pass


def test_everything_passes_until_the_first_failure_which_closes_for_a_second():
    breaker = Breaker()
    assert breaker.enter(0) is Pass.FREE
    assert breaker.failed(Pass.FREE, 10.0)
    assert breaker.enter(10.9) is Pass.CLOSED
    assert breaker.enter(11.0) is Pass.PROBE


def test_a_crowd_of_failures_counts_once():
    breaker = Breaker()
    closed = [breaker.failed(Pass.FREE, 10.0 + number / 1000) for number in range(50)]
    assert closed == [True] + [False] * 49
    assert breaker.off_s == 1.0


def test_one_caller_at_a_time_may_look():
    breaker = Breaker()
    breaker.failed(Pass.FREE, 0)
    assert [breaker.enter(1.0) for _ in range(3)] == [Pass.PROBE, Pass.CLOSED, Pass.CLOSED]


def test_failed_looks_double_the_pause_to_ten_seconds():
    breaker, now, pauses = Breaker(), 0.0, []
    breaker.failed(Pass.FREE, now)
    for _ in range(6):
        pauses.append(breaker.off_s)
        now += breaker.off_s
        assert breaker.enter(now) is Pass.PROBE
        assert not breaker.failed(Pass.PROBE, now)  # it was closed already: no change of state
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_a_good_look_opens_and_forgets():
    breaker = Breaker()
    breaker.failed(Pass.FREE, 0)
    breaker.enter(1.0)
    breaker.failed(Pass.PROBE, 1.0)
    breaker.enter(3.0)
    assert breaker.succeeded(Pass.PROBE)
    assert breaker.enter(3.0) is Pass.FREE
    breaker.failed(Pass.FREE, 4.0)
    assert breaker.off_s == 1.0


def test_a_straggler_that_succeeds_opens_nothing():
    breaker = Breaker()
    breaker.failed(Pass.FREE, 0)
    assert not breaker.succeeded(Pass.FREE)
    assert breaker.enter(0.5) is Pass.CLOSED


def test_a_look_that_was_given_up_lets_the_next_one_look():
    breaker = Breaker()
    breaker.failed(Pass.FREE, 0)
    breaker.enter(1.0)
    breaker.abandoned(Pass.PROBE)
    assert breaker.enter(1.0) is Pass.PROBE
