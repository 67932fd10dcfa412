"""What the dashboards are made of: expressions over the gateway's metrics, the few kinds of panels, the variables.

Money: "spend" is what was settled plus what is uncertain, so that baseline - spend = savings adds up on the screen
and a saving is never overstated. Prometheus extrapolates between scrapes; the ledger stays the book.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as ui
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import prometheus as promodels

TAG = "llm-gateway"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

# Units, as Grafana names them.
USD = "currencyUSD"
SHARE = "percentunit"
COUNT = "short"
SECONDS = "s"
BYTES = "bytes"
BYTES_PER_SECOND = "Bps"
PER_SECOND = "reqps"

# What the variables at the top of the page select. The cache and the door know less than a provider's series.
ALL = 'simulated="$simulated",provider=~"$provider",route=~"$route",team=~"$team"'
NO_PROVIDER = 'simulated="$simulated",route=~"$route",team=~"$team"'
ROUTE = 'route=~"$route"'
PROVIDER = 'provider=~"$provider"'

RANGE = "$__range"
"""The time range on the screen: over which amounts are summed."""

PACE = "$__rate_interval"
"""The shortest interval over which a pace can be known: for lines over time and for what is now."""

ANSWERED = 'outcome=~"ok|aborted|cached"'
"""A caller that leaves early ('aborted') has been answered, and the provider bills the answer."""

FAILED = 'outcome!~"ok|aborted|cached|cancelled|client_stalled|http_400|http_413|http_422|not_sent"'
"""Neither answered, nor ended by the caller, nor refused by the provider for what the caller asked."""


# Expressions ---------------------------------------------------------------------------------------------------------


def total(metric: str, by: str = "", *, where: str = ALL) -> str:
    """How much a counter grew in the time range on the screen."""
    return f"sum{_by(by)} (increase({metric}{{{where}}}[{RANGE}]))"


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


def savings_share(by: str = "") -> str:
    return f"{savings(by)} / ({baseline(by)} > 0)"


def answers(by: str = "") -> str:
    return total("gateway_requests_total", by, where=f"{ALL},{ANSWERED}")


def per_thousand(by: str = "") -> str:
    """What a thousand answers cost, in the time range on the screen."""
    return f"1000 * {spend(by)} / {answers(by)}"


def spend_per_hour(by: str = "") -> str:
    return f"3600 * ({pace('gateway_spend_usd_total', by)} + {pace('gateway_uncertain_usd_total', by)})"


def baseline_per_hour(by: str = "") -> str:
    return f"3600 * {pace('gateway_baseline_usd_total', by)}"


def per_thousand_now(by: str) -> str:
    """What a thousand answers cost, at the present pace."""
    spent = f"({pace('gateway_spend_usd_total', by)} + {pace('gateway_uncertain_usd_total', by)})"
    return f"1000 * {spent} / {pace('gateway_requests_total', by, where=f'{ALL},{ANSWERED}')}"


def quantile(q: float, metric: str, by: str = "", *, where: str = ALL) -> str:
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{{where}}}[{PACE}])))"


def hit_rate(by: str = "") -> str:
    """Of the requests that looked in the response cache; by labels that misses do not have, too."""
    hits = pace("gateway_cache_hits_total", where=NO_PROVIDER)
    misses = pace("gateway_cache_misses_total", where=NO_PROVIDER)
    if not by:
        return f"{hits} / ({hits} + {misses} > 0)"
    return f"{pace('gateway_cache_hits_total', by, where=NO_PROVIDER)} / scalar({hits} + {misses} > 0)"


def or_zero(expr: str) -> str:
    """For what has never happened yet and therefore has no series: that is zero, not unknown."""
    return f"({expr}) or vector(0)"


def ours(metric: str) -> str:
    """A metric that every program exports, of the gateway's processes only."""
    return f"{metric} and on (job, instance) gateway_build_info"


# Panels --------------------------------------------------------------------------------------------------------------


Panel = Builder[model.Panel]


@dataclass(frozen=True, slots=True)
class Line:
    """One query over time, and how its series are called in the legend."""

    expr: str
    legend: str


def _over_time(line: Line, position: int) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(line.expr).range().legend_format(line.legend)
    return query.ref_id(_letter(position)).datasource(SOURCE)


