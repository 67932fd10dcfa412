"""For those on call: whether requests are answered, how fast, by whom, and whether spend is being booked."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard
from kit import (
    ALL,
    BYTES,
    BYTES_PER_SECOND,
    COUNT,
    FAILED,
    NO_PROVIDER,
    PACE,
    PER_SECOND,
    PROVIDER,
    ROUTE,
    SECONDS,
    SHARE,
    USD,
    Column,
    Line,
    Panel,
    dashboard,
    hit_rate,
    lines,
    number,
    or_zero,
    ours,
    pace,
    quantile,
    rows,
    states,
    total,
)

DURATION = "gateway_request_duration_seconds"
TTFT = "gateway_time_to_first_token_seconds"
OVERHEAD = "gateway_overhead_seconds"
PERCENTILES = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))


def operators() -> Dashboard:
    return dashboard(
        "llm-gateway-operators",
        "LLM gateway: operations",
        "Whether requests are answered, how fast, by whom, and whether spend is being booked.",
        since="now-1h",
        content={
            "Now": now(),
            "Traffic and errors": traffic(),
            "Latency": latency(),
            "Providers": providers(),
            "Response cache": cache(),
            "Booking and process": books(),
        },
    )


def now() -> list[Panel]:
    every = pace("gateway_requests_total")
    failed = or_zero(pace("gateway_requests_total", where=f"{ALL},{FAILED}"))
    return [
        number("Requests", "Finished requests per second.", every, PER_SECOND, width=3),
        number(
            "Failed",
            "Share of requests that failed after all fallbacks, not counting callers that left or asked wrongly.",
            f"({failed}) / {every}",
            SHARE,
            width=3,
            decimals=2,
            colours=((None, "green"), (0.01, "orange"), (0.05, "red")),
        ),
        number(
            "Duration, p95",
            "Nineteen of twenty requests took less, from dispatch to the last byte.",
            quantile(0.95, DURATION),
            SECONDS,
            width=3,
        ),
        number("First token, p95", "Nineteen of twenty answers began sooner.", quantile(0.95, TTFT), SECONDS, width=3),
        number(
            "Overhead, p99",
            "Time inside the gateway itself, not waiting for providers. It should stay within milliseconds; more means "
            "a busy processor or a slow store.",
            quantile(0.99, OVERHEAD, where=ROUTE),
            SECONDS,
            width=3,
            colours=((None, "green"), (0.01, "orange"), (0.05, "red")),
        ),
        number(
            "Cache hit rate",
            "Share of requests that the response cache answered, or a call that was shared, where it is on.",
            hit_rate(),
            SHARE,
            width=3,
            decimals=1,
        ),
        number(
            "In flight",
            "Requests being served at this moment, by all workers together.",
            "sum (gateway_in_flight_requests)",
            COUNT,
            width=3,
            decimals=0,
        ),
        number(
            "Ledger backlog",
            "Records that wait to be written. It returns to zero within a second; when it keeps growing the database "
            "is away, and at its limit new requests are refused.",
            "sum (gateway_ledger_pending_rows)",
            COUNT,
            width=3,
            decimals=0,
            colours=((None, "green"), (1_000, "orange"), (50_000, "red")),
        ),
    ]


def traffic() -> list[Panel]:
    failures = pace("gateway_requests_total", "provider, outcome", where=f"{ALL},{FAILED}")
    return [
        lines(
            "Requests by route",
            "Finished requests per second.",
            PER_SECOND,
            Line(pace("gateway_requests_total", "route"), "{{route}}"),
            stacked=True,
        ),
        lines(
            "Attempts by model",
            "Attempts per second; more than requests means that fallbacks are at work.",
            PER_SECOND,
            Line(pace("gateway_attempts_total", "model"), "{{model}}"),
            stacked=True,
        ),
        lines(
            "Requests by outcome",
            "How requests end. 'ok' and 'cached' were answered; 'aborted', 'cancelled' and 'client_stalled' were ended "
            "by the caller, and 'http_400', 'http_413' and 'http_422' are the caller's mistakes; the rest failed.",
            PER_SECOND,
            Line(pace("gateway_requests_total", "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        lines(
            "Failures by provider and outcome",
            "Requests that failed after all fallbacks: the provider asked last, and how it failed. Empty is good.",
            PER_SECOND,
            Line(failures, "{{provider}} {{outcome}}"),
        ),
        lines(
            "Refused before any attempt",
            "Requests turned away, by reason: malformed, unauthorised, no candidate able to serve, overload. Not "
            "filtered by the variables above. Empty is good.",
            PER_SECOND,
            Line(pace("gateway_rejected_total", "reason", where=""), "{{reason}}"),
            width=24,
        ),
    ]


def latency() -> list[Panel]:
    return [
        lines(
            "Duration",
            "From dispatch to the last byte, of the attempt that ended the request; cache hits are left out. Time lost "
            "on earlier attempts is shown under 'Providers'.",
            SECONDS,
            *(Line(quantile(q, DURATION), name) for q, name in PERCENTILES),
        ),
        lines(
            "Duration by model, p95",
            "Which model is slow. Long answers take long everywhere; compare the time to the first token too.",
            SECONDS,
            Line(quantile(0.95, DURATION, "model"), "{{model}}"),
        ),
        lines(
            "Time to first token",
            "From dispatch to the first content: what the reader of a stream waits for. Cache hits are left out.",
            SECONDS,
            *(Line(quantile(q, TTFT), name) for q, name in PERCENTILES),
        ),
        lines(
            "Time to first token by model, p95",
            "Which provider lets requests queue.",
            SECONDS,
            Line(quantile(0.95, TTFT, "model"), "{{model}}"),
        ),
        lines(
            "Overhead",
            "Time inside the gateway, not waiting for providers. Not filtered by provider or team.",
            SECONDS,
            *(Line(quantile(q, OVERHEAD, where=ROUTE), name) for q, name in PERCENTILES),
        ),
        lines(
            "Overhead by route, p99",
            "Whether one route is dearer to decide than the others.",
            SECONDS,
            Line(quantile(0.99, OVERHEAD, "route", where=ROUTE), "{{route}}"),
        ),
    ]


def providers() -> list[Panel]:
    return [
        lines(
            "Fallbacks by provider left behind and reason",
            "Attempts per second that failed and were followed by another: callers did not see these faults, but "
            "waited for them. Empty is good.",
            PER_SECOND,
            Line(pace("gateway_fallbacks_total", "provider, reason"), "{{provider}} {{reason}}"),
        ),
        lines(
            "Requests waiting in vain",
            "How many requests are, on average, waiting for a provider that they will have to leave: seconds lost to "
            "fallbacks, per second.",
            COUNT,
            Line(pace("gateway_fallback_seconds_total", "provider"), "{{provider}}"),
        ),
        states(
            "Provider health",
            "Whether each model may be used. One that fails repeatedly is set aside for a while and then tried again; "
            "red means set aside in at least one worker.",
            Line(f"min by (model) (gateway_provider_healthy{{{PROVIDER}}})", "{{model}}"),
            {"1": ("in use", "green"), "0": ("set aside", "red")},
        ),
        rows(
            "Attempts by provider and outcome",
            "Every attempt in the time range on the screen, also those that a fallback made up for.",
            ("provider", "outcome"),
            Column("Attempts", COUNT, total("gateway_attempts_total", "provider, outcome")),
        ),
    ]


def cache() -> list[Panel]:
    return [
        lines(
            "Cache hit rate by how",
            "Of the requests on routes with a cache: fresh, from a kept answer; stale, from one that is past its end; "
            "coalesced, from the call of an equal request; semantic, from a question that means the same.",
            SHARE,
            Line(hit_rate("how"), "{{how}}"),
            stacked=True,
        ),
        lines(
            "Requests and the cache",
            "Per second. A miss looked and found nothing; a bypass did not look. Not filtered by provider.",
            PER_SECOND,
            Line(pace("gateway_cache_hits_total", "how", where=NO_PROVIDER), "{{how}}"),
            Line(pace("gateway_cache_misses_total", where=NO_PROVIDER), "miss"),
            Line(pace("gateway_cache_bypasses_total", where=NO_PROVIDER), "bypass"),
            stacked=True,
        ),
        lines(
            "Calls saved by equal requests",
            "Requests per second that shared the call of another one, by route. Not filtered by provider.",
            PER_SECOND,
            Line(
                pace("gateway_cache_hits_total", "route", where=f'{NO_PROVIDER},how="coalesced"'),
                "{{route}}",
            ),
        ),
        lines(
            "Saved by the cache, dollars per hour",
            "Baseline of the answers that came from the cache or from a call that was shared, by team.",
            USD,
            Line(f"3600 * {pace('gateway_cached_baseline_usd_total', 'team')}", "{{team}}"),
            stacked=True,
        ),
        lines(
            "Answers in and out of the cache, bytes per second",
            "As they are before they are compressed. Not filtered by the variables above.",
            BYTES_PER_SECOND,
            Line(pace("gateway_cache_bytes_total", "direction", where=""), "{{direction}}"),
        ),
        lines(
            "Answers that were not kept, by reason",
            "Per second; each was served. 'oversized' wants a larger max_kib; 'away' is a store that does not answer. "
            "Not filtered by the variables above.",
            PER_SECOND,
            Line(pace("gateway_cache_unkept_total", "reason", where=""), "{{reason}}"),
            stacked=True,
        ),
        lines(
            "The cache's store, memory",
            "What the store uses for all that is kept there, and what it may use; 0 is no limit. Gateways that share a "
            "store show the same lines.",
            BYTES,
            Line("max by (instance) (gateway_cache_store_used_bytes)", "used, {{instance}}"),
            Line("max by (instance) (gateway_cache_store_max_bytes)", "limit, {{instance}}"),
        ),
        lines(
            "The cache's store, evicted and unreadable per second",
            "Evicted: kept answers that gave way to others before their end; steadily, the store is too small. "
            "Unreadable: values that did not open and were deleted, as after a key was taken away.",
            COUNT,
            Line(f"max by (instance) (rate(gateway_cache_store_evictions_total[{PACE}]))", "evicted, {{instance}}"),
            Line(pace("gateway_cache_unreadable_total", where=""), "unreadable"),
        ),
    ]


def books() -> list[Panel]:
    return [
        lines(
            "Ledger backlog by gateway",
            "Records that wait to be written.",
            COUNT,
            Line("sum by (instance) (gateway_ledger_pending_rows)", "{{instance}}"),
        ),
        lines(
            "Errors of ledger, store and learning per second",
            "Refused writes to the ledger are repeated, nothing is lost; errors of the store cost cache hits; what is "
            "learned and cannot be shared is kept for later. All should be zero.",
            COUNT,
            Line(pace("gateway_ledger_failures_total", where=""), "ledger"),
            Line(pace("gateway_store_errors_total", where=""), "store"),
            Line(pace("gateway_learning_failures_total", where=""), "learning"),
        ),
        lines(
            "Learned and not yet shared",
            "Answers, and tallies of them, that the other workers have not been told of. It falls to zero every few "
            "seconds while the database is there.",
            COUNT,
            Line("sum by (instance) (gateway_learning_pending)", "{{instance}}"),
        ),
        rows(
            "Reloads of the configuration",
            "In the time range on the screen. Refused: a file with a mistake; the configuration of before stays in "
            "force, and the log and GET /admin/config name the line.",
            ("result",),
            Column("Reloads", COUNT, total("gateway_config_reloads_total", "result", where="")),
        ),
        lines(
            "In flight by gateway",
            "Requests being served. A line that only climbs is a provider that no longer answers.",
            COUNT,
            Line("sum by (instance) (gateway_in_flight_requests)", "{{instance}}"),
        ),
        lines(
            "Processor time of a worker",
            "Of a gateway's workers the mean. Each uses one core: near 100% more of them are needed.",
            SHARE,
            Line(f"rate(process_cpu_seconds_total[{PACE}]) / on (job, instance) gateway_workers", "{{instance}}"),
        ),
        lines(
            "Memory by gateway",
            "Resident. It levels off; a line that climbs for days is a leak.",
            BYTES,
            Line(ours("process_resident_memory_bytes"), "{{instance}}"),
        ),
        rows(
            "Versions in use",
            "Program and configuration of every worker. More than one configuration for longer than a rollout takes "
            "means that a worker did not take the new one.",
            ("version", "config"),
            Column("Workers", COUNT, "count by (version, config) (gateway_build_info)"),
            width=24,
        ),
    ]
