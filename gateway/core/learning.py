"""What is learned from a finished attempt: tallies that only ever add up, so that any number of workers share them.

    in     prompt tokens per byte of text, by model            total: tokens   base: bytes
    hit    the part of prompts that caches knew, by route      total: cached   base: prompt tokens
    out    tokens of an answer, thinking included              a histogram     total: tokens
    ttft   microseconds until a stream's first token           a histogram     total: microseconds
    tps    how fast a stream is written, thinking included     a histogram     total: tokens in 1,000 s
    grade  how good answers were, by kind                      total: thousandths
    bar    the same by what was expected of them (the bucket), by the kind that the decision took them for

`n` counts answers. Histograms are logarithmic, eight buckets for a factor of e, and keep the sum of each bucket: means
are exact, quantiles within six percent. What holds for days is kept by the day and counts half after a week; how quick
a provider is holds for hours and is kept by the hour. Simulated answers are never added to real ones.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from .quality import bin_of
from .records import SpendRecord, UsageSource

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

BUCKETS_PER_E = 8
HALF_LIFE_DAYS = 7
KEPT_DAYS = 5 * HALF_LIFE_DAYS
"""Older days, which count for less than a thirtieth, are forgotten."""

WEIGHTS = tuple(0.5 ** (age / HALF_LIFE_DAYS) for age in range(KEPT_DAYS))
"""What an answer of so many days ago counts for."""

RECENT_HOURS = 2
"""The hour that runs and the one before it."""

BY_HOUR = frozenset({"ttft", "tps"})
FEWEST_TOKENS = 16
"""A shorter stream says nothing about how fast it is written."""

GRADES_PER_ONE = 1_000


class Key(NamedTuple):
    """span: days or hours since the epoch, UTC. model: with effort where answers differ by it, else plain."""

    what: str
    simulated: bool
    span: int
    route: str
    kind: str
    model: str
    bucket: int


Tallies = dict[Key, list[int]]
"""By key: n, total and base. A reading of the store, or what is yet to be added to it."""

WeightedTallies = Mapping[Key, Sequence[float]]
"""The same of days past, each counted for what it still weighs on a day, which is then the span of all."""


def bucket_of(value: float) -> int:
    """The bucket of a histogram that a value of 1 or more is in; everything below 1 is in the first."""
    return int(BUCKETS_PER_E * math.log(value)) if value > 1 else 0


def with_effort(model: str, effort: str | None) -> str:
    """The id of a model at an effort, as routes name it."""
    return model if effort is None else f"{model}@{effort}"


class _Series:
    """What answers of one hour, route, kind and model have in common; buckets: n and total."""

    __slots__ = ("hits", "out", "prompts", "rates", "ttfts")

    def __init__(self) -> None:
        self.prompts = [0, 0, 0]
        self.hits = [0, 0, 0]
        self.out: dict[int, list[int]] = {}
        self.ttfts: dict[int, list[int]] = {}
        self.rates: dict[int, list[int]] = {}


def learn(records: Iterable[SpendRecord]) -> Tallies:
    """What attempts teach. Only whole answers do whose usage their provider reported."""
    found: dict[tuple[bool, int, str, str, str, str | None], _Series] = {}
    for record in records:
        if record.outcome == "ok" and record.usage_source is UsageSource.PROVIDER and record.sign == 1:
            # One look-up for each record and not one for each of its tallies: they take most of the time.
            key = (
                record.simulated, record.at_us // HOUR_US, record.route, record.kind, record.model, record.effort
            )  # fmt: skip
            series = found.get(key)
            if series is None:
                series = found[key] = _Series()
            _learn(record, series)
    tallies: Tallies = {}
    for (simulated, hour, route, kind, plain, effort), series in found.items():
        day, model = hour // 24, with_effort(plain, effort)
        if series.prompts[0]:
            _add(tallies, Key("in", simulated, day, "", "", plain, 0), *series.prompts)
        if series.hits[0]:
            _add(tallies, Key("hit", simulated, day, route, "", plain, 0), *series.hits)
        for bucket, (n, total) in series.out.items():
            _add(tallies, Key("out", simulated, day, route, kind, model, bucket), n, total, 0)
        for what, buckets in (("ttft", series.ttfts), ("tps", series.rates)):
            for bucket, (n, total) in buckets.items():
                _add(tallies, Key(what, simulated, hour, "", "", model, bucket), n, total, 0)
    return tallies


def _learn(record: SpendRecord, series: _Series) -> None:
    # What an answer was asked for stands in its decision, of which the defaults are left out. A picture takes tokens
    # and no bytes; choices are answers in one; and what a warm cache knows is expected by other means.
    decision = record.decision
    prompt = record.input_tokens + record.cached_input_tokens + record.cache_write_tokens
    if decision and prompt and not record.audio_input_tokens and not record.image_input_tokens:
        if record.prompt_bytes and '"images":' not in decision:
            _count(series.prompts, prompt, record.prompt_bytes)
        if '"warm":' not in decision:
            _count(series.hits, record.cached_input_tokens, prompt)
    tokens = record.output_tokens + record.reasoning_tokens + record.audio_output_tokens + record.image_output_tokens
    if tokens and '"n":' not in decision:
        _put(series.out, tokens)
    first_us = record.ttft_us
    if record.stream and first_us is not None:
        _put(series.ttfts, first_us)
        writing_us = record.duration_us - first_us
        if tokens >= FEWEST_TOKENS and writing_us > 0:
            _put(series.rates, tokens * 1_000_000_000 // writing_us)


def _count(tally: list[int], total: int, base: int) -> None:
    tally[0] += 1
    tally[1] += total
    tally[2] += base


def _put(buckets: dict[int, list[int]], value: int) -> None:
    bucket = bucket_of(value)
    tally = buckets.get(bucket)
    if tally is None:
        buckets[bucket] = [1, value]
    else:
        tally[0] += 1
        tally[1] += value


def _add(into: Tallies, key: Key, n: int, total: int, base: int) -> None:
    tally = into.get(key)
    if tally is None:
        into[key] = [n, total, base]
    else:
        tally[0] += n
        tally[1] += total
        tally[2] += base


class Grade(NamedTuple):
    """One answer's grade. score: thousandths. kind: what it was; decided: what its decision took it for.

    expected: the bin of the score that was expected of it. at_us: when the grade was given.
    """

    simulated: bool
    at_us: int
    model: str
    kind: str
    decided: str
    expected: int
    score: int

    def places(self) -> Iterator[Key]:
        """What it is added to."""
        day = self.at_us // DAY_US
        yield Key("grade", self.simulated, day, "", self.kind, self.model, 0)
        yield Key("bar", self.simulated, day, "", self.decided, self.model, self.expected)


def grade_of(answered: SpendRecord, expected: float | None, score: float, kind: str | None, at_us: int) -> Grade:
    """The grade of an answer. expected: the quality (0 to 100) that its decision expected; score: 0 to 1."""
    return Grade(
        answered.simulated, at_us, with_effort(answered.model, answered.effort), kind or answered.kind, answered.kind,
        bin_of(expected), round(score * GRADES_PER_ONE),
    )  # fmt: skip


def weighted(tallies: Tallies, day: int) -> WeightedTallies:
    """What tallies by the day count for on this day; the same as the store works out of its own."""
    found: dict[Key, list[float]] = {}
    for key, tally in tallies.items():
        age = day - key.span
        if key.what in BY_HOUR or not 0 <= age < KEPT_DAYS:
            continue
        sums = found.setdefault(key._replace(span=day), [0.0, 0.0, 0.0])
        for at, number in enumerate(tally):
            sums[at] += number * WEIGHTS[age]
    return found


def merge(into: Tallies, other: Tallies) -> None:
    for key, (n, total, base) in other.items():
        _add(into, key, n, total, base)
