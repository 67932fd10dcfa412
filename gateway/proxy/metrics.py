"""The page on which Prometheus reads what the gateway counts.

Invariant: money and tokens are integers and are written as exact decimal text.
Savings is the difference of counters (baseline - spend - uncertain), because it may fall and a counter may not.
Every label value comes from the configuration or from our own words, never from a caller: series stay bounded.
Call everything from the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client import ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from gateway.core.market import Market
from gateway.core.money import usd, usd_per_million
from gateway.core.pricing import Rates

from .counts import DURATION_US, HOW, OVERHEAD_US, TTFT_US, Counts, Series, add_words
from .page import Page, escape, model_labels, team_labels
from .reports import Number, Report

CLASSES = ("input", "cached_input", "cache_write", "output", "reasoning")

_Labelled = list[tuple[str, Series]]
"""Every series, its labels as the page writes them."""

_BY_WORD: tuple[tuple[str, str, str, Callable[[Series], Mapping[str, int]]], ...] = (
    (
        "gateway_requests_total", "outcome",
        "Finished requests by how they ended; 'ok', 'aborted' and 'cached' were answered. No revalidations.",
        lambda series: series.requests,
    ),
    (
        "gateway_attempts_total", "outcome",
        "Finished attempts, of which a request has one or more, a revalidation too; 'cached' ones asked no provider.",
        lambda series: series.attempts,
    ),
    (
        "gateway_fallbacks_total", "reason",
        "Attempts that another one followed: the provider left behind, and why.",
        lambda series: series.fallbacks,
    ),
)  # fmt: skip

_MONEY: tuple[tuple[str, str, Callable[[Series], int]], ...] = (
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
        "The part of the baseline that the response cache answered; it costs nothing, so it is what the cache saved.",
        lambda series: series.cached_baseline_nano,
    ),
)

_LEVELS = (
    ("gateway_ledger_pending_rows", "Records that wait to be written."),
    ("gateway_learning_pending", "Answers and tallies of them that the other workers have not been told of."),
    ("gateway_in_flight_requests", "Requests being served now."),
    ("gateway_workers", "Worker processes behind this port."),
)
_TOTALS = (
    ("gateway_ledger_failures_total", "Writes that the ledger refused."),
    ("gateway_learning_failures_total", "Rounds in which what was learned could not be shared."),
    ("gateway_store_errors_total", "Errors of the cache's store."),
    ("gateway_cache_unreadable_total", "Kept answers that could not be opened; they are deleted."),
)
_STORE = (
    ("gateway_cache_store_evictions_total", "counter", "Keys that the store has evicted for want of memory."),
    ("gateway_cache_store_used_bytes", "gauge", "Memory that the store uses, for whatever is kept there."),
    ("gateway_cache_store_max_bytes", "gauge", "Memory that the store may use; 0: as much as there is."),
)
"""Of the one store that all workers share: never summed. Without a value while nobody knows."""


def _zero() -> int:
    return 0


def _nobody_knows() -> None:
    return None


class Metrics:
    """Counters of one worker process. What other parts know is asked of them when the page is written: assign the
    callables below once those parts exist.

    healthy: (provider, model, may it be used) of every model; see `provider_health`.
    prices: (provider, model, rates in force now); see `prices_in_force`.
    cache_store: what is known of the store: evictions, bytes used, bytes at most.
    config: the version of the configuration in force. reloads: how many, by their result. The rest are the current
    counts of what they are named after.
    """

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(
        self,
        version: str,
        *,
        config: Callable[[], str] = str,
        reloads: Callable[[], Mapping[str, int]] = dict,
        healthy: Callable[[], Iterable[tuple[str, str, bool]]] = tuple,
        prices: Callable[[], Iterable[tuple[str, str, Rates]]] = tuple,
        ledger_pending: Callable[[], int] = _zero,
        ledger_failures: Callable[[], int] = _zero,
        store_errors: Callable[[], int] = _zero,
        cache_unreadable: Callable[[], int] = _zero,
        cache_store: Callable[[], tuple[int, int, int] | None] = _nobody_knows,
        learning_pending: Callable[[], int] = _zero,
        learning_failures: Callable[[], int] = _zero,
        in_flight: Callable[[], int] = _zero,
    ) -> None:
        self.version = version
        self.config = config
        self.reloads = reloads
        self.healthy = healthy
        self.prices = prices
        self.ledger_pending = ledger_pending
        self.ledger_failures = ledger_failures
        self.store_errors = store_errors
        self.cache_unreadable = cache_unreadable
        self.cache_store = cache_store
        self.learning_pending = learning_pending
        self.learning_failures = learning_failures
        self.in_flight = in_flight
        self.counts = Counts()
        # Bound once: every request counts, and a method in between would cost it more than the counting.
        self.record = self.counts.record
        self.overhead = self.counts.overhead
        self.rejected = self.counts.reject
        self.unkept = self.counts.not_kept
        self.kept = self.counts.kept
        self.replayed = self.counts.replayed
        self._process = ProcessCollector(registry=None)

    def report(self) -> Report:
        """What this worker says of itself now. Its counts are the live ones: write the report before they move on."""
        totals: dict[str, Number] = {
            "gateway_ledger_failures_total": self.ledger_failures(),
            "gateway_learning_failures_total": self.learning_failures(),
            "gateway_store_errors_total": self.store_errors(),
            "gateway_cache_unreadable_total": self.cache_unreadable(),
        }
        levels: dict[str, Number] = {
            "gateway_ledger_pending_rows": self.ledger_pending(),
            "gateway_learning_pending": self.learning_pending(),
            "gateway_in_flight_requests": self.in_flight(),
            "gateway_workers": 1,
        }
        for family in self._process.collect():
            for sample in family.samples:
                (totals if family.type == "counter" else levels)[sample.name] = sample.value
        return Report(self.counts, totals, levels)

    def render(self, others: Report | None = None) -> bytes:
        """The whole page in Prometheus' text format 0.0.4, of type `content_type`.

        others: the sum over the other workers, to which this worker adds itself; None when there are none. Health,
        prices, the store and the configuration are as this worker knows them; reloads are those of all.
        """
        whole = self.report()
        if others is not None:
            others.add(whole)
            whole = others
        page = Page()
        labelled: _Labelled = [
            (f"{model_labels(key[0], key[1])},{team_labels(*key[2:])}", series)
            for key, series in whole.counts.series.items()
        ]
        _counts(page, labelled, whole.counts.rejected)
        _money(page, labelled)
        _cache(page, whole.counts)
        _latencies(page, labelled, whole.counts)
        self._parts(page)
        self._levels(page, whole)
        return page.bytes()

    def _parts(self, page: Page) -> None:
        name = "gateway_provider_healthy"
        page.family(name, "gauge", "1 while the model may be used, 0 while it is set aside after faults.")
        for provider, model, may_be_used in self.healthy():
            page.sample(name, model_labels(provider, model), "1" if may_be_used else "0")
        name = "gateway_price_usd_per_million"
        page.family(name, "gauge", "The base price in force now, before context and service tiers.")
        for provider, model, rates in self.prices():
            labels = model_labels(provider, model)
            prices = (rates.input, rates.cached_input, rates.cache_write, rates.output, rates.reasoning)
            for token_class, pico in zip(CLASSES, prices, strict=True):
                page.sample(name, f'{labels},class="{token_class}"', usd_per_million(pico))
        known = self.cache_store()
        for at, (name, kind, told) in enumerate(_STORE):
            page.family(name, kind, told)
            if known is not None:
                page.plain(name, known[at])
        page.family("gateway_build_info", "gauge", "Always 1: the version of the program and of its configuration.")
        page.sample("gateway_build_info", f'version="{escape(self.version)}",config="{escape(self.config())}"', "1")
        page.family("gateway_config_reloads_total", "counter", "Reloads of the configuration, by their result.")
        page.by("gateway_config_reloads_total", "", "result", self.reloads())

    def _levels(self, page: Page, whole: Report) -> None:
        for name, told in _LEVELS:
            page.one(name, "gauge", told, whole.levels[name])
        for name, told in _TOTALS:
            page.one(name, "counter", told, whole.totals[name])
        for family in self._process.collect():
            for sample in family.samples:
                among = whole.totals if family.type == "counter" else whole.levels
                page.one(sample.name, family.type, family.documentation, among[sample.name])


def _counts(page: Page, labelled: _Labelled, rejected: Mapping[str, int]) -> None:
    for name, label, told, counts in _BY_WORD:
        page.family(name, "counter", told)
        for labels, series in labelled:
            page.by(name, labels, label, counts(series))
    page.family("gateway_tokens_total", "counter", "Tokens in disjoint classes: their sum is the provider's total.")
    for labels, series in labelled:
        tokens = (series.input, series.cached_input, series.cache_write, series.output, series.reasoning)
        for token_class, count in zip(CLASSES, tokens, strict=True):
            page.sample("gateway_tokens_total", f'{labels},class="{token_class}"', str(count))
    name = "gateway_fallback_seconds_total"
    page.family(name, "counter", "Time that requests spent on attempts that another one followed.")
    for labels, series in labelled:
        page.sample(name, labels, repr(series.fallback_us / 1e6))
    page.family("gateway_rejected_total", "counter", "Requests refused before any attempt.")
    page.by("gateway_rejected_total", "", "reason", rejected)


def _money(page: Page, labelled: _Labelled) -> None:
    for name, told, nano in _MONEY:
        page.family(name, "counter", told)
        for labels, series in labelled:
            page.sample(name, labels, usd(nano(series)))


_CacheKey = tuple[str, str, bool]
"""route, team, simulated: no provider was asked, or it does not matter which."""


def _cache(page: Page, counts: Counts) -> None:
    hits: dict[_CacheKey, dict[str, int]] = {}
    misses: dict[_CacheKey, int] = {}
    bypasses: dict[_CacheKey, int] = {}
    for (_, _, route, team, simulated), series in counts.series.items():
        of = (route, team, simulated)
        add_words(hits.setdefault(of, {}), series.hits)
        misses[of] = misses.get(of, 0) + series.misses
        bypasses[of] = bypasses.get(of, 0) + series.bypasses
    page.family("gateway_cache_hits_total", "counter", "Requests that the response cache answered, and how.")
    for of, by_how in hits.items():
        page.by("gateway_cache_hits_total", team_labels(*of), "how", dict.fromkeys(HOW.values(), 0) | by_how)
    for name, told, found in (
        ("gateway_cache_misses_total", "Requests that the response cache could not answer.", misses),
        ("gateway_cache_bypasses_total", "Requests for which nothing was looked up in the response cache.", bypasses),
    ):
        page.family(name, "counter", told)
        for of, count in found.items():
            page.sample(name, team_labels(*of), str(count))
    page.family("gateway_cache_unkept_total", "counter", "Answers that were served and not kept, though they might be.")
    page.by("gateway_cache_unkept_total", "", "reason", counts.unkept)
    page.family("gateway_cache_bytes_total", "counter", "Bytes of answers, as they are before they are compressed.")
    for direction, size_bytes in (("kept", counts.kept_bytes), ("replayed", counts.replayed_bytes)):
        page.sample("gateway_cache_bytes_total", f'direction="{direction}"', str(size_bytes))


def _latencies(page: Page, labelled: _Labelled, counts: Counts) -> None:
    name = "gateway_request_duration_seconds"
    page.family(name, "histogram", "From dispatch to end of the attempt that ended its request; nothing cached.")
    for labels, series in labelled:
        page.histogram(name, labels, DURATION_US, series.durations, series.duration_us)
    name = "gateway_time_to_first_token_seconds"
    page.family(name, "histogram", "From dispatch to first content of the attempt that answered; nothing cached.")
    for labels, series in labelled:
        page.histogram(name, labels, TTFT_US, series.ttfts, series.ttft_us)
    name = "gateway_overhead_seconds"
    page.family(name, "histogram", "Time spent inside the gateway, not waiting for the provider.")
    for route, counted in counts.overheads.items():
        page.histogram(name, f'route="{escape(route)}"', OVERHEAD_US, counted.counts, counted.sum_us)


def provider_health(market: Market, unhealthy: Mapping[str, str]) -> list[tuple[str, str, bool]]:
    """For `Metrics.healthy`: every model of the providers in use; `unhealthy` as in Signals."""
    used = [model for model in market.plain.values() if model.provider not in market.off]
    return [(model.provider, model.id, model.id not in unhealthy) for model in used]


def prices_in_force(market: Market, now: datetime) -> list[tuple[str, str, Rates]]:
    """For `Metrics.prices`: the base rates at this instant of every priced model of the providers in use."""
    found = []
    for model in market.plain.values():
        price = None if model.provider in market.off else market.prices.at(model.id, now)
        if price is not None:
            found.append((model.provider, model.id, price.base))
    return found
