"""Route + request + signals -> Decision: who may serve this request, in which order, and why the others may not.

Pure: the instant, the dice and the health of providers come in as Signals, so a decision can be replayed from its
record. Dropping a candidate is never silent: each drop keeps its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

import msgspec

from .catalog import OVERALL, Model, Provider
from .errors import Blame, GatewayError
from .money import Nano, usd
from .pricing import Price, PriceBook, Usage
from .request import ChatRequest


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first_token` and `between_tokens` count content events, so keep-alive comments do not hide a stall."""

    connect: float = 5.0
    first_token: float = 60.0
    between_tokens: float = 60.0
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class CacheRule:
    """The exact-match response cache of a route: how long an answer may be replayed, and the largest one kept."""

    ttl_s: int
    max_bytes: int


class Delivery(StrEnum):
    """How a stream reaches its caller: as it comes, or once it is complete, so that a broken one can be made again."""

    STREAM = "stream"
    WHOLE = "whole"


@dataclass(frozen=True, slots=True)
class StepDown:
    """From so many percent of the fullest budget on, requests go by the rules of another route."""

    from_percent: int
    to: str


@dataclass(frozen=True, slots=True)
class Route:
    """What routes.yaml says of one route. Candidates, fallbacks, weights and baseline are model ids.

    max_output_tokens: the limit that a request under a hard budget gets when it names none: its price must be bounded.
    """

    name: str
    policy: Policy
    candidates: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    kind: str = OVERALL
    floors: Mapping[str, float] = field(default_factory=dict)
    baseline: str | None = None
    jurisdictions: frozenset[str] | None = None
    max_cost_nano: Nano | None = None
    expected_output_tokens: int | None = None
    cache: CacheRule | None = None
    timeouts: Timeouts = Timeouts()
    max_attempts: int = 3
    max_output_tokens: int = 16_384
    step_down: StepDown | None = None
    delivery: Delivery = Delivery.STREAM

    @property
    def floor(self) -> float | None:
        """The quality that this route's task kind must reach: its own floor, else the overall one."""
        return self.floors.get(self.kind, self.floors.get(OVERALL))


class Signals(msgspec.Struct, frozen=True):
    """All that a decision takes from the world outside, so that it can be replayed.

    now: UTC; seed: the dice of `split`; unhealthy: model id -> reason.
    """

    now: datetime
    seed: int = 0
    unhealthy: Mapping[str, str] = {}


class Candidate(msgspec.Struct, frozen=True):
    """A model that may serve this request, with what it is expected to cost now."""

    model: Model
    price: Price
    expected: Usage
    expected_cost: Nano
    score: float | None


class Drop(msgspec.Struct, frozen=True):
    """Why a model may not serve this request. `code` is one word for counting, `reason` a sentence for people."""

    model: str
    code: str
    reason: str


class Decision(msgspec.Struct, frozen=True):
    """Candidates in the order in which they will be tried, and everything that was left out."""

    route: Route
    candidates: tuple[Candidate, ...]
    drops: tuple[Drop, ...]
    now: datetime


class Policy(Protocol):
    """One way to order candidates. Pure; returns those it is willing to use, first choice first."""

    @property
    def name(self) -> str: ...

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]: ...


@dataclass(frozen=True, slots=True)
class Market:
    """What can be bought: models, their providers and prices. `off` says why a provider is not in use here."""

    models: Mapping[str, Model]
    providers: Mapping[str, Provider]
    prices: PriceBook
    off: Mapping[str, str] = field(default_factory=dict)


def decide(
    route: Route,
    request: ChatRequest,
    market: Market,
    signals: Signals,
    *,
    jurisdictions: frozenset[str] | None = None,
) -> Decision:
    """Order the route's candidates for this request at this instant; its fallbacks follow in their own order.

    jurisdictions: a team's own limit, applied beside the route's. A decision without candidates is returned, not
    raised, so that it can be explained; `refusal` turns it into the caller's error.
    """
    drops: list[Drop] = []

    def admitted(names: Sequence[str]) -> list[Candidate]:
        found = []
        for name in names:
            judged = _judge(market.models[name], route, request, market, signals, jurisdictions)
            if isinstance(judged, Drop):
                drops.append(judged)
            else:
                found.append(judged)
        return found

    able = admitted(route.candidates)
    ranked = list(route.policy.order(able, route, signals))
    if len(ranked) < len(able):
        kept = {candidate.model.id for candidate in ranked}
        why = f"left out by the {route.policy.name} policy"
        drops += [Drop(one.model.id, "policy", why) for one in able if one.model.id not in kept]
    if route.fallbacks:
        ranked += admitted([name for name in route.fallbacks if name not in route.candidates])
    return Decision(route=route, candidates=tuple(ranked), drops=tuple(drops), now=signals.now)


