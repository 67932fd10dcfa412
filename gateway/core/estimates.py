"""From tallies to what is expected of each model on a route: what was learned, drawn towards the stated priors.

A prior counts as 20 answers (quality.SHRINK), of lengths as 5 (lengths.SHRINK), where it is a length that is stated,
corrected by what was seen of the model in other kinds and of the kind with other models.
Numbers are rounded, so that two decisions in a row differ only when something has happened.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

from .candidate import Estimate
from .catalog import AUTO, OVERALL
from .learning import GRADES_PER_ONE, Tallies, WeightedTallies
from .lengths import Factors, Seen, fit
from .quality import SHRINK, bar, shrunk
from .route import FloorMeaning, Route
from .world import World


class Sum(msgspec.Struct, gc=False):
    """Answers and what was counted of them; those of days past count less, so these are no whole numbers."""

    n: float = 0.0
    total: float = 0.0
    base: float = 0.0

    def less(self, other: Sum) -> Sum:
        return Sum(max(self.n - other.n, 0.0), max(self.total - other.total, 0.0), max(self.base - other.base, 0.0))


_NOTHING = Sum()
_Place: TypeAlias = tuple[str, str, str, str]
"""what, route, kind, model: empty text where it is of all of them."""


class Length(msgspec.Struct, frozen=True):
    """Tokens of an answer: half are shorter than p50, nineteen in twenty shorter than p95."""

    answers: int
    p50: int
    p95: int


class Learned:
    """Sums of tallies at one moment. Built up by `add`, then only read."""

    def __init__(self, sums: Learned | None = None) -> None:
        """sums: what to begin with."""
        self._sums: dict[_Place, Sum] = defaultdict(Sum)
        self._buckets: dict[_Place, dict[int, Sum]] = defaultdict(lambda: defaultdict(Sum))
        self._factors: dict[str, Factors] = {}
        self._fitted_to: World | None = None
        self._kinds: dict[str, set[str]] = defaultdict(set)  # by model, of which its answers were graded
        self._efforts: dict[str, set[str]] = defaultdict(set)  # by plain model, the ids with effort that have answered
        if sums is not None:
            for name, ids in sums._efforts.items():
                self._efforts[name] |= ids
            for name, kinds in sums._kinds.items():
                self._kinds[name] |= kinds
            for place, one in sums._sums.items():
                self._sums[place] = Sum(one.n, one.total, one.base)
            for place, buckets in sums._buckets.items():
                for bucket, one in buckets.items():
                    self._buckets[place][bucket] = Sum(one.n, one.total, one.base)

    def add(self, tallies: Tallies | WeightedTallies) -> None:
        """Of this day, of a moment ago, or weighted by what days past still count for."""
        for (what, _, _, route, kind, model, bucket), (n, total, base) in tallies.items():
            for place in _places(what, route, kind, model):
                self._count(self._sums[place], n, total, base)
            if what == "grade":
                self._kinds[model].add(kind)
            elif what == "out" and "@" in model:
                self._efforts[model.partition("@")[0]].add(model)
            if what in _IN_BUCKETS:
                self._count(self._buckets[what, route, kind, model][bucket], n, total, base)

    @staticmethod
    def _count(into: Sum, n: float, total: float, base: float) -> None:
        into.n += n
        into.total += total
        into.base += base

    def _of(self, what: str, route: str, kind: str, model: str) -> Sum:
        return self._sums.get((what, route, kind, model), _NOTHING)

    def estimates(self, route: Route, kind: str, world: World) -> Mapping[str, Estimate]:
        """By model id, for what a request of this route and kind may come to; only where something was learned."""
        rules = reachable(route, world)
        floor = _strictest(rules, kind)
        kinds = _kinds_weighed(rules, kind)
        found = {}
        for name in self._names(rules, world):
            estimate = self._estimate(name, route, kind, kinds, floor, world)
            if estimate is not None:
                found[name] = estimate
        return found

    def lengths(self, route: Route, kind: str, world: World) -> Mapping[str, Length]:
        """How long answers of this route and kind were, by model id; only where there are some."""
        found = {}
        for name in self._names(reachable(route, world), world):
            buckets = self._buckets.get(("out", route.name, kind, name))
            if buckets:
                n = self._of("out", route.name, kind, name).n
                found[name] = Length(_whole(n), round(quantile(buckets, 0.5)), round(quantile(buckets, 0.95)))
        return found

    def _names(self, rules: Iterable[Route], world: World) -> Iterable[str]:
        """Every model that may be weighed: those named, and the same at another effort, which a request may ask for."""
        models = world.market.models
        named: dict[str, None] = {}
        for one in rules:
            named.update(dict.fromkeys((*one.candidates, *one.fallbacks)))
            if one.baseline is not None:
                named[one.baseline] = None
        for base in {models[name].base for name in named if name in models}:
            named.update(dict.fromkeys(sorted(self._efforts.get(base, ()))))
        return [name for name in named if known(name, world) is not None]

    def _estimate(
        self, name: str, route: Route, kind: str, kinds: frozenset[str] | None, floor: float | None, world: World
    ) -> Estimate | None:
        market, standing_in = world.market, known(name, world) or name
        model, prior = market.models[standing_in], market.priors[standing_in]
        written = self._of("out", "", "", name)
        prompts, hits = self._of("in", "", "", model.base), self._of("hit", route.name, "", model.base)
        graded = self._of("grade", "", "", name)
        first, rate = self._buckets.get(("ttft", "", "", name)), self._buckets.get(("tps", "", "", name))
        if not (written.n or prompts.n or hits.n or graded.n or first):
            return None
        ratio = prompts.total / prompts.base if prompts.base else 0.0
        share = hits.total / hits.base if hits.base else 0.0
        scores = self._scores(name, prior.scores) if graded.n else prior.scores
        return Estimate(
            tokens_per_byte=round(shrunk(prior.tokens_per_byte, prompts.n, prompts.n * ratio), 4),
            output_tokens=max(round(self._length(name, route, kind, world)), 1),
            cached_share=round(shrunk(prior.cached_share, hits.n, hits.n * share), 3),
            scores={one: round(score, 2) for one, score in scores.items() if kinds is None or one in kinds},
            bars={} if floor is None else self._bars(name, kind, floor),
            ttft_ms=round(quantile(first, 0.5) / 1_000) if first else None,
            tokens_per_s=round(quantile(rate, 0.5) / 1_000, 1) if rate else None,
            answers=_whole(written.n),
        )

    def _length(self, name: str, route: Route, kind: str, world: World) -> float:
        this = self._of("out", route.name, kind, name)
        if self._fitted_to is not world:
            self._fitted_to, self._factors = world, {}
        factors = self._factors.get(route.name)
        if factors is None:
            factors = self._factors[route.name] = self._fit(route, world)
        return factors.length(_stated(name, route, world), name, kind, Seen(this.n, this.total))

    def _fit(self, route: Route, world: World) -> Factors:
        here: dict[tuple[str, str], Seen] = {}
        elsewhere: dict[str, Seen] = {}
        for (what, of, kind, model), sums in self._sums.items():
            if what != "out" or known(model, world) is None:
                continue
            if of == route.name and kind:
                here[model, kind] = Seen(sums.n, sums.total)
            elif not of:
                others = sums.less(self._of("out", route.name, "", model))
                elsewhere[model] = Seen(others.n, others.total)
        return fit(here, elsewhere, {model: _stated(model, route, world) for model in elsewhere})

    def _scores(self, name: str, priors: Mapping[str, float]) -> dict[str, float]:
        """Where a kind has no prior of its own, its grades are drawn towards those of the other kinds."""
        every = self._of("grade", "", "", name)
        found = dict(priors)
        overall = priors.get(OVERALL)
        for kind in self._kinds[name] - {OVERALL}:
            one, prior = self._of("grade", "", kind, name), priors.get(kind)
            if prior is None:
                others = every.less(one)
                prior = None if overall is None else shrunk(overall, others.n, _points(others))
            _score(found, kind, prior, one)
        _score(found, OVERALL, overall, every)
        return found

    def _bars(self, name: str, kind: str, floor: float) -> dict[str, float]:
        buckets = self._buckets.get(("bar", "", kind, name), {})
        found = bar({number: (one.n, one.total / GRADES_PER_ONE) for number, one in buckets.items()}, floor)
        return {} if found is None else {kind: found}


def _stated(model: str, route: Route, world: World) -> float:
    return float(route.expected_output_tokens or world.market.priors[known(model, world) or model].output_tokens)


def known(model: str, world: World) -> str | None:
    """The id under which the market has a model: its own, or the plain one's; None when it has neither."""
    models, plain = world.market.models, model.partition("@")[0]
    return model if model in models else plain if plain in models else None


