"""What a public catalogue says of a model: pico-dollars a token by service tier, prompt size and class.

What it does not say is absent, never zero and never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

from gateway.core.money import Pico
from gateway.core.pricing import CLASSES, Price, Rates

CATALOGUES = ("litellm", "genai-prices")
"""The names of the packages that bring one."""

STANDARD = "standard"
"""How the base rates are called beside service tiers."""


class Cell(NamedTuple):
    """One price of a model: at this service tier, past this many prompt tokens, for this class of tokens."""

    tier: str
    above: int
    token_class: str


@dataclass(slots=True)
class Stated:
    """The cells that a catalogue states for a model at an instant."""

    cells: dict[Cell, Pico] = field(default_factory=dict)

    @property
    def tiers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.tier for cell in self.cells))

    def thresholds(self, tier: str) -> frozenset[int]:
        return frozenset(cell.above for cell in self.cells if cell.tier == tier)

    def value(self, tier: str, above: int, token_class: str) -> Pico | None:
        """What a prompt just past this size pays for a class, or None: it does not say.

        The base rates hold on where no threshold is stated. Of a service tier only what is stated counts: past a
        threshold of the base its rates are another matter, and to carry them on would put words in its mouth.
        """
        exact = self.cells.get(Cell(tier, above, token_class))
        if exact is not None or tier != STANDARD:
            return exact
        stated = [cell.above for cell in self.cells if (cell.tier, cell.token_class) == (tier, token_class)]
        passed = [threshold for threshold in stated if threshold <= above]
        return self.cells[Cell(tier, max(passed), token_class)] if passed else None


class Catalogue(Protocol):
    """A public price list. `name` is its package's name, `cannot_say` what its form has no place for."""

    name: str
    version: str
    cannot_say: Sequence[str]
    knows_the_future: bool

    def states(self, provider: str, model: str, at: datetime) -> Stated | None:
        """The model's prices at an instant; None when the catalogue does not know it."""

    def starts(self, provider: str, model: str) -> Sequence[datetime]:
        """The instants at which it dates a price."""

    def models(self, provider: str, at: datetime) -> Sequence[str]:
        """The chat models it knows of a provider, without those that are retired at that instant."""


class CatalogueMissing(Exception):
    """A catalogue is not installed; the text says which package brings it."""


def rate_of(price: Price, cell: Cell) -> Pico:
    """What the book bills in a cell: the least prompt that is past its threshold, at its service tier."""
    rates = price.rates(cell.above + 1, None if cell.tier == STANDARD else cell.tier)
    return rates_by_class(rates)[cell.token_class]


def rates_by_class(rates: Rates) -> Mapping[str, Pico]:
    """Every class with what it is billed at, those without a rate of their own included."""
    text = {"audio_input": rates.input, "image_input": rates.input, "audio_output": rates.output}
    text["image_output"] = rates.output
    found: dict[str, Pico] = {}
    for name in CLASSES:
        own: Pico | None = getattr(rates, name)
        found[name] = text[name] if own is None else own
    return found


def thresholds_of(price: Price, tier: str) -> frozenset[int]:
    """The prompt sizes past which the book bills a tier differently, 0 included."""
    own = (price.row.service_tiers or {}).get(tier)
    tiers: Iterable[int] = (step.above_input_tokens for step in (own or price.row).context_tiers)
    return frozenset({0, *tiers})
