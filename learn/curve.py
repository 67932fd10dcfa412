"""What a router reaches for its money: operating points are chosen on calibrating rows, and judged on others.

A router has a quality and a cost that it expects of each model for each prompt, and takes the model with the most
quality - rate * cost. The rate is swept. Worth keeping are the rates that on the calibrating rows lie on the upper
hull of accuracy over cost; only these are tried on the test rows, joined by straight lines, since of two operating
points any mixture can be bought.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Choice = npt.NDArray[np.int64]

RATES = np.concatenate([[0.0], np.geomspace(1e-4, 3.0, 240)])
"""Accuracy, from 0 to 1, that one dollar for 1,000 prompts must buy."""


@dataclass(frozen=True)
class Expected:
    """What a router expects of each model (column) for each prompt (row): quality 0 to 1, cost for 1,000 prompts."""

    quality: Array
    cost: Array

    def choose(self, rate: float) -> Choice:
        return np.argmax(self.quality - rate * self.cost, axis=1)


@dataclass(frozen=True)
class Truth:
    """What the models did: right 0 or 1, cost for 1,000 prompts."""

    right: Array
    cost: Array

    def of(self, choice: Choice) -> tuple[float, float]:
        """Cost for 1,000 prompts and accuracy."""
        rows = np.arange(len(choice))
        return float(self.cost[rows, choice].mean()), float(self.right[rows, choice].mean())

    def of_model(self, model: int) -> tuple[float, float]:
        return float(self.cost[:, model].mean()), float(self.right[:, model].mean())


Point = tuple[float, float]


def hull(points: list[Point]) -> list[int]:
    """Which points lie on the upper hull of accuracy over cost, from cheapest to most accurate."""
    kept: list[int] = []
    for number in sorted(range(len(points)), key=lambda one: (points[one][0], -points[one][1])):
        if kept and points[number][1] <= points[kept[-1]][1]:
            continue
        while len(kept) > 1 and _under(points[kept[-1]], points[kept[-2]], points[number]):
            kept.pop()
        kept.append(number)
    return kept


def _under(middle: Point, left: Point, right: Point) -> bool:
    """The middle point is not above the line from left to right."""
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])


def cost_to_reach(points: list[Point], accuracy: float) -> float:
    """The least cost at which the line through these points is this accurate; NaN when it never is."""
    if points and points[0][1] >= accuracy:
        return points[0][0]
    for (cost, low), (further, high) in pairwise(points):
        if high >= accuracy > low:
            return cost + (further - cost) * (accuracy - low) / (high - low)
    return float("nan")


def kept_rates(expected: Expected, truth: Truth) -> list[tuple[float, Point]]:
    """The rates worth keeping, with what they reached on the calibrating rows, cheapest first."""
    points = [truth.of(expected.choose(rate)) for rate in RATES]
    return [(float(RATES[number]), points[number]) for number in hull(points)]


def rate_for(kept: list[tuple[float, Point]], accuracy: float) -> float:
    """The cheapest of the kept rates that reached this accuracy; the most accurate if none did."""
    return next((rate for rate, point in kept if point[1] >= accuracy), kept[-1][0])
