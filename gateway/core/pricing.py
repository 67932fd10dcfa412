"""What a token costs, at an instant: dated rows, weekly windows, context cliffs, service tiers.

Pure: the instant comes in. A row is in force from its `effective_from` until its `effective_until`, or until the
next row of the same model. Within a row a weekly window (in its own time zone, except on listed holidays) replaces
the base rates. Past a context tier's threshold the *whole* request bills at that tier. A rumoured row is never in
force. An unknown price is None, never zero: whoever asks must refuse the model.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
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


@dataclass(frozen=True, slots=True)
class ContextTier:
    above_input_tokens: int
    rates: Rates


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
    service_tiers: Mapping[str, Rates] | None = None
    windows: tuple[Window, ...] = ()

    def window_at(self, at: datetime) -> Window | None:
        for window in self.windows:
            if window.applies(at):
                return window
        return None


class Price(msgspec.Struct, frozen=True):
    """The row in force for a model at an instant, its window already chosen. `id` names both for the ledger."""

    id: str
    row: PriceRow
    base: Rates
    window: Window | None

    def rates(self, prompt_tokens: int, service_tier: str | None = None) -> Rates:
        """The rates for a request of this size at the service tier that the provider reported."""
        tiers = self.row.service_tiers
        if service_tier is not None and tiers is not None and service_tier in tiers:
            return tiers[service_tier]
        chosen = self.base
        for tier in self.row.context_tiers:  # ascending thresholds: the last one passed decides
            if prompt_tokens > tier.above_input_tokens:
                chosen = tier.rates
        return chosen

    def dearest(self, prompt_tokens: int, service_tier: str | None = None) -> Rates:
        """The elementwise dearest rates that an attempt with at most so many prompt tokens can be billed at."""
        rates = [self.base, *(tier.rates for tier in self.row.context_tiers if prompt_tokens > tier.above_input_tokens)]
        rates += (self.row.service_tiers or {}).values()
        return Rates(
            input=max(one.input for one in rates),
            cached_input=max(one.cached_input for one in rates),
            cache_write=max(one.cache_write for one in rates),
            output=max(one.output for one in rates),
            reasoning=max(one.reasoning for one in rates),
        )

    def cost(self, usage: Usage, service_tier: str | None = None) -> Nano:
        return self.rates(usage.prompt, service_tier).cost(usage)


class PriceBook:
    """All rows, by model (`provider/model`), oldest first."""

    __slots__ = ("_rows", "_starts")

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        live = sorted((row for row in rows if row.status is not Status.RUMOURED), key=lambda row: row.effective_from)
        self._rows: dict[str, list[PriceRow]] = {}
        for row in live:
            self._rows.setdefault(row.model, []).append(row)
        self._starts = {model: [row.effective_from for row in rows] for model, rows in self._rows.items()}

    def at(self, model: str, instant: datetime) -> Price | None:
        """The price of a model at an instant (UTC), or None when nobody has stated one."""
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
        if window is None:
            return Price(row.id, row, row.rates, None)
        return Price(f"{row.id}#{window.name}", row, window.rates, window)

    def rows(self, model: str) -> tuple[PriceRow, ...]:
        return tuple(self._rows.get(model, ()))

    def next_start(self, model: str, instant: datetime) -> datetime | None:
        """When the next row of a model comes into force, if one is known."""
        starts = self._starts.get(model, [])
        index = bisect.bisect_right(starts, instant)
        return starts[index] if index < len(starts) else None
