"""The simulator in the place of the providers, while none of them has a key: at the prices that are in force."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.config import Loaded
from gateway.core.money import usd_per_million
from gateway.simulator import PROVIDERS, Rates, Sale, Simulator

_PLACEHOLDER: Rates = {"input": "1", "output": "1"}
"""Makes a model known to the simulator; what it costs is asked of the price book at each sale."""


class SimulatedProviders:
    """Owns the one simulator, which starts when a configuration needs it and stays until `close`."""

    def __init__(self) -> None:
        self._loaded: tuple[Loaded, ...] = ()
        """What is followed, and what was before: requests under way may be at a model that is gone since."""
        self._simulator: Simulator | None = None
        self._sold: set[tuple[str, str]] = set()

    async def follow(self, loaded: Loaded) -> dict[str, str]:
        """Sell the models of this configuration at its prices. Returns base URLs by provider; none is simulated: {}."""
        self._loaded = (loaded, *self._loaded[:1])
        market = loaded.world.market
        models = {
            (model.provider, model.upstream_name)
            for model in market.models.values()
            if loaded.modes[model.provider] == "simulated"
        }
        if not models:
            return {}
        if self._simulator is None:
            simulator = Simulator({}, price_rule=self._in_force)
            await simulator.start()
            self._simulator = simulator
        for provider, model in models - self._sold:
            self._simulator.set_price(provider, model, 0.0, _PLACEHOLDER)
        self._sold |= models
        return {provider: self._simulator.base_url(provider) for provider in PROVIDERS}

    async def close(self) -> None:
        if self._simulator is not None:
            await self._simulator.stop()

    def _in_force(self, sale: Sale) -> Rates | None:
        model, at = f"{sale.provider}/{sale.model}", datetime.fromtimestamp(sale.at, UTC)
        prices = (loaded.world.market.prices.at(model, at) for loaded in self._loaded)
        price = next((one for one in prices if one is not None), None)
        if price is None:
            return None
        rates = price.rates(sale.prompt_tokens)
        return {
            "input": usd_per_million(rates.input),
            "cached_input": usd_per_million(rates.cached_input),
            "cache_write": usd_per_million(rates.cache_write),
            "output": usd_per_million(rates.output),
        }
