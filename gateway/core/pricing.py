"""What a token costs, at an instant: dated rows, weekly windows, context cliffs, service tiers.

Pure: the instant comes in. A row is in force from its `effective_from` until its `effective_until`, or until the
next row of the same model. Within a row a weekly window (in its own time zone, except on listed holidays) replaces
the base rates. Past a context tier's threshold the *whole* request bills at that tier; a service tier has thresholds
of its own. A rumoured row is never in force. An unknown price is None, never zero: whoever asks must refuse the model.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

import msgspec

from .money import Nano, Pico, nano_from_pico


class Status(StrEnum):
    """How far a claim may be trusted. A rumour never routes live traffic."""

    ANNOUNCED = "announced"
    MEASURED = "measured"
    RUMOURED = "rumoured"


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one attempt in disjoint classes; they sum to the provider's total.

    input and output are what is left when the other classes have been taken out: plain text, mostly.
    """

    input: int = 0
    cached_input: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    audio_input: int = 0
    image_input: int = 0
    audio_output: int = 0
    image_output: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cached_input + self.cache_write + self.audio_input + self.image_input

    @property
    def completion(self) -> int:
        return self.output + self.reasoning + self.audio_output + self.image_output

    @property
    def total(self) -> int:
        return self.prompt + self.completion


class Rates(msgspec.Struct, frozen=True, gc=False):
    """Pico-dollars a token, by class. None: audio and images are billed as the text of their direction."""

    input: Pico
    cached_input: Pico
    cache_write: Pico
    output: Pico
    reasoning: Pico
    audio_input: Pico | None = None
    image_input: Pico | None = None
    audio_output: Pico | None = None
    image_output: Pico | None = None

    def cost(self, usage: Usage) -> Nano:
        """The bill for these tokens, rounded up once to the nano-dollar."""
        return nano_from_pico(
            usage.input * self.input
            + usage.cached_input * self.cached_input
            + usage.cache_write * self.cache_write
            + usage.output * self.output
            + usage.reasoning * self.reasoning
            + usage.audio_input * (self.input if self.audio_input is None else self.audio_input)
            + usage.image_input * (self.input if self.image_input is None else self.image_input)
            + usage.audio_output * (self.output if self.audio_output is None else self.audio_output)
            + usage.image_output * (self.output if self.image_output is None else self.image_output)
        )


CLASSES = Rates.__struct_fields__
"""The classes of tokens, by the names that the price book and the ledger give them."""


@dataclass(frozen=True, slots=True)
class ContextTier:
    above_input_tokens: int
    rates: Rates


@dataclass(frozen=True, slots=True)
class ServiceTier:
    """Rates of the requests that a provider serves in a tier of its own. Without thresholds they hold at any size."""

    rates: Rates
    context_tiers: tuple[ContextTier, ...] = ()


@dataclass(frozen=True, slots=True)
class Holidays:
    """Days on which a weekly window does not apply, in the zone of the list."""

    name: str
    zone: ZoneInfo
    covers_from: date
    covers_until: date
    days: frozenset[date]


