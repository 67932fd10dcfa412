"""Sure bounds from few grades, against values from tables, against sums written out, and against chance itself."""

import math
import random

import pytest

from gateway.core.quality import CONFIDENCE, FEWEST_FOR_A_BAR, UNEXPECTED, bar, bin_of, shrunk, tail


def lower_bound(successes: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided Clopper-Pearson bound: a rate below it would not give so many successes, but by this much luck."""
    low, high = 0.0, successes / n if n else 0.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if tail(successes, n, middle) <= 1.0 - confidence:
            low = middle
        else:
            high = middle
    return low


@pytest.mark.parametrize(
    ("successes", "n", "bound"),
    [
        # One-sided 95 % bounds. n of n: 0.05 ** (1 / n), by hand. The others: scipy.stats.beta.ppf(0.05, k, n - k + 1).
        (10, 10, 0.05 ** (1 / 10)),
        (59, 59, 0.05 ** (1 / 59)),
        (1, 10, 1 - 0.95 ** (1 / 10)),
        (8, 10, 0.4930987),
        (45, 50, 0.8011670),
        (0, 10, 0.0),
        (0, 0, 0.0),
    ],
)
def test_the_bound_is_that_of_the_tables(successes: int, n: int, bound: float):
    assert lower_bound(successes, n) == pytest.approx(bound, abs=1e-6)


def test_the_tail_is_the_sum_of_its_terms():
    dice = random.Random(1)
    for _ in range(300):
        n = dice.randint(1, 120)
        successes, rate = dice.randint(0, n + 1), dice.random()
        terms = [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(successes, n + 1)]
        assert tail(successes, n, rate) == pytest.approx(math.fsum(terms), rel=1e-9, abs=1e-12)


def test_the_tail_of_very_many_is_neither_slow_nor_wrong():
    assert tail(500_000, 1_000_000, 0.5) == pytest.approx(0.5, abs=1e-3)
    assert tail(0, 10**6, 0.0) == 1.0
    assert tail(10**6, 10**6, 1.0) == 1.0
    assert tail(1, 10**6, 0.0) == 0.0
    assert tail(900_000, 1_000_000, 0.5) == 0.0


@pytest.mark.parametrize("rate", [0.55, 0.8, 0.97])
@pytest.mark.parametrize("n", [30, 100, 400])
def test_the_bound_is_above_the_truth_no_more_often_than_it_says(rate: float, n: int):
    dice = random.Random(n)
    bounds = {successes: lower_bound(successes, n) for successes in range(n + 1)}
    wrong = sum(bounds[sum(dice.random() < rate for _ in range(n))] > rate for _ in range(2_000))
    assert wrong / 2_000 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 2_000)


def test_a_bar_lets_a_model_serve_below_its_floor_no_more_often_than_it_says():
    """Answers just below the floor, expected anywhere: whichever of the edges is found, it would be wrong."""
    dice = random.Random(7)
    found = 0
    for _ in range(1_000):
        grades = {number: [dice.random() < 0.79 for _ in range(60)] for number in (11, 12, 13, 14)}
        found += bar({number: (len(some), sum(some)) for number, some in grades.items()}, 80.0) is not None
    assert found / 1_000 <= 0.05


def test_a_bar_is_the_least_edge_from_which_on_the_floor_is_reached():
    good, poor = (200.0, 190.0), (200.0, 100.0)
    assert bar({16: good, 15: good, 10: poor}, 80.0) == 75.0
    assert bar({16: good}, 80.0) == 80.0
    assert bar({16: good}, 97.0) is None


def test_there_is_no_bar_before_thirty_grades_nor_from_answers_of_which_nothing_was_expected():
    assert bar({16: (FEWEST_FOR_A_BAR - 1, FEWEST_FOR_A_BAR - 1)}, 50.0) is None
    assert bar({16: (FEWEST_FOR_A_BAR, FEWEST_FOR_A_BAR)}, 50.0) == 80.0
    assert bar({UNEXPECTED: (500.0, 500.0)}, 50.0) is None


def test_a_prior_counts_as_twenty_answers():
    assert shrunk(60.0, 0, 0) == 60.0
    assert shrunk(60.0, 20, 20 * 100) == 80.0
    assert shrunk(60.0, 180, 180 * 100) == 96.0


def test_bins_are_five_points_wide():
    assert [bin_of(score) for score in (None, 0.0, 4.99, 5.0, 72.5, 100.0)] == [UNEXPECTED, 0, 0, 1, 14, 20]
