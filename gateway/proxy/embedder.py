"""A question as a vector, bought from the embedding model of a route's cache: admitted, sent, booked.

It is a call beside the request's own: its row has an id of its own, no baseline, and is nobody's answer. Whatever goes
wrong is "no vector", and the request goes on as without a cache of similar questions.

Invariant: whatever was sent is booked exactly once.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Mapping

import msgspec

from gateway.core.contracts import Admission, Embedded, Embeddings, Target, Upstream
from gateway.core.errors import Blame, GatewayError
from gateway.core.money import Nano
from gateway.core.pricing import Price, Usage
from gateway.core.records import LOST, SpendRecord, State, UsageSource

from .admission import Admissions
from .attempt import NOTHING, Job, not_billed
from .clock import instant, now_us, ticks_s, ticks_us
from .faults import silent
from .health import Health
from .live import Live
from .plan import EMBEDDING
from .settle import Booking

DEADLINE_S = 2.0
"""For leave and reply together: what is saved is not worth a longer wait."""

_NONE = "[]"


class Embedder:
    """Shared by all requests of a worker."""

    def __init__(
        self, upstreams: Mapping[str, Upstream], booking: Booking, admissions: Admissions, health: Health
    ) -> None:
        self._upstreams = upstreams
        self._booking = booking
        self._admissions = admissions
        self._health = health

    async def embed(self, text: str, model: str, job: Job, live: Live) -> array[float] | None:
        """None when there is no vector to be had: refused, failed, late, or the text may not go there."""
        target = live.targets.get(model)
        wire = None if target is None else target.dialect.embeddings
        price = live.world.market.prices.at(model, instant(now_us()))
        if target is None or wire is None or price is None or not self._may_go(target, job):
            return None
        call, until = _Call(text, target, price, job), asyncio.get_running_loop().time() + DEADLINE_S
        try:
            async with asyncio.timeout_at(until):
                call.admission = await self._admissions.admit_beside(call.note(), job.caller, live.world.rules)
            return await self._asked(call, wire, until)
        except (GatewayError, TimeoutError):
            return None
        finally:
            # Cut off before leave was known: the accounts let such a hold go by themselves.
            if call.admission is not None:
                self._booking.book(call.record(), call.admission, final=True)

    def _may_go(self, target: Target, job: Job) -> bool:
        where = target.provider.jurisdiction
        limits = (job.decision.route.jurisdictions, job.caller.jurisdictions)
        allowed = all(limit is None or where in limit for limit in limits)
        return allowed and target.model.base not in self._health.unhealthy()

    async def _asked(self, call: _Call, wire: Embeddings, until: float) -> array[float]:
        model, began_s = call.target.model, ticks_s()
        self._health.began(model.base)
        try:
            async with asyncio.timeout_at(until):
                embedded = await self._sent(call, wire)
        except TimeoutError as exc:
            raise self._failed(call, silent(call.target.provider.name, call.id)) from exc
        except GatewayError as error:
            raise self._failed(call, error) from error
        call.is_done(embedded)
        self._health.answered(model.base, began_s)
        return array("f", embedded.vector)

    async def _sent(self, call: _Call, wire: Embeddings) -> Embedded:
        target, timeouts = call.target, call.job.decision.route.timeouts
        upstream = self._upstreams[target.provider.via]
        body = wire.body(call.text, target.model)
        exchange = await upstream.send(target, body, attempt_id=call.id, timeouts=timeouts)
        try:
            call.status = exchange.status
            raw = await exchange.read()
        finally:
            await exchange.close()
        if exchange.status != 200:
            raise target.dialect.error(exchange.status, exchange.headers, raw)
        embedded = wire.read(raw)
        if embedded is None:
            told = f"{target.provider.name} answered without a vector"
            raise GatewayError(Blame.UPSTREAM, 502, told=told, retry=True, outcome="malformed")
        return embedded

    def _failed(self, call: _Call, error: GatewayError) -> GatewayError:
        call.failed(error)
        self._health.failed(call.target.model.base, call.target.provider.name, error)
        return error


class _Call:
    """One call until its record is made. It is booked as uncertain unless its end is known."""

    def __init__(self, text: str, target: Target, price: Price, job: Job) -> None:
        self.text = text
        self.target = target
        self.job = job
        self.admission: Admission | None = None
        self.status = 0
        self._price = price
        self._bytes = len(text.encode("utf-8", "replace"))
        self._at_us, self._began_us = now_us(), ticks_us()
        self.outcome = "cancelled"
        self._state = State.UNCERTAIN
        self._source = UsageSource.ESTIMATED
        self._usage = self._expected = Usage(input=int(self._bytes * target.model.tokens_per_byte) + 1)
        # No tokenizer makes more tokens of a text than it has bytes, but for the few that mark its ends.
        self._hold: Nano = price.cost(Usage(input=self._bytes + 4))

    @property
    def id(self) -> str:
        return f"{self.job.request_id}.e.1"

    def is_done(self, embedded: Embedded) -> None:
        self.outcome = "embedded"
        if embedded.tokens is not None:
            self._usage = Usage(input=embedded.tokens)
            self._source, self._state = UsageSource.PROVIDER, State.SETTLED

    def failed(self, error: GatewayError) -> None:
        self.outcome = error.outcome
        if not_billed(error):
            self._usage, self._source, self._state = Usage(), UsageSource.NONE, State.SETTLED

    def note(self) -> SpendRecord:
        """What is booked when nobody is left to say how it ended: the most that it may have cost."""
        return msgspec.structs.replace(self.record(), outcome=LOST, cost_nano=self._hold, duration_us=0)

    def record(self) -> SpendRecord:
        job, route, target, usage = self.job, self.job.decision.route, self.target, self._usage
        return SpendRecord(
            attempt_id=self.id, request_id=f"{job.request_id}.e", attempt=1, at_us=self._at_us,
            route=route.name, policy=route.policy.name, kind=job.decision.kind,
            team=job.caller.team, key_id=job.caller.key_id,
            provider=target.provider.name, model=target.model.base, simulated=target.simulated, stream=False,
            cache=EMBEDDING, state=self._state, outcome=self.outcome, status=self.status, finish_reason=None,
            usage_source=self._source, input_tokens=usage.input, cached_input_tokens=0, cache_write_tokens=0,
            output_tokens=0, reasoning_tokens=0, service_tier=None, price_id=self._price.id,
            expected_nano=self._price.cost(self._expected), cost_nano=self._price.cost(usage),
            baseline_model=None, baseline_price_id=None, baseline_nano=NOTHING,
            duration_us=ticks_us() - self._began_us, ttft_us=None, candidates=_NONE, drops=_NONE,
            organisation=job.caller.organisation, end_user=job.request.end_user, tags=job.tags_json,
            hold_nano=self._hold, prompt_bytes=self._bytes,
        )  # fmt: skip
