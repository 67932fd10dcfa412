"""What routing on task kinds is worth, on graded answers of real models.

    make eval-routing DATA=../shared/data/routing
    make eval-routing DATA=train.parquet ARGS="--test other.parquet"

Rows are divided by a seeded draw: 60 % teach, 20 % calibrate, 20 % test, five times over. With --test the first file
teaches (75 %) and calibrates (25 %), and the other one tests. Costs are those of the whole answers given, at the prices
of the data's README, four characters to a token. Operating points are chosen on calibrating rows (learn/curve.py).

The last part holds a whole category out of everything that is learned, and routes its prompts in a drawn order. The
guard is the gateway's: a text of no known kind gets the priors, and when watch.py says that the traffic has left what
was taught, the model that is best on the whole answers. It is held to that model, always asked.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gateway.kinds.reader import Kinds
from gateway.kinds.watch import drifted, watched

from . import routers
from .curve import Choice, Expected, Point, Truth, cost_to_reach, hull, kept_rates, rate_for
from .outcomes import PRICES, Outcomes, OutcomesError, divided, read_outcomes

FILE = "mmlu_pro_multi.parquet"
STRONG = 0
"""The column of the model that is to be matched: the dearest of the pool."""

WORSE_BY = 0.01
"""How much less accurate than the static best a held-out category may be."""

PERCENT_OF_STRONG = 24.0
AVERAGED = "kind table and regressions"


@dataclass(frozen=True)
class Reached:
    """accuracy and cost at the operating point chosen to match the strong model on calibrating rows, and at the most
    accurate one; percent: of the strong model's cost, to match it on the test rows."""

    accuracy: float
    cost: float
    percent: float
    most: Point


@dataclass(frozen=True)
class Split:
    taught: Outcomes
    calibrating: Outcomes
    tested: Outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="make eval-routing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help=f"a Parquet file, or a folder with {FILE}")
    parser.add_argument("--test", type=Path, help="a Parquet file to test on instead")
    parser.add_argument("--seeds", type=int, default=5, help="how many draws (default: 5)")
    parser.add_argument("--held-out", type=int, help="hold out so many categories only, the first by name")
    asked = parser.parse_args(arguments)
    try:
        data = read_outcomes(asked.data / FILE if asked.data.is_dir() else asked.data)
        other = read_outcomes(asked.test) if asked.test else None
    except OutcomesError as exc:
        print(exc, file=sys.stderr)
        return 2
    if other is not None:
        # A prompt that taught is no test.
        seen = set(data.prompts)
        other = other.taken(np.array([row for row, one in enumerate(other.prompts) if one not in seen], int))
    splits = [_split(data, other, seed) for seed in range(asked.seeds)]
    percent = _compare(splits)
    categories = sorted(set(data.kinds))[: asked.held_out]
    worst = _hold_out(data, other, categories)
    cheap = percent <= PERCENT_OF_STRONG
    print(f"\n{AVERAGED}, at most {PERCENT_OF_STRONG:.0f} % of {_strong()}'s cost: {_verdict(cheap)}")
    print(f"held-out categories, at most {WORSE_BY:.0%} worse than the static best: {_verdict(worst >= -WORSE_BY)}")
    return 0 if cheap and worst >= -WORSE_BY else 1


def _strong() -> str:
    return list(PRICES)[STRONG]


def _verdict(kept: bool) -> str:
    return "kept" if kept else "MISSED"


def _split(data: Outcomes, other: Outcomes | None, seed: int) -> Split:
    shares = (0.6, 0.2, 0.2) if other is None else (0.75, 0.25, 0.0)
    taught, calibrating, tested = divided(len(data.prompts), shares, seed)
    test = data.taken(tested) if other is None else other
    return Split(data.taken(taught), _complete(data.taken(calibrating)), _complete(test))


def _complete(outcomes: Outcomes) -> Outcomes:
    return outcomes.taken(np.flatnonzero(outcomes.complete))


def _truth(outcomes: Outcomes) -> Truth:
    return Truth(outcomes.right, outcomes.cost)