def _at_the_end(expr: str, position: int) -> prometheus.Dataquery:
    """The value at the end of the time range on the screen."""
    return prometheus.Dataquery().expr(expr).instant().ref_id(_letter(position)).datasource(SOURCE)


def _letter(position: int) -> str:
    """How Grafana names a panel's queries: A, B, C."""
    return chr(ord("A") + position)


def number(
    title: str,
    told: str,
    expr: str,
    unit: str,
    *,
    width: int = 4,
    decimals: int | None = None,
    colours: Sequence[tuple[float | None, str]] = (),
) -> Panel:
    """One number for the time range on the screen. colours: each from its value upwards."""
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
        .with_target(_at_the_end(expr, 0))
    )
    if decimals is not None:
        panel = panel.decimals(decimals)
    if not colours:
        return panel.color_mode(common.BigValueColorMode.NONE)
    thresholds = [model.Threshold(value=value, color=colour) for value, colour in colours]
    coloured = grafana.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(thresholds)
    return panel.thresholds(coloured).color_mode(common.BigValueColorMode.VALUE)


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
        panel = panel.with_target(_over_time(line, position))
    return panel


def steps(title: str, told: str, unit: str, *queries: Line, width: int = 12) -> Panel:
    """Lines for what holds until it changes, such as a price."""
    return lines(title, told, unit, *queries, width=width).line_interpolation(common.LineInterpolation.STEP_AFTER)


def share(title: str, told: str, expr: str, legend: str, *, width: int = 12) -> Panel:
    """How a whole divides, over time."""
    panel = lines(title, told, SHARE, Line(expr, legend), width=width)
    return panel.fill_opacity(60).max(1).stacking(ui.StackingConfig().mode(common.StackingMode.NORMAL).group("A"))


@dataclass(frozen=True, slots=True)
class Column:
    title: str
    unit: str
    expr: str


def rows(title: str, told: str, labels: Sequence[str], *columns: Column, width: int = 12) -> Panel:
    """A table with a row for each combination of the labels that its queries keep, sorted by its first column."""
    panel = table.Panel().title(title).description(told).datasource(SOURCE).span(width).height(8)
    names = {}
    for position, column in enumerate(columns):
        query = _at_the_end(column.expr, position).format(promodels.PromQueryFormat.TABLE)
        panel = panel.with_target(query)
        # Grafana calls the only value column "Value", and numbers them when there are more.
        names[f"Value #{_letter(position)}" if len(columns) > 1 else "Value"] = column.title
        panel = panel.override_by_name(column.title, [model.DynamicConfigValue(id_val="unit", value=column.unit)])
    order = {name: place for place, name in enumerate((*labels, *names))}
    organise = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel = panel.with_transformation(model.DataTransformerConfig(id_val="organize", options=organise))
    return panel.sort_by([ui.TableSortByFieldState().display_name(columns[0].title).desc(True)])


def states(title: str, told: str, line: Line, words: Mapping[str, tuple[str, str]], *, width: int = 12) -> Panel:
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
        .with_target(_over_time(line, 0))
    )


# Variables -----------------------------------------------------------------------------------------------------------


def _labels(name: str, title: str) -> grafana.QueryVariable:
    """A choice among the values of one label; all of them unless something is chosen."""
    query = f'label_values(gateway_requests_total{{simulated="$simulated"}}, {name})'
    return (
        grafana.QueryVariable(name)
        .label(title)
        .datasource(SOURCE)
        # As Grafana itself writes it; 1 is its word for "label values".
        .query({"qryType": 1, "query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def dashboard(
    uid: str, title: str, told: str, *, since: str, content: Mapping[str, Sequence[Panel]]
) -> model.Dashboard:
    """content: the panels of each row, by the row's title. Panels fill a row of 24 columns and flow into the next."""
    simulated = [model.VariableOption(selected=one == "false", text=one, value=one) for one in ("false", "true")]
    links = grafana.DashboardLink("Gateway dashboards").type(model.DashboardLinkType.DASHBOARDS).tags([TAG])
    board = (
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
        .with_variable(_labels("provider", "Provider"))
        .with_variable(_labels("route", "Route"))
        .with_variable(_labels("team", "Team"))
    )
    for row, panels in content.items():
        board = board.with_row(grafana.Row(row))
        for panel in panels:
            board = board.with_panel(panel)
    built = board.build()
    for position, each in enumerate(built.panels or [], start=1):
        each.id_val = position
    return built
