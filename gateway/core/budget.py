"""Budgets and limits: what may be spent and asked, by whom, in which window. Values and arithmetic only.

A budget bounds the cost of admitted attempts. Each attempt is held for, before it is sent, at the most it can cost;
when it ends the hold is replaced by what it did cost. Every attempt has a hold of its own, so a hold is priced for one
candidate and not for the dearest of a chain: a fallback is admitted anew, and refused when it no longer fits.

Slots: a calendar window is one slot, named by its first second; a rolling window is a row of slots of equal length,
of which the newest so many count. An attempt's cost belongs to the slot in which it was admitted, whenever it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from .catalog import Capability, Model
from .money import Nano
from .pricing import Price, Rates
from .records import SpendRecord
from .request import ChatRequest

MINUTE_US = 60_000_000

IMAGE_BOUND_TOKENS = 3_000
"""Held for one image or file beyond its bytes: above what the three providers count for a large picture."""

BYTES_PER_EMBEDDED_TOKEN = 32
"""Held for embedded audio and files. A second of audio is some 10 tokens and 16,000 bytes or more, a page of a PDF
some 250 tokens; it is an allowance and no bound, and what goes past it is booked as a debt."""


class Unit(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


class Offline(StrEnum):
    """What a hard budget does while the store is away: refuse, or spend from a share that was set aside before."""

    CLOSED = "closed"
    SLICE = "slice"


class ScopeKind(StrEnum):
    KEY = "key"
    TEAM = "team"
    ORGANISATION = "organisation"
    ROUTE = "route"
    PROVIDER = "provider"

    @property
    def column(self) -> str:
        """The field of a SpendRecord that says it."""
        return "key_id" if self is ScopeKind.KEY else self.value


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a budget or limit concerns. name None: each one of the kind by itself."""

    kind: ScopeKind
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Slot:
    """Seconds since the epoch, end exclusive."""

    start_s: int
    end_s: int


_ROLLING: Mapping[Unit, tuple[int, int]] = {
    Unit.HOUR: (60, 60),
    Unit.DAY: (24, 3_600),
    Unit.MONTH: (120, 21_600),  # thirty days
}
"""How many slots of how many seconds. Days and months are made of whole hours, which the ledger's sums are kept by."""


@dataclass(frozen=True, slots=True)
class Window:
    """The period of a budget. zone: whose midnight a calendar day or month begins at."""

    unit: Unit
    rolling: bool = False
    zone: ZoneInfo | None = None

    def __str__(self) -> str:
        name = f"rolling-{self.unit}" if self.rolling else str(self.unit)
        return name if self.zone is None else f"{name}-{self.zone.key}"

    @property
    def slots(self) -> int:
        """How many slots count at once: 1 for a calendar window."""
        return _ROLLING[self.unit][0] if self.rolling else 1

    def slot(self, at_s: int) -> Slot:
        """The slot that holds an instant."""
        if self.rolling:
            length = _ROLLING[self.unit][1]
            start = at_s - at_s % length
            return Slot(start, start + length)
        local = datetime.fromtimestamp(at_s, self.zone or UTC)
        if self.unit is Unit.HOUR:
            start = at_s - local.minute * 60 - local.second
            return Slot(start, start + 3_600)
        first = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if self.unit is Unit.DAY:
            following = first + timedelta(days=1)
        else:
            first = first.replace(day=1)
            following = (first + timedelta(days=32)).replace(day=1)
        return Slot(int(first.timestamp()), int(following.timestamp()))

    def began_s(self, slot: Slot) -> int:
        """Since when cost counts, seen from this slot."""
        return slot.start_s - (self.slots - 1) * (slot.end_s - slot.start_s)


