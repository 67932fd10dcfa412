"""Requests on a route with a cache: answered from it, or by a call that all equal requests of the moment share.

The first equal request of this process looks, in one round trip: it finds a kept answer, or leave to make the call, or
that another process is making it. The others of this process wait for what it finds. A call runs in a task of its own,
so it goes on when the client that it was made for has left; when its process dies, another request makes it anew.

Invariant: whoever opens a flight ends it, whatever happens; whoever reads one ends with an answer, an error or a turn
of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from gateway.core.caching import CachedAnswer, FlightLost, Freshness, Lookup, Role
from gateway.core.contracts import Cache
from gateway.core.errors import Blame, GatewayError
from gateway.core.records import UsageSource

from . import headers
from .attempt import Job
from .attempts import Asking
from .clock import new_id, now_us, ticks_us
from .faults import call_lost, not_cached, over_time, where
from .flight import LOST, CallReply, End, Fault, Flight, packed, unpacked
from .follow import Follower
from .keeper import Keeper, not_replayed
from .live import Live
from .plan import REVALIDATION, CachePlan, flight_name
from .replay import Kept, Landed, Replayed
from .reply import Headers, Reply
from .settle import Booking

log = logging.getLogger("gateway.chat")

TURNS = 3
"""So often a request waits for a call of somebody else that comes to nothing; then it makes one of its own."""

REVALIDATIONS_AT_ONCE = 64


class Ask(Protocol):
    """Have a job answered into this reply by its candidates. Raises GatewayError."""

    async def __call__(self, job: Job, live: Live, reply: Reply) -> Asking: ...


class Similar(Protocol):
    """Kept answers to questions that mean the same."""

    async def find(self, job: Job, live: Live) -> tuple[CachedAnswer, float] | None: ...

    def keep(self, job: Job, live: Live, answer: CachedAnswer) -> None:
        """Never waits."""
        ...


class Sharing:
    """Owns the tasks of calls; `close` waits for them, then cancels them."""

    def __init__(self, cache: Cache, keeper: Keeper, booking: Booking, ask: Ask) -> None:
        self._cache = cache
        self._keeper = keeper
        self._booking = booking
        self._ask = ask
        self.similar: Similar | None = None
        self._open: dict[str, Flight] = {}
        self._calls: set[asyncio.Task[None]] = set()
        self._renewing: set[str] = set()

    async def close(self, deadline_s: float) -> None:
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=deadline_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=1.0)
        await self._keeper.close()

    async def serve(self, job: Job, live: Live, reply: Reply) -> Replayed | None:
        """Answer the request. Returns the kept answer that did. Raises GatewayError."""
        plan = job.cache_plan
        assert plan is not None
        follower = Follower(job, live, reply, self._booking)
        if not plan.share:
            return await self._alone(job, live, plan, follower)
        name = flight_name(plan, job.request, job.decision.route.delivery)
        for _ in range(TURNS):
            flight = self._open.get(name) or await self._opened(name, job, live, reply.headers)
            own = flight.made_for == job.request_id
            end = await follower.read(flight, own=own)
            if end.landed is not None:
                return None
            if end.kept is not None:
                if not not_replayed(end.kept.answer, job.decision, plan, live, now_us()):
                    return await follower.replay(end.kept)
                break  # it asks for a younger one than the request that looked
            if end.fault is not None and (own or end.fault.shared):
                return await self._failed(end.fault, flight, follower, own=own)
        return await self._alone(job, live, plan, follower)

    # Where an answer comes from -----------------------------------------------------------------------------------

    async def _opened(self, name: str, job: Job, live: Live, head: Headers) -> Flight:
        """A flight that others of this process find from now on: it ends at once, or a task ends it."""
        flight = self._open[name] = Flight()
        try:
            task = await self._departure(flight, name, job, live, head)
        except BaseException:
            self._close(name, flight, LOST)
            raise
        if task is None:
            self._close(name, flight, LOST)
        else:
            self._spawn(task)
        return flight

    async def _departure(
        self, flight: Flight, name: str, job: Job, live: Live, head: Headers
    ) -> Coroutine[Any, Any, None] | None:
        """Look. What is to be done then to end the flight; None when it has ended."""
        plan = job.cache_plan
        assert plan is not None
        found = await self._cache.look(plan.key, plan.scope, flight=name)
        kept, fallback, reason = _usable(found.answer, job, plan, live)
        if kept is not None:
            flight.finish(End(kept=kept))
            if kept.word == "stale":
                self._revalidate(name, job, live)
            return None
        if found.answer is not None:
            flight.fallback = fallback
            led = await self._cache.lead(name)
            found = msgspec.structs.replace(led, epoch=led.epoch or found.epoch, reason=reason)
        if found.role is Role.FOLLOW:
            return self._copied(flight, name, found.flight)
        flight.made_for = job.request_id
        return self._called(flight, name, job, live, found, [*head, *headers.of_cache_reason(found.reason)])

    async def _copied(self, flight: Flight, name: str, token: str) -> None:
        """Another process makes the call: its parts into our log."""
        try:
            async for raw in self._cache.follow(token):
                part = unpacked(raw)
                if isinstance(part, End):
                    flight.finish(part)
                else:
                    flight.add(part)
        except (FlightLost, GatewayError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
            log.info("a call of another process was lost: %s", type(exc).__name__)
        finally:
            self._close(name, flight, LOST)

    async def _called(self, flight: Flight, name: str, job: Job, live: Live, found: Lookup, head: Headers) -> None:
        """Make the call. Its end is told here first, then to the other processes, with the answer to be kept."""
        plan = job.cache_plan
        assert plan is not None
        leads = found.role is Role.LEAD
        if leads:
            flight.on_part = lambda part: self._cache.publish(found.flight, [packed(part)])
        asking, answer, end = None, None, LOST
        try:
            end = await self._similar_to(job, live)
            if end is LOST:
                reply = CallReply(flight, head)
                asking, end = await self._asked(job, live, reply)
                if asking is not None and asking.answered is not None:
                    answer = self._keeper.to_keep(asking.answered, asking.completion, plan, found.epoch)
            flight.finish(end)
        finally:
            # Whatever happened: a lease that is not let go would be renewed, and others would wait for nothing.
            if leads:
                await self._cache.land(found.flight, [packed(end)], key=plan.key, answer=answer)
            elif answer is not None:
                await self._cache.put(plan.key, answer)
            self._close(name, flight, LOST)
        if asking is not None:
            await asking.wind_up()
        if answer is not None and self.similar is not None:
            self.similar.keep(job, live, answer)

    async def _asked(self, job: Job, live: Live, reply: CallReply) -> tuple[Asking | None, End]:
        try:
            asking = await self._ask(job, live, reply)
        except GatewayError as error:
            return None, End(fault=_fault(error, reply.headers))
        except TimeoutError:
            return None, End(fault=_fault(over_time(), reply.headers))
        attempt = asking.answered
        assert attempt is not None
        counted = attempt.usage_source is UsageSource.PROVIDER
        model = attempt.candidate.model.id
        landed = Landed(model, attempt.usage, attempt.service_tier, attempt.finish_reason, counted)
        return asking, End(landed=landed, last=reply.last)

    async def _similar_to(self, job: Job, live: Live) -> End:
        plan = job.cache_plan
        if self.similar is None or plan is None or plan.rule.semantic is None or job.cache == REVALIDATION:
            return LOST
        found = await self.similar.find(job, live)
        return LOST if found is None else End(kept=Kept(found[0], "hit", "semantic", found[1]))

    def _revalidate(self, name: str, job: Job, live: Live) -> None:
        """Fetch another answer in the place of one that is past its end; once at a time, whoever asks for it."""
        if name in self._renewing or len(self._renewing) >= REVALIDATIONS_AT_ONCE:
            return
        self._renewing.add(name)
        at_us = now_us()
        own = msgspec.structs.replace(
            job, request_id=new_id(at_us), at_us=at_us, began_us=ticks_us(), cache=REVALIDATION
        )  # fmt: skip
        self._spawn(self._renewed(name, own, live))

    async def _renewed(self, name: str, job: Job, live: Live) -> None:
        try:
            found = await self._cache.lead(name)
            if found.role is Role.LEAD:
                await self._called(Flight(), name, job, live, found, [])
        finally:
            self._renewing.discard(name)

    # By itself -----------------------------------------------------------------------------------------------------

    async def _alone(self, job: Job, live: Live, plan: CachePlan, follower: Follower) -> Replayed | None:
        """Without sharing a call: looked for where it may be, asked for, and kept where it may be."""
        reply, epoch, fallback, reason = follower.reply, 0, None, plan.reason
        if plan.look or plan.keep:
            found = await self._cache.look(plan.key, plan.scope, flight="")
            epoch, reason = found.epoch, plan.reason or found.reason
            if plan.look:
                kept, fallback, why = _usable(found.answer, job, plan, live)
                reason = reason or why
                if kept is not None:
                    return await follower.replay(kept)
            if plan.look and plan.keep and not plan.only_kept and not follower.has_had:
                end = await self._similar_to(job, live)
                if end.kept is not None:
                    return await follower.replay(end.kept)
        if plan.only_kept:
            raise not_cached(reason)
        if follower.has_had:
            raise call_lost()
        reply.headers += headers.of_cache_reason(reason)
        if not plan.keep and not reply.started:
            reply.headers += headers.NO_STORE
        try:
            asking = await self._ask(job, live, reply)
        except GatewayError as error:
            if fallback is None or reply.started or error.blame is not Blame.UPSTREAM:
                raise
            return await follower.replay(Kept(fallback, "stale", "error"))
        if asking.answered is not None:
            answer = self._keeper.to_keep(asking.answered, asking.completion, plan, epoch)
            if answer is not None:
                self._keeper.put(plan.key, answer)
                if self.similar is not None:
                    self.similar.keep(job, live, answer)
        await asking.wind_up()
        return None

    async def _failed(self, fault: Fault, flight: Flight, follower: Follower, *, own: bool) -> Replayed | None:
        fallback, decision, plan = flight.fallback, follower.job.decision, follower.job.cache_plan
        assert plan is not None
        stands_in = fallback is not None and fault.shared and not follower.reply.started
        if stands_in and fallback is not None and not not_replayed(fallback, decision, plan, follower.live, now_us()):
            return await follower.replay(Kept(fallback, "stale", "error"))
        follower.failed(fault, own=own)
        raise fault.error()

    def _close(self, name: str, flight: Flight, end: End) -> None:
        flight.finish(end)
        if self._open.get(name) is flight:
            del self._open[name]

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine, name="shared-call")
        self._calls.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a shared call failed inside the gateway: %s", where(task.exception()))


def _usable(
    answer: CachedAnswer | None, job: Job, plan: CachePlan, live: Live
) -> tuple[Kept | None, CachedAnswer | None, str]:
    """The kept answer as it may be replayed now; what stands in when no other can be had; why it is neither."""
    if answer is None:
        return None, None, ""
    at_us = now_us()
    reason = not_replayed(answer, job.decision, plan, live, at_us)
    if reason:
        return None, None, reason
    freshness = answer.freshness(at_us)
    if freshness is Freshness.FRESH:
        return Kept(answer, "hit", plan.reason), None, ""
    if freshness is Freshness.REVALIDATE:
        return Kept(answer, "stale", "revalidating"), None, ""
    return None, answer if freshness is Freshness.FALLBACK else None, ""


def _fault(error: GatewayError, head: Headers) -> Fault:
    shared = error.blame is Blame.UPSTREAM or error.outcome.startswith("http_") or error.code == "no_healthy_candidate"
    return Fault(
        error.blame, error.status, error.told, error.type, error.code, error.param, error.outcome, shared,
        error.retry_after_s, list(head),
    )  # fmt: skip
