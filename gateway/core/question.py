"""All that a decision is made of, and making it: the same function for a live request and for one that is replayed."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from .candidate import Signals
from .conditions import rules_in_force
from .request import ChatRequest
from .route import Route
from .routing import Decision, decide
from .terms import AS_THE_ROUTE, Terms, under
from .world import Caller, World


class Question(msgspec.Struct, frozen=True, gc=False):
    """Who asks for what, under which terms, at which moment. route: the one that the request names."""

    route: Route
    request: ChatRequest
    caller: Caller
    signals: Signals
    terms: Terms = AS_THE_ROUTE
    tags: Mapping[str, str] = {}


def answer(question: Question, world: World) -> Decision:
    """Which rules hold, under which terms, and who serves by them.

    Raises GatewayError 403 when the terms are looser than the caller may ask for.
    """
    one = question
    route = one.route
    if route.when:
        route = rules_in_force(route, world.routes, one.request, one.tags, one.signals)
    step = route.step_down
    if step is not None and one.signals.used_percent >= step.from_percent:
        route = dataclasses.replace(world.routes[step.to], name=route.name)
    route = under(route, one.terms, world.words, may_loosen=one.caller.may_loosen)
    return decide(route, one.request, world.market, one.signals, jurisdictions=one.caller.jurisdictions)
