"""What a decision weighs: candidates, what is expected of them, and the signals of the moment.

Values only. Everything that a decision takes from the world outside stands in Signals, so that it can be made again
from its record. Estimates are floats: they rank, and never hold money.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from .catalog import Model
from .money import Nano
from .pricing import Price, Usage


class Estimate(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What is expected of one model on one route: what was learned, mixed with the stated priors.

    tokens_per_byte: prompt tokens per byte of its text. output_tokens: the mean of an answer, thinking included.
    cached_share: the part of a prompt (0 to 1) that the provider's prompt cache is expected to know. scores: quality
    by task kind, 0 to 100. bars: by task kind, the least expected score at which graded answers were right as often
    as the route's floor asks, for floors that hold on average. ttft_ms, tokens_per_s: medians of streams; None: not
    seen yet. answers: how many answers this was learned from; 0: priors alone. In a decision's record it is an array:
    there are as many as candidates.
    """

    tokens_per_byte: float
    output_tokens: int
    cached_share: float = 0.0
    scores: Mapping[str, float] = {}
    bars: Mapping[str, float] = {}
    ttft_ms: int | None = None
    tokens_per_s: float | None = None
    answers: int = 0

    def seconds(self, output: int) -> float | None:
        """How long an answer of so many tokens is expected to take; None when nobody has seen one."""
        if self.ttft_ms is None:
            return None
        return self.ttft_ms / 1_000 + (output / self.tokens_per_s if self.tokens_per_s else 0.0)


class Held(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """So many bytes of a conversation's beginning are in the prompt cache of a model, until an instant.

    Bytes, as a request's prompt_bytes: a decision turns both into tokens in one way, so an estimate that is wrong about
    the whole is not all the more wrong about what is left.
    """

    model: str
    prompt_bytes: int
    until_us: int


class Warm(msgspec.Struct, frozen=True, omit_defaults=True):
    """The model that answered the turn before, whose provider holds the conversation's beginning in its prompt cache.

    model: its id, with effort. prompt_bytes: how much of the prompt is expected to be there, until until_us. locked:
    the turn continues a tool loop, so it stays with that model while it can serve. own_from: from this message on all
    answers are its own; what stands before it was said by others, and is adapted before the model sees it. others: who
    answered earlier turns, and knows that much less.
    """

    model: str
    prompt_bytes: int
    locked: bool = False
    own_from: int = 0
    until_us: int = 0
    others: tuple[Held, ...] = ()

    def at(self, model: str) -> int:
        """How many bytes of the prompt this model's cache is expected to know."""
        if model == self.model:
            return self.prompt_bytes
        return next((held.prompt_bytes for held in self.others if held.model == model), 0)


class Signals(msgspec.Struct, frozen=True):
    """All that a decision takes from the world outside, so that it can be replayed.

    now: UTC; seed: the dice of a policy; unhealthy: model id, without effort -> reason; used_percent: of the fullest
    budget that concerns the caller; kinds: what the request seems to be, by probability (empty: the route's own kind
    holds); estimates: by model id, those not in it are expected at their priors; warm: where the conversation was last.
    """

    now: datetime
    seed: int = 0
    unhealthy: Mapping[str, str] = {}
    used_percent: int = 0
    kinds: Mapping[str, float] = {}
    estimates: Mapping[str, Estimate] = {}
    warm: Warm | None = None


class Candidate(msgspec.Struct, frozen=True, gc=False):
    """A model that may serve this request, with what it is expected to cost now, and how long it may take.

    answers: how many of its answers the expectation was learned from.
    """

    model: Model
    price: Price
    expected: Usage
    expected_cost: Nano
    score: float | None
    seconds: float | None = None
    answers: int = 0


class Drop(msgspec.Struct, frozen=True, gc=False):
    """Why a model may not serve this request. `code` is one word for counting, `reason` a sentence for people."""

    model: str
    code: str
    reason: str
