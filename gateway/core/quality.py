"""How good a model's answers are, from few grades: means drawn towards what was known before, and sure lower bounds.

A grade is 0 to 1; scores are 0 to 100. A prior counts as SHRINK answers, so a handful of grades moves a score a little
and a hundred make it their own.

A floor that holds on average needs more than a mean: that graded answers reached it by luck has to be unlikely. So a
bar is an expected score from which on the one-sided Clopper-Pearson bound of the success rate is at or above the floor.
The bound is the exact one (Clopper and Pearson, 1934), and holds for grades between 0 and 1 too, whose spread is never
wider than that of successes and failures with the same mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

SHRINK = 20
"""How many answers a prior counts as."""

CONFIDENCE = 0.95
FEWEST_FOR_A_BAR = 30
BIN = 5
"""Expected scores are told apart in bins so many points wide."""

UNEXPECTED = -1
"""The bin of answers of which nothing was expected, as nobody had measured their model."""


def shrunk(prior: float, n: float, total: float) -> float:
    """The mean of n values with this total and of the prior, which counts as SHRINK of them."""
    return (SHRINK * prior + total) / (SHRINK + n)


def bin_of(expected: float | None) -> int:
    """The bin of an expected score, by its number: it begins at BIN times that."""
    return UNEXPECTED if expected is None else int(expected // BIN)


def tail(successes: int, n: int, rate: float) -> float:
    """How likely so many successes or more are, of n with this rate."""
    if successes <= 0:
        return 1.0
    if successes > n or rate <= 0:
        return 0.0
    if rate >= 1:
        return 1.0
    if successes <= n * rate:
        return 1.0 - tail(n - successes + 1, n, 1.0 - rate)
    # Above the mean each term is smaller than the one before, so few of them count.
    ways = math.lgamma(n + 1) - math.lgamma(successes + 1) - math.lgamma(n - successes + 1)
    term = math.exp(ways + successes * math.log(rate) + (n - successes) * math.log1p(-rate))
    total, odds = term, rate / (1.0 - rate)
    for more in range(successes, n):
        term *= (n - more) / (more + 1) * odds
        total += term
        if term < total * 1e-17:
            break
    return min(total, 1.0)


def bar(bins: Mapping[int, tuple[float, float]], floor: float) -> float | None:
    """The least expected score from which on graded answers reach the floor (0 to 100); None when that is not sure.

    bins: by bin, how many answers were graded (older ones may count as less than one) and the sum of their grades.
    Several edges are tried on the same answers, so each has to be that much surer.
    """
    tried: list[tuple[int, int, int]] = []
    n = total = 0.0
    for number in sorted((one for one in bins if one != UNEXPECTED), reverse=True):
        n, total = n + bins[number][0], total + bins[number][1]
        if n >= FEWEST_FOR_A_BAR:
            tried.append((number, int(total), math.ceil(n)))
    for number, successes, graded in reversed(tried):
        if tail(successes, graded, floor / 100) <= (1.0 - CONFIDENCE) / len(tried):
            return float(number * BIN)
    return None
