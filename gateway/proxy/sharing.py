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
from gateway.core.errors import GatewayError
from gateway.core.records import UsageSource

from . import headers
from .attempt import Job
from .attempts import Asking
from .clock import new_id, now_us, ticks_us
from .faults import concerns_all, not_cached, over_time, where
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
RENEW_PAUSE_S = 1.0
"""So long after one came to nothing the next is not tried."""


class Ask(Protocol):
    """Have a job answered into this reply by its candidates. Raises GatewayError."""

    async def __call__(self, job: Job, live: Live, reply: Reply, *, stands_in: bool = False) -> Asking: ...


class Similar(Protocol):
    """Kept answers to questions that mean the same."""

    async def find(self, job: Job, live: Live) -> tuple[CachedAnswer, float] | None: ...

    def keep(self, job: Job, live: Live, answer: CachedAnswer) -> None:
        """Never waits."""
        ...


class _Wanted(msgspec.Struct, frozen=True):
    """One request of a route with a cache. name: of the call that equal requests share."""

    job: Job
    live: Live
    plan: CachePlan
    name: str

    def not_replayed(self, answer: CachedAnswer) -> str:
        """Why a kept answer is not one for this request now; "" when it is."""
        return not_replayed(answer, self.job.decision, self.plan, self.live, now_us())

    def usable(self, answer: CachedAnswer | None) -> tuple[Kept | None, CachedAnswer | None, str]:
        """The answer as it may be replayed now; what stands in when no other can be had; why it is neither."""
        if answer is None:
            return None, None, ""
        reason = self.not_replayed(answer)
        if reason:
            return None, None, reason
        freshness = answer.freshness(now_us())
        if freshness is Freshness.FRESH:
            return Kept(answer), None, ""
        if freshness is Freshness.REVALIDATE:
            return Kept(answer, "stale", "revalidating"), None, ""
        return None, answer if freshness is Freshness.FALLBACK else None, ""


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
        self._copies: set[asyncio.Task[None]] = set()
        self._renewing: set[str] = set()

    async def close(self, deadline_s: float) -> None:
        late = set(self._copies)  # nobody reads them any more
        if self._calls:
            late |= (await asyncio.wait(self._calls, timeout=deadline_s))[1]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1.0)
        await self._keeper.close()

    async def serve(self, job: Job, live: Live, reply: Reply) -> Replayed | None:
        """Answer the request. Returns the kept answer that did. Raises GatewayError."""
        plan = job.cache_plan
        assert plan is not None
        wanted = _Wanted(job, live, plan, flight_name(plan, job.request, job.decision.route))
        follower = Follower(job, live, reply, self._booking)
        try:
            return await self._served(wanted, follower)
        finally:
            follower.leave()

    async def _served(self, wanted: _Wanted, follower: Follower) -> Replayed | None:
        job, plan, reply = wanted.job, wanted.plan, follower.reply
        for _ in range(TURNS if plan.share else 0):
            flight = self._open.get(wanted.name) or await self._opened(wanted, reply.headers)
            own = flight.made_for == job.request_id
            end = await follower.read(flight, own=own)
            if end.landed is not None:
                return None
            if end.kept is not None:
                if not wanted.not_replayed(end.kept.answer):
                    return await follower.replay(end.kept)
                break  # it asks for a younger one than the request that looked
            if end.fault is not None and (own or end.fault.shared):
                return await self._failed(end.fault, flight, wanted, follower, own=own)
        return await self._alone(wanted, follower)

    # Where an answer comes from -----------------------------------------------------------------------------------

    async def _opened(self, wanted: _Wanted, head: Headers) -> Flight:
        """A flight that others of this process find from now on: it ends at once, or a task ends it."""
        flight = self._open[wanted.name] = Flight()
        task = None
        try:
            task = await self._departure(flight, wanted, head)
        finally:
            if task is None:
                self._close(wanted.name, flight)
        if task is not None:
            self._spawn(task, self._calls if flight.made_for else self._copies)
        return flight

    async def _departure(self, flight: Flight, wanted: _Wanted, head: Headers) -> Coroutine[Any, Any, None] | None:
        """Look. What is to be done then to end the flight; None when it has ended."""
        found = await self._cache.look(wanted.plan.key, wanted.plan.scope, flight=wanted.name)
        kept, flight.fallback, reason = wanted.usable(found.answer)
        if kept is not None:
            flight.finish(End(kept=kept))
            if kept.word == "stale":
                self._revalidate(wanted)
            return None
        if found.answer is not None:
            led = await self._cache.lead(wanted.name)
            found = msgspec.structs.replace(led, epoch=led.epoch or found.epoch, reason=reason)
        if found.role is Role.FOLLOW:
            return self._copied(flight, wanted.name, found.flight)
        flight.made_for = wanted.job.request_id
        reason = found.reason or wanted.plan.reason
        return self._called(flight, wanted, found, [*head, *headers.of_cache_reason(reason)])

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
            self._close(name, flight)

    async def _called(self, flight: Flight, wanted: _Wanted, found: Lookup, head: Headers) -> None:
        """Make the call. Its end is told here first, then to the other processes, with the answer to be kept."""
        plan, leads = wanted.plan, found.role is Role.LEAD
        if leads:
            flight.on_part = lambda part: self._cache.publish(found.flight, [packed(part)])
        asking, answer, end = None, None, LOST
        try:
            end = await self._similar_to(wanted)
            if end is LOST:
                stands_in = flight.fallback is not None
                asking, end = await self._asked(wanted, CallReply(flight, head), stands_in=stands_in)
            flight.finish(end)
            answer = self._to_keep(asking, plan, found.epoch)
        finally:
            try:
                # Whatever happened: a lease that is not let go would be renewed, and others would wait for nothing.
                if leads:
                    await self._cache.land(found.flight, [packed(end)], key=plan.key, answer=answer)
                elif answer is not None:
                    await self._cache.put(plan.key, answer)
            finally:
                self._close(wanted.name, flight)
        if answer is not None and self.similar is not None:
            self.similar.keep(wanted.job, wanted.live, answer)
        if asking is not None:
            await asking.wind_up()

    async def _asked(self, wanted: _Wanted, reply: CallReply, *, stands_in: bool) -> tuple[Asking | None, End]:
        try:
            asking = await self._ask(wanted.job, wanted.live, reply, stands_in=stands_in)
        except GatewayError as error:
            return None, End(fault=_fault(error, reply.headers))
        except TimeoutError:
            return None, End(fault=_fault(over_time(), reply.headers))
        finally:
            await reply.stop_watching()  # what keeps a client waiting: there is none
        attempt = asking.answered
        assert attempt is not None
        counted = attempt.usage_source is UsageSource.PROVIDER
        model = attempt.candidate.model.id
        landed = Landed(model, attempt.usage, attempt.service_tier, attempt.finish_reason, counted)
        return asking, End(landed=landed, last=reply.last)

    def _to_keep(self, asking: Asking | None, plan: CachePlan, epoch: int) -> CachedAnswer | None:
        if asking is None or asking.answered is None:
            return None
        return self._keeper.to_keep(asking.answered, asking.completion, plan, epoch)

    async def _similar_to(self, wanted: _Wanted) -> End:
        if self.similar is None or wanted.plan.rule.semantic is None or wanted.job.cache == REVALIDATION:
            return LOST
        found = await self.similar.find(wanted.job, wanted.live)
        return LOST if found is None else End(kept=Kept(found[0], "hit", "semantic", found[1]))

    def _revalidate(self, wanted: _Wanted) -> None:
        """Fetch another answer in the place of one that is past its end; once at a time, whoever asks for it."""
        name = f"{wanted.plan.key}:renew"  # however it is delivered
        if name in self._renewing or len(self._renewing) >= REVALIDATIONS_AT_ONCE:
            return
        self._renewing.add(name)
        changed, at_us = msgspec.structs.replace, now_us()
        job = changed(wanted.job, request_id=new_id(at_us), at_us=at_us, began_us=ticks_us(), cache=REVALIDATION)
        self._spawn(self._renewed(changed(wanted, job=job, name=name)), self._calls)

    async def _renewed(self, wanted: _Wanted) -> None:
        try:
            found = await self._cache.lead(wanted.name)
            if found.role is not Role.LEAD:
                return
            now = (await self._cache.look(wanted.plan.key, wanted.plan.scope, flight="")).answer
            if now is not None and now.freshness(now_us()) is Freshness.FRESH:  # another process was quicker
                await self._cache.land(found.flight, [], key=wanted.plan.key, answer=None)
                return
            await self._called(Flight(), wanted, found, [])
        finally:
            asyncio.get_running_loop().call_later(RENEW_PAUSE_S, self._renewing.discard, wanted.name)

    # By itself -----------------------------------------------------------------------------------------------------

    async def _alone(self, wanted: _Wanted, follower: Follower) -> Replayed | None:
        """Without sharing a call: looked for where it may be, asked for, and kept where it may be."""
        plan, reply = wanted.plan, follower.reply
        epoch, fallback, reason = 0, None, plan.reason
        if plan.look or plan.keep:
            found = await self._cache.look(plan.key, plan.scope, flight="")
            epoch, reason = found.epoch, plan.reason or found.reason
            if plan.look:
                kept, fallback, why = wanted.usable(found.answer)
                reason = reason or why
                if kept is not None and kept.word == "stale" and not plan.keep:
                    kept = msgspec.structs.replace(kept, reason=plan.reason)
                elif kept is not None and kept.word == "stale":
                    self._revalidate(wanted)
                if kept is not None:
                    return await follower.replay(kept)
            if plan.look and plan.keep and not plan.only_kept and not follower.has_had:
                end = await self._similar_to(wanted)
                if end.kept is not None:
                    return await follower.replay(end.kept)
        if plan.only_kept:
            raise not_cached(reason)
        if follower.has_had:
            raise follower.lost()
        follower.calls_itself()
        before = list(reply.headers)
        reply.headers += headers.of_cache_reason(reason)
        if not plan.keep and not wanted.job.request.stream:  # a stream has a cache-control of its own
            reply.headers += headers.NO_STORE
        try:
            asking = await self._ask(wanted.job, wanted.live, reply, stands_in=fallback is not None)
        except GatewayError as error:
            if fallback is None or reply.started or not concerns_all(error):
                raise
            reply.headers = before
            return await follower.replay(Kept(fallback, "stale", "error", made=error.attempts))
        answer = self._to_keep(asking, plan, epoch)
        if answer is not None:
            self._keeper.put(plan.key, answer)
            if self.similar is not None:
                self.similar.keep(wanted.job, wanted.live, answer)
        await asking.wind_up()
        return None

    async def _failed(
        self, fault: Fault, flight: Flight, wanted: _Wanted, follower: Follower, *, own: bool
    ) -> Replayed | None:
        fallback = flight.fallback if fault.shared and not follower.reply.started else None
        if fallback is not None and not wanted.not_replayed(fallback):
            made = fault.attempts if own else 0
            return await follower.replay(Kept(fallback, "stale", "error", made=made))
        follower.failed(fault, own=own)
        raise fault.error()

    def _close(self, name: str, flight: Flight) -> None:
        """No other request joins it; one that has no end yet is lost."""
        flight.finish(LOST)
        if self._open.get(name) is flight:
            del self._open[name]

    def _spawn(self, coroutine: Coroutine[Any, Any, None], among: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(coroutine, name="shared-call")
        among.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._calls.discard(task)
        self._copies.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a shared call failed inside the gateway: %s", where(task.exception()))


def _fault(error: GatewayError, head: Headers) -> Fault:
    return Fault(
        error.blame, error.status, error.told, error.type, error.code, error.param, error.outcome,
        concerns_all(error), error.retry_after_s, error.attempts, list(head),
    )  # fmt: skip