@dataclass(frozen=True, slots=True)
class Budget:
    """limit in nano-dollars for each window. A soft budget never refuses; its use can step a route down."""

    name: str
    scope: Scope
    limit_nano: Nano
    window: Window
    hard: bool = True
    offline: Offline = Offline.CLOSED


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a scope may ask: requests and tokens a minute, attempts in progress at once. None: no limit.

    After a pause a whole minute's worth may come at once; what follows comes at the rate. So any minute may see up to
    twice the number, and in the long run it is never more than the rate.
    """

    name: str
    scope: Scope
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """A budget as it concerns one attempt. `id` names its counter.

    Budgets that are called the same but count something else have another one: for another name or organisation, or
    after the configuration gave the budget another scope or window.
    """

    id: str
    budget: Budget
    name: str


@dataclass(frozen=True, slots=True)
class BoundLimit:
    id: str
    limit: Limit
    name: str


@dataclass(frozen=True, slots=True)
class Rules:
    """All budgets and limits of a configuration."""

    budgets: tuple[Budget, ...] = ()
    limits: tuple[Limit, ...] = ()

    def budgets_for(self, who: Mapping[ScopeKind, str]) -> tuple[Bound, ...]:
        return tuple(
            Bound(f"{_id(one.name, one.scope, who)}:{one.window}", one, who[one.scope.kind])
            for one in self.budgets
            if _concerns(one.scope, who)
        )

    def limits_for(self, who: Mapping[ScopeKind, str]) -> tuple[BoundLimit, ...]:
        return tuple(
            BoundLimit(_id(one.name, one.scope, who), one, who[one.scope.kind])
            for one in self.limits
            if _concerns(one.scope, who)
        )


def _concerns(scope: Scope, who: Mapping[ScopeKind, str]) -> bool:
    return scope.name is None or scope.name == who[scope.kind]


def _id(name: str, scope: Scope, who: Mapping[ScopeKind, str]) -> str:
    return f"{name}:{who[ScopeKind.ORGANISATION]}:{scope.kind}={who[scope.kind]}"


@dataclass(frozen=True, slots=True)
class Most:
    """The most tokens an attempt may be billed for."""

    prompt: int
    output: int


def most_tokens(request: ChatRequest, model: Model, output_cap: int | None) -> Most:
    """A bound, not an estimate. No tokenizer makes more tokens of a text than it has bytes.

    output_cap: what the request is limited to when it says nothing itself; None: only the model's own limit.
    """
    prompt = request.prompt_bytes + request.images * IMAGE_BOUND_TOKENS
    prompt += request.embedded_bytes // BYTES_PER_EMBEDDED_TOKEN
    return Most(min(prompt, model.context_tokens), capped_output(request, model, output_cap) * request.n)


def capped_output(request: ChatRequest, model: Model, output_cap: int | None) -> int:
    """The longest answer in tokens that is asked for: the caller's limit or the cap, never above the model's own."""
    wanted = request.max_output_tokens or output_cap or model.max_output_tokens
    return min(wanted, model.max_output_tokens)


def hold_amount(request: ChatRequest, price: Price, most: Most) -> Nano:
    """What to hold: every token of the bound at the dearest rate it could be billed at, rounded up."""
    rates = price.dearest(most.prompt, request.service_tier)
    audio = Capability.AUDIO in request.needs
    dearest_in = max(rates.input, rates.cached_input, rates.cache_write, *_special(rates, audio))
    dearest_out = max(rates.output, rates.reasoning, rates.audio_output or 0 if audio else 0)
    pico = most.prompt * dearest_in + most.output * dearest_out
    return Nano(-(-pico // 1_000))


def _special(rates: Rates, audio: bool) -> Iterable[int]:
    if rates.image_input is not None:
        yield rates.image_input
    if audio and rates.audio_input is not None:
        yield rates.audio_input


class Ask(msgspec.Struct, frozen=True):
    """What one attempt needs admitted before it is sent.

    hold: its attempt id. tokens: what it is expected to take, for limits in tokens. note: the record to book when the
    gateway dies before it can settle: what was sent may be billed, so it is charged at its hold and marked uncertain.
    """

    hold: str
    organisation: str
    amount: Nano
    tokens: int
    budgets: tuple[Bound, ...]
    limits: tuple[BoundLimit, ...]
    note: SpendRecord


def used_percent(used: Mapping[str, int], budgets: Sequence[Bound]) -> int:
    """How far the fullest of these budgets is used, in whole percent; `used` maps counter ids to nano-dollars."""
    most = 0
    for bound in budgets:
        spent = used.get(bound.id)
        if spent is not None:
            most = max(most, spent * 100 // max(bound.budget.limit_nano, 1))
    return most
