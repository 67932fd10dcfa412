"""A decision as people read it: candidates with expected cost, quality and price; drops with their reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .candidate import Candidate
from .estimates import Length
from .market import Market
from .money import usd, usd_per_million
from .request import ChatRequest
from .routing import Decision, expected_usage


class ExplainedCandidate(msgspec.Struct, frozen=True):
    """rank 1 is asked first. Rates in dollars per million tokens. quality: what is expected of this request's answer.

    answers: how many settled answers the expectation was learned from; 0: the stated priors. output_p50, output_p95:
    how long those of this route and kind were, where that is at hand.
    """

    rank: int
    model: str
    provider: str
    jurisdiction: str
    expected_cost_usd: str
    expected_input_tokens: int
    expected_output_tokens: int
    input_rate: str
    output_rate: str
    price_id: str
    price_status: str
    price_source: str
    quality: float | None
    quality_source: str | None
    expected_cached_tokens: int = 0
    expected_seconds: float | None = None
    answers: int = 0
    output_p50: int | None = None
    output_p95: int | None = None


class ExplainedDrop(msgspec.Struct, frozen=True):
    model: str
    code: str
    reason: str


class Explanation(msgspec.Struct, frozen=True):
    """`at` is the instant of the prices (UTC). The baseline is priced at what it would itself be expected to take."""

    route: str
    policy: str
    kind: str
    quality_floor: float | None
    at: str
    needs: list[str]
    baseline_model: str | None
    baseline_expected_cost_usd: str | None
    candidates: list[ExplainedCandidate]
    drops: list[ExplainedDrop]


_NO_LENGTHS: Mapping[str, Length] = {}


def explain(
    decision: Decision, request: ChatRequest, market: Market, lengths: Mapping[str, Length] = _NO_LENGTHS
) -> Explanation:
    """Put a decision into words and dollars. Pure; sends nothing. lengths: of answers that were seen, by model."""
    route = decision.route
    return Explanation(
        route=route.name,
        policy=route.policy.name,
        kind=decision.kind,
        quality_floor=route.floor_for(decision.kind),
        at=decision.now.isoformat(),
        needs=sorted(request.needs),
        baseline_model=route.baseline,
        baseline_expected_cost_usd=_baseline_cost(decision, request, market),
        candidates=[
            _candidate(rank, one, decision, market, lengths.get(one.model.id))
            for rank, one in enumerate(decision.candidates, 1)
        ],
        drops=[ExplainedDrop(drop.model, drop.code, drop.reason) for drop in decision.drops],
    )


def _baseline_cost(decision: Decision, request: ChatRequest, market: Market) -> str | None:
    declared = decision.route.baseline
    price = None if declared is None else market.prices.at(declared, decision.now)
    if declared is None or price is None:
        return None
    estimate = decision.signals.estimates.get(declared) or market.priors[declared]
    return usd(price.cost(expected_usage(market.models[declared], decision.route, request, estimate)))


def _candidate(
    rank: int, one: Candidate, decision: Decision, market: Market, length: Length | None
) -> ExplainedCandidate:
    rates = one.price.rates(one.expected.prompt)
    return ExplainedCandidate(
        rank=rank,
        model=one.model.id,
        provider=one.model.provider,
        jurisdiction=market.providers[one.model.provider].jurisdiction,
        expected_cost_usd=usd(one.expected_cost),
        expected_input_tokens=one.expected.prompt,
        expected_output_tokens=one.expected.completion,
        input_rate=usd_per_million(rates.input),
        output_rate=usd_per_million(rates.output),
        price_id=one.price.id,
        price_status=one.price.row.status,
        price_source=one.price.row.source,
        quality=None if one.score is None else round(one.score, 2),
        quality_source=_quality_source(one, decision, market),
        expected_cached_tokens=one.expected.cached_input,
        expected_seconds=None if one.seconds is None else round(one.seconds, 3),
        answers=one.answers,
        output_p50=None if length is None else length.p50,
        output_p95=None if length is None else length.p95,
    )


def _quality_source(one: Candidate, decision: Decision, market: Market) -> str | None:
    if one.score is None:
        return None
    stated = one.model.score(decision.kind)
    prior = None if stated is None else f"{stated.source} ({stated.status}, read {stated.read})"
    learned = decision.signals.estimates.get(one.model.id)
    if learned is None or all(market.priors[one.model.id].scores.get(k) == v for k, v in learned.scores.items()):
        return prior
    return "graded answers" if prior is None else f"{prior}, and graded answers"


def render(explanation: Explanation) -> str:
    """The explanation as a plain-text table for a terminal."""
    lines = [
        f"route {explanation.route}, policy {explanation.policy}, kind {explanation.kind}, at {explanation.at}",
        f"needs: {', '.join(explanation.needs) or 'nothing special'};"
        f" quality floor: {'none' if explanation.quality_floor is None else f'{explanation.quality_floor:g}'};"
        f" baseline: {explanation.baseline_model or 'none'}"
        + (f" (${explanation.baseline_expected_cost_usd})" if explanation.baseline_expected_cost_usd else ""),
        "",
    ]
    learned = any(one.answers for one in explanation.candidates)
    rows: list[Mapping[str, str]] = [
        {
            "#": str(one.rank),
            "model": one.model,
            "where": one.jurisdiction,
            "expected $": one.expected_cost_usd,
            "tokens in/out": f"{one.expected_input_tokens}/{one.expected_output_tokens}",
            "$/M in/out": f"{one.input_rate}/{one.output_rate}",
            "quality": "-" if one.quality is None else f"{one.quality:g}",
            "price row": one.price_id,
        }
        | ({"learned from": _learned_from(one)} if learned else {})
        for one in explanation.candidates
    ]
    lines += table(rows) if rows else ["no candidate is left"]
    if explanation.drops:
        lines += ["", "left out:"]
        lines += [f"  {drop.model}: {drop.reason} [{drop.code}]" for drop in explanation.drops]
    return "\n".join(lines)


def _learned_from(one: ExplainedCandidate) -> str:
    if not one.answers:
        return "stated priors"
    spread = "" if one.output_p50 is None else f" (output p50 {one.output_p50}, p95 {one.output_p95})"
    return f"{one.answers} answer{'s' if one.answers != 1 else ''}{spread}"


def table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    names = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in names]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in (names, *([row[name] for name in names] for row in rows))
    ]