@dataclass(frozen=True, slots=True)
class Window:
    """Other rates on some weekdays (Monday is 0) between minutes of the local day, end exclusive."""

    name: str
    zone: ZoneInfo
    weekdays: frozenset[int]
    minutes: tuple[tuple[int, int], ...]
    holidays: Holidays | None
    rates: Rates

    def applies(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        if local.weekday() not in self.weekdays:
            return False
        minute = local.hour * 60 + local.minute
        if not any(start <= minute < end for start, end in self.minutes):
            return False
        return self.holidays is None or local.date() not in self.holidays.days

    def edges(self, day: date) -> Iterable[datetime]:
        """The instants of one local day at which this window may open or close."""
        midnight = datetime(day.year, day.month, day.day, tzinfo=self.zone)
        for start, end in self.minutes:
            yield (midnight + timedelta(minutes=start)).astimezone(UTC)
            yield (midnight + timedelta(minutes=end)).astimezone(UTC)


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One dated row of the price book, with who said so."""

    id: str
    model: str
    effective_from: datetime
    effective_until: datetime | None
    status: Status
    source: str
    rates: Rates
    context_tiers: tuple[ContextTier, ...] = ()
    service_tiers: Mapping[str, ServiceTier] | None = None
    windows: tuple[Window, ...] = ()

    def window_at(self, at: datetime) -> Window | None:
        for window in self.windows:
            if window.applies(at):
                return window
        return None


STANDARD_TIERS = frozenset({"default", "standard"})
"""What providers call having asked for no tier: such a request is billed at the base rates and no others."""

_BASE_OR_ITS_OWN = frozenset({"flex"})
"""A tier that a provider may leave for the base, never for a dearer one."""

_ANY = ""


class Price(msgspec.Struct, frozen=True):
    """The row in force for a model at an instant, its window already chosen. `id` names both for the ledger."""

    id: str
    row: PriceRow
    base: Rates
    window: Window | None
    thresholds: tuple[int, ...]
    """Every prompt size past which some rates change, ascending."""

    dearest_by_tier: Mapping[str, tuple[Rates, ...]]
    """By what a request may ask for: the dearest rates under the first threshold, past it, past the second, ..."""

    def rates(self, prompt_tokens: int, service_tier: str | None = None) -> Rates:
        """The rates for a request of this size at the service tier that the provider reported.

        A tier that the row does not name is billed at the base.
        """
        tiers = self.row.service_tiers
        if service_tier is not None and tiers is not None and service_tier in tiers:
            tier = tiers[service_tier]
            return _at_size(tier.rates, tier.context_tiers, prompt_tokens)
        return _at_size(self.base, self.row.context_tiers, prompt_tokens)

    def dearest(self, prompt_tokens: int, service_tier: str | None) -> Rates:
        """The most, class by class, that an attempt with at most this many prompt tokens may be billed at.

        service_tier: what the request asks for. "default" and "standard" are billed at the base, "flex" at the base
        or its own; whoever asks for nothing, for "auto" or for anything else may be served in any tier of the row.
        """
        by_size = self.dearest_by_tier.get(service_tier or _ANY) or self.dearest_by_tier[_ANY]
        return by_size[bisect.bisect_left(self.thresholds, prompt_tokens)]

    def cost(self, usage: Usage, service_tier: str | None = None) -> Nano:
        return self.rates(usage.prompt, service_tier).cost(usage)


def _at_size(base: Rates, tiers: tuple[ContextTier, ...], prompt_tokens: int) -> Rates:
    chosen = base
    for tier in tiers:  # ascending thresholds: the last one passed decides
        if prompt_tokens > tier.above_input_tokens:
            chosen = tier.rates
    return chosen


def price_of(row: PriceRow, window: Window | None) -> Price:
    """A row's price within one of its windows, or outside them, with all that its requests may be held at."""
    base = row.rates if window is None else window.rates
    standard = ServiceTier(base, row.context_tiers)
    others = row.service_tiers or {}
    every = (standard, *others.values())
    thresholds = tuple(sorted({step.above_input_tokens for tier in every for step in tier.context_tiers}))
    asked: dict[str, tuple[ServiceTier, ...]] = {_ANY: every, **dict.fromkeys(STANDARD_TIERS, (standard,))}
    for name in _BASE_OR_ITS_OWN:
        asked[name] = (standard, others[name]) if name in others else (standard,)
    return Price(
        id=row.id if window is None else f"{row.id}#{window.name}",
        row=row,
        base=base,
        window=window,
        thresholds=thresholds,
        dearest_by_tier={name: _dearest_by_size(tiers, thresholds) for name, tiers in asked.items()},
    )


def _dearest_by_size(tiers: Sequence[ServiceTier], thresholds: tuple[int, ...]) -> tuple[Rates, ...]:
    """Up to each threshold and beyond the last; what holds for shorter prompts may hold for a longer estimate too."""
    found = [_dearest([tier.rates for tier in tiers])]
    for threshold in thresholds:
        past = [step.rates for tier in tiers for step in tier.context_tiers if step.above_input_tokens == threshold]
        found.append(_dearest([found[-1], *past]))
    return tuple(found)


def _dearest(rates: Sequence[Rates]) -> Rates:
    """The elementwise maximum. A class without a rate of its own is compared as the text that it is billed as."""
    return Rates(
        input=max(one.input for one in rates),
        cached_input=max(one.cached_input for one in rates),
        cache_write=max(one.cache_write for one in rates),
        output=max(one.output for one in rates),
        reasoning=max(one.reasoning for one in rates),
        audio_input=max(one.input if one.audio_input is None else one.audio_input for one in rates),
        image_input=max(one.input if one.image_input is None else one.image_input for one in rates),
        audio_output=max(one.output if one.audio_output is None else one.audio_output for one in rates),
        image_output=max(one.output if one.image_output is None else one.image_output for one in rates),
    )


class Change(msgspec.Struct, frozen=True):
    """What comes next for a model: from `at` on this price holds, or none (None)."""

    at: datetime
    price: Price | None


_LOOK_AHEAD_DAYS = 30
"""How far the next edge of a window is looked for; no run of holidays is that long."""


class PriceBook:
    """All rows, by model (`provider/model`), oldest first."""

    __slots__ = ("_known", "_prices", "_rows", "_starts")

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        live = sorted((row for row in rows if row.status is not Status.RUMOURED), key=lambda row: row.effective_from)
        self._rows: dict[str, list[PriceRow]] = {}
        for row in live:
            self._rows.setdefault(row.model, []).append(row)
        self._starts = {model: [row.effective_from for row in rows] for model, rows in self._rows.items()}
        # Made once: `at` stands on the hot path, and what it returns knows what to hold for a request.
        self._prices: dict[str, list[dict[str | None, Price]]] = {
            model: [
                {None: price_of(row, None), **{window.name: price_of(row, window) for window in row.windows}}
                for row in rows
            ]
            for model, rows in self._rows.items()
        }

        # What `at` found last, and for how long it holds: a decision asks for the same prices as the one before it.
        self._known: dict[str, tuple[datetime, datetime, Price | None]] = {}

    def at(self, model: str, instant: datetime) -> Price | None:
        """The price of a model at an instant (UTC), or None when nobody has stated one.

        A model at a reasoning effort ("provider/name@effort") has the price of the plain one.
        """
        known = self._known.get(model)
        if known is not None and known[0] <= instant < known[1]:
            return known[2]
        priced = self._priced(model)
        price = self._find(priced, instant)
        self._known[model] = (instant, self._holds_until(priced, instant, price), price)
        return price

    def _priced(self, model: str) -> str:
        """Whose rows price a model. Some models have an @ in their own name."""
        return model if model in self._rows else model.rpartition("@")[0]

    def _holds_until(self, model: str, instant: datetime, price: Price | None) -> datetime:
        """An instant until which this price surely holds; it may hold for longer."""
        ends = [instant + timedelta(days=1), self.next_start(model, instant)]
        if price is not None:
            ends.append(price.row.effective_until)
            for window in price.row.windows:
                today = instant.astimezone(window.zone).date()
                # A day's own midnight is an edge too: holidays and weekdays begin there.
                ends.append(datetime.combine(today + timedelta(days=1), time(), window.zone).astimezone(UTC))
                ends += window.edges(today)
        return min(end for end in ends if end is not None and end > instant)

    def _find(self, model: str, instant: datetime) -> Price | None:
        starts = self._starts.get(model)
        if starts is None:
            return None
        index = bisect.bisect_right(starts, instant) - 1
        if index < 0:
            return None
        row = self._rows[model][index]
        if row.effective_until is not None and instant >= row.effective_until:
            return None
        window = row.window_at(instant) if row.windows else None
        return self._prices[model][index][None if window is None else window.name]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self._rows)

    def rows(self, model: str) -> tuple[PriceRow, ...]:
        return tuple(self._rows.get(model, ()))

    def next_start(self, model: str, instant: datetime) -> datetime | None:
        """When the next row of a model comes into force, if one is known; at an effort, of the plain one."""
        starts = self._starts.get(self._priced(model), [])
        index = bisect.bisect_right(starts, instant)
        return starts[index] if index < len(starts) else None

    def next_change(self, model: str, instant: datetime) -> Change | None:
        """When the price of a model will be another one, and which: a row's start or end, or a window's edge."""
        now = self.at(model, instant)
        instants = {self.next_start(model, instant)}
        if now is not None:
            instants.add(now.row.effective_until)
            for window in now.row.windows:
                today = instant.astimezone(window.zone).date()
                for ahead in range(_LOOK_AHEAD_DAYS):
                    instants.update(window.edges(today + timedelta(days=ahead)))
        for then in sorted(moment for moment in instants if moment is not None and moment > instant):
            price = self.at(model, then)
            if price is not now:
                return Change(then, price)
        return None