# The table -----------------------------------------------------------------------------------------------------------


def _compare(splits: Sequence[Split]) -> float:
    """Print every router, the mean of the draws; return the percent of the averaged one."""
    rows: dict[str, list[Reached]] = {}
    for split in splits:
        for name, reached in _routers(split):
            rows.setdefault(name, []).append(reached)
    parts = (splits[0].taught, splits[0].calibrating, splits[0].tested)
    sizes = "{} taught, {} calibrated, {} tested".format(*(len(part.prompts) for part in parts))
    print(f"{len(splits)} draws of {sizes}; means, +- standard deviation over the draws\n")
    print(f"{'':<32}{'% of cost':>15}{'as chosen':>15}{'':>15}{'most accurate':>15}{'':>15}")
    print(f"{'':<32}{'to match':>15}{'accuracy %':>15}{'$ per 1,000':>15}{'accuracy %':>15}{'$ per 1,000':>15}")
    for name, found in rows.items():
        cells = [
            _spread([one.percent for one in found]),
            _spread([100 * one.accuracy for one in found]),
            _spread([one.cost for one in found], 2),
            _spread([100 * one.most[1] for one in found]),
            _spread([one.most[0] for one in found], 2),
        ]
        print(f"{name:<32}" + "".join(f"{cell:>15}" for cell in cells))
    return float(np.mean([one.percent for one in rows[AVERAGED]]))


def _spread(values: Sequence[float], digits: int = 1) -> str:
    if np.isnan(values).any():
        never = int(np.isnan(values).sum())
        return "never" if never == len(values) else f"never in {never} draws"
    return f"{np.mean(values):.{digits}f} +- {np.std(values):.{digits}f}"


def _routers(split: Split) -> Iterator[tuple[str, Reached]]:
    known = routers.learned(split.taught, split.calibrating, heads=True)
    calibrating, tested = split.calibrating, split.tested
    yield from _without_routing(split)
    read = {id(part): [known.reader.judge(one) for one in part.features] for part in (calibrating, tested)}
    compared: dict[str, Callable[[Outcomes], Expected]] = {
        "static best, each prompt priced": lambda part: routers.static(known, part),
        "length only": lambda part: routers.length_only(known, part),
        "kind table": lambda part: routers.kind_table(known, part, read[id(part)]),
        AVERAGED: lambda part: routers.averaged(known, part, read[id(part)]),
        "true kinds": lambda part: routers.true_kinds(known, part),
        "oracle": routers.oracle,
    }
    for name, expected in compared.items():
        yield name, _reached(expected(calibrating), _truth(calibrating), expected(tested), _truth(tested))


def _without_routing(split: Split) -> Iterator[tuple[str, Reached]]:
    truth, blind = _truth(split.tested), _truth(split.calibrating)
    strong = truth.of_model(STRONG)
    yield f"always {_strong()}", _fixed(strong, strong, [strong])
    # Any share of the prompts, drawn at random, goes to the strong model; the others to one of the four.
    anyone = float(truth.cost.mean()), float(truth.right.mean())
    yield "random", _fixed(anyone, strong, sorted([anyone, strong]))
    # The models of which a mix of two is worth its money, as calibrating rows have it.
    mixed = hull([blind.of_model(model) for model in range(len(PRICES))])
    best = int(np.nanmean(split.taught.right, 0).argmax())
    yield (
        "static best, one model or a mix",
        _fixed(truth.of_model(best), strong, [truth.of_model(one) for one in mixed]),
    )


def _fixed(point: Point, strong: Point, line: list[Point]) -> Reached:
    return Reached(point[1], point[0], 100 * cost_to_reach(line, strong[1]) / strong[0], point)


def _reached(blind: Expected, blind_truth: Truth, expected: Expected, truth: Truth) -> Reached:
    kept = kept_rates(blind, blind_truth)
    points = [truth.of(expected.choose(rate)) for rate, _ in kept]
    strong_cost, strong = truth.of_model(STRONG)
    chosen = rate_for(kept, blind_truth.of_model(STRONG)[1])
    cost, accuracy = truth.of(expected.choose(chosen))
    return Reached(accuracy, cost, 100 * cost_to_reach(points, strong) / strong_cost, points[-1])