def _judge(
    model: Model,
    route: Route,
    request: ChatRequest,
    market: Market,
    signals: Signals,
    jurisdictions: frozenset[str] | None,
) -> Candidate | Drop:
    provider = market.providers[model.provider]
    if model.provider in market.off:
        return Drop(model.id, "off", market.off[model.provider])
    where = provider.jurisdiction
    for allowed in (route.jurisdictions, jurisdictions):
        if allowed is not None and where not in allowed:
            places = ", ".join(sorted(allowed))
            return Drop(model.id, "jurisdiction", f"prompts may not go to {where} (allowed: {places})")
    if not request.needs <= model.capabilities:
        missing = ", ".join(sorted(request.needs - model.capabilities))
        return Drop(model.id, "capability", f"has no {missing}")
    if model.deprecated_on is not None and signals.now.date() >= model.deprecated_on:
        return Drop(model.id, "deprecated", f"its provider retired it on {model.deprecated_on}")
    prompt = request.prompt_tokens(model.tokens_per_byte)
    if prompt > model.context_tokens:
        return Drop(model.id, "context", f"about {prompt} prompt tokens, it takes {model.context_tokens}")
    score = model.score(route.kind)
    floor = route.floor
    if floor is not None:
        if score is None:
            return Drop(model.id, "quality", f"nobody has measured its {route.kind} quality; the floor is {floor:g}")
        if score.score < floor:
            return Drop(model.id, "quality", f"{route.kind} quality {score.score:g} is under the floor of {floor:g}")
    price = market.prices.at(model.id, signals.now)
    if price is None:
        return Drop(model.id, "unpriced", _unpriced(model.id, market.prices, signals.now))
    expected = expected_usage(model, route, request)
    cost = price.cost(expected)
    if route.max_cost_nano is not None and cost > route.max_cost_nano:
        return Drop(model.id, "cost", f"expected ${usd(cost)}, the cap is ${usd(route.max_cost_nano)}")
    if model.id in signals.unhealthy:
        return Drop(model.id, "unhealthy", signals.unhealthy[model.id])
    return Candidate(model, price, expected, cost, None if score is None else score.score)


def expected_usage(model: Model, route: Route, request: ChatRequest) -> Usage:
    """What this request is expected to take of a model: a prior, bounded by what caller and model allow."""
    likely = route.expected_output_tokens or model.expected_output_tokens
    if request.max_output_tokens is not None:
        likely = min(likely, request.max_output_tokens)
    output = min(likely, model.max_output_tokens) * request.n
    return Usage(input=request.prompt_tokens(model.tokens_per_byte), output=output)


def _unpriced(model: str, prices: PriceBook, now: datetime) -> str:
    start = prices.next_start(model, now)
    if start is not None:
        return f"no price is in force yet; the next one starts at {start.isoformat()}"
    return "no price is known for it now; add a dated row under 'prices' in routes.yaml"


# Which status tells the caller best why nobody may serve the request, most useful first.
_REFUSALS: tuple[tuple[str, Blame, int, str | None], ...] = (
    ("unhealthy", Blame.UPSTREAM, 503, "no_healthy_candidate"),
    ("context", Blame.CALLER, 400, "context_length_exceeded"),
    ("capability", Blame.CALLER, 400, "unsupported_capability"),
    ("cost", Blame.CALLER, 422, "over_cost_cap"),
    ("unpriced", Blame.OPERATOR, 422, "unpriced_model"),
    ("quality", Blame.OPERATOR, 422, "under_quality_floor"),
    ("deprecated", Blame.OPERATOR, 404, "model_retired"),
    ("jurisdiction", Blame.CALLER, 403, "jurisdiction_not_allowed"),
    ("off", Blame.OPERATOR, 503, "provider_off"),
)


def refusal(decision: Decision) -> GatewayError:
    """The error for a request that no candidate may serve: it names every candidate with its reason."""
    codes = {drop.code for drop in decision.drops}
    reasons = "; ".join(f"{drop.model}: {drop.reason}" for drop in decision.drops) or "its policy left none"
    told = f"no candidate of {decision.route.name!r} can serve this request ({reasons})"
    for code, blame, status, error_code in _REFUSALS:
        if code in codes:
            return GatewayError(blame, status, told=told, code=error_code, outcome="refused")
    return GatewayError(Blame.OPERATOR, 503, told=told, code="no_candidate", outcome="refused")
