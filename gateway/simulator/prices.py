"""What the simulated providers charge. Plain data in decimal strings, given by whoever starts the simulator.

Never reads the gateway's price book: a bill worked out from the same table proves nothing. SAMPLE_PRICES serves the
simulator run by itself and has no claim to be complete.
"""

from bisect import bisect_right, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import lru_cache

# USD per million tokens, as decimal strings: input, output, and where they differ from input, cached_input and
# cache_write. A row without cache_write belongs to a provider that does not charge for filling its cache.
Rates = Mapping[str, str]
PriceData = Mapping[tuple[str, str], Sequence[tuple[float, Rates]]]

_CLASSES = ("input", "cached_input", "cache_write", "output")


@dataclass(frozen=True, slots=True)
class Sale:
    """What a price may depend on. `at` is when the request was received, in epoch seconds."""

    provider: str
    model: str
    at: float
    prompt_tokens: int
    service_tier: str


# For what dated rows cannot say (hours of the day, context tiers, service tiers): the rates, or None for the row's.
PriceRule = Callable[[Sale], Rates | None]


class PriceTable:
    """The rows in force by instant; the row of an instant is the last that began at or before it."""

    def __init__(self, data: PriceData, rule: PriceRule | None = None) -> None:
        self._rows: dict[tuple[str, str], list[tuple[float, Rates]]] = {}
        self._rule = rule
        for (provider, model), rows in data.items():
            for since, rates in rows:
                self.add(provider, model, since, rates)

    def add(self, provider: str, model: str, from_epoch_s: float, rates: Rates) -> None:
        """A row more; one that begins at the same instant as another replaces it. ValueError if a rate is wrong."""
        _check(rates, f"price of {provider}/{model}")
        rows = self._rows.setdefault((provider, model), [])
        rows[:] = [row for row in rows if row[0] != from_epoch_s]
        insort(rows, (from_epoch_s, dict(rates)), key=lambda row: row[0])

    def models(self, provider: str) -> list[str]:
        return [model for of, model in self._rows if of == provider]

    def rates(self, sale: Sale) -> Rates | None:
        """The rates of this sale, or None when the model has no price at that instant (so it is not sold)."""
        rows = self._rows.get((sale.provider, sale.model), [])
        place = bisect_right(rows, sale.at, key=lambda row: row[0])
        if place == 0:
            return None
        ruled = self._rule(sale) if self._rule else None
        if ruled is None:
            return rows[place - 1][1]
        _check(ruled, f"rule's price of {sale.provider}/{sale.model}")
        return ruled


def rate(rates: Rates, token_class: str) -> Fraction:
    """USD per million tokens, exactly. A class without its own rate costs what input costs."""
    return _exact(rates.get(token_class) or rates["input"])


@lru_cache(maxsize=4096)
def _exact(text: str) -> Fraction:
    return Fraction(text)


def _check(rates: Mapping[str, object], what: str) -> None:
    if unknown := set(rates) - set(_CLASSES):
        raise ValueError(f"{what}: unknown class {sorted(unknown)}; there are: {', '.join(_CLASSES)}")
    if missing := {"input", "output"} - set(rates):
        raise ValueError(f"{what}: {sorted(missing)} is missing")
    for name, text in rates.items():
        if not isinstance(text, str) or _exact(text) < 0:
            raise ValueError(f"{what}: {name}={text!r} must be a decimal string, not negative")


def off_peak_deepseek(sale: Sale) -> Rates | None:
    """DeepSeek's half price outside Beijing office hours (Mon-Fri 09-12 and 14-18); its holidays are not known here."""
    at = datetime.fromtimestamp(sale.at, UTC) + timedelta(hours=8)  # Shanghai keeps no summer time
    peak = at.weekday() < 5 and (9 <= at.hour < 12 or 14 <= at.hour < 18)
    return _OFF_PEAK.get(sale.model) if sale.provider == "deepseek" and not peak else None


_OFF_PEAK: Mapping[str, Rates] = {
    "deepseek-v4-pro": {"input": "0.66", "cached_input": "0.022", "output": "1.98"},
    "deepseek-flash": {"input": "0.15", "cached_input": "0.003", "output": "0.60"},
}


def _epoch(day: str) -> float:
    return datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()


# Public list prices as read in November 2026; DeepSeek's at peak, see off_peak_deepseek.
SAMPLE_PRICES: PriceData = {
    ("openai", "gpt-6-luna"): [(0, {"input": "0.1", "cached_input": "0.01", "cache_write": "0.125", "output": "0.5"})],
    ("openai", "gpt-6.1-terra"): [(0, {"input": "1", "cached_input": "0.05", "cache_write": "1.25", "output": "5"})],
    ("openai", "gpt-6.1-sol"): [(0, {"input": "2", "cached_input": "0.1", "cache_write": "2.5", "output": "10"})],
    ("openai", "gpt-4o"): [(0, {"input": "2.5", "cached_input": "1.25", "output": "10"})],
    ("openai", "gpt-4o-mini"): [(0, {"input": "0.15", "cached_input": "0.075", "output": "0.60"})],
    ("deepseek", "deepseek-v4-pro"): [(0, {"input": "1.32", "cached_input": "0.044", "output": "3.96"})],
    ("deepseek", "deepseek-flash"): [(0, {"input": "0.30", "cached_input": "0.006", "output": "1.20"})],
    ("google", "gemini-4-argon"): [
        (0, {"input": "2", "cached_input": "0.1", "output": "10"}),
        (_epoch("2026-12-01"), {"input": "4", "cached_input": "0.2", "output": "20"}),
    ],
    ("google", "gemini-3.8-flash"): [
        (0, {"input": "0.75", "cached_input": "0.075", "output": "3.75"}),
        (_epoch("2027-01-01"), {"input": "1.5", "cached_input": "0.15", "output": "7.5"}),
    ],
    ("google", "gemini-3.5-flash-lite"): [(0, {"input": "0.3", "cached_input": "0.03", "output": "2.5"})],
}