# Whole categories held out -------------------------------------------------------------------------------------------


def _hold_out(data: Outcomes, other: Outcomes | None, categories: Sequence[str]) -> float:
    """Print each category as it fares when nothing of it was taught; return the worst difference."""
    print("\nA category held out of all that is learned; accuracy in %, cost in $ per 1,000 prompts\n")
    print(
        f"{'':<18}{'prompts':>8}{'unknown':>9}{'alarm at':>10}{'no guard':>10}{'guarded':>9}{'cost':>7}"
        f"{'static best':>13}{'cost':>7}{'diff':>7}"
    )
    worst, sums, total = 0.0, np.zeros(5), 0
    for seed, category in enumerate(categories):
        found = _held_out(data, other, category, seed)
        count = len(found.choice)
        bare, guarded, best = found.bare, found.truth.of(found.choice), found.truth.of_model(found.best)
        difference = guarded[1] - best[1]
        worst = min(worst, difference)
        sums += count * np.array([bare[1], guarded[1], guarded[0], best[1], best[0]])
        total += count
        alarm = "never" if found.alarm is None else str(found.alarm)
        print(
            f"{category:<18}{count:>8}{found.unknown:>9.0%}{alarm:>10}{100 * bare[1]:>10.1f}{100 * guarded[1]:>9.1f}"
            f"{guarded[0]:>7.2f}{100 * best[1]:>13.1f}{best[0]:>7.2f}{100 * difference:>+7.1f}"
        )
    bare_mean, guarded_mean, cost, best_mean, best_cost = sums / total
    print(
        f"{'all prompts':<18}{total:>8}{'':>19}{100 * bare_mean:>10.1f}{100 * guarded_mean:>9.1f}{cost:>7.2f}"
        f"{100 * best_mean:>13.1f}{best_cost:>7.2f}{100 * (guarded_mean - best_mean):>+7.1f}"
    )
    return worst


@dataclass(frozen=True)
class HeldOut:
    """best: the model that was most often right on the taught rows. alarm: after how many prompts the watch told."""

    choice: Choice
    truth: Truth
    best: int
    bare: Point
    unknown: float
    alarm: int | None


def _held_out(data: Outcomes, other: Outcomes | None, category: str, seed: int) -> HeldOut:
    source = data if other is None else other
    rest = data.taken(np.array([row for row, one in enumerate(data.kinds) if one != category], int))
    taught, calibrating = (rest.taken(rows) for rows in divided(len(rest.prompts), (0.75, 0.25), seed))
    calibrating = _complete(calibrating)
    strangers = _complete(source.taken(np.array([row for row, one in enumerate(source.kinds) if one == category], int)))
    strangers = strangers.taken(np.random.default_rng(seed).permutation(len(strangers.prompts)))
    known = routers.learned(taught, calibrating, heads=False)
    best = int(known.quality.argmax())

    read = [known.reader.judge(one) for one in calibrating.features]
    truth = _truth(calibrating)
    rate = rate_for(kept_rates(routers.kind_table(known, calibrating, read), truth), truth.of_model(best)[1])

    read = [known.reader.judge(one) for one in strangers.features]
    choice = routers.kind_table(known, strangers, read).choose(rate)
    truth = _truth(strangers)
    bare = truth.of(choice)
    guarded, alarm = _guarded(choice, read, best)
    return HeldOut(guarded, truth, best, bare, float(np.mean([not one.known for one in read])), alarm)


def _guarded(choice: Choice, read: Sequence[Kinds], best: int) -> tuple[Choice, int | None]:
    """What is asked when the watch has its say before each prompt is routed, and when it first spoke."""
    level, alarm, guarded = 0.0, None, choice.copy()
    for number, one in enumerate(read):
        level = watched(level, one.typical)
        if drifted(level):
            guarded[number] = best
            alarm = alarm or number + 1
    return guarded, alarm


if __name__ == "__main__":
    raise SystemExit(main())
