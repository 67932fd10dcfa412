import re
import shutil
import subprocess
from datetime import UTC, datetime

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.core.catalog import Model, Provider
from gateway.core.market import Market
from gateway.core.money import Nano, Pico
from gateway.core.pricing import PriceBook, PriceRow, Rates, Status
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.proxy.counts import HOW
from gateway.proxy.metrics import Metrics, prices_in_force, provider_health
from gateway.proxy.reports import Report

ANSWERED = SpendRecord(
    attempt_id="r1.1", request_id="r1", attempt=1, at_us=1_764_000_000_000_000, route="cheap", policy="cheapest",
    kind="overall", team="core", key_id="k1", provider="openai", model="openai/gpt-6-luna", simulated=False,
    stream=True, cache="off", state=State.SETTLED, outcome="ok", status=200, finish_reason="stop",
    usage_source=UsageSource.PROVIDER, input_tokens=100, cached_input_tokens=20, cache_write_tokens=3, output_tokens=40,
    reasoning_tokens=5, service_tier=None, price_id="p1", expected_nano=Nano(30_000), cost_nano=Nano(31_007),
    baseline_model="openai/gpt-5.5", baseline_price_id="p2", baseline_nano=Nano(1_500_001), duration_us=1_200_000,
    ttft_us=240_000, candidates="[]", drops="[]",
)  # fmt: skip

OPENAI = {"provider": "openai", "model": "openai/gpt-6-luna", "route": "cheap", "team": "core", "simulated": "false"}
DEEPSEEK = OPENAI | {"provider": "deepseek", "model": "deepseek/deepseek-flash"}
CACHE = {"route": "cheap", "team": "core", "simulated": "false"}


def but(**changes):
    return msgspec.structs.replace(ANSWERED, **changes)


TIMED_OUT = but(
    provider="deepseek", model="deepseek/deepseek-flash", outcome="timeout", status=504, state=State.UNCERTAIN,
    cost_nano=Nano(9_000), baseline_nano=Nano(0), duration_us=2_500_000, ttft_us=None,
)  # fmt: skip

HIT = but(
    cache="hit", outcome="cached", usage_source=UsageSource.CACHE, cost_nano=Nano(0), baseline_nano=Nano(700),
    input_tokens=0, cached_input_tokens=0, cache_write_tokens=0, output_tokens=0, reasoning_tokens=0,
    duration_us=400, ttft_us=400,
)  # fmt: skip


