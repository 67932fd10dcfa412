"""What one worker process counts, and how the counts of several are added up.

Invariant: money and tokens are integers here; no float ever adds them up. Every value only grows, so that the sum over
workers grows too. Call everything from the event loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.core.records import SpendRecord, State

from .plan import EMBEDDING, REVALIDATION

# Upper bounds, in microseconds. A last bucket without a bound follows each.
DURATION_US = tuple(int(seconds * 1e6) for seconds in (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600))
TTFT_US = tuple(int(s * 1e6) for s in (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60))
OVERHEAD_US = (50, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)

Key = tuple[str, str, str, str, bool]
"""provider, model, route, team, simulated"""

HOW = {"hit": "fresh", "stale": "stale", "coalesced": "coalesced", "semantic": "semantic"}
"""How the response cache answered, by what a record says of it. All of these cost nothing."""


def _buckets(bounds_us: tuple[int, ...]) -> list[int]:
    return [0] * (len(bounds_us) + 1)


# Dataclasses with slots and not Structs: msgspec reads and writes both, and adding to an attribute of these is quicker.
@dataclass(slots=True)
class Series:
    """The counts of one key."""

    requests: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    fallbacks: dict[str, int] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)
    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    spend_nano: int = 0
    uncertain_nano: int = 0
    baseline_nano: int = 0
    cached_baseline_nano: int = 0
    misses: int = 0
    bypasses: int = 0
    fallback_us: int = 0
    duration_us: int = 0
    ttft_us: int = 0
    durations: list[int] = field(default_factory=lambda: _buckets(DURATION_US))
    ttfts: list[int] = field(default_factory=lambda: _buckets(TTFT_US))

    def add(self, other: Series) -> None:
        add_words(self.requests, other.requests)
        add_words(self.attempts, other.attempts)
        add_words(self.fallbacks, other.fallbacks)
        add_words(self.hits, other.hits)
        _add_each(self.durations, other.durations)
        _add_each(self.ttfts, other.ttfts)
        for name in _NUMBERS:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_NUMBERS = (
    "input", "cached_input", "cache_write", "output", "reasoning", "spend_nano", "uncertain_nano", "baseline_nano",
    "cached_baseline_nano", "misses", "bypasses", "fallback_us", "duration_us", "ttft_us",
)  # fmt: skip


@dataclass(slots=True)
class Overhead:
    """The time that the requests of one route spent in the gateway itself."""

    sum_us: int = 0
    counts: list[int] = field(default_factory=lambda: _buckets(OVERHEAD_US))

    def add(self, other: Overhead) -> None:
        self.sum_us += other.sum_us
        _add_each(self.counts, other.counts)


@dataclass(slots=True)
class Counts:
    """series: by key. overheads: by route. rejected: by reason. unkept: answers that were not kept, by reason.

    kept_bytes and replayed_bytes: the sizes of answers that went into the response cache, and that came out of it.
    """

    series: dict[Key, Series] = field(default_factory=dict)
    overheads: dict[str, Overhead] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    unkept: dict[str, int] = field(default_factory=dict)
    kept_bytes: int = 0
    replayed_bytes: int = 0

    def record(self, record: SpendRecord, final: bool) -> None:
        """Count one finished attempt. final: no further attempt of its request follows.

        What the response cache answered enters no latency histogram: its provider was not asked, and would look faster
        than it is. A revalidation and an embedding have attempts and costs, but are nobody's request.
        """
        key = (record.provider, record.model, record.route, record.team, record.simulated)
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series()
        outcome, how = record.outcome, HOW.get(record.cache)
        if how is not None:
            self._replay(series, record, how)
            return
        series.attempts[outcome] = series.attempts.get(outcome, 0) + 1
        series.input += record.input_tokens
        series.cached_input += record.cached_input_tokens
        series.cache_write += record.cache_write_tokens
        series.output += record.output_tokens
        series.reasoning += record.reasoning_tokens
        if record.state is State.SETTLED:
            series.spend_nano += record.cost_nano
        else:
            series.uncertain_nano += record.cost_nano
        series.baseline_nano += record.baseline_nano
        duration_us = record.duration_us
        if not final:
            series.fallbacks[outcome] = series.fallbacks.get(outcome, 0) + 1
            series.fallback_us += duration_us
            return
        cache = record.cache
        if cache in (REVALIDATION, EMBEDDING):
            return
        series.requests[outcome] = series.requests.get(outcome, 0) + 1
        if cache == "miss":
            series.misses += 1
        elif cache == "bypass":
            series.bypasses += 1
        series.durations[bisect_left(DURATION_US, duration_us)] += 1
        series.duration_us += duration_us
        ttft_us = record.ttft_us
        if ttft_us is not None:
            series.ttfts[bisect_left(TTFT_US, ttft_us)] += 1
            series.ttft_us += ttft_us

    @staticmethod
    def _replay(series: Series, record: SpendRecord, how: str) -> None:
        """A request that asked no provider: nothing was used, and no histogram hears of it.

        One that shared a call which failed, or that left before its end, is a request of that outcome and no hit.
        """
        outcome = record.outcome
        series.requests[outcome] = series.requests.get(outcome, 0) + 1
        if outcome != "cached":
            return
        series.attempts[outcome] = series.attempts.get(outcome, 0) + 1
        series.hits[how] = series.hits.get(how, 0) + 1
        series.baseline_nano += record.baseline_nano
        series.cached_baseline_nano += record.baseline_nano

    def overhead(self, route: str, seconds: float) -> None:
        """Count the time that a request spent in the gateway itself, not waiting for its provider."""
        counted = self.overheads.get(route)
        if counted is None:
            counted = self.overheads[route] = Overhead()
        spent_us = round(seconds * 1e6)
        counted.counts[bisect_left(OVERHEAD_US, spent_us)] += 1
        counted.sum_us += spent_us

    def reject(self, reason: str) -> None:
        """Count a request that was refused before any attempt. reason: one of our words, never the caller's."""
        self.rejected[reason] = self.rejected.get(reason, 0) + 1

    def not_kept(self, reason: str) -> None:
        """Count an answer that was served and not kept. reason: one of our words."""
        self.unkept[reason] = self.unkept.get(reason, 0) + 1

    def kept(self, size_bytes: int) -> None:
        """Count an answer that was kept."""
        self.kept_bytes += size_bytes

    def replayed(self, size_bytes: int) -> None:
        """Count a kept answer that was served."""
        self.replayed_bytes += size_bytes

    def add(self, other: Counts) -> None:
        """The other's values are added to these; it shares nothing with them afterwards."""
        for key, more in other.series.items():
            self.series.setdefault(key, Series()).add(more)
        for route, taken in other.overheads.items():
            self.overheads.setdefault(route, Overhead()).add(taken)
        add_words(self.rejected, other.rejected)
        add_words(self.unkept, other.unkept)
        self.kept_bytes += other.kept_bytes
        self.replayed_bytes += other.replayed_bytes


def add_words(into: dict[str, int], more: dict[str, int]) -> None:
    for word, count in more.items():
        into[word] = into.get(word, 0) + count


def _add_each(into: list[int], more: Iterable[int]) -> None:
    into[:] = [mine + theirs for mine, theirs in zip(into, more, strict=True)]
