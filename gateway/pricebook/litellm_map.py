"""litellm's model map, read from the JSON file that its package brings: importing litellm itself takes seconds.

Its names make the cells: input_cost_per_token, ..._above_272k_tokens, ..._flex, in US dollars a token. It is a picture
of one day: no history, nothing scheduled. Off-peak hours replace the rates; they know weekdays and no holidays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from gateway.core.money import Pico

from .catalogue import STANDARD, CatalogueMissing, Cell, Stated

# Any: an entry of the map is open-ended JSON.
Entry: TypeAlias = Mapping[str, Any]

_CLASSES = {
    "input_cost_per_token": "input",
    "cache_read_input_token_cost": "cached_input",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_audio_token": "audio_input",
    "input_cost_per_image_token": "image_input",
    "output_cost_per_audio_token": "audio_output",
    "output_cost_per_image_token": "image_output",
}
# `_batches`, `_decisions` and caches kept for hours are other products: their names match nothing here.
_KEY = re.compile(
    rf"(?P<name>{'|'.join(_CLASSES)})(?:_above_(?P<above>\d+)k_tokens)?(?:_(?P<tier>flex|priority|ultrafast))?"
)
_PREFIXES = {"openai": "", "google": "gemini/"}
_THEIR_NAMES = {"google": "gemini"}
_PICO_PER_USD = 10**12


class LiteLLMMap:
    """A catalogue (catalogue.Catalogue)."""

    name = "litellm"
    knows_the_future = False
    cannot_say: Sequence[str] = (
        "first days, past prices and scheduled changes",
        "holidays (its off-peak hours know weekdays)",
    )

    def __init__(self, entries: Mapping[str, Entry], version: str) -> None:
        self.version = version
        self._entries = entries

    @classmethod
    def installed(cls) -> LiteLLMMap:
        """The map of the installed package. Raises CatalogueMissing."""
        spec = find_spec("litellm")
        if spec is None or spec.origin is None:
            raise CatalogueMissing("the package litellm is not installed")
        file = Path(spec.origin).with_name("model_prices_and_context_window_backup.json")
        try:
            raw = file.read_bytes()
        except OSError as exc:
            raise CatalogueMissing(f"litellm's model map cannot be read: {exc.strerror}") from exc
        # Decimal: 2.5e-07 is no binary fraction, and no float ever holds money.
        return cls(json.loads(raw, parse_float=Decimal), version("litellm"))

    def states(self, provider: str, model: str, at: datetime) -> Stated | None:
        entry = self._entries.get(_PREFIXES.get(provider, f"{provider}/") + model)
        if entry is None:
            return None
        off_peak = entry.get("off_peak_pricing")
        return _cells({**entry, **off_peak} if off_peak and _holds(off_peak, at) else entry)

    def starts(self, provider: str, model: str) -> Sequence[datetime]:
        return ()

    def models(self, provider: str, at: datetime) -> Sequence[str]:
        prefix = _PREFIXES.get(provider, f"{provider}/")
        theirs = _THEIR_NAMES.get(provider, provider)
        return [
            name.removeprefix(prefix)
            for name, entry in self._entries.items()
            if entry.get("litellm_provider") == theirs
            and entry.get("mode") in ("chat", "responses")
            and name.startswith(prefix)
            and not _retired(entry, at)
        ]


def _cells(entry: Entry) -> Stated:
    found = Stated()
    for key, value in entry.items():
        named = _KEY.fullmatch(key)
        if named is None or not isinstance(value, Decimal | int):
            continue
        pico = Decimal(value) * _PICO_PER_USD
        if pico == pico.to_integral_value():
            above = int(named["above"] or 0) * 1_000
            found.cells[Cell(named["tier"] or STANDARD, above, _CLASSES[named["name"]])] = Pico(int(pico))
    return found


def _retired(entry: Entry, at: datetime) -> bool:
    day = entry.get("deprecation_date")
    return day is not None and date.fromisoformat(day) <= at.date()


def _holds(off_peak: Entry, at: datetime) -> bool:
    """Is this an off-peak instant by its rules? Hours are of UTC, weekdays (1 is Monday) of the zone it names."""
    zone = ZoneInfo(off_peak.get("weekday_timezone") or "UTC")
    rules = [off_peak, *off_peak.get("windows", ())]
    return any(
        at.astimezone(zone).isoweekday() in rule.get("weekdays", range(1, 8)) and _within(rule.get("hours_utc", ()), at)
        for rule in rules
    )


def _within(hours: str | Sequence[str], at: datetime) -> bool:
    now = f"{at.astimezone(UTC):%H:%M}"
    for span in (hours,) if isinstance(hours, str) else hours:
        start, _, end = span.partition("-")
        # Over midnight when it ends first; the whole day when both are one.
        if start <= now < end if start < end else now >= start or now < end:
            return True
    return False