_IN_BUCKETS = frozenset({"out", "ttft", "tps", "bar"})


def _places(what: str, route: str, kind: str, model: str) -> Iterable[_Place]:
    """Where a tally is summed up: at its own place, and at those of which it is a part."""
    if what == "out":
        return ((what, route, kind, model), (what, route, "", model), (what, "", "", model))
    if what == "grade":
        return ((what, "", kind, model), (what, "", "", model))
    return ((what, route, kind, model),)


def _score(scores: dict[str, float], kind: str, prior: float | None, graded: Sum) -> None:
    """With a prior, one grade is enough to move it; a model that nobody has measured needs as many as a prior's."""
    if prior is not None:
        scores[kind] = shrunk(prior, graded.n, _points(graded))
    elif graded.n >= SHRINK:
        scores[kind] = _points(graded) / graded.n


def _points(graded: Sum) -> float:
    return graded.total * 100 / GRADES_PER_ONE


def _whole(n: float) -> int:
    return max(round(n), 1) if n > 0 else 0


def quantile(buckets: Mapping[int, Sum], share: float) -> float:
    """The mean of the bucket in which this share of a histogram's answers is reached. Of an empty one: not a number."""
    wanted = share * sum(one.n for one in buckets.values())
    seen = 0.0
    for _, one in sorted(buckets.items()):
        seen += one.n
        if seen >= wanted and one.n > 0:
            return one.total / one.n
    return math.nan


def reachable(route: Route, world: World) -> tuple[Route, ...]:
    """The route, and those whose rules may come to hold in its place."""
    found, left = {route.name: route}, [route]
    while left:
        one = left.pop()
        names = [condition.to for condition in one.when]
        if one.step_down is not None:
            names.append(one.step_down.to)
        for name in names:
            if name not in found and name in world.routes:
                found[name] = world.routes[name]
                left.append(found[name])
    return tuple(found.values())


def _strictest(rules: Iterable[Route], kind: str) -> float | None:
    """The floor that must hold on average, whichever of the rules apply; None when none does."""
    floors = [floor for one in rules if one.floor_means is FloorMeaning.AVERAGE
              and (floor := one.floor_for(kind)) is not None]  # fmt: skip
    return max(floors, default=None)


def _kinds_weighed(rules: Iterable[Route], kind: str) -> frozenset[str] | None:
    """The kinds whose scores may be asked for; None when they all may."""
    declared = {one.kind for one in rules}
    return None if AUTO in declared else frozenset({kind, OVERALL, *declared})
