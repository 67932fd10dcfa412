"""What the gateway counts, and the page on which Prometheus reads it.

Invariant: money and tokens are integers here and are written as exact decimal text; no float ever adds them up.
Savings is the difference of counters (baseline - spend - uncertain), because it may fall and a counter may not.
Every label value comes from the configuration or from our own words, never from a caller: series stay bounded.

The page is written here and not by prometheus_client, whose `generate_latest` takes 45 ms for 5,000 series: as long
as it runs no request moves. This takes a tenth of that. Its registry still serves the process's own metrics.
Call everything from the event loop's thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.core.money import usd, usd_per_million
from gateway.core.pricing import Rates
from gateway.core.records import SpendRecord, State
from gateway.core.routing import Market

# Upper bounds, in microseconds. A last bucket without a bound follows each.
DURATION_US = tuple(int(seconds * 1e6) for seconds in (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600))
TTFT_US = tuple(int(s * 1e6) for s in (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60))
OVERHEAD_US = (50, 100, 150, 200, 300, 500, 750, 1_000, 1_500, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)

CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")

_Key = tuple[str, str, str, str, bool]
"""provider, model, route, team, simulated"""


class _Series:
    """The counts of one key, and its labels as the page writes them."""

    __slots__ = (
        "attempts", "baseline_nano", "cache_write", "cached_baseline_nano", "cached_input", "duration_us", "durations",
        "fallback_us", "fallbacks", "hits", "input", "labels", "misses", "output", "reasoning", "requests",
        "spend_nano", "ttft_us", "ttfts", "uncertain_nano",
    )  # fmt: skip

    def __init__(self, labels: str) -> None:
        self.labels = labels
        self.requests: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.fallbacks: dict[str, int] = {}
        self.input = self.cached_input = self.cache_write = self.output = self.reasoning = 0
        self.spend_nano = self.uncertain_nano = self.baseline_nano = self.cached_baseline_nano = 0
        self.hits = self.misses = 0
        self.fallback_us = 0
        self.durations = [0] * (len(DURATION_US) + 1)
        self.duration_us = 0
        self.ttfts = [0] * (len(TTFT_US) + 1)
        self.ttft_us = 0


_BY_WORD: tuple[tuple[str, str, str, Callable[[_Series], Mapping[str, int]]], ...] = (
    (
        "gateway_requests_total", "outcome",
        "Finished requests by how they ended; 'ok', 'aborted' and 'cached' were answered.",
        lambda series: series.requests,
    ),
    (
        "gateway_attempts_total", "outcome",
        "Finished attempts, of which a request has one or more; 'cached' ones asked no provider.",
        lambda series: series.attempts,
    ),
    (
        "gateway_fallbacks_total", "reason",
        "Attempts that another one followed: the provider left behind, and why.",
        lambda series: series.fallbacks,
    ),
)  # fmt: skip

_MONEY: tuple[tuple[str, str, Callable[[_Series], int]], ...] = (
    (
        "gateway_spend_usd_total",
        "What attempts cost, settled: by the usage that their provider reported.",
        lambda series: series.spend_nano,
    ),
    (
        "gateway_uncertain_usd_total",
        "What attempts may have cost beyond that: estimates, for want of a reported usage.",
        lambda series: series.uncertain_nano,
    ),
    (
        "gateway_baseline_usd_total",
        "What the answers would have cost at the baseline model of their route.",
        lambda series: series.baseline_nano,
    ),
    (
        "gateway_cached_baseline_usd_total",
        "The part of the baseline that cache hits answered; they cost nothing, so it is what the cache saved.",
        lambda series: series.cached_baseline_nano,
    ),
)


class _Overhead:
    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(OVERHEAD_US) + 1)
        self.sum_us = 0


def _zero() -> int:
    return 0


class Metrics:
    """Counters of one worker process. What other parts know is asked of them when the page is written: assign the
    callables below once those parts exist.

    healthy: (provider, model, may it be used) of every model; see `provider_health`.
    prices: (provider, model, rates in force now); see `prices_in_force`.
    config: the version of the configuration in force. The rest are the current counts of what they are named after.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(
        self,
        version: str,
        *,
        config: Callable[[], str] = str,
        healthy: Callable[[], Iterable[tuple[str, str, bool]]] = tuple,
        prices: Callable[[], Iterable[tuple[str, str, Rates]]] = tuple,
        ledger_pending: Callable[[], int] = _zero,
        ledger_failures: Callable[[], int] = _zero,
        store_errors: Callable[[], int] = _zero,
        in_flight: Callable[[], int] = _zero,
    ) -> None:
        self.version = version
        self.config = config
        self.healthy = healthy
        self.prices = prices
        self.ledger_pending = ledger_pending
        self.ledger_failures = ledger_failures
        self.store_errors = store_errors
        self.in_flight = in_flight
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._series: dict[_Key, _Series] = {}
        self._overheads: dict[str, _Overhead] = {}
        self._rejected: dict[str, int] = {}

    def record(self, record: SpendRecord, final: bool) -> None:
        """Count one finished attempt. final: no further attempt of its request follows.

        A cache hit enters no latency histogram: its provider was not asked, and would look faster than it is.
        """
        key = (record.provider, record.model, record.route, record.team, record.simulated)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series(_series_labels(key))
        outcome = record.outcome
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
        series.requests[outcome] = series.requests.get(outcome, 0) + 1
        cache = record.cache
        if cache == "hit":
            series.hits += 1
            series.cached_baseline_nano += record.baseline_nano
            return
        if cache == "miss":
            series.misses += 1
        series.durations[bisect_left(DURATION_US, duration_us)] += 1
        series.duration_us += duration_us
        ttft_us = record.ttft_us
        if ttft_us is not None:
            series.ttfts[bisect_left(TTFT_US, ttft_us)] += 1
            series.ttft_us += ttft_us

    def overhead(self, route: str, seconds: float) -> None:
        """Count the time that a request spent in the gateway itself, not waiting for its provider."""
        counted = self._overheads.get(route)
        if counted is None:
            counted = self._overheads[route] = _Overhead()
        spent_us = round(seconds * 1e6)
        counted.counts[bisect_left(OVERHEAD_US, spent_us)] += 1
        counted.sum_us += spent_us

    def rejected(self, reason: str) -> None:
        """Count a request that was refused before any attempt. reason: one of our words, never the caller's."""
        self._rejected[reason] = self._rejected.get(reason, 0) + 1

    def render(self) -> bytes:
        """The whole page in Prometheus' text format 0.0.4, of type `content_type`."""
        page = _Page()
        self._counts(page)
        self._money(page)
        self._cache(page)
        self._latencies(page)
        self._parts(page)
        return page.bytes() + generate_latest(self.registry)

    def _counts(self, page: _Page) -> None:
        every = self._series.values()
        for name, label, told, counts in _BY_WORD:
            page.family(name, "counter", told)
            for series in every:
                page.by(name, series.labels, label, counts(series))
        page.family("gateway_tokens_total", "counter", "Tokens in disjoint classes: their sum is the provider's total.")
        for series in every:
            tokens = (series.input, series.cached_input, series.cache_write, series.output, series.reasoning)
            for token_class, count in zip(CLASSES, tokens, strict=True):
                page.sample("gateway_tokens_total", f'{series.labels},class="{token_class}"', str(count))
        name = "gateway_fallback_seconds_total"
        page.family(name, "counter", "Time that requests spent on attempts that another one followed.")
        for series in every:
            page.sample(name, series.labels, repr(series.fallback_us / 1e6))
        page.family("gateway_rejected_total", "counter", "Requests refused before any attempt.")
        page.by("gateway_rejected_total", "", "reason", self._rejected)

    def _money(self, page: _Page) -> None:
        for name, told, nano in _MONEY:
            page.family(name, "counter", told)
            for series in self._series.values():
                page.sample(name, series.labels, usd(nano(series)))

    def _cache(self, page: _Page) -> None:
        hits: dict[tuple[str, str, bool], int] = {}
        misses: dict[tuple[str, str, bool], int] = {}
        for (_, _, route, team, simulated), series in self._series.items():
            key = (route, team, simulated)
            hits[key] = hits.get(key, 0) + series.hits
            misses[key] = misses.get(key, 0) + series.misses
        page.family("gateway_cache_hits_total", "counter", "Requests answered from the response cache.")
        for key, count in hits.items():
            page.sample("gateway_cache_hits_total", _cache_labels(key), str(count))
        page.family("gateway_cache_misses_total", "counter", "Requests that the response cache could not answer.")
        for key, count in misses.items():
            page.sample("gateway_cache_misses_total", _cache_labels(key), str(count))

    def _latencies(self, page: _Page) -> None:
        name = "gateway_request_duration_seconds"
        page.family(name, "histogram", "From dispatch to end of the attempt that ended its request; no cache hits.")
        for series in self._series.values():
            page.histogram(name, series.labels, DURATION_US, series.durations, series.duration_us)
        name = "gateway_time_to_first_token_seconds"
        page.family(name, "histogram", "From dispatch to first content of the attempt that answered; no cache hits.")
        for series in self._series.values():
            page.histogram(name, series.labels, TTFT_US, series.ttfts, series.ttft_us)
        name = "gateway_overhead_seconds"
        page.family(name, "histogram", "Time spent inside the gateway, not waiting for the provider.")
        for route, counted in self._overheads.items():
            page.histogram(name, f'route="{_escape(route)}"', OVERHEAD_US, counted.counts, counted.sum_us)

    def _parts(self, page: _Page) -> None:
        name = "gateway_provider_healthy"
        page.family(name, "gauge", "1 while the model may be used, 0 while it is set aside after faults.")
        for provider, model, may_be_used in self.healthy():
            page.sample(name, _model_labels(provider, model), "1" if may_be_used else "0")
        name = "gateway_price_usd_per_million"
        page.family(name, "gauge", "The base price in force now, before context and service tiers.")
        for provider, model, rates in self.prices():
            labels = _model_labels(provider, model)
            prices = (rates.input, rates.cached_input, rates.cache_write, rates.output, rates.reasoning)
            for token_class, pico in zip(CLASSES, prices, strict=True):
                page.sample(name, f'{labels},class="{token_class}"', usd_per_million(pico))
        page.one("gateway_ledger_pending_rows", "gauge", "Records that wait to be written.", self.ledger_pending())
        page.one("gateway_ledger_failures_total", "counter", "Writes that the ledger refused.", self.ledger_failures())
        page.one("gateway_store_errors_total", "counter", "Errors of the cache's store.", self.store_errors())
        page.one("gateway_in_flight_requests", "gauge", "Requests being served now.", self.in_flight())
        page.family("gateway_build_info", "gauge", "Always 1: the version of the program and of its configuration.")
        page.sample("gateway_build_info", f'version="{_escape(self.version)}",config="{_escape(self.config())}"', "1")