def samples(metrics, others=None):
    """Everything on the page, as another program reads it: {(name, labels): value}."""
    families = text_string_to_metric_families(metrics.render(others).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def reader(metrics, others=None):
    found = samples(metrics, others)
    return lambda name, labels=None, **more: found.get((name, frozenset(((labels or {}) | more).items())))


def test_an_answered_request_is_counted_once_in_every_metric():
    metrics = Metrics("1")

    metrics.record(ANSWERED, final=True)

    value = reader(metrics)
    assert value("gateway_requests_total", OPENAI, outcome="ok") == 1
    assert value("gateway_attempts_total", OPENAI, outcome="ok") == 1
    counted = [value("gateway_tokens_total", OPENAI, **{"class": name}) for name in
               ("input", "cached_input", "cache_write", "output", "reasoning")]  # fmt: skip
    assert counted == [100, 20, 3, 40, 5]
    assert value("gateway_spend_usd_total", OPENAI) == 0.000031007
    assert value("gateway_uncertain_usd_total", OPENAI) == 0
    assert value("gateway_baseline_usd_total", OPENAI) == 0.001500001
    assert value("gateway_fallbacks_total", OPENAI, reason="ok") is None


def test_an_attempt_that_was_followed_by_another_is_no_request():
    metrics = Metrics("1")

    metrics.record(TIMED_OUT, final=False)
    metrics.record(ANSWERED, final=True)

    value = reader(metrics)
    assert value("gateway_requests_total", DEEPSEEK, outcome="timeout") is None
    assert value("gateway_attempts_total", DEEPSEEK, outcome="timeout") == 1
    assert value("gateway_fallbacks_total", DEEPSEEK, reason="timeout") == 1
    assert value("gateway_fallback_seconds_total", DEEPSEEK) == 2.5
    assert value("gateway_request_duration_seconds_count", DEEPSEEK) == 0
    assert value("gateway_request_duration_seconds_count", OPENAI) == 1


def test_a_final_failure_is_a_request_with_its_outcome_and_duration():
    metrics = Metrics("1")

    metrics.record(TIMED_OUT, final=True)

    value = reader(metrics)
    assert value("gateway_requests_total", DEEPSEEK, outcome="timeout") == 1
    assert value("gateway_request_duration_seconds_count", DEEPSEEK) == 1
    assert value("gateway_time_to_first_token_seconds_count", DEEPSEEK) == 0
    assert value("gateway_fallbacks_total", DEEPSEEK, reason="timeout") is None


def test_uncertain_money_is_kept_apart_from_settled_money():
    metrics = Metrics("1")

    metrics.record(TIMED_OUT, final=False)

    value = reader(metrics)
    assert value("gateway_spend_usd_total", DEEPSEEK) == 0
    assert value("gateway_uncertain_usd_total", DEEPSEEK) == 0.000009


def test_simulated_money_is_never_mixed_into_real_money():
    metrics = Metrics("1")

    metrics.record(ANSWERED, final=True)
    metrics.record(but(simulated=True, cost_nano=Nano(5)), final=True)

    value = reader(metrics)
    assert value("gateway_spend_usd_total", OPENAI) == 0.000031007
    assert value("gateway_spend_usd_total", OPENAI | {"simulated": "true"}) == 0.000000005


def test_a_cache_hit_saves_its_whole_baseline_and_flatters_no_provider():
    metrics = Metrics("1")

    metrics.record(but(cache="miss"), final=True)
    metrics.record(HIT, final=True)
    metrics.record(HIT, final=True)

    value = reader(metrics)
    assert value("gateway_cache_hits_total", CACHE, how="fresh") == 2
    assert value("gateway_cache_misses_total", CACHE) == 1
    assert value("gateway_cached_baseline_usd_total", OPENAI) == 0.0000014
    assert value("gateway_requests_total", OPENAI, outcome="cached") == 2
    assert value("gateway_request_duration_seconds_count", OPENAI) == 1
    assert value("gateway_time_to_first_token_seconds_count", OPENAI) == 1


def test_a_cache_that_is_off_neither_hits_nor_misses():
    metrics = Metrics("1")

    metrics.record(ANSWERED, final=True)

    value = reader(metrics)
    assert value("gateway_cache_hits_total", CACHE, how="fresh") == 0
    assert value("gateway_cache_misses_total", CACHE) == 0
    assert value("gateway_cache_bypasses_total", CACHE) == 0


@pytest.mark.parametrize(
    ("cache", "how"),
    [("hit", "fresh"), ("stale", "stale"), ("coalesced", "coalesced"), ("semantic", "semantic")],
)
def test_whatever_the_cache_answers_is_counted_by_how_saves_its_baseline_and_has_no_latency(cache, how):
    metrics = Metrics("1")

    metrics.record(msgspec.structs.replace(HIT, cache=cache), final=True)

    value = reader(metrics)
    hits = {word: value("gateway_cache_hits_total", CACHE, how=word) for word in HOW.values()}
    assert hits == dict.fromkeys(HOW.values(), 0) | {how: 1}
    assert value("gateway_cached_baseline_usd_total", OPENAI) == 0.0000007
    assert value("gateway_spend_usd_total", OPENAI) == 0
    assert value("gateway_requests_total", OPENAI, outcome="cached") == 1
    assert value("gateway_request_duration_seconds_count", OPENAI) == 0
    assert value("gateway_time_to_first_token_seconds_count", OPENAI) == 0


@pytest.mark.parametrize("outcome", ["http_500", "aborted"])
def test_who_shared_a_call_that_came_to_nothing_is_a_request_and_neither_a_hit_nor_an_attempt(outcome):
    metrics = Metrics("1")

    metrics.record(msgspec.structs.replace(HIT, cache="coalesced", outcome=outcome, baseline_nano=Nano(0)), final=True)

    value = reader(metrics)
    assert value("gateway_requests_total", OPENAI, outcome=outcome) == 1
    assert value("gateway_attempts_total", OPENAI, outcome=outcome) is None
    assert value("gateway_cache_hits_total", CACHE, how="coalesced") == 0
    assert value("gateway_request_duration_seconds_count", OPENAI) == 0


def test_a_bypass_is_neither_a_hit_nor_a_miss_and_has_its_providers_latency():
    metrics = Metrics("1")

    metrics.record(but(cache="bypass"), final=True)

    value = reader(metrics)
    assert value("gateway_cache_bypasses_total", CACHE) == 1
    assert value("gateway_cache_misses_total", CACHE) == 0
    assert value("gateway_request_duration_seconds_count", OPENAI) == 1


def test_a_revalidation_costs_and_is_an_attempt_but_nobodys_request():
    metrics = Metrics("1")

    metrics.record(but(cache="revalidation", baseline_nano=Nano(0)), final=True)

    value = reader(metrics)
    assert value("gateway_attempts_total", OPENAI, outcome="ok") == 1
    assert value("gateway_spend_usd_total", OPENAI) == 0.000031007
    assert value("gateway_requests_total", OPENAI, outcome="ok") is None
    assert value("gateway_request_duration_seconds_count", OPENAI) == 0
    assert value("gateway_cache_misses_total", CACHE) == 0


def test_what_is_kept_not_kept_and_replayed_is_counted_over_all_workers():
    first, second = Metrics("1"), Metrics("1", cache_unreadable=lambda: 4)
    for worker in (first, second):
        for reason in ("oversized", "truncated", "oversized"):
            worker.unkept(reason)
        worker.kept(2_000)
        worker.replayed(700)

    value = reader(second, added(first))

    assert value("gateway_cache_unkept_total", reason="oversized") == 4
    assert value("gateway_cache_unkept_total", reason="truncated") == 2
    assert value("gateway_cache_bytes_total", direction="kept") == 4_000
    assert value("gateway_cache_bytes_total", direction="replayed") == 1_400
    assert value("gateway_cache_unreadable_total") == 4


def test_what_the_one_store_says_is_never_summed_over_its_workers():
    told = {
        "gateway_cache_store_evictions_total": 12,
        "gateway_cache_store_used_bytes": 4_096,
        "gateway_cache_store_max_bytes": 8_192,
    }
    first, second = (Metrics("1", cache_store=lambda: tuple(told.values())) for _ in range(2))

    value = reader(second, added(first))

    assert {name: value(name) for name in told} == told


def test_a_store_that_has_not_answered_yet_has_no_value():
    value = reader(Metrics("1"))

    assert value("gateway_cache_store_used_bytes") is None


def test_a_hundred_thousand_additions_of_money_equal_the_integer_sum_exactly():
    metrics = Metrics("1")
    costs = [1 + (7919 * n) % 100_003 for n in range(100_000)]

    for cost in costs:
        metrics.record(but(cost_nano=Nano(cost), baseline_nano=Nano(3 * cost)), final=True)

    page = metrics.render().decode()
    assert sum(0.000000001 * cost for cost in costs) != sum(costs) / 1e9  # what floats would have made of it
    assert written(page, "gateway_spend_usd_total") == sum(costs)
    assert written(page, "gateway_baseline_usd_total") == 3 * sum(costs)


def test_money_beyond_what_a_float_can_hold_is_written_to_the_nano_dollar():
    metrics = Metrics("1")

    metrics.record(but(cost_nano=Nano(2**53)), final=True)
    metrics.record(but(cost_nano=Nano(1)), final=True)

    assert written(metrics.render().decode(), "gateway_spend_usd_total") == 2**53 + 1


def written(page, name):
    """The nano-dollars of a metric's only series, read from its digits."""
    (text,) = re.findall(rf"^{name}\{{.*\}} (\S+)$", page, re.MULTILINE)
    whole, part = text.split(".")
    assert len(part) == 9
    return int(whole + part)


def test_a_duration_on_a_bucket_bound_belongs_to_that_bucket():
    metrics = Metrics("1")

    metrics.record(but(duration_us=1_000_000, ttft_us=600_000_000), final=True)

    value = reader(metrics)
    name = "gateway_request_duration_seconds"
    assert value(f"{name}_bucket", OPENAI, le="0.5") == 0
    assert value(f"{name}_bucket", OPENAI, le="1.0") == 1
    assert value(f"{name}_bucket", OPENAI, le="600.0") == 1
    assert value(f"{name}_bucket", OPENAI, le="+Inf") == 1
    assert value(f"{name}_sum", OPENAI) == 1
    name = "gateway_time_to_first_token_seconds"
    assert value(f"{name}_bucket", OPENAI, le="60.0") == 0
    assert value(f"{name}_bucket", OPENAI, le="+Inf") == 1
    assert value(f"{name}_count", OPENAI) == 1


def test_overhead_is_counted_by_route():
    metrics = Metrics("1")

    metrics.overhead("cheap", 0.00005)
    metrics.overhead("cheap", 0.2)

    value = reader(metrics)
    assert value("gateway_overhead_seconds_bucket", route="cheap", le="5e-05") == 1
    assert value("gateway_overhead_seconds_bucket", route="cheap", le="0.1") == 1
    assert value("gateway_overhead_seconds_count", route="cheap") == 2
    assert value("gateway_overhead_seconds_sum", route="cheap") == pytest.approx(0.20005)


def test_rejections_are_counted_by_reason():
    metrics = Metrics("1")

    for reason in ("invalid", "invalid", "unauthorised"):
        metrics.rejected(reason)

    value = reader(metrics)
    assert value("gateway_rejected_total", reason="invalid") == 2
    assert value("gateway_rejected_total", reason="unauthorised") == 1


def test_a_gauge_shows_what_its_part_says_at_the_moment_of_the_scrape():
    waiting = [3]
    metrics = Metrics("1.2.3", ledger_pending=lambda: waiting[0])
    metrics.config = lambda: "abc"
    metrics.in_flight = lambda: 7

    waiting[0] = 5

    value = reader(metrics)
    assert value("gateway_ledger_pending_rows") == 5
    assert value("gateway_in_flight_requests") == 7
    assert value("gateway_ledger_failures_total") == 0
    assert value("gateway_store_errors_total") == 0
    assert value("gateway_build_info", version="1.2.3", config="abc") == 1


def test_prices_and_health_come_from_the_market_at_this_instant():
    cut = datetime(2026, 12, 1, tzinfo=UTC)
    market = Market(
        models={name: model(name) for name in ("openai/a", "openai/unpriced", "google/off")},
        providers={name: Provider(name, "openai", "https://x", "KEY", "us") for name in ("openai", "google")},
        prices=PriceBook([
            price("openai/a", datetime(2026, 1, 1, tzinfo=UTC), 2_000_000), price("openai/a", cut, 150_000),
            price("google/off", datetime(2026, 1, 1, tzinfo=UTC), 1),
        ]),
        off={"google": "no key"},
    )  # fmt: skip
    metrics = Metrics("1", healthy=lambda: provider_health(market, {"openai/a": "5 faults in a row"}))

    for now, dollars in ((datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), 2), (cut, 0.15)):
        metrics.prices = lambda now=now: prices_in_force(market, now)
        value = reader(metrics)
        labels = {"provider": "openai", "model": "openai/a"}
        assert value("gateway_price_usd_per_million", labels, **{"class": "input"}) == dollars
        assert value("gateway_price_usd_per_million", labels, **{"class": "reasoning"}) == 5 * dollars
    assert value("gateway_provider_healthy", labels) == 0
    assert value("gateway_provider_healthy", provider="openai", model="openai/unpriced") == 1
    assert "google/off" not in metrics.render().decode()


