"""One chat request: parse, decide, look in the cache, have it answered, or say why not.

An error before anything has left for the client has its own status; after that it is an in-band error event, and no
`[DONE]` follows.

No concrete store, upstream or dialect is imported here; the composition root hands them in.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from gateway.core.contracts import Cache, Upstream
from gateway.core.errors import Blame, GatewayError
from gateway.core.market import Market
from gateway.core.question import Question, answer
from gateway.core.remembered import remember
from gateway.core.request import ChatRequest, parse_chat
from gateway.core.route import Delivery, Route
from gateway.core.routing import Decision, refusal
from gateway.core.terms import read_terms
from gateway.core.world import Caller, World

from . import headers
from .admission import Admissions, tags_json
from .attempt import Job, decision_json
from .attempts import Asking, Attempts
from .clock import new_id, now_us, ticks_us
from .door import LiveKeys, authenticate, control_of, read_body, tags_of, terms_given
from .faults import over_time, where
from .health import Health, set_aside
from .keeper import Keeper
from .live import Live
from .memo import Memo, asks_nothing, repeat
from .metrics import Metrics
from .moment import Moment
from .plan import plan_cache
from .reply import Receive, Reply, Scope, Send
from .settle import Booking, Settler
from .sharing import Sharing

log = logging.getLogger("gateway.chat")


@dataclass(slots=True)
class Parts:
    """What the composition root hands in."""

    live: Live
    upstreams: Mapping[str, Upstream]
    cache: Cache
    secret: bytes
    settler: Settler
    booking: Booking
    admissions: Admissions
    health: Health
    moment: Moment
    metrics: Metrics
    keys: LiveKeys


class ChatEndpoint:
    """POST /v1/chat/completions as a raw ASGI application."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._attempts = Attempts(
            upstreams=parts.upstreams, booking=parts.booking, admissions=parts.admissions,
            health=parts.health, metrics=parts.metrics, conversations=parts.moment.conversations,
        )  # fmt: skip
        keeper = Keeper(parts.cache, parts.metrics)
        self.sharing = Sharing(parts.cache, keeper, parts.booking, self._ask)
        self._memo = Memo()
        self.in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began_us = ticks_us()
        request_id = new_id(now_us())
        reply = Reply(receive, send, request_id)
        self.in_flight += 1
        try:
            await self._handle(_Arrival(request_id, began_us, scope, receive), reply)
        except GatewayError as error:
            await self._refuse(request_id, reply, error)
        except TimeoutError:
            await self._refuse(request_id, reply, over_time())
        except Exception as exc:  # noqa: BLE001 - the last guard: answered and logged, never swallowed
            log.error("request %s failed inside the gateway: %s", request_id, where(exc))
            fault = GatewayError(Blame.GATEWAY, 500, told="the gateway failed; its log has this request's id")
            await self._refuse(request_id, reply, fault)
        finally:
            self.in_flight -= 1
            await reply.stop_watching()

    async def close(self) -> None:
        """Wait for the calls that nobody's request is open for any more."""
        await self.sharing.close(self._parts.live.world.server.drain_s)

    async def _handle(self, arrival: _Arrival, reply: Reply) -> None:
        live = self._parts.live  # one configuration for the whole request, whatever is swapped in meanwhile
        caller = authenticate(arrival.scope, live.world, self._parts.keys)
        settings = live.world.server
        self._refuse_overload(settings.max_concurrency)
        body = await read_body(
            arrival.scope, arrival.receive, limit=settings.max_body_bytes, deadline_s=settings.body_timeout_s
        )
        at_us = now_us()  # the prices of now, not of when a slow client began to send
        known = self._memo.find(caller, body, live, at_us)
        if known is not None and asks_nothing(arrival.scope):
            self._parts.metrics.replayed(len(known.answer.body))
            await repeat(known, arrival.request_id, arrival.began_us, at_us, reply, self._parts.booking)
            return
        job = await self._decided(arrival, live, caller, body, at_us)
        reply.headers += headers.of_decision(job.decision.route, job.request_id)
        if job.cache_plan is None:
            asking = await self._ask(job, live, reply)
            await asking.wind_up()
            return
        async with asyncio.timeout(job.decision.route.timeouts.total):
            replayed = await self.sharing.serve(job, live, reply)
        if replayed is None:
            return
        self._parts.metrics.replayed(len(replayed.kept.answer.body))
        if asks_nothing(arrival.scope):
            self._memo.keep(job, replayed.kept, live, replayed.record, body)

    async def _ask(self, job: Job, live: Live, reply: Reply, *, stands_in: bool = False) -> Asking:
        """Have the job answered into this reply. Whoever asks winds it up. Raises GatewayError, TimeoutError.

        stands_in: a kept answer will be replayed when the providers fail.
        """
        if not job.decision.candidates:
            raise self._refusal(job)
        async with asyncio.timeout(job.decision.route.timeouts.total) as deadline:
            asking = Asking(job, live.world, live.targets, reply, deadline, deque(job.decision.candidates))
            asking.stands_in = stands_in
            try:
                await self._attempts.run(asking)
            except GatewayError as error:
                error.attempts = asking.made
                raise
        return asking

    async def _decided(self, arrival: _Arrival, live: Live, caller: Caller, body: bytes, at_us: int) -> Job:
        """From bytes to a decided job. Raises GatewayError for everything that is refused early."""
        world = live.world
        question = await self.question(arrival.scope, parse_chat(body), caller, world, at_us)
        decision = answer(question, world)
        if not decision.candidates and question.signals.unhealthy:
            question = self._with_least_bad(question, decision, world.market)
            decision = answer(question, world)
        request, route = question.request, decision.route
        candidates_json, drops_json = decision_json(decision)
        plan = None
        if route.cache is not None:
            control = control_of(arrival.scope)
            plan = plan_cache(self._parts.secret, request, caller, decision, live, control)
        return Job(
            request_id=arrival.request_id,
            at_us=at_us,
            began_us=arrival.began_us,
            caller=caller,
            request=request,
            decision=decision,
            market=world.market,
            cache="off" if plan is None else plan.word,
            cache_plan=plan,
            candidates_json=candidates_json,
            drops_json=drops_json,
            tags=question.tags,
            tags_json=tags_json(question.tags),
            remembered=remember(question, decision, world.version),
            whole=request.stream and route.delivery is Delivery.WHOLE,
        )

    async def question(self, scope: Scope, request: ChatRequest, caller: Caller, world: World, at_us: int) -> Question:
        """Raises GatewayError for a route that is none, and for terms that cannot be had."""
        tags = tags_of(scope, request)
        route = find_route(world, caller, request.model)
        terms = read_terms(terms_given(scope), world.words)
        signals = await self._parts.moment.signals(
            route, request, caller, world, terms=terms, tags=tags, at_us=at_us
        )  # fmt: skip
        return Question(route, request, caller, signals, terms, tags)

    def _with_least_bad(self, question: Question, decision: Decision, market: Market) -> Question:
        """When every candidate is set aside, with one of those that were only counted out: better than nobody."""
        dropped = set_aside(decision, market)
        spared = next((model for model in self._parts.health.suspects() if model in dropped), None)
        unhealthy = question.signals.unhealthy
        others = {model: reason for model, reason in unhealthy.items() if model != spared}
        signals = msgspec.structs.replace(question.signals, unhealthy=others)
        return msgspec.structs.replace(question, signals=signals)

    def _refuse_overload(self, max_concurrency: int) -> None:
        if self.in_flight > max_concurrency:
            told = f"{max_concurrency} requests are in flight already; try again shortly"
            raise GatewayError(Blame.GATEWAY, 503, told=told, code="overloaded", retry_after_s=1, outcome="overloaded")
        if self._parts.settler.full:
            told = "spend cannot be booked at the moment (the ledger is away), so no more work is accepted"
            raise GatewayError(Blame.GATEWAY, 503, told=told, code="ledger_away", retry_after_s=5, outcome="overloaded")

    def _refusal(self, job: Job) -> GatewayError:
        error = refusal(job.decision)
        if error.code == "no_healthy_candidate":
            error.retry_after_s = self._parts.health.recovers_in_s(set_aside(job.decision, job.market))
        return error

    async def _refuse(self, request_id: str, reply: Reply, error: GatewayError) -> None:
        """The one place where an error becomes bytes."""
        if reply.gone:
            return
        if reply.started:
            if not reply.blocked:  # a client that does not read would hold this request for ever
                await reply.end_stream(b"data: " + error.body() + b"\n\n")
            return
        if error.outcome in REJECTED:
            self._parts.metrics.rejected(error.outcome)
        elif error.blame is not Blame.CALLER:
            log.warning("request %s refused: %s", request_id, error.noted)
        await reply.error(error)


