"""Prompts of a category of which nothing was taught: what does routing them by the kinds that were taught cost?

The guard is the gateway's: a text of no known kind gets the priors, and while watch.py says that the traffic has left
what was taught, the model that is best on the whole answers. It is held to that model, always asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.kinds.reader import Kinds
from gateway.kinds.watch import START, drifted, watched

from . import routers
from .curve import Choice, Point, Truth, kept_rates, rate_for
from .outcomes import Outcomes, complete, divided, truth_of

ORDERS = 20
"""In how many drawn orders the prompts come: the watch sees them one after another."""

WORSE_BY = 0.01
"""How much less accurate than the static best a held-out category may be."""


@dataclass(frozen=True)
class HeldOut:
    """Means over the orders. best: always the model that was right most often on the taught rows. alarm: after how
    many prompts the watch first spoke."""

    prompts: int
    unknown: float
    alarm: float
    bare: Point
    guarded: Point
    best: Point


def hold_out(data: Outcomes, other: Outcomes | None, categories: Sequence[str]) -> float:
    """Print each category as it fares when nothing of it was taught; return the worst difference."""
    print(f"\nA category held out of all that is learned, the mean of {ORDERS} orders; accuracy in %, $ per 1,000\n")
    print(
        f"{'':<18}{'prompts':>8}{'unknown':>9}{'alarm at':>10}{'no guard':>10}{'guarded':>9}{'cost':>7}"
        f"{'static best':>13}{'cost':>7}{'diff':>7}"
    )
    found = {name: _held_out(data, other, name, seed) for seed, name in enumerate(categories)}
    found = {name: one for name, one in found.items() if one.prompts}
    for name, one in found.items():
        print(
            f"{name:<18}{one.prompts:>8}{one.unknown:>9.0%}{one.alarm:>10.0f}{_line(one.bare, one.guarded, one.best)}"
        )
    weights = [one.prompts for one in found.values()]
    means = (
        np.average([getattr(one, part) for one in found.values()], axis=0, weights=weights)
        for part in ("bare", "guarded", "best")
    )
    print(f"{'all prompts':<18}{sum(weights):>8}{'':>19}{_line(*means)}")
    return min(one.guarded[1] - one.best[1] for one in found.values())


def _line(bare: Point, guarded: Point, best: Point) -> str:
    return (
        f"{100 * bare[1]:>10.1f}{100 * guarded[1]:>9.1f}{guarded[0]:>7.2f}"
        f"{100 * best[1]:>13.1f}{best[0]:>7.2f}{100 * (guarded[1] - best[1]):>+7.1f}"
    )


def _held_out(data: Outcomes, other: Outcomes | None, category: str, seed: int) -> HeldOut:
    source = data if other is None else other
    rest = data.taken(np.array([row for row, one in enumerate(data.kinds) if one != category], int))
    taught, calibrating = (rest.taken(rows) for rows in divided(len(rest.prompts), (0.75, 0.25), seed))
    strangers = source.taken(np.array([row for row, one in enumerate(source.kinds) if one == category], int))
    calibrating, strangers = complete(calibrating), complete(strangers)
    if not strangers.prompts:
        return HeldOut(0, 0.0, 0.0, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0))
    known = routers.learned(taught, calibrating, heads=False)
    best = int(known.quality.argmax())

    read = [known.reader.judge(one) for one in calibrating.features]
    truth = truth_of(calibrating)
    rate = rate_for(kept_rates(routers.kind_table(known, calibrating, read), truth), truth.of_model(best)[1])

    read = [known.reader.judge(one) for one in strangers.features]
    choice = routers.kind_table(known, strangers, read).choose(rate)
    truth = truth_of(strangers)
    guarded, first = _guarded(choice, read, best, truth, seed)
    unknown = float(np.mean([not one.known for one in read]))
    return HeldOut(len(read), unknown, first, truth.of(choice), guarded, truth.of_model(best))


def _guarded(choice: Choice, read: Sequence[Kinds], best: int, truth: Truth, seed: int) -> tuple[Point, float]:
    """What is reached when the watch has its say before each prompt is routed, and when it first spoke."""
    dice = np.random.default_rng(seed)
    points, first = [], []
    for _ in range(ORDERS):
        order = dice.permutation(len(read))
        on = alarms([read[row] for row in order])
        asked = choice.copy()
        asked[order[on]] = best
        points.append(truth.of(asked))
        first.append(int(on.argmax()) + 1 if on.any() else len(on))
    cost, accuracy = np.mean(points, axis=0)
    return (float(cost), float(accuracy)), float(np.mean(first))


def alarms(read: Sequence[Kinds]) -> npt.NDArray[np.bool_]:
    """For each prompt of a traffic whether the watch is on alarm when it is routed."""
    level, on = START, []
    for one in read:
        level = watched(level, one.typical)
        on.append(drifted(level))
    return np.array(on, bool)


def share_on_alarm(read: Sequence[Kinds]) -> float:
    """How much of a traffic that comes in any order is on alarm: the mean of the orders."""
    dice = np.random.default_rng(0)
    return float(np.mean([alarms([read[row] for row in dice.permutation(len(read))]).mean() for _ in range(ORDERS)]))