def model(name):
    provider, bare = name.split("/")
    return Model(name, provider, bare, 1000, 100, frozenset(), 50)


def price(name, start, pico):
    rates = Rates(Pico(pico), Pico(pico // 10), Pico(0), Pico(5 * pico), Pico(5 * pico))
    return PriceRow(f"{name}@{start:%Y-%m-%d}", name, start, None, Status.ANNOUNCED, "a test", rates)


def test_label_values_are_escaped():
    metrics = Metrics('a "quoted" \\ version\nof two lines')

    found = samples(metrics)

    labels = frozenset({"version": 'a "quoted" \\ version\nof two lines', "config": ""}.items())
    assert found["gateway_build_info", labels] == 1


def test_each_series_stands_on_the_page_once():
    metrics = Metrics("1")
    for record in (TIMED_OUT, ANSWERED, HIT):
        metrics.record(record, final=True)
    metrics.overhead("cheap", 0.001)

    lines = [line.rsplit(" ", 1)[0] for line in metrics.render().decode().splitlines()]

    assert len(lines) == len(set(lines))


def test_the_counts_of_several_workers_are_one_page():
    first, second, third = Metrics("1"), Metrics("1", in_flight=lambda: 2), Metrics("1", ledger_failures=lambda: 3)
    for worker, records in ((first, [ANSWERED]), (second, [ANSWERED, TIMED_OUT]), (third, [HIT])):
        for record in records:
            worker.record(record, final=True)
        worker.overhead("cheap", 0.001)
        worker.rejected("invalid")

    page = third.render(added(first, second))

    families = text_string_to_metric_families(page.decode())
    found = {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}
    assert found["gateway_requests_total", frozenset((OPENAI | {"outcome": "ok"}).items())] == 2
    assert found["gateway_requests_total", frozenset((OPENAI | {"outcome": "cached"}).items())] == 1
    assert found["gateway_requests_total", frozenset((DEEPSEEK | {"outcome": "timeout"}).items())] == 1
    assert found["gateway_request_duration_seconds_count", frozenset(OPENAI.items())] == 2
    assert found["gateway_overhead_seconds_count", frozenset({("route", "cheap")})] == 3
    assert found["gateway_rejected_total", frozenset({("reason", "invalid")})] == 3
    assert found["gateway_ledger_failures_total", frozenset()] == 3
    assert found["gateway_in_flight_requests", frozenset()] == 2
    assert found["gateway_workers", frozenset()] == 3
    assert found["gateway_cache_hits_total", frozenset((CACHE | {"how": "fresh"}).items())] == 1


def test_the_sum_over_workers_is_exact_to_the_nano_dollar():
    workers = [Metrics("1") for _ in range(3)]
    costs = [2**53 + 1, 1, 7]
    for worker, cost in zip(workers, costs, strict=True):
        worker.record(but(cost_nano=Nano(cost)), final=True)

    assert written(workers[0].render(added(*workers[1:])).decode(), "gateway_spend_usd_total") == sum(costs)


def test_what_a_worker_counted_outlives_it_and_what_it_was_doing_does_not():
    gone, here = Metrics("1", in_flight=lambda: 5, ledger_pending=lambda: 9), Metrics("1", in_flight=lambda: 1)
    gone.record(ANSWERED, final=True)

    kept = Report()
    kept.outlive(sent(gone))
    page = here.render(kept).decode()

    assert written(page, "gateway_spend_usd_total") == ANSWERED.cost_nano
    assert "\ngateway_in_flight_requests 1\n" in page
    assert "\ngateway_ledger_pending_rows 0\n" in page
    assert "\ngateway_workers 1\n" in page


def test_asking_for_the_sum_changes_nobodys_counts():
    first, second = Metrics("1"), Metrics("1")
    first.record(ANSWERED, final=True)
    second.record(ANSWERED, final=True)

    pages = [first.render(added(second)).decode() for _ in range(3)]

    assert [written(page, "gateway_spend_usd_total") for page in pages] == [2 * ANSWERED.cost_nano] * 3


def sent(metrics):
    """The report as the other side reads it."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(metrics.report()), type=Report)


def added(*workers):
    whole = Report()
    for worker in workers:
        whole.add(sent(worker))
    return whole


def test_promtool_accepts_the_page():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    metrics = Metrics("1")
    metrics.record(ANSWERED, final=True)
    metrics.overhead("cheap", 0.001)
    metrics.rejected("invalid")
    metrics.unkept("oversized")
    metrics.cache_store = lambda: (1, 2, 3)

    done = subprocess.run([promtool, "check", "metrics"], input=metrics.render(), capture_output=True, check=False)

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
