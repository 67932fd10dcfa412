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
from collections.abc import Iterator
from typing import NamedTuple

from .quality import bin_of
from .records import SpendRecord, UsageSource

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US

BUCKETS_PER_E = 8
HALF_LIFE_DAYS = 7
KEPT_DAYS = 5 * HALF_LIFE_DAYS
"""Older days, which count for less than a thirtieth, are forgotten."""

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


def bucket_of(value: float) -> int:
    """The bucket of a histogram that a value of 1 or more is in; everything below 1 is in the first."""
    return int(BUCKETS_PER_E * math.log(value)) if value > 1 else 0


def with_effort(model: str, effort: str | None) -> str:
    """The id of a model at an effort, as routes name it."""
    return model if effort is None else f"{model}@{effort}"


def learn(record: SpendRecord, into: Tallies) -> None:
    """Add what an attempt teaches. Only whole answers do whose usage their provider reported."""
    if record.outcome != "ok" or record.usage_source is not UsageSource.PROVIDER or record.sign != 1:
        return
    simulated, day, base = record.simulated, record.at_us // DAY_US, record.model
    model = with_effort(base, record.effort)
    decision = record.decision
    # What an answer was asked for stands in its decision, of which the defaults are left out. A picture takes tokens
    # and no bytes; choices are answers in one; and what a warm cache knows is expected by other means.
    prompt = record.input_tokens + record.cached_input_tokens + record.cache_write_tokens
    if decision and prompt and not record.audio_input_tokens and not record.image_input_tokens:
        if record.prompt_bytes and '"images":' not in decision:
            _add(into, Key("in", simulated, day, "", "", base, 0), prompt, record.prompt_bytes)
        if '"warm":' not in decision:
            _add(into, Key("hit", simulated, day, record.route, "", base, 0), record.cached_input_tokens, prompt)
    tokens = record.output_tokens + record.reasoning_tokens + record.audio_output_tokens + record.image_output_tokens
    if tokens and '"n":' not in decision:
        _add(into, Key("out", simulated, day, record.route, record.kind, model, bucket_of(tokens)), tokens, 0)
    first_us = record.ttft_us
    if record.stream and first_us is not None:
        hour = record.at_us // HOUR_US
        _add(into, Key("ttft", simulated, hour, "", "", model, bucket_of(first_us)), first_us, 0)
        writing_us = record.duration_us - first_us
        if tokens >= FEWEST_TOKENS and writing_us > 0:
            rate = tokens * 1_000_000_000 // writing_us
            _add(into, Key("tps", simulated, hour, "", "", model, bucket_of(rate)), rate, 0)


def _add(into: Tallies, key: Key, total: int, base: int) -> None:
    tally = into.get(key)
    if tally is None:
        into[key] = [1, total, base]
    else:
        tally[0] += 1
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


def merge(into: Tallies, other: Tallies) -> None:
    for key, (n, total, base) in other.items():
        tally = into.get(key)
        if tally is None:
            into[key] = [n, total, base]
        else:
            tally[0] += n
            tally[1] += total
            tally[2] += base
