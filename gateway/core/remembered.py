"""A decision's inputs as the ledger keeps them, and the decision made again from them.

Neither the prompt nor its text is in it: its size and needs are. Together with the configuration of the version that
it names, the same decision comes of it, candidate by candidate and to the nano-dollar.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from .candidate import Estimate, Signals, Warm
from .catalog import Capability
from .conversation import base
from .money import Nano
from .question import Question, answer
from .request import ChatRequest
from .route import Route
from .routing import Decision
from .terms import AS_THE_ROUTE, Terms
from .world import Caller, World


class Shape(msgspec.Struct, frozen=True, omit_defaults=True):
    """A request without its text."""

    model: str
    prompt_bytes: int
    needs: tuple[Capability, ...] = ()
    images: int = 0
    max_output_tokens: int | None = None
    n: int = 1
    service_tier: str | None = None
    effort: str | None = None


class Remembered(msgspec.Struct, frozen=True, omit_defaults=True):
    """config: the configuration's version. unhealthy and estimates: of the models that could have been chosen."""

    config: str
    request: Shape
    now: datetime
    terms: Terms = AS_THE_ROUTE
    jurisdictions: tuple[str, ...] | None = None
    may_loosen: bool = False
    seed: int = 0
    used_percent: int = 0
    unhealthy: Mapping[str, str] = {}
    kinds: Mapping[str, float] = {}
    estimates: Mapping[str, Estimate] = {}
    warm: Warm | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Remembered).decode
_candidates = msgspec.json.Decoder(list[tuple[str, str, int, float | None]]).decode
_drops = msgspec.json.Decoder(list[tuple[str, str]]).decode


def remember(question: Question, decision: Decision, config: str) -> str:
    """The inputs of a decision as JSON text."""
    request, signals, caller = question.request, question.signals, question.caller
    remembered = Remembered(
        config=config,
        request=Shape(
            request.model, request.prompt_bytes, tuple(sorted(request.needs)), request.images,
            request.max_output_tokens, request.n, request.service_tier, request.effort,
        ),
        now=signals.now,
        terms=question.terms,
        jurisdictions=None if caller.jurisdictions is None else tuple(sorted(caller.jurisdictions)),
        may_loosen=caller.may_loosen,
        seed=signals.seed,
        used_percent=signals.used_percent,
        unhealthy=signals.unhealthy and _concerned(signals.unhealthy, decision.route),
        kinds=signals.kinds,
        estimates=signals.estimates,
        warm=signals.warm,
    )  # fmt: skip
    return _encode(remembered).decode()


def _concerned(unhealthy: Mapping[str, str], route: Route) -> Mapping[str, str]:
    """Of those set aside, the ones that the route names, at whatever effort."""
    named = {base(name) for name in (*route.candidates, *route.fallbacks)}
    return {name: why for name, why in unhealthy.items() if name in named}


def outline(decision: Decision) -> tuple[list[tuple[str, str, Nano, float | None]], list[tuple[str, str]]]:
    """What came of a decision, as the ledger keeps it: candidates (model, price row, expected cost, quality), drops."""
    candidates = [(one.model.id, one.price.id, one.expected_cost, one.score) for one in decision.candidates]
    return candidates, [(drop.model, drop.code) for drop in decision.drops]


def outlined(candidates: str, drops: str) -> tuple[list[tuple[str, str, int, float | None]], list[tuple[str, str]]]:
    """The same read back from a row of the ledger; nothing of what was written in another form."""
    try:
        return _candidates(candidates), _drops(drops)
    except msgspec.MsgspecError:
        return [], []


def recall(text: str) -> Remembered:
    """Raises msgspec.MsgspecError for what is no decision of ours."""
    return _decode(text)


def question_of(remembered: Remembered, world: World, *, team: str, tags: Mapping[str, str]) -> Question | None:
    """The question that was asked, under its configuration; None when that has no such route or model."""
    shape = remembered.request
    route = world.route(shape.model)
    if route is None:
        return None
    places = remembered.jurisdictions
    return Question(
        route=route,
        request=ChatRequest(
            model=shape.model, stream=False, include_usage=False, needs=frozenset(shape.needs),
            prompt_bytes=shape.prompt_bytes, images=shape.images, max_output_tokens=shape.max_output_tokens,
            n=shape.n, fields={}, service_tier=shape.service_tier, effort=shape.effort,
        ),
        caller=Caller(
            team=team, key_id="", jurisdictions=None if places is None else frozenset(places),
            may_loosen=remembered.may_loosen,
        ),
        signals=Signals(
            now=remembered.now, seed=remembered.seed, unhealthy=remembered.unhealthy,
            used_percent=remembered.used_percent, kinds=remembered.kinds, estimates=remembered.estimates,
            warm=remembered.warm,
        ),
        terms=remembered.terms,
        tags=tags,
    )  # fmt: skip


def again(remembered: Remembered, world: World, *, team: str, tags: Mapping[str, str]) -> Decision | None:
    """The same decision from its record; None when this configuration is not the one that it was made under."""
    question = question_of(remembered, world, team=team, tags=tags)
    return None if question is None else answer(question, world)
