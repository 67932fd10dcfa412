"""What routing on task kinds is worth, on graded answers of real models.

    make eval-routing DATA=../shared/data/routing
    make eval-routing DATA=train.parquet ARGS="--test other.parquet"

Rows are divided by a seeded draw: 60 % teach, 20 % calibrate, 20 % test, five times over. With --test the first file
teaches (75 %) and calibrates (25 %), and the other one tests. Costs are those of the whole answers given, at the prices
of the data's README, four characters to a token. Operating points are chosen on calibrating rows (learn/curve.py).

The last part holds a whole category out of everything that is learned (learn/strangers.py).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import routers
from .curve import Expected, Point, Truth, cost_to_reach, hull, kept_rates, rate_for
from .outcomes import PRICES, Outcomes, OutcomesError, complete, divided, read_outcomes, truth_of
from .strangers import WORSE_BY, hold_out, share_on_alarm

FILE = "mmlu_pro_multi.parquet"
STRONG = 0
"""The column of the model that is to be matched: the dearest of the pool."""

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
    worst = hold_out(data, other, categories)
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
    return Split(data.taken(taught), complete(data.taken(calibrating)), complete(test))


# The table -----------------------------------------------------------------------------------------------------------


def _compare(splits: Sequence[Split]) -> float:
    """Print every router, the mean of the draws; return the percent of the averaged one."""
    rows: dict[str, list[Reached]] = {}
    on_alarm: list[float] = []
    for split in splits:
        for name, reached in _routers(split, on_alarm):
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
    print(f"\nThe watch, which these rows leave aside, is on alarm for {np.mean(on_alarm):.1%} of the test prompts.")
    return float(np.mean([one.percent for one in rows[AVERAGED]]))


def _spread(values: Sequence[float], digits: int = 1) -> str:
    if np.isnan(values).any():
        never = int(np.isnan(values).sum())
        return "never" if never == len(values) else f"never in {never} draws"
    return f"{np.mean(values):.{digits}f} +- {np.std(values):.{digits}f}"


def _routers(split: Split, on_alarm: list[float]) -> Iterator[tuple[str, Reached]]:
    known = routers.learned(split.taught, split.calibrating, heads=True)
    calibrating, tested = split.calibrating, split.tested
    yield from _without_routing(split)
    read = {id(part): [known.reader.judge(one) for one in part.features] for part in (calibrating, tested)}
    on_alarm.append(share_on_alarm(read[id(tested)]))
    compared: dict[str, Callable[[Outcomes], Expected]] = {
        "static best, each prompt priced": lambda part: routers.static(known, part),
        "length only": lambda part: routers.length_only(known, part),
        "kind table": lambda part: routers.kind_table(known, part, read[id(part)]),
        AVERAGED: lambda part: routers.averaged(known, part, read[id(part)]),
        "true kinds": lambda part: routers.true_kinds(known, part),
        "oracle": routers.oracle,
    }
    for name, expected in compared.items():
        yield name, _reached(expected(calibrating), truth_of(calibrating), expected(tested), truth_of(tested))


def _without_routing(split: Split) -> Iterator[tuple[str, Reached]]:
    truth, blind = truth_of(split.tested), truth_of(split.calibrating)
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


if __name__ == "__main__":
    raise SystemExit(main())
