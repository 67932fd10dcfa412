"""Route + request + signals -> Decision: who may serve this request, in which order, and why the others may not.

Pure: the instant, the dice, the health of providers and what was learned come in as Signals, so a decision can be
replayed from its record. Dropping a candidate is never silent: each drop keeps its reason.

The order of a decision: hard filters (provider in use, jurisdiction, needs, effort, retirement, context), the quality
floor for the task kind, the price of this request now, its cost cap, health; then the route's policy orders what is
left. A conversation's next turn is expected to find its beginning in the prompt cache of the model that answered last,
less of it with those that answered before, and nothing elsewhere: so to move it is priced, and a turn within a tool
loop stays where it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from .candidate import Candidate, Drop, Estimate, Signals, Warm
from .catalog import AUTO, OVERALL, Model
from .conversation import base
from .errors import Blame, GatewayError
from .market import Market
from .money import Nano, usd
from .pricing import PriceBook, Rates, Usage
from .request import ChatRequest
from .route import FloorMeaning, Route

MOST_KINDS = 3
"""Of what a request may be, so many likeliest kinds are weighed; the rest is below the noise of the scores."""


class Decision(msgspec.Struct, frozen=True, gc=False):
    """Candidates in the order in which they will be tried, and everything that was left out. kind: the likeliest."""

    route: Route
    candidates: tuple[Candidate, ...]
    drops: tuple[Drop, ...]
    signals: Signals
    kind: str

    @property
    def now(self) -> datetime:
        return self.signals.now


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
    judge = _Judge(route, request, market, signals, jurisdictions)
    names, fallbacks = route.candidates, route.fallbacks
    if request.effort is not None:
        names, fallbacks = (at_effort(given, request.effort, market) for given in (names, fallbacks))
    able = judge.admitted(names)
    ranked = list(route.policy.order(able, route, signals))
    drops = judge.drops
    if len(ranked) < len(able):
        kept = {candidate.model.id for candidate in ranked}
        why = f"left out by the {route.policy.name} policy"
        drops += [Drop(one.model.id, "policy", why) for one in able if one.model.id not in kept]
    if fallbacks:
        ranked += judge.admitted([name for name in fallbacks if name not in names])
    warm = signals.warm
    if warm is not None and warm.locked:
        maker = base(warm.model)  # what it left in the messages it can read at any effort
        ranked.sort(key=lambda one: (one.model.base != maker, one.model.id != warm.model))
    return Decision(route=route, candidates=tuple(ranked), drops=tuple(drops), signals=signals, kind=judge.kind)


def at_effort(names: Sequence[str], asked: str, market: Market) -> tuple[str, ...]:
    """The models that stand for these when a request asks for an effort: each once, at that effort where declared."""
    models = market.models
    found = []
    for name in names:
        own = f"{name}@{asked}"
        found.append(own if own in models and models[name].effort is None else name)
    return tuple(dict.fromkeys(found))


class _Judge:
    """Judges one model after the other for one request; what they share is looked up once."""

    __slots__ = (
        "_floor", "_kinds", "_market", "_places", "_request", "_route", "_signals", "_warm", "drops", "kind",
    )  # fmt: skip

    def __init__(
        self, route: Route, request: ChatRequest, market: Market, signals: Signals, places: frozenset[str] | None
    ) -> None:
        self._route, self._request, self._market, self._signals = route, request, market, signals
        self._places = route.jurisdictions if places is None else _both(route.jurisdictions, places)
        self._kinds = likeliest(route.kind, signals.kinds)
        self.kind = self._kinds[0][0]
        self._floor = route.floor_for(self.kind)
        self._warm = signals.warm
        self.drops: list[Drop] = []

    def admitted(self, names: Sequence[str]) -> list[Candidate]:
        found = []
        for name in names:
            judged = self._judge(self._market.models[name])
            if isinstance(judged, Drop):
                self.drops.append(judged)
            else:
                found.append(judged)
        return found

    def _judge(self, model: Model) -> Candidate | Drop:
        market, request, route = self._market, self._request, self._route
        signals = self._signals
        now = signals.now
        name = model.id
        if request.effort is not None and model.effort is not None and model.effort != request.effort:
            return Drop(name, "effort", f"stands for effort {model.effort}, asked is {request.effort}")
        if market.off and model.provider in market.off:
            return Drop(name, "off", market.off[model.provider])
        if self._places is not None and market.providers[model.provider].jurisdiction not in self._places:
            return Drop(name, "jurisdiction", self._where_not(model))
        if not request.needs <= model.capabilities:
            missing = ", ".join(sorted(request.needs - model.capabilities))
            return Drop(name, "capability", f"has no {missing}")
        if model.deprecated_on is not None and now.date() >= model.deprecated_on:
            return Drop(name, "deprecated", f"its provider retired it on {model.deprecated_on}")
        if request.effort is None:
            estimate = signals.estimates.get(name) or market.priors[name]
        else:
            estimate = self._expected_at(request.effort, model)
        prompt = request.prompt_tokens(estimate.tokens_per_byte)
        if prompt > model.context_tokens:
            return Drop(name, "context", f"about {prompt} prompt tokens, it takes {model.context_tokens}")
        score = expected_score(estimate.scores, self._kinds)
        if self._floor is not None and (why := self._under_floor(score, estimate)) is not None:
            return Drop(name, "quality", why)
        price = market.prices.at(name, now)
        if price is None:
            return Drop(name, "unpriced", _unpriced(name, market.prices, now))
        output = expected_output(model, route, request, estimate)
        cached = expected_cached(model, prompt, estimate, self._warm)
        one_rate = request.service_tier is None and not price.row.context_tiers
        rates = price.base if one_rate else price.rates(prompt, request.service_tier)
        cost = _cost(rates, prompt - cached, cached, output)
        if route.max_cost_nano is not None and cost > route.max_cost_nano:
            return Drop(name, "cost", f"expected ${usd(cost)}, the cap is ${usd(route.max_cost_nano)}")
        if signals.unhealthy and model.base in signals.unhealthy:
            return Drop(name, "unhealthy", signals.unhealthy[model.base])
        expected = Usage(prompt - cached, cached, 0, output)
        seconds = None if estimate.ttft_ms is None else estimate.seconds(output)
        return Candidate(model, price, expected, cost, score, seconds, estimate.here)

    def _expected_at(self, asked: str, model: Model) -> Estimate:
        """At the effort that is asked for, where its answers are known, though the model is no candidate of its own."""
        learned = self._signals.estimates
        own = learned.get(f"{model.id}@{asked}") if model.effort is None else None
        return own or learned.get(model.id) or self._market.priors[model.id]

    def _under_floor(self, score: float | None, estimate: Estimate) -> str | None:
        """Why a model with this expected score may not serve, if it may not."""
        floor, kind = self._floor, self.kind
        if floor is None:
            return None
        if score is None:
            return f"nobody has measured its {kind} quality; the floor is {floor:g}"
        if self._route.floor_means is FloorMeaning.AVERAGE and kind in estimate.bars:
            bar = estimate.bars[kind]
            if score >= bar:
                return None
            return f"{kind} quality {score:.4g}; graded answers average {floor:g} only where {bar:g} is expected"
        return None if score >= floor else f"{kind} quality {score:.4g} is under the floor of {floor:g}"

    def _where_not(self, model: Model) -> str:
        where = self._market.providers[model.provider].jurisdiction
        return f"prompts may not go to {where} (allowed: {', '.join(sorted(self._places or ()))})"


def _both(route: frozenset[str] | None, caller: frozenset[str]) -> frozenset[str]:
    return caller if route is None else route & caller


def likeliest(declared: str, seen: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    """The kinds to weigh, likeliest first, with their shares: the declared one, or what the request seems to be."""
    if declared != AUTO:
        return ((declared, 1.0),)
    if not seen:
        return ((OVERALL, 1.0),)
    first = sorted(seen.items(), key=lambda one: one[1], reverse=True)[:MOST_KINDS]
    whole = sum(share for _, share in first)
    return tuple((kind, share / whole) for kind, share in first)


def expected_score(scores: Mapping[str, float], kinds: Sequence[tuple[str, float]]) -> float | None:
    """The quality expected of an answer, the kinds weighed; the overall score stands in where a kind has none.

    None when neither is known for one of them: unknown is not zero, and no promise either.
    """
    if not scores:
        return None
    total = 0.0
    for kind, share in kinds:
        score = scores.get(kind)
        if score is None:
            score = scores.get(OVERALL)
            if score is None:
                return None
        total += share * score
    return total


def expected_output(model: Model, route: Route, request: ChatRequest, estimate: Estimate) -> int:
    """The answer's tokens: what was learned or stated, bounded by what caller and model allow."""
    likely = estimate.output_tokens
    if route.expected_output_tokens is not None and likely == model.expected_output_tokens:
        # A model's own statement gives way to its route's; what was learned has begun at that.
        likely = route.expected_output_tokens
    if request.max_output_tokens is not None and request.max_output_tokens < likely:
        likely = request.max_output_tokens
    return min(likely, model.max_output_tokens) * request.n


def expected_cached(model: Model, prompt: int, estimate: Estimate, warm: Warm | None) -> int:
    """How many prompt tokens its provider's cache is expected to know."""
    if warm is None:
        return int(prompt * estimate.cached_share)
    return min(int(warm.at(model.id) * estimate.tokens_per_byte), prompt)


def expected_usage(model: Model, route: Route, request: ChatRequest, estimate: Estimate) -> Usage:
    """What a request is expected to take of a model that is no candidate, such as its baseline."""
    return Usage(
        input=request.prompt_tokens(estimate.tokens_per_byte), output=expected_output(model, route, request, estimate)
    )


def _cost(rates: Rates, fresh: int, cached: int, output: int) -> Nano:
    """The same as Rates.cost for these three classes, which is all that is expected of an answer."""
    pico = fresh * rates.input + cached * rates.cached_input + output * rates.output
    return Nano(-(-pico // 1_000))


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
    ("effort", Blame.CALLER, 400, "effort_not_offered"),
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
