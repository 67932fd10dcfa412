"""What one attempt was, cost, saved and took: the one value that metrics, ledger, health and reports all read."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from .money import Nano

LOST = "lost"
"""The outcome of an attempt whose gateway died: nobody can say how it ended, unless it turns up after all."""


class State(StrEnum):
    """settled: the provider reported the usage (or nothing was billed). uncertain: estimated, until reconciled."""

    SETTLED = "settled"
    UNCERTAIN = "uncertain"


class UsageSource(StrEnum):
    PROVIDER = "provider"
    ESTIMATED = "estimated"
    CACHE = "cache"
    NONE = "none"


class SpendRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. Money in nano-dollars, times in microseconds (at: since the epoch, UTC).

    `drops` and `candidates` are JSON text, so that a decision can be read back without the prompt, which is not kept.
    A request's rows share `request_id`; `attempt` counts from 1. baseline_nano is 0 on attempts that did not answer,
    so that summing rows gives what the answers would have cost.

    A row is never changed. A correction is two more rows: one with sign -1 that takes the first back (its amounts
    negated), one with what is now known; `corrects` names the attempt. So sums over all rows are right, and things are
    counted by summing `sign`. tags: a JSON object of text, its keys in order. hold_nano: what was held for the attempt.

    model: its id without an effort, as the provider bills it; effort: the reasoning effort that the candidate stood for
    or the request asked for. prompt_bytes: the size that token counts are estimated from, without embedded images.
    decision: what the decision was made of (core.remembered), on the first attempt of a request only.
    """

    attempt_id: str
    request_id: str
    attempt: int
    at_us: int
    route: str
    policy: str
    kind: str
    team: str
    key_id: str
    provider: str
    model: str
    simulated: bool
    stream: bool
    cache: str
    state: State
    outcome: str
    status: int
    finish_reason: str | None
    usage_source: UsageSource
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    service_tier: str | None
    price_id: str | None
    expected_nano: Nano
    cost_nano: Nano
    baseline_model: str | None
    baseline_price_id: str | None
    baseline_nano: Nano
    duration_us: int
    ttft_us: int | None
    candidates: str
    drops: str
    audio_input_tokens: int = 0
    image_input_tokens: int = 0
    audio_output_tokens: int = 0
    image_output_tokens: int = 0
    organisation: str = ""
    end_user: str | None = None
    tags: str = "{}"
    hold_nano: Nano = Nano(0)
    sign: int = 1
    corrects: str | None = None
    effort: str | None = None
    prompt_bytes: int = 0
    decision: str = ""

    @property
    def tokens(self) -> int:
        """All tokens that were billed, or may have been."""
        return (
            self.input_tokens + self.cached_input_tokens + self.cache_write_tokens + self.audio_input_tokens
            + self.image_input_tokens + self.output_tokens + self.reasoning_tokens + self.audio_output_tokens
            + self.image_output_tokens
        )  # fmt: skip

    @property
    def saved_nano(self) -> int:
        """Signed: a loss shows as a loss. Uncertain costs count, so that a saving is never overstated."""
        return self.baseline_nano - self.cost_nano
