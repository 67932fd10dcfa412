"""Build the Grafana dashboards: `python dashboards/build.py` writes the JSON, `--check` only says whether it is current.

Two readers, two dashboards: finance.json says what was spent and saved, operators.json whether the service is well.
Every expression here is executed against a real Prometheus in tests/dashboards.

Money: "spend" is what was settled plus what is uncertain, so that baseline - spend = savings adds up on the screen and a
saving is never overstated. Prometheus extrapolates between scrapes; the ledger stays the book.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common as ui
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common, prometheus as promodels
from grafana_foundation_sdk.models import dashboard as model

HERE = Path(__file__).parent
TAG = "llm-gateway"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Units, as Grafana names them.
USD, SHARE, COUNT, SECONDS, PER_SECOND = "currencyUSD", "percentunit", "short", "s", "reqps"

# What the variables at the top of the page select. The cache and the door know less than a provider's series.
ALL = 'simulated="$simulated",provider=~"$provider",route=~"$route",team=~"$team"'
NO_PROVIDER = 'simulated="$simulated",route=~"$route",team=~"$team"'
ROUTE = 'route=~"$route"'
PROVIDER = 'provider=~"$provider"'

RANGE = "$__range"
"""The time range on the screen: for amounts."""

PACE = "$__rate_interval"
"""As short as the scrape interval allows: for lines over time."""

ANSWERED = 'outcome=~"ok|aborted|cached"'
"""A caller that leaves early ('aborted') has been answered, and the provider bills the answer."""

FAILED = 'outcome!~"ok|aborted|cached|cancelled|client_stalled"'
"""Neither answered nor ended by the caller."""


# Expressions ---------------------------------------------------------------------------------------------------------


def total(metric: str, by: str = "", *, over: str = RANGE, where: str = ALL) -> str:
    """How much a counter grew."""
    return f"sum{_by(by)} (increase({metric}{{{where}}}[{over}]))"


def pace(metric: str, by: str = "", *, where: str = ALL) -> str:
    """How much a counter grows per second."""
    return f"sum{_by(by)} (rate({metric}{{{where}}}[{PACE}]))"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""


def spend(by: str = "") -> str:
    return f"({total('gateway_spend_usd_total', by)} + {total('gateway_uncertain_usd_total', by)})"


def baseline(by: str = "") -> str:
    return total("gateway_baseline_usd_total", by)


def savings(by: str = "") -> str:
    return f"({baseline(by)} - {spend(by)})"


def spend_per_hour(by: str = "") -> str:
    return f"3600 * ({pace('gateway_spend_usd_total', by)} + {pace('gateway_uncertain_usd_total', by)})"


def baseline_per_hour(by: str = "") -> str:
    return f"3600 * {pace('gateway_baseline_usd_total', by)}"


def answers(by: str = "") -> str:
    return total("gateway_requests_total", by, where=f"{ALL},{ANSWERED}")


def per_thousand(by: str = "") -> str:
    return f"1000 * {spend(by)} / {answers(by)}"


def quantile(q: float, metric: str, by: str = "", *, where: str = ALL) -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{where}}}[{PACE}])))"


def hit_rate(over: str) -> str:
    hits = total("gateway_cache_hits_total", over=over, where=NO_PROVIDER)
    misses = total("gateway_cache_misses_total", over=over, where=NO_PROVIDER)
    return f"{hits} / ({hits} + {misses})"


def or_zero(expr: str) -> str:
    """For what has never happened yet and therefore has no series: that is zero, not unknown."""
    return f"({expr}) or vector(0)"


def ours(metric: str) -> str:
    """A metric that every program exports, of the gateway's processes only."""
    return f"{metric} and on (job, instance) gateway_build_info"


# Panels --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Line:
    """One query of a panel, and how its series are called in the legend."""

    expr: str
    legend: str = ""


def _query(line: Line, number: int) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(line.expr).ref_id(chr(ord("A") + number)).datasource(SOURCE)
    return query.legend_format(line.legend) if line.legend else query


