"""The candidates of one request, asked one after the other until one answers. Every attempt leaves exactly one record.

Another candidate is asked only before content has left for the client, and never when the client is to blame. Who may
be asked next is decided in core/retry.py; here it is done: admitted, sent, booked, told to the circuits.

A client that leaves stops nothing that is billed anyway: such an answer is read on, with a limit, for what it cost.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from gateway.core.candidate import Candidate
from gateway.core.contracts import Admission, Target, Upstream
from gateway.core.errors import GatewayError
from gateway.core.money import Nano
from gateway.core.replay import join_stream
from gateway.core.retry import RetryBudget, following, pause_s
from gateway.core.route import Route
from gateway.core.routing import decide
from gateway.core.sse import DONE
from gateway.core.world import World

from . import headers
from .admission import Admissions
from .attempt import NOTHING, Attempt, Job
from .clock import chance, ticks_s
from .exchange import Relay, fetch
from .faults import concerns_all
from .health import Health, set_aside
from .metrics import Metrics
from .moment import Conversations
from .reply import Reply
from .settle import Booking

log = logging.getLogger("gateway.chat")

EVENTS_PER_BYTE = 128
"""A stream of chunks takes up to so many bytes for one of its answer. A larger one is too large to be kept, and is not
joined to find that out: that would hold up everybody for a tenth of a second."""

DEADLINE_MARGIN_S = 0.1
"""An attempt ends this much before its request must, so that the fault is the attempt's and can be told."""


@dataclass(slots=True)
class Asking:
    """One request while its candidates are asked.

    waiting: who may still be asked; tried: providers that have been; spared: the only candidate is one that is set
    aside, because all of them are; pauses: the next one is a retry, and waits a little.
    made: how many attempts are booked; stands_in: there is a kept answer for when they come to nothing.
    answered: the attempt that answered; completion: its whole answer, where it may be wanted for the cache.
    """

    job: Job
    world: World
    targets: Mapping[str, Target]
    reply: Reply
    deadline: asyncio.Timeout
    waiting: deque[Candidate]
    tried: set[str] = field(default_factory=set)
    spared: bool = False
    stepped: bool = False
    repeated: bool = False
    pauses: bool = False
    retries: int = 0
    spent: Nano = NOTHING
    relay: Relay | None = None
    made: int = 0
    stands_in: bool = False
    answered: Attempt | None = None
    completion: bytes | None = None

    async def wind_up(self) -> None:
        """The client has its answer; read the rest of the provider's, outside of the request's own deadline."""
        if self.relay is not None:
            await self.relay.wind_up()