class _Arrival(msgspec.Struct, frozen=True):
    """A request as it came in."""

    request_id: str
    began_us: int
    scope: Scope
    receive: Receive


REJECTED = frozenset(
    {"invalid", "unauthorised", "refused", "overloaded", "too_large", "slow_request", "unknown_model", "client_left",
     "over_budget", "over_limit", "accounts_away", "keys_away", "not_cached"}
)  # fmt: skip
"""Outcomes that are counted in gateway_rejected_total and not logged one by one."""


def find_route(world: World, caller: Caller, name: str) -> Route:
    """The route or direct model that a request names. Raises GatewayError 404 or 403."""
    route = world.route(name)
    if route is None and name in world.embedders:
        told = f"{name[:100]!r} is an embedding model: it makes vectors of texts and answers no chat"
        raise GatewayError(Blame.CALLER, 404, told=told, param="model", code="model_not_found", outcome="unknown_model")
    if route is None:
        near = difflib.get_close_matches(name[:100], [*world.routes, *world.direct], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        told = f"no route or model is named {name[:100]!r}{hint} (GET /v1/models lists them)"
        raise GatewayError(Blame.CALLER, 404, told=told, param="model", code="model_not_found", outcome="unknown_model")
    if not caller.may_use(route):
        allowed = ", ".join(sorted(caller.routes or ()))
        told = f"team {caller.team!r} may not use {name[:100]!r}; it may use: {allowed}"
        raise GatewayError(
            Blame.CALLER, 403, told=told, param="model", code="route_not_allowed", outcome="unauthorised"
        )
    return route
