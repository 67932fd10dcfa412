"""For those who pay: what was spent and saved, on whom and what, and whether traffic follows the prices."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard
from kit import (
    ALL,
    ANSWERED,
    COUNT,
    NO_PROVIDER,
    PER_SECOND,
    PROVIDER,
    SHARE,
    USD,
    Column,
    Line,
    Panel,
    answers,
    baseline,
    baseline_per_hour,
    dashboard,
    lines,
    number,
    pace,
    per_thousand,
    per_thousand_now,
    rows,
    savings,
    savings_share,
    share,
    spend,
    spend_per_hour,
    steps,
    total,
)

BOOK = "Prometheus extrapolates between scrapes; `gateway spend` reads the ledger, which is exact."
GAIN_OR_LOSS = ((None, "red"), (0.0, "green"))


def finance() -> Dashboard:
    return dashboard(
        "llm-gateway-finance",
        "LLM gateway: spend and savings",
        f"What model calls cost, and what they would have cost at the baseline model of each route. {BOOK}",
        since="now-7d",
        content={
            "In the time range on the screen": summary(),
            "Spend over time": over_time(),
            "Who and what it was spent on": tables(),
            "Price war: does traffic follow the prices?": prices(),
            "Cache, tokens and uncertain spend": details(),
        },
    )


def summary() -> list[Panel]:
    return [
        number("Spend", f"What providers bill for this traffic: settled plus uncertain. {BOOK}", spend(), USD),
        number(
            "Baseline",
            "What the same answers would have cost at the baseline model that each route declares, with the same "
            "tokens and at the prices in force at that instant.",
            baseline(),
            USD,
        ),
        number(
            "Savings",
            "Baseline less spend. Failed attempts count against it; when it is negative, routing cost more than the "
            "baseline would have.",
            savings(),
            USD,
            colours=GAIN_OR_LOSS,
        ),
        number(
            "Savings, share of baseline",
            "How much less was spent than the baseline would have cost.",
            savings_share(),
            SHARE,
            decimals=1,
            colours=GAIN_OR_LOSS,
        ),
        number(
            "Uncertain spend",
            "The part of the spend that rests on an estimate, because the provider reported no usage: answers that "
            "were cut, timed out or abandoned. Compare it with the provider's invoice.",
            total("gateway_uncertain_usd_total"),
            USD,
        ),
        number(
            "Spend per 1,000 answers",
            "Spend, failed attempts included, for each thousand answered requests, cache hits included.",
            per_thousand(),
            USD,
        ),
    ]


def over_time() -> list[Panel]:
    return [
        lines(
            "Spend and baseline, dollars per hour",
            "The gap between the lines is what is being saved.",
            USD,
            Line(spend_per_hour(), "spend"),
            Line(baseline_per_hour(), "baseline"),
        ),
        lines(
            "Savings by route, dollars per hour",
            "Baseline less spend. A line below zero is a route that loses money against its baseline.",
            USD,
            Line(f"{baseline_per_hour('route')} - {spend_per_hour('route')}", "{{route}}"),
        ),
        *(
            lines(
                f"Spend by {label}, dollars per hour",
                f"Settled and uncertain spend of each {label}, stacked: the height is the whole.",
                USD,
                Line(spend_per_hour(label), f"{{{{{label}}}}}"),
                stacked=True,
            )
            for label in ("provider", "model", "route", "team")
        ),
    ]


def tables() -> list[Panel]:
    told = {
        "provider": "Who will send an invoice, and how high.",
        "model": "Which models the money goes to.",
        "route": "Which routes save, and how much.",
        "team": "What to charge each team, and what it saved.",
    }
    return [
        rows(
            f"By {label}",
            f"{what} {BOOK}",
            (label,),
            Column("Spend", USD, spend(label)),
            Column("of it uncertain", USD, total("gateway_uncertain_usd_total", label)),
            Column("Baseline", USD, baseline(label)),
            Column("Savings", USD, savings(label)),
            Column("Savings %", SHARE, savings_share(label)),
            Column("Answers", COUNT, answers(label)),
            Column("per 1,000 answers", USD, per_thousand(label)),
        )
        for label, what in told.items()
    ]


def prices() -> list[Panel]:
    answered = f"{ALL},{ANSWERED}"
    by_model = pace("gateway_requests_total", "model", where=answered)
    every = pace("gateway_requests_total", where=answered)
    in_force = "What each model costs now, weekly windows included; a step is a price change coming into force. Long "
    in_force += "contexts and service tiers may cost more."
    classes = {"Input": "input", "Cached input": "cached_input", "Cache write": "cache_write", "Output": "output"}
    return [
        share(
            "Traffic share by model",
            "Which model answers, as a share of all answers. After a price change beside it the shares should move.",
            f"{by_model} / ignoring (model) group_left {every}",
            "{{model}}",
        ),
        steps("Output price in force, per million tokens", in_force, USD, Line(_price("model", "output"), "{{model}}")),
        lines(
            "Spend per 1,000 answers by route",
            "Whether a price change has reached the bill.",
            USD,
            Line(per_thousand_now("route"), "{{route}}"),
        ),
        steps("Input price in force, per million tokens", in_force, USD, Line(_price("model", "input"), "{{model}}")),
        rows(
            "Price list in force now",
            "Dollars per million tokens of every model that could be used.",
            ("provider", "model"),
            *(Column(title, USD, _price("provider, model", name)) for title, name in classes.items()),
            width=24,
        ),
    ]


def _price(by: str, token_class: str) -> str:
    return f'max by ({by}) (gateway_price_usd_per_million{{{PROVIDER},class="{token_class}"}})'


def details() -> list[Panel]:
    cached_tokens = total("gateway_tokens_total", where=f'{ALL},class="cached_input"')
    prompt_tokens = total("gateway_tokens_total", where=f'{ALL},class=~"input|cached_input|cache_write"')
    return [
        number(
            "Saved by the response cache",
            "What the answers from the cache would have cost at the baseline. It is a part of the savings.",
            total("gateway_cached_baseline_usd_total"),
            USD,
            width=6,
        ),
        number(
            "Answers from the response cache",
            "Requests that no provider had to be asked for, those that shared another one's call included. Not "
            "filtered by provider.",
            total("gateway_cache_hits_total", where=NO_PROVIDER),
            COUNT,
            width=6,
            decimals=0,
        ),
        number(
            "Prompt tokens from providers' caches",
            "Share of prompt tokens that providers billed at their lower rate for cached input. It is not counted as "
            "savings: the baseline gets the same discount.",
            f"{cached_tokens} / ({prompt_tokens} > 0)",
            SHARE,
            width=6,
            decimals=1,
        ),
        number(
            "Uncertain, share of spend",
            "How much of the spend rests on estimates. More than a few percent deserves a look at the failures.",
            f"{total('gateway_uncertain_usd_total')} / ({spend()} > 0)",
            SHARE,
            width=6,
            decimals=2,
        ),
        lines(
            "Saved by the response cache, dollars per hour",
            "Baseline of the answers that came from the cache or from a call that was shared.",
            USD,
            Line(f"3600 * {pace('gateway_cached_baseline_usd_total', 'route')}", "{{route}}"),
            stacked=True,
        ),
        lines(
            "Response cache, hits and misses",
            "Requests per second on routes whose cache is on. Not filtered by provider.",
            PER_SECOND,
            Line(pace("gateway_cache_hits_total", where=NO_PROVIDER), "hits"),
            Line(pace("gateway_cache_misses_total", where=NO_PROVIDER), "misses"),
        ),
        lines(
            "Tokens by class, per second",
            "The classes are disjoint: stacked, they are all tokens. Output and reasoning cost most.",
            COUNT,
            Line(pace("gateway_tokens_total", "class"), "{{class}}"),
            stacked=True,
        ),
        lines(
            "Uncertain spend by provider, dollars per hour",
            "Estimates for attempts whose usage was not reported. A rising line is a provider that breaks off.",
            USD,
            Line(f"3600 * {pace('gateway_uncertain_usd_total', 'provider')}", "{{provider}}"),
        ),
    ]