def provider_health(market: Market, unhealthy: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """For `Metrics.healthy`: every model of the providers in use; `unhealthy` as in Signals."""
    used = [model for model in market.models.values() if model.provider not in market.off]
    return [(model.provider, model.id, model.id not in unhealthy) for model in used]


def prices_in_force(market: Market, now: datetime) -> list[tuple[str, str, Rates]]:
    """For `Metrics.prices`: the base rates at this instant of every priced model of the providers in use."""
    found = []
    for model in market.models.values():
        price = None if model.provider in market.off else market.prices.at(model.id, now)
        if price is not None:
            found.append((model.provider, model.id, price.base))
    return found


class _Page:
    """Prometheus' text format, line by line."""

    __slots__ = ("_lines",)

    def __init__(self) -> None:
        self._lines: list[str] = []

    def family(self, name: str, kind: str, told: str) -> None:
        self._lines.append(f"# HELP {name} {told}\n# TYPE {name} {kind}\n")

    def sample(self, name: str, labels: str, value: str) -> None:
        self._lines.append(f"{name}{{{labels}}} {value}\n")

    def one(self, name: str, kind: str, told: str, value: int) -> None:
        self.family(name, kind, told)
        self._lines.append(f"{name} {value}\n")

    def by(self, name: str, labels: str, label: str, counts: Mapping[str, int]) -> None:
        before = f"{labels}," if labels else ""
        for word, count in counts.items():
            self.sample(name, f'{before}{label}="{_escape(word)}"', str(count))

    def histogram(self, name: str, labels: str, bounds_us: Sequence[int], counts: Sequence[int], sum_us: int) -> None:
        """counts: one for each bound and one above them all; the page wants them cumulated, in seconds."""
        reached = 0
        for bound_us, count in zip(bounds_us, counts, strict=False):
            reached += count
            self._lines.append(f'{name}_bucket{{{labels},le="{bound_us / 1e6!r}"}} {reached}\n')
        reached += counts[-1]
        self._lines.append(
            f'{name}_bucket{{{labels},le="+Inf"}} {reached}\n'
            f"{name}_sum{{{labels}}} {sum_us / 1e6!r}\n{name}_count{{{labels}}} {reached}\n"
        )

    def bytes(self) -> bytes:
        return "".join(self._lines).encode()


def _series_labels(key: _Key) -> str:
    provider, model, route, team, simulated = key
    return f"{_model_labels(provider, model)},{_cache_labels((route, team, simulated))}"


def _model_labels(provider: str, model: str) -> str:
    return f'provider="{_escape(provider)}",model="{_escape(model)}"'


def _cache_labels(key: tuple[str, str, bool]) -> str:
    route, team, simulated = key
    return f'route="{_escape(route)}",team="{_escape(team)}",simulated="{"true" if simulated else "false"}"'


def _escape(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