class Attempts:
    """Shared by all requests of a worker."""

    def __init__(
        self,
        *,
        upstreams: Mapping[str, Upstream],
        booking: Booking,
        admissions: Admissions,
        health: Health,
        metrics: Metrics,
        conversations: Conversations,
    ) -> None:
        self._upstreams = upstreams
        self._booking = booking
        self._admissions = admissions
        self._health = health
        self._metrics = metrics
        self._conversations = conversations
        self._budgets: dict[str, RetryBudget] = {}

    async def run(self, asking: Asking) -> None:
        """Answer, or raise GatewayError: the last attempt's, or why none could be made."""
        job, reply = asking.job, asking.reply
        most = job.decision.route.max_attempts
        asking.spared = asking.waiting[0].model.base in self._health.unhealthy()
        reply.watch()
        if job.whole:
            reply.keep_alive()
        for number in range(1, most + 1):
            attempt, admission = await self._admitted(asking, number)
            self._begins(asking, attempt)
            followed = spared = False
            try:
                await self._answer(asking, attempt, alone=number == most or not asking.waiting)
                if attempt.status == 200:  # nothing is known of one that was cut off before
                    self._health.answered(attempt.candidate.model.base, attempt.began_s)
                self._conversations.keep(job, attempt)
                asking.answered = attempt
                return
            except GatewayError as error:
                attempt.failed(error)
                self._health.failed(attempt.candidate.model.base, attempt.candidate.model.provider, error)
                asking.spent = attempt.request_cost
                followed = number < most and self._may_follow(asking, attempt.candidate, error)
                if not followed:
                    spared = asking.stands_in and concerns_all(error) and not reply.started
                    _describe_failure(error, attempt, reply)
                    raise
                log.warning("%s: falling back after %s", attempt.attempt_id, error.noted)
            finally:
                self._booking.book(attempt.record(), admission, final=not (followed or spared))
                asking.made = number
            if asking.pauses:
                await asyncio.sleep(pause_s(asking.retries, chance()))
                asking.retries += 1

    def _begins(self, asking: Asking, attempt: Attempt) -> None:
        model = attempt.candidate.model
        asking.tried.add(model.provider)
        self._budget(model.provider).began(ticks_s())
        self._health.began(model.base)

    # Who is asked ------------------------------------------------------------------------------------------------

    async def _admitted(self, asking: Asking, number: int) -> tuple[Attempt, Admission]:
        """The first waiting candidate that there is leave to spend on.

        What does not fit into a budget may fit at a candidate whose answer is held at less; last come those of the
        route that this one steps down to. Raises GatewayError of the last one when none fits.
        """
        while True:
            candidate = asking.waiting.popleft()
            target = asking.targets[candidate.model.id]
            attempt = Attempt(asking.job, candidate, number, target, spent=asking.spent)
            try:
                return attempt, await self._admissions.admit(attempt, asking.world.rules)
            except GatewayError as refused:
                if not refused.retryable:
                    raise
                if not asking.waiting and not asking.stepped:
                    asking.stepped = True
                    asking.waiting.extend(self._steps(asking))
                if not asking.waiting:
                    raise

    def _may_follow(self, asking: Asking, failed: Candidate, error: GatewayError) -> bool:
        """Whether another attempt may be made; the first one waiting is the one to ask then."""
        if asking.reply.answered or asking.reply.gone:
            return False
        asking.waiting = self._well_first(following(error, failed, asking.waiting, repeated=asking.repeated))
        asking.repeated = asking.repeated or error.repeatable
        asking.pauses = False
        if not error.too_long:
            self._pass_over(asking)
            if not asking.waiting and error.retryable:
                asking.waiting.extend(self._suspects(asking))
        return bool(asking.waiting)

    def _well_first(self, waiting: list[Candidate]) -> deque[Candidate]:
        """Without those that were set aside since the decision; those that were only counted out come last."""
        unhealthy = self._health.unhealthy()
        if unhealthy:
            suspects = self._health.suspects()
            well = [one for one in waiting if one.model.base not in unhealthy]
            waiting = well + [one for one in waiting if one.model.base in suspects]
        return deque(waiting)

    def _pass_over(self, asking: Asking) -> None:
        """Those in front whose provider was asked already and has no leave for a retry."""
        while asking.waiting:
            provider = asking.waiting[0].model.provider
            asking.pauses = provider in asking.tried
            if not asking.pauses or self._budget(provider).take(ticks_s()):
                return
            asking.waiting.popleft()

    def _suspects(self, asking: Asking) -> list[Candidate]:
        """When all others have failed: one that was set aside only by counting, at a provider not asked yet.

        Within the retry budget, so that a provider that is down is not asked for every fault of another one.
        """
        dropped = set_aside(asking.job.decision, asking.world.market)
        suspects = [model for model in self._health.suspects() if model in dropped]
        if not suspects or asking.spared:
            return []
        able = [one for one in self._decided(asking, asking.job.decision.route, set(suspects))
                if one.model.base in suspects and one.model.provider not in asking.tried]  # fmt: skip
        able.sort(key=lambda one: suspects.index(one.model.base))
        return [one for one in able[:1] if self._budget(one.model.provider).take(ticks_s())]

    def _steps(self, asking: Asking) -> list[Candidate]:
        """The candidates of the route that is stepped down to, without those that are asked anyway."""
        step = asking.job.decision.route.step_down
        if step is None:
            return []
        asked = {one.model.id for one in asking.job.decision.candidates}
        return [one for one in self._decided(asking, asking.world.routes[step.to]) if one.model.id not in asked]

    def _decided(self, asking: Asking, route: Route, spared: set[str] | None = None) -> tuple[Candidate, ...]:
        """The candidates of a route for this request as it was decided, with those set aside that are to be spared."""
        job, unhealthy = asking.job, self._health.unhealthy()
        if spared:
            unhealthy = {model: reason for model, reason in unhealthy.items() if model not in spared}
        signals = msgspec.structs.replace(job.decision.signals, unhealthy=unhealthy)
        market = asking.world.market
        return decide(route, job.request, market, signals, jurisdictions=job.caller.jurisdictions).candidates

    def _budget(self, provider: str) -> RetryBudget:
        budget = self._budgets.get(provider)
        if budget is None:
            budget = self._budgets[provider] = RetryBudget()
        return budget

    # How it answers ----------------------------------------------------------------------------------------------

    async def _answer(self, asking: Asking, attempt: Attempt, *, alone: bool) -> None:
        """alone: no other attempt could follow this one."""
        upstream = self._upstreams[attempt.target.provider.via]
        until = _share(asking.deadline, alone)
        if attempt.job.request.stream:
            await self._stream(asking, attempt, upstream, until)
        else:
            await self._whole(asking, attempt, upstream, until)
        if attempt.number == 1:  # a later attempt's request has waited for other providers as well
            self._metrics.overhead(attempt.job.decision.route.name, attempt.overhead_us / 1e6)

    async def _whole(self, asking: Asking, attempt: Attempt, upstream: Upstream, until: float) -> None:
        reply = asking.reply
        answer = await fetch(attempt, upstream, reply, until=until, on_gone=lambda: _abandon(asking))
        if answer is not None:
            asking.completion = answer.body
        if answer is None or reply.gone:
            attempt.outcome = "aborted"  # whether it was read to its end or cut off
            return
        reply.headers += headers.of_attempt(attempt)
        reply.headers += headers.of_money(cost=attempt.request_cost, saved=attempt.request_saved)
        await reply.whole(200, answer.body)

    async def _stream(self, asking: Asking, attempt: Attempt, upstream: Upstream, until: float) -> None:
        job, reply = attempt.job, asking.reply
        relay = Relay(attempt, reply, keep=job.keeps, whole=job.whole)
        first_by = min(asyncio.get_running_loop().time() + job.decision.route.timeouts.first_token, until)
        await relay.run(
            upstream,
            first_by=first_by,
            on_content=lambda: self._health.content(attempt.candidate.model.base, attempt.began_s),
            on_gone=lambda: _abandon(asking),
        )
        asking.relay = relay
        if reply.gone:
            attempt.outcome = "aborted"
        elif relay.kept is not None:
            await self._deliver(asking, attempt, relay, b"".join(relay.kept))
        await reply.end_stream(headers.trailer(attempt) + DONE)

    async def _deliver(self, asking: Asking, attempt: Attempt, relay: Relay, events: bytes) -> None:
        """What was kept of a stream that is complete: for the cache, and to a client that has waited for all of it."""
        reply = asking.reply
        plan = attempt.job.cache_plan
        if plan is not None and plan.keep and len(events) <= EVENTS_PER_BYTE * plan.rule.max_bytes:
            asking.completion = join_stream(events, relay.usage_raw)
        if attempt.job.whole:
            await reply.stop_keep_alive()
            reply.headers += headers.of_attempt(attempt)
            await reply.start_stream()
            await reply.write(events)


def _share(deadline: asyncio.Timeout, alone: bool) -> float:
    """Until when an attempt may take: all that is left, or half of it where another could follow."""
    now = asyncio.get_running_loop().time()
    when = deadline.when()
    left = 0.0 if when is None else max(when - now - DEADLINE_MARGIN_S, 0.0)
    return now + (left if alone else left / 2)


def _abandon(asking: Asking) -> None:
    """The client has left: read on for the cost, but not for ever."""
    if asking.deadline.expired():
        return
    by = asyncio.get_running_loop().time() + asking.world.server.abandoned_stream_s
    when = asking.deadline.when()
    if when is None or by < when:
        asking.deadline.reschedule(by)


def _describe_failure(error: GatewayError, attempt: Attempt, reply: Reply) -> None:
    """The caller is told who was asked last, and not to ask again what the gateway has retried already."""
    if reply.started:
        return
    reply.headers += headers.of_attempt(attempt)
    if error.retryable and error.status != 429:
        reply.headers.append((b"x-should-retry", b"false"))
