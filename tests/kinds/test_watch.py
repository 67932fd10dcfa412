"""Traffic that has left what was taught is noticed, and traffic that has not is left alone."""

import random

from gateway.kinds.watch import CEILING, START, drifted, watched


def level_after(typical: list[float], level: float = START) -> float:
    for one in typical:
        level = watched(level, one)
    return level


def test_less_typical_traffic_raises_an_alarm():
    dice = random.Random(1)
    assert drifted(level_after([dice.uniform(0, 0.7) for _ in range(300)]))


def test_usual_traffic_hardly_ever_does():
    dice, level, alarms = random.Random(1), START, 0
    for _ in range(20_000):
        level = watched(level, dice.random())
        alarms += drifted(level)
    assert alarms < 600


def test_an_alarm_ends_soon_after_usual_traffic_returns():
    dice = random.Random(1)
    assert level_after([0.0] * 1_000) == CEILING
    assert not drifted(level_after([dice.random() for _ in range(100)], CEILING))


def test_one_typical_prompt_does_not_end_an_alarm():
    level = START
    while not drifted(level):
        level = watched(level, 0.0)
    assert drifted(watched(level, 1.0))
