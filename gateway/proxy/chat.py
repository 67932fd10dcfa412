"""One chat request: parse, decide, look in the cache, attempt, answer, book.

Fallback happens only before the first content byte has left for the client, and never when the client is to blame.
After it, a fault becomes an in-band error event without `[DONE]`. A client that leaves a stream early does not stop
it: the provider bills the answer, so the stream is read on (with a limit) to learn what it cost.

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

from gateway.core.candidate import Candidate
from gateway.core.contracts import Admission, Target, Upstream
from gateway.core.errors import Blame, GatewayError
from gateway.core.money import Nano
from gateway.core.question import Question, answer
from gateway.core.remembered import remember
from gateway.core.replay import join_stream
from gateway.core.request import ChatRequest, parse_chat
from gateway.core.route import Route
from gateway.core.routing import decide, refusal
from gateway.core.sse import DONE
from gateway.core.terms import read_terms
from gateway.core.world import Caller, World

from . import headers
from .admission import Admissions, tags_json
from .attempt import NOTHING, Attempt, Job, decision_json
from .clock import new_id, now_us, ticks_us
from .door import LiveKeys, authenticate, read_body, tags_of, terms_given
from .exchange import Relay, fetch
from .faults import over_time
from .health import Health
from .keeper import Keeper, replay
from .metrics import Metrics
from .moment import Moment
from .reply import Receive, Reply, Scope, Send
from .settle import Booking, Settler

log = logging.getLogger("gateway.chat")

DEADLINE_MARGIN_S = 0.1
"""An attempt ends this much before its request must, so that the fault is the attempt's and can be told."""


@dataclass(frozen=True, slots=True)
class Live:
    """The configuration in force and where each model's requests go, swapped in by one reference."""

    world: World
    targets: Mapping[str, Target]
    simulated: bool

    @property
    def version(self) -> str:
        """What a cached answer is valid under. Simulated answers never meet real ones."""
        return f"{self.world.version}{'-simulated' if self.simulated else ''}"