def number(title: str, told: str, expr: str, unit: str, *, width: int = 4, decimals: int | None = None,
           steps: Sequence[tuple[float | None, str]] = ()) -> stat.Panel:  # fmt: skip
    """One number for the time range on the screen. steps: colours from each value upwards."""
    panel = (
        stat.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(4)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(ui.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_query(Line(expr), 0).instant())
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if steps:
        panel = panel.thresholds(_steps(steps)).color_mode(common.BigValueColorMode.VALUE)
    else:
        panel = panel.color_mode(common.BigValueColorMode.NONE)
    return panel


def _steps(steps: Sequence[tuple[float | None, str]]) -> grafana.ThresholdsConfig:
    thresholds = [model.Threshold(value=value, color=colour) for value, colour in steps]
    return grafana.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(thresholds)


def lines(title: str, told: str, unit: str, *queries: Line, width: int = 12, stacked: bool = False) -> timeseries.Panel:
    """Lines over time, with a table of their last and mean values."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(8)
        .line_width(1)
        .fill_opacity(40 if stacked else 0)
        .show_points(common.VisibilityMode.AUTO)
        .axis_soft_min(0)
        .legend(
            ui.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.TABLE)
            .placement(common.LegendPlacement.RIGHT)
            .show_legend(True)
            .calcs(["lastNotNull", "mean"])
        )
        .tooltip(ui.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI).sort(common.SortOrder.DESCENDING))
    )
    if stacked:
        panel = panel.stacking(ui.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    for position, line in enumerate(queries):
        panel = panel.with_target(_query(line, position))
    return panel


def steps(title: str, told: str, unit: str, *queries: Line, width: int = 12) -> timeseries.Panel:
    """Lines for what holds until it changes, such as a price."""
    return lines(title, told, unit, *queries, width=width).line_interpolation(common.LineInterpolation.STEP_AFTER)


def share(title: str, told: str, expr: str, legend: str, *, width: int = 12) -> timeseries.Panel:
    """How a whole divides, over time."""
    panel = lines(title, told, SHARE, Line(expr, legend), width=width)
    return panel.fill_opacity(60).max(1).stacking(ui.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    unit: str
    expr: str


def rows(title: str, told: str, *columns: Column, first: Sequence[str] = (), width: int = 12) -> table.Panel:
    """A table with a row for each combination of the labels that the columns' queries keep; sorted by its first column.

    first: those labels, as they stand before the columns.
    """
    panel = table.Panel().title(title).description(told).datasource(SOURCE).span(width).height(8)
    names = {}
    for position, column in enumerate(columns):
        query = _query(Line(column.expr), position).instant().format(promodels.PromQueryFormat.TABLE)
        panel = panel.with_target(query)
        # Grafana calls the only value column "Value", and numbers them when there are more.
        names[f"Value #{chr(ord('A') + position)}" if len(columns) > 1 else "Value"] = column.title
        panel = panel.override_by_name(column.title, [model.DynamicConfigValue(id_val="unit", value=column.unit)])
    order = {name: place for place, name in enumerate((*first, *names))}
    organise = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=organise))
    return panel.sort_by([ui.TableSortByFieldState().display_name(columns[0].title).desc(True)])


def states(title: str, told: str, line: Line, words: dict[str, tuple[str, str]], *, width: int = 12) -> statetimeline.Panel:
    """Which state something was in. words: value -> (word, colour)."""
    mapping = model.ValueMap(
        options={value: model.ValueMappingResult(text=word, color=colour) for value, (word, colour) in words.items()}
    )
    return (
        statetimeline.Panel()
        .title(title)
        .description(told)
        .datasource(SOURCE)
        .span(width)
        .height(8)
        .mappings([mapping])
        .show_value(common.VisibilityMode.NEVER)
        .row_height(0.8)
        .legend(
            ui.VizLegendOptions()
            .display_mode(common.LegendDisplayMode.LIST)
            .placement(common.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .with_target(_query(line, 0))
    )


# Variables -----------------------------------------------------------------------------------------------------------


def _labels(name: str, title: str, where: str) -> grafana.QueryVariable:
    """A choice among the values of one label; all of them unless something is chosen."""
    query = f"label_values(gateway_requests_total{{{where}}}, {name})"
    return (
        grafana.QueryVariable(name)
        .label(title)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _dashboard(uid: str, title: str, told: str, since: str) -> grafana.Dashboard:
    simulated = [model.VariableOption(selected=one == "false", text=one, value=one) for one in ("false", "true")]
    links = grafana.DashboardLink("Gateway dashboards").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    return (
        grafana.Dashboard(title)
        .uid(uid)
        .description(told)
        .tags([TAG])
        .time(since, "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(links.as_dropdown(True).include_vars(True).keep_time(True))
        .with_variable(grafana.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .with_variable(
            grafana.CustomVariable("simulated")
            .label("Simulated")
            .description("Whether to show the traffic of simulated providers, whose money is not real.")
            .values("false,true")
            .options(simulated)
            .current(simulated[0])
        )
        .with_variable(_labels("provider", "Provider", 'simulated="$simulated"'))
        .with_variable(_labels("route", "Route", 'simulated="$simulated"'))
        .with_variable(_labels("team", "Team", 'simulated="$simulated"'))
    )


# Dashboards ----------------------------------------------------------------------------------------------------------

BOOK = "Prometheus extrapolates between scrapes; `gateway spend` reads the ledger, which is exact."


def finance() -> grafana.Dashboard:
    board = _dashboard(
        "llm-gateway-finance", "LLM gateway: spend and savings",
        "What model calls cost, what they would have cost at each route's baseline model, and why. " + BOOK, "now-7d",
    )  # fmt: skip
    _finance_summary(board.with_row(grafana.Row("In the time range on the screen")))
    _finance_pace(board.with_row(grafana.Row("Spend over time")))
    _finance_tables(board.with_row(grafana.Row("Who and what it was spent on")))
    _finance_prices(board.with_row(grafana.Row("Price war: does traffic follow the prices?")))
    _finance_cache(board.with_row(grafana.Row("Cache, tokens and uncertain spend")))
    return board


def _finance_summary(board: grafana.Dashboard) -> None:
    board.with_panel(number(
        "Spend", "What providers bill for this traffic: settled plus uncertain. " + BOOK, spend(), USD,
    ))  # fmt: skip
    board.with_panel(number(
        "Baseline", "What the same answers would have cost at the baseline model that each route declares, at the prices "
        "in force at that instant and with the same tokens.", baseline(), USD,
    ))  # fmt: skip
    board.with_panel(number(
        "Savings", "Baseline less spend. Failed attempts count against it; negative means that routing cost more than "
        "the baseline would have.", savings(), USD, steps=((None, "red"), (0, "green")),
    ))  # fmt: skip
    board.with_panel(number(
        "Savings, share of baseline", "How much less was spent than the baseline would have cost.",
        f"{savings()} / {baseline()}", SHARE, decimals=1, steps=((None, "red"), (0, "green")),
    ))  # fmt: skip
    board.with_panel(number(
        "Uncertain spend", "The part of the spend that rests on an estimate, because the provider reported no usage: "
        "answers that were cut, timed out or abandoned. Compare it with the provider's invoice.",
        total("gateway_uncertain_usd_total"), USD,
    ))  # fmt: skip
    board.with_panel(number(
        "Spend per 1,000 answers", "Spend, failed attempts included, for each thousand answered requests, cache hits "
        "included.", per_thousand(), USD,
    ))  # fmt: skip


def _finance_pace(board: grafana.Dashboard) -> None:
    board.with_panel(lines(
        "Spend and baseline, dollars per hour", "The gap between the lines is what is being saved.", USD,
        Line(spend_per_hour(), "spend"), Line(baseline_per_hour(), "baseline"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Savings by route, dollars per hour", "Baseline less spend. A line below zero is a route that loses money "
        "against its baseline.", USD,
        Line(f"{baseline_per_hour('route')} - {spend_per_hour('route')}", "{{route}}"),
    ))  # fmt: skip
    for label in ("provider", "model", "route", "team"):
        board.with_panel(lines(
            f"Spend by {label}, dollars per hour", f"Settled and uncertain spend of each {label}, stacked: the height is "
            "the whole.", USD, Line(spend_per_hour(label), f"{{{{{label}}}}}"), stacked=True,
        ))  # fmt: skip


def _finance_tables(board: grafana.Dashboard) -> None:
    for label, told in (
        ("provider", "Who will send the invoice, and how high."),
        ("model", "Which models the money goes to."),
        ("route", "Which routes save, and against which baseline they were set up."),
        ("team", "What to charge each team, and what it saved."),
    ):
        board.with_panel(rows(
            f"By {label}", f"{told} {BOOK}",
            Column("Spend", USD, spend(label)),
            Column("of it uncertain", USD, total("gateway_uncertain_usd_total", label)),
            Column("Baseline", USD, baseline(label)),
            Column("Savings", USD, savings(label)),
            Column("Savings %", SHARE, f"{savings(label)} / {baseline(label)}"),
            Column("Answers", COUNT, answers(label)),
            Column("per 1,000 answers", USD, per_thousand(label)),
            first=(label,),
        ))  # fmt: skip


def _finance_prices(board: grafana.Dashboard) -> None:
    requests = pace("gateway_requests_total", "model", where=f"{ALL},{ANSWERED}")
    every = pace("gateway_requests_total", where=f"{ALL},{ANSWERED}")
    board.with_panel(share(
        "Traffic share by model", "Which model answers, as a share of all answers. After a price change beside it, the "
        "shares should move.", f"{requests} / ignoring (model) group_left {every}", "{{model}}",
    ))  # fmt: skip
    for word, token_class in (("Output", "output"), ("Input", "input")):
        price = f'max by (model) (gateway_price_usd_per_million{{{PROVIDER},class="{token_class}"}})'
        board.with_panel(steps(
            f"{word} price in force, dollars per million tokens", "What each model costs now, weekly windows included; "
            "a step is a price change coming into force. Long contexts and service tiers may cost more.", USD,
            Line(price, "{{model}}"),
        ))  # fmt: skip
    board.with_panel(lines(
        "Spend per 1,000 answers by route", "Whether a price change reached the bill.", USD,
        Line(f"1000 * ({spend_per_hour('route')}) / (3600 * "
             f"{pace('gateway_requests_total', 'route', where=f'{ALL},{ANSWERED}')})", "{{route}}"),
    ))  # fmt: skip
    classes = (("Input", "input"), ("Cached input", "cached_input"), ("Cache write", "cache_write"), ("Output", "output"))
    board.with_panel(rows(
        "Price list in force now", "Dollars per million tokens of every model that could be used.",
        *(Column(title, USD, f'max by (provider, model) (gateway_price_usd_per_million{{{PROVIDER},class="{name}"}})')
          for title, name in classes),
        first=("provider", "model"), width=24,
    ))  # fmt: skip


def _finance_cache(board: grafana.Dashboard) -> None:
    board.with_panel(number(
        "Saved by the response cache", "What answers from the cache would have cost at the baseline. It is a part of "
        "the savings.", total("gateway_cached_baseline_usd_total"), USD, width=6,
    ))  # fmt: skip
    board.with_panel(number(
        "Answers from the cache", "Requests that no provider was asked for. Not filtered by provider.",
        total("gateway_cache_hits_total", where=NO_PROVIDER), COUNT, width=6, decimals=0,
    ))  # fmt: skip
    cached = total("gateway_tokens_total", where=f'{ALL},class="cached_input"')
    prompt = total("gateway_tokens_total", where=f'{ALL},class=~"input|cached_input|cache_write"')
    board.with_panel(number(
        "Prompt tokens from providers' caches", "Share of prompt tokens that providers billed at their lower rate for "
        "cached input. It is not counted as savings: the baseline gets the same discount.", f"{cached} / {prompt}", SHARE,
        width=6, decimals=1,
    ))  # fmt: skip
    board.with_panel(number(
        "Uncertain, share of spend", "How much of the spend rests on estimates. More than a few percent deserves a look "
        "at the failures.", f"{total('gateway_uncertain_usd_total')} / {spend()}", SHARE, width=6, decimals=2,
    ))  # fmt: skip
    board.with_panel(lines(
        "Saved by the response cache, dollars per hour", "Baseline of the answers that came from the cache.", USD,
        Line(f"3600 * {pace('gateway_cached_baseline_usd_total', 'route')}", "{{route}}"), stacked=True,
    ))  # fmt: skip
    board.with_panel(lines(
        "Cache hits and misses per second", "Requests of routes whose cache is on. Not filtered by provider.", PER_SECOND,
        Line(pace("gateway_cache_hits_total", where=NO_PROVIDER), "hits"),
        Line(pace("gateway_cache_misses_total", where=NO_PROVIDER), "misses"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Tokens by class, per second", "Disjoint classes: stacked, they are all tokens. Output and reasoning cost most.",
        COUNT, Line(pace("gateway_tokens_total", "class"), "{{class}}"), stacked=True,
    ))  # fmt: skip
    board.with_panel(lines(
        "Uncertain spend by provider, dollars per hour", "Estimates for attempts whose usage was not reported. A rising "
        "line is a provider that breaks off.", USD,
        Line(f"3600 * {pace('gateway_uncertain_usd_total', 'provider')}", "{{provider}}"),
    ))  # fmt: skip


def operators() -> grafana.Dashboard:
    board = _dashboard(
        "llm-gateway-operators", "LLM gateway: operations",
        "Whether requests are answered, how fast, by whom, and whether spend is being booked.", "now-1h",
    )  # fmt: skip
    _operators_summary(board.with_row(grafana.Row("Now")))
    _operators_traffic(board.with_row(grafana.Row("Traffic and errors")))
    _operators_latency(board.with_row(grafana.Row("Latency")))
    _operators_providers(board.with_row(grafana.Row("Providers")))
    _operators_books(board.with_row(grafana.Row("Booking, cache and process")))
    return board


DURATION = "gateway_request_duration_seconds"
TTFT = "gateway_time_to_first_token_seconds"
OVERHEAD = "gateway_overhead_seconds"


def _operators_summary(board: grafana.Dashboard) -> None:
    every = pace("gateway_requests_total")
    failed = or_zero(pace("gateway_requests_total", where=f"{ALL},{FAILED}"))
    board.with_panel(number(
        "Requests", "Finished requests per second.", every, PER_SECOND, width=3,
    ))  # fmt: skip
    board.with_panel(number(
        "Failed", "Share of requests that ended in a failure after all fallbacks. Callers that left are not failures.",
        f"({failed}) / {every}", SHARE, width=3, decimals=2, steps=((None, "green"), (0.01, "orange"), (0.05, "red")),
    ))  # fmt: skip
    board.with_panel(number(
        "Duration, p95", "Nineteen of twenty requests took less, from dispatch to the last byte.",
        quantile(0.95, DURATION), SECONDS, width=3,
    ))  # fmt: skip
    board.with_panel(number(
        "First token, p95", "Nineteen of twenty answers began sooner.", quantile(0.95, TTFT), SECONDS, width=3,
    ))  # fmt: skip
    board.with_panel(number(
        "Overhead, p99", "Time inside the gateway itself, not waiting for providers. It should stay within "
        "milliseconds; more means a busy processor or a slow store.", quantile(0.99, OVERHEAD, where=ROUTE), SECONDS,
        width=3, steps=((None, "green"), (0.01, "orange"), (0.05, "red")),
    ))  # fmt: skip
    board.with_panel(number(
        "Cache hit rate", "Share of requests answered from the response cache, where it is on.", hit_rate(PACE), SHARE,
        width=3, decimals=1,
    ))  # fmt: skip
    board.with_panel(number(
        "In flight", "Requests being served at this moment, by all workers together.",
        "sum (gateway_in_flight_requests)", COUNT, width=3, decimals=0,
    ))  # fmt: skip
    board.with_panel(number(
        "Ledger backlog", "Records that wait to be written. It returns to zero within a second; when it keeps growing "
        "the database is away, and at its limit new requests are refused.", "sum (gateway_ledger_pending_rows)", COUNT,
        width=3, decimals=0, steps=((None, "green"), (1_000, "orange"), (50_000, "red")),
    ))  # fmt: skip


def _operators_traffic(board: grafana.Dashboard) -> None:
    board.with_panel(lines(
        "Requests by route", "Finished requests per second.", PER_SECOND,
        Line(pace("gateway_requests_total", "route"), "{{route}}"), stacked=True,
    ))  # fmt: skip
    board.with_panel(lines(
        "Attempts by model", "Attempts per second; more than requests means that fallbacks are at work.", PER_SECOND,
        Line(pace("gateway_attempts_total", "model"), "{{model}}"), stacked=True,
    ))  # fmt: skip
    board.with_panel(lines(
        "Requests by outcome", "How requests end. 'ok' and 'cached' were answered; 'aborted', 'cancelled' and "
        "'client_stalled' were ended by the caller; the rest failed.", PER_SECOND,
        Line(pace("gateway_requests_total", "outcome"), "{{outcome}}"), stacked=True,
    ))  # fmt: skip
    board.with_panel(lines(
        "Failures by provider and outcome", "Requests that failed after all fallbacks: the provider asked last, and how "
        "it failed. Empty is good.", PER_SECOND,
        Line(pace("gateway_requests_total", "provider, outcome", where=f"{ALL},{FAILED}"), "{{provider}} {{outcome}}"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Refused before any attempt", "Requests turned away, by reason: malformed, unauthorised, no candidate able to "
        "serve, overload. Not filtered by the variables above. Empty is good.", PER_SECOND,
        Line(pace("gateway_rejected_total", "reason", where=""), "{{reason}}"), width=24,
    ))  # fmt: skip


def _operators_latency(board: grafana.Dashboard) -> None:
    three = ((0.5, "p50"), (0.95, "p95"), (0.99, "p99"))
    board.with_panel(lines(
        "Duration", "From dispatch to the last byte, of the attempt that ended the request; cache hits are left out. "
        "Time lost on earlier attempts is under 'Providers'.", SECONDS,
        *(Line(quantile(q, DURATION), name) for q, name in three),
    ))  # fmt: skip
    board.with_panel(lines(
        "Duration by model, p95", "Which model is slow. Long answers take long everywhere; compare the time to the "
        "first token too.", SECONDS, Line(quantile(0.95, DURATION, "model"), "{{model}}"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Time to first token", "From dispatch to the first content: what a reader of a stream waits for.", SECONDS,
        *(Line(quantile(q, TTFT), name) for q, name in three),
    ))  # fmt: skip
    board.with_panel(lines(
        "Time to first token by model, p95", "Which provider is queueing.", SECONDS,
        Line(quantile(0.95, TTFT, "model"), "{{model}}"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Overhead", "Time inside the gateway, not waiting for providers. Not filtered by provider or team.", SECONDS,
        *(Line(quantile(q, OVERHEAD, where=ROUTE), name) for q, name in three),
    ))  # fmt: skip
    board.with_panel(lines(
        "Overhead by route, p99", "Whether one route is dearer to decide than the others.", SECONDS,
        Line(quantile(0.99, OVERHEAD, "route", where=ROUTE), "{{route}}"),
    ))  # fmt: skip


def _operators_providers(board: grafana.Dashboard) -> None:
    board.with_panel(lines(
        "Fallbacks by provider left behind and reason", "Attempts per second that failed and were followed by another: "
        "callers did not see these faults, but waited for them. Empty is good.", PER_SECOND,
        Line(pace("gateway_fallbacks_total", "provider, reason"), "{{provider}} {{reason}}"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Time lost to fallbacks", "Seconds that requests spent, each second, waiting for providers that were then left: "
        "1 means that one request is always waiting in vain.", COUNT,
        Line(pace("gateway_fallback_seconds_total", "provider"), "{{provider}}"),
    ))  # fmt: skip
    board.with_panel(states(
        "Provider health", "Whether each model may be used. One that fails repeatedly is set aside for a while and then "
        "tried again; red here means set aside in at least one worker.",
        Line(f"min by (model) (gateway_provider_healthy{{{PROVIDER}}})", "{{model}}"),
        {"1": ("in use", "green"), "0": ("set aside", "red")},
    ))  # fmt: skip
    board.with_panel(rows(
        "Attempts by provider and outcome", "Every attempt in the time range on the screen, also those that a fallback "
        "made up for.",
        Column("Attempts", COUNT, total("gateway_attempts_total", "provider, outcome")),
        first=("provider", "outcome"),
    ))  # fmt: skip


def _operators_books(board: grafana.Dashboard) -> None:
    board.with_panel(lines(
        "Ledger backlog", "Records that wait to be written, by worker.", COUNT,
        Line("sum by (instance) (gateway_ledger_pending_rows)", "{{instance}}"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Ledger and store errors per second", "Refused writes to the ledger are repeated, nothing is lost; errors of "
        "the store cost cache hits. Both should be zero.", COUNT,
        Line(pace("gateway_ledger_failures_total", where=""), "ledger"),
        Line(pace("gateway_store_errors_total", where=""), "store"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Cache hit rate", "Share of requests answered from the response cache, where it is on.", SHARE,
        Line(hit_rate(PACE), "hit rate"),
    ))  # fmt: skip
    board.with_panel(lines(
        "In-flight requests", "By worker. A line that only climbs is a provider that no longer answers.", COUNT,
        Line("sum by (instance) (gateway_in_flight_requests)", "{{instance}}"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Processor time", "By worker, which uses one core: near 1 it is the bottleneck, and more workers are needed.",
        SHARE, Line(ours(f"rate(process_cpu_seconds_total[{PACE}])"), "{{instance}}"),
    ))  # fmt: skip
    board.with_panel(lines(
        "Memory", "Resident, by worker.", "bytes", Line(ours("process_resident_memory_bytes"), "{{instance}}"),
    ))  # fmt: skip
    board.with_panel(rows(
        "Versions in use", "Program and configuration of every worker. More than one configuration for longer than a "
        "rollout takes means that a worker did not take the new one.",
        Column("Workers", COUNT, "count by (version, config) (gateway_build_info)"),
        first=("version", "config"), width=24,
    ))  # fmt: skip


# Files ---------------------------------------------------------------------------------------------------------------

DASHBOARDS = {"finance.json": finance, "operators.json": operators}


def text(board: grafana.Dashboard) -> str:
    """The dashboard as it is committed: panels numbered in order, keys sorted, one a line."""
    built = board.build()
    for position, panel in enumerate(built.panels or [], start=1):
        panel.id_val = position
    return json.dumps(built, cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the Grafana dashboards, or check that they are current.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is stale")
    parser.add_argument("--folder", type=Path, default=HERE, help="where the JSON files stand (default: beside this file)")
    wanted = parser.parse_args()
    stale = []
    for name, build in DASHBOARDS.items():
        path, fresh = wanted.folder / name, text(build())
        if wanted.check and (not path.exists() or path.read_text() != fresh):
            stale.append(name)
        elif not wanted.check:
            path.write_text(fresh)
    if stale:
        print(f"stale: {', '.join(stale)}; run python dashboards/build.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
