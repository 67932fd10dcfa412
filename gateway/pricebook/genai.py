"""genai-prices, read from the installed package: dated prices, scheduled ones, context and service tiers.

Its dates are days of UTC. Its daily hours know neither weekdays nor holidays, and cannot begin on a date.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from importlib.metadata import version
from typing import TYPE_CHECKING

from gateway.core.money import PICO_PER_USD_PER_MILLION, Pico

from .catalogue import STANDARD, CatalogueMissing, Cell, Stated

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

_CLASSES = {
    "input_mtok": "input",
    "cache_read_mtok": "cached_input",
    "cache_write_mtok": "cache_write",
    "output_mtok": "output",
    "output_reasoning_mtok": "reasoning",
    "input_audio_mtok": "audio_input",
    "input_image_mtok": "image_input",
    "output_audio_mtok": "audio_output",
    "output_image_mtok": "image_output",
}


class GenaiPrices:
    """A catalogue (catalogue.Catalogue)."""

    name = "genai-prices"
    knows_the_future = True
    cannot_say: Sequence[str] = (
        "weekdays and holidays (its daily hours hold every day)",
        "daily hours that begin on a date",
    )

    def __init__(self, providers: Sequence[Provider], version: str) -> None:
        self.version = version
        self._providers = {provider.id: provider for provider in providers}

    @classmethod
    def installed(cls) -> GenaiPrices:
        """Raises CatalogueMissing."""
        try:
            from genai_prices.data import providers  # takes 0.2 s, and no other command needs it
        except ImportError as exc:
            raise CatalogueMissing("the package genai-prices is not installed") from exc
        return cls(providers, version("genai-prices"))

    def states(self, provider: str, model: str, at: datetime) -> Stated | None:
        known = self._model(provider, model)
        if known is None:
            return None
        found = Stated()
        tiers = {variant.when["service_tier"] for variant in known.price_variants or () if _only_a_tier(variant.when)}
        for tier in (STANDARD, *sorted(tiers - {"default"})):
            asked = None if tier == STANDARD else {"service_tier": tier}
            prices = vars(known.get_prices(at, asked))
            if asked is not None and prices == vars(known.get_prices(at)):
                continue  # a tier whose rates begin later
            steps = {name: dict(_steps(prices.get(key))) for key, name in _CLASSES.items()}
            # A tier without steps of its own states a flat price: its engine bills it at every size.
            thresholds = {above for by_size in steps.values() for above in by_size} | found.thresholds(STANDARD)
            for above in thresholds:
                for name, by_size in steps.items():
                    if by_size:
                        price = by_size[max(step for step in by_size if step <= above)]
                        found.cells[Cell(tier, above, name)] = Pico(int(price * PICO_PER_USD_PER_MILLION))
        return found

    def starts(self, provider: str, model: str) -> Sequence[datetime]:
        known = self._model(provider, model)
        prices = known.prices if known is not None and isinstance(known.prices, list) else []
        days = {getattr(price.constraint, "start_date", None) for price in prices}
        return sorted(datetime.combine(day, time(tzinfo=UTC)) for day in days if day is not None)

    def models(self, provider: str, at: datetime) -> Sequence[str]:
        known = self._providers.get(provider)
        return [] if known is None else [model.id for model in known.models if not model.deprecated]

    def _model(self, provider: str, model: str) -> ModelInfo | None:
        known = self._providers.get(provider)
        matching = [one for one in known.models if one.is_match(model)] if known is not None else []
        return matching[0] if matching else None


def _only_a_tier(when: dict[str, str]) -> bool:
    return when.keys() == {"service_tier"}


def _steps(price: object) -> Iterator[tuple[int, Decimal]]:
    """Thresholds with what holds past them; 0 for the base."""
    if isinstance(price, Decimal):
        yield 0, price
    elif price is not None:
        from genai_prices.types import TieredPrices

        assert isinstance(price, TieredPrices)
        yield 0, price.base
        for tier in price.tiers:
            yield tier.start, tier.price