@dataclass(slots=True)
class Parts:
    """What the composition root hands in."""

    live: Live
    upstreams: Mapping[str, Upstream]
    keeper: Keeper
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
            log.error("request %s failed inside the gateway: %s", request_id, _where(exc))
            fault = GatewayError(Blame.GATEWAY, 500, told="the gateway failed; its log has this request's id")
            await self._refuse(request_id, reply, fault)
        finally:
            self.in_flight -= 1
            await reply.stop_watching()

    async def _handle(self, arrival: _Arrival, reply: Reply) -> None:
        live = self._parts.live  # one configuration for the whole request, whatever is swapped in meanwhile
        job = await self._accept(arrival, live)
        reply.headers += headers.of_decision(job.decision.route, job.request_id)
        async with asyncio.timeout(job.decision.route.timeouts.total) as deadline:
            if await self._replayed(job, live, reply):
                return
            if not job.decision.candidates:
                raise self._refusal(job)
            await self._attempts(job, live, reply, deadline)

    async def _replayed(self, job: Job, live: Live, reply: Reply) -> bool:
        kept = await self._parts.keeper.find(job)
        target = None if kept is None else live.targets.get(kept.model)
        if kept is None or target is None:
            return False
        return await replay(job, kept, target, reply, self._parts.booking)

    async def _accept(self, arrival: _Arrival, live: Live) -> Job:
        """From bytes to a decided job. Raises GatewayError for everything that is refused early."""
        world = live.world
        caller = authenticate(arrival.scope, world, self._parts.keys)
        settings = world.server
        self._refuse_overload(settings.max_concurrency)
        body = await read_body(
            arrival.scope, arrival.receive, limit=settings.max_body_bytes, deadline_s=settings.body_timeout_s
        )
        at_us = now_us()  # the prices of now, not of when a slow client began to send
        question = await self._question(arrival.scope, parse_chat(body), caller, world, at_us)
        decision = answer(question, world)
        candidates_json, drops_json = decision_json(decision)
        request = question.request
        key = self._parts.keeper.key(question, decision.route, live.version)
        return Job(
            request_id=arrival.request_id,
            at_us=at_us,
            began_us=arrival.began_us,
            caller=caller,
            request=request,
            decision=decision,
            market=world.market,
            cache="off" if key is None else "miss",
            cache_key=key,
            candidates_json=candidates_json,
            drops_json=drops_json,
            tags_json=tags_json(question.tags),
            remembered=remember(question, decision, world.version),
        )

    async def _question(self, scope: Scope, request: ChatRequest, caller: Caller, world: World, at_us: int) -> Question:
        """Raises GatewayError for a route that is none, and for terms that cannot be had."""
        tags = tags_of(scope, request)
        route = find_route(world, caller, request.model)
        terms = read_terms(terms_given(scope), world.words)
        signals = await self._parts.moment.signals(
            route, request, caller, world, terms=terms, tags=tags, at_us=at_us
        )  # fmt: skip
        return Question(route, request, caller, signals, terms, tags)

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
            error.retry_after_s = self._parts.health.recovers_in_s(tuple(drop.model for drop in job.decision.drops))
        return error

    async def _attempts(self, job: Job, live: Live, reply: Reply, deadline: asyncio.Timeout) -> None:
        """Candidates in order until one answers. Every attempt leaves exactly one record."""
        most = job.decision.route.max_attempts
        waiting = deque(job.decision.candidates)
        repeated, spent = False, NOTHING
        for number in range(1, most + 1):
            attempt, admission = await self._admitted(job, number, waiting, live, spent)
            candidate = attempt.candidate
            self._parts.health.began(candidate.model.id)
            followed = False
            try:
                await self._answer(attempt, reply, deadline, alone=number == most or not waiting)
                self._parts.health.answered(candidate.model.id, attempt.began_s)
                return
            except GatewayError as error:
                attempt.failed(error)
                self._parts.health.failed(candidate.model.id, candidate.model.provider, error)
                spent = attempt.request_cost
                if error.repeatable and not repeated:
                    # A pooled connection that its server was closing: the same target is worth one more try.
                    repeated = True
                    waiting.appendleft(candidate)
                if error.trips_provider:
                    waiting = deque(one for one in waiting if one.model.provider != candidate.model.provider)
                followed = number < most and bool(waiting) and error.retryable and not reply.started
                if not followed:
                    self._describe_failure(error, attempt, reply)
                    raise
                log.warning("%s: falling back after %s", attempt.attempt_id, error.noted)
            finally:
                self._parts.booking.book(attempt.record(), admission, final=not followed)

    async def _admitted(
        self, job: Job, number: int, waiting: deque[Candidate], live: Live, spent: Nano
    ) -> tuple[Attempt, Admission]:
        """The first waiting candidate that there is leave to spend on.

        What does not fit into a budget may fit at a candidate whose answer is held at less; last come those of the
        route that this one steps down to. Raises GatewayError of the last one when none fits.
        """
        stepped = False
        while True:
            candidate = waiting.popleft()
            attempt = Attempt(job, candidate, number, live.targets[candidate.model.id], spent=spent)
            try:
                return attempt, await self._parts.admissions.admit(attempt, live.world.rules)
            except GatewayError as refused:
                if not refused.retryable:
                    raise
                if not waiting and not stepped:
                    stepped = True
                    waiting.extend(self._steps(job, live))
                if not waiting:
                    raise

    def _steps(self, job: Job, live: Live) -> list[Candidate]:
        """The candidates of the route that is stepped down to, without those that are asked anyway."""
        route, world = job.decision.route, live.world
        if route.step_down is None:
            return []
        signals = msgspec.structs.replace(job.decision.signals, unhealthy=self._parts.health.unhealthy())
        lesser = decide(
            world.routes[route.step_down.to], job.request, world.market, signals, jurisdictions=job.caller.jurisdictions
        )
        asked = {one.model.id for one in job.decision.candidates}
        return [one for one in lesser.candidates if one.model.id not in asked]

    async def _answer(self, attempt: Attempt, reply: Reply, deadline: asyncio.Timeout, *, alone: bool) -> None:
        """alone: no other attempt could follow this one."""
        upstream = self._parts.upstreams[attempt.target.provider.via]
        until = _share(deadline, alone)
        if attempt.job.request.stream:
            await self._relay(attempt, upstream, reply, deadline, until)
        else:
            answer = await fetch(attempt, upstream, until=until)
            self._parts.keeper.keep(attempt, answer.body)
            reply.headers += headers.of_attempt(attempt)
            reply.headers += headers.of_money(cost=attempt.request_cost, saved=attempt.request_saved)
            await reply.whole(200, answer.body)
        if attempt.number == 1:  # a later attempt's request has waited for other providers as well
            self._parts.metrics.overhead(attempt.job.decision.route.name, attempt.overhead_us / 1e6)

    async def _relay(
        self, attempt: Attempt, upstream: Upstream, reply: Reply, deadline: asyncio.Timeout, until: float
    ) -> None:
        relay = Relay(attempt, reply, keep=attempt.job.cache_key is not None)
        first_by = min(asyncio.get_running_loop().time() + attempt.job.decision.route.timeouts.first_token, until)
        await relay.run(upstream, first_by=first_by, on_gone=lambda: self._abandon(deadline))
        if reply.gone:
            attempt.outcome = "aborted"  # whether it was read to its end or cut off
        elif relay.kept is not None:
            joined = join_stream(b"".join(relay.kept), relay.usage_raw)
            if joined is not None:
                self._parts.keeper.keep(attempt, joined)
        await reply.end_stream(headers.trailer(attempt) + DONE)

    def _abandon(self, deadline: asyncio.Timeout) -> None:
        """The client has left: read on for the cost, but not for ever."""
        by = asyncio.get_running_loop().time() + self._parts.live.world.server.abandoned_stream_s
        when = deadline.when()
        if when is None or by < when:
            deadline.reschedule(by)

    def _describe_failure(self, error: GatewayError, attempt: Attempt, reply: Reply) -> None:
        """The caller is told who was asked last, and not to ask again what the gateway has retried already."""
        if reply.started:
            return
        reply.headers += headers.of_attempt(attempt)
        if error.retryable and error.status != 429:
            reply.headers.append((b"x-should-retry", b"false"))

    async def _refuse(self, request_id: str, reply: Reply, error: GatewayError) -> None:
        """The one place where an error becomes bytes."""
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
     "over_budget", "over_limit", "accounts_away", "keys_away"}
)  # fmt: skip
"""Outcomes that are counted in gateway_rejected_total and not logged one by one."""


def find_route(world: World, caller: Caller, name: str) -> Route:
    """The route or direct model that a request names. Raises GatewayError 404 or 403."""
    route = world.route(name)
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


def _share(deadline: asyncio.Timeout, alone: bool) -> float:
    """Until when an attempt may take: all that is left, or half of it where another could follow."""
    now = asyncio.get_running_loop().time()
    when = deadline.when()
    left = 0.0 if when is None else max(when - now - DEADLINE_MARGIN_S, 0.0)
    return now + (left if alone else left / 2)


def _where(exc: BaseException) -> str:
    """The kind and place of an exception, without its text, which might hold a prompt."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    return f"{type(exc).__name__}{place}"
