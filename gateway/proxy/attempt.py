"""One upstream attempt, from dispatch to its one record.

Invariant: whatever happens - an answer, an error, a cut, a client that left, a cancellation - `record()` describes
it, and its owner books that record exactly once.

What is billed: a complete answer at the usage its provider reports. A refused request (an error status, no
connection) costs nothing. Anything that broke in between is uncertain: the provider may bill it, so it is priced by
the last usage seen or by an estimate, and kept apart until it is reconciled. An attempt whose gateway died is booked by
another one, at the whole amount that was held for it (`record_if_lost`).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.candidate import Candidate
from gateway.core.contracts import Target
from gateway.core.errors import GatewayError
from gateway.core.market import Market
from gateway.core.money import Nano
from gateway.core.pricing import Usage
from gateway.core.records import LOST, SpendRecord, State, UsageSource
from gateway.core.remembered import outline
from gateway.core.request import ChatRequest
from gateway.core.routing import Decision
from gateway.core.savings import Baseline, baseline
from gateway.core.world import Caller

from .clock import instant, now_us, ticks_us
from .plan import REVALIDATED, REVALIDATION, CachePlan


class Job(msgspec.Struct, frozen=True):
    """One request on its way: who asks, for what, and what was decided. Shared by all its attempts."""

    request_id: str
    at_us: int
    began_us: int
    caller: Caller
    request: ChatRequest
    decision: Decision
    market: Market
    cache: str
    cache_plan: CachePlan | None
    candidates_json: str
    drops_json: str
    tags: Mapping[str, str] = {}
    tags_json: str = "{}"
    remembered: str = ""
    whole: bool = False  # a stream is delivered once it is complete

    @property
    def keeps(self) -> bool:
        """Whether the answer may be wanted for the cache."""
        return self.cache_plan is not None and self.cache_plan.keep


_NOT_BILLED = frozenset({"unreachable", "not_sent", "in_band_error"})


NOTHING = Nano(0)


def not_billed(error: GatewayError) -> bool:
    """A request that was refused, or never asked: it is known to have cost nothing."""
    return error.outcome.startswith("http_") or error.outcome in _NOT_BILLED


class Attempt:
    """The state of one attempt while it runs. Times in microseconds of the monotonic clock."""

    __slots__ = (
        "_at_us",
        "_began_us",
        "_spent",
        "_waited_us",
        "baseline",
        "candidate",
        "cost",
        "finish_reason",
        "first_us",
        "hold",
        "job",
        "no_store",
        "number",
        "outcome",
        "output_cap",
        "price",
        "service_tier",
        "state",
        "status",
        "target",
        "usage",
        "usage_source",
    )  # fmt: skip

    def __init__(self, job: Job, candidate: Candidate, number: int, target: Target, *, spent: Nano = NOTHING) -> None:
        """spent: what earlier attempts of the same request have cost."""
        self.job = job
        self.candidate = candidate
        self.number = number
        self._spent = spent
        self._at_us = now_us()
        # A later attempt may begin after a price has changed; it is billed at the price of its own beginning.
        later = job.market.prices.at(candidate.model.id, instant(self._at_us)) if number > 1 else None
        self.price = later or candidate.price
        self.target = target
        self.status = 0
        self.outcome = "cancelled"  # what it was, if nothing else is said before its record is made
        self.state = State.UNCERTAIN
        self.usage = Usage()
        self.usage_source = UsageSource.NONE
        self.service_tier: str | None = None
        self.finish_reason: str | None = None
        self.no_store = False  # its provider forbids to keep the answer
        self.cost: Nano = candidate.expected_cost
        self.baseline: Baseline | None = None
        self.hold: Nano = NOTHING
        self.output_cap: int | None = None  # the output limit that is sent when the request names none, or a wilder one
        self.first_us: int | None = None
        self._began_us = ticks_us()
        self._waited_us = 0

    @property
    def attempt_id(self) -> str:
        return f"{self.job.request_id}.{self.number}"

    @property
    def request_cost(self) -> Nano:
        """What the request has cost with its earlier attempts, in nano-dollars."""
        return Nano(self._spent + self.cost)

    @property
    def request_saved(self) -> int:
        """The request against its baseline, in nano-dollars, signed: wasted attempts are in it."""
        return 0 if self.baseline is None else self.baseline.cost - self.request_cost

    @property
    def read_on(self) -> bool:
        """Without a client: whether the provider bills the whole answer anyway, so that its cost is worth knowing."""
        return not self.target.provider.abort_stops_billing

    @property
    def began_s(self) -> float:
        return self._began_us / 1e6

    @property
    def overhead_us(self) -> int:
        """Time spent in the gateway: until now less the provider's, for a stream until its first content."""
        until_us = ticks_us() if self.first_us is None else self._began_us + self.first_us
        return until_us - self.job.began_us - self._waited_us

    def waited(self) -> None:
        """The whole reply is here: the time since dispatch was the provider's, not ours."""
        self._waited_us = ticks_us() - self._began_us

    def first_content(self) -> None:
        self.first_us = self._waited_us = ticks_us() - self._began_us

    def complete(self, usage_raw: bytes, finish_reason: str | None, service_tier: str | None, events: int) -> None:
        """The answer is whole: price it by the provider's usage, or by an estimate that is marked as one."""
        self.outcome = "ok"
        self.finish_reason = finish_reason
        self.service_tier = service_tier
        self._price(usage_raw, events)
        self.state = State.SETTLED if self.usage_source is UsageSource.PROVIDER else State.UNCERTAIN
        self.baseline = baseline(
            self.job.decision.route.baseline,
            self.price,
            self.usage,
            self.job.market,
            self.job.decision.now,
            service_tier=self.service_tier,
        )

    def left(self, usage_raw: bytes, service_tier: str | None, events: int) -> None:
        """The client left and the stream was cut off where that ends the billing: it is paid as far as it came."""
        self.outcome = "aborted"
        self.service_tier = service_tier
        self._price(usage_raw, events)

    def broke(self, usage_raw: bytes, events: int) -> None:
        """The answer broke off after it began."""
        self._price(usage_raw, events)

    def failed(self, error: GatewayError) -> None:
        """The attempt ended with this error; what a refused request cost is known: nothing."""
        self.outcome = error.outcome
        if not_billed(error):
            self.state = State.SETTLED
            self.cost = NOTHING
            self.usage = Usage()
            self.usage_source = UsageSource.NONE

    def _price(self, usage_raw: bytes, events: int) -> None:
        usage = self.target.dialect.usage(usage_raw) if usage_raw else None
        if usage is not None:
            self.usage_source = UsageSource.PROVIDER
        else:
            # A delta is about a token at every provider that sends one delta a token; marked as an estimate.
            expected = self.candidate.expected
            usage = Usage(input=expected.prompt, output=events or expected.output)
            self.usage_source = UsageSource.ESTIMATED
        self.usage = usage
        self.cost = self.price.cost(usage, self.service_tier)

    def record_if_lost(self) -> SpendRecord:
        """What is booked when nobody is left to say how the attempt ended: the most that it may have cost."""
        return msgspec.structs.replace(
            self.record(), outcome=LOST, cost_nano=self.hold, usage_source=UsageSource.ESTIMATED, duration_us=0,
            input_tokens=self.candidate.expected.input, output_tokens=self.candidate.expected.output,
            cached_input_tokens=self.candidate.expected.cached_input,
        )  # fmt: skip

    def record(self) -> SpendRecord:
        job, route, usage = self.job, self.job.decision.route, self.usage
        # A call that only renews a kept answer has answered nobody: it costs, and nothing is saved by it.
        compared, outcome = self.baseline, self.outcome
        if job.cache == REVALIDATION:
            compared, outcome = None, REVALIDATED if outcome == "ok" else outcome
        return SpendRecord(
            attempt_id=self.attempt_id,
            request_id=job.request_id,
            attempt=self.number,
            at_us=self._at_us,
            route=route.name,
            policy=route.policy.name,
            kind=job.decision.kind,
            team=job.caller.team,
            key_id=job.caller.key_id,
            provider=self.target.provider.name,
            model=self.target.model.base,
            simulated=self.target.simulated,
            stream=job.request.stream,
            cache=job.cache,
            state=self.state,
            outcome=outcome,
            status=self.status,
            finish_reason=self.finish_reason,
            usage_source=self.usage_source,
            input_tokens=usage.input,
            cached_input_tokens=usage.cached_input,
            cache_write_tokens=usage.cache_write,
            output_tokens=usage.output,
            reasoning_tokens=usage.reasoning,
            audio_input_tokens=usage.audio_input,
            image_input_tokens=usage.image_input,
            audio_output_tokens=usage.audio_output,
            image_output_tokens=usage.image_output,
            service_tier=self.service_tier,
            price_id=self.price.id,
            expected_nano=self.candidate.expected_cost,
            cost_nano=self.cost,
            baseline_model=compared.model if compared else None,
            baseline_price_id=compared.price_id if compared else None,
            baseline_nano=compared.cost if compared else Nano(0),
            duration_us=ticks_us() - self._began_us,
            ttft_us=self.first_us,
            candidates=job.candidates_json,
            drops=job.drops_json,
            organisation=job.caller.organisation,
            end_user=job.request.end_user,
            tags=job.tags_json,
            hold_nano=self.hold,
            effort=self.target.model.effort or job.request.effort,
            prompt_bytes=job.request.prompt_bytes,
            decision=job.remembered if self.number == 1 else "",
        )


def decision_json(decision: Decision) -> tuple[str, str]:
    """Candidates with their expected cost, and drops, as the ledger keeps them."""
    candidates, drops = outline(decision)
    return msgspec.json.encode(candidates).decode(), msgspec.json.encode(drops).decode()
