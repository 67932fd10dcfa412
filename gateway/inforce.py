"""The configuration in force in this process, and the one place that puts another one in its place.

Everything that a configuration brings along is made first, the accounts of new organisations included; then one
reference is swapped, without an await in between. A request holds on to the reference that it began with.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.config import Loaded
from gateway.core.contracts import Target
from gateway.dialects import DIALECTS
from gateway.proxy.chat import Parts
from gateway.proxy.clock import now_us
from gateway.proxy.live import Live

from .accounting import Books
from .past import Keeping
from .settings import Settings
from .tasks import TaskKinds


class ConfigInForce:
    """`loaded`, and what of it the requests see: `parts.live`."""

    def __init__(
        self, loaded: Loaded, parts: Parts, books: Books, keeping: Keeping, kinds: TaskKinds, settings: Settings
    ) -> None:
        self.loaded = loaded
        self._parts = parts
        self._books = books
        self._keeping = keeping
        self._kinds = kinds
        self._settings = settings
        kinds.prepare(loaded.world)
        keeping.remember_configuration(loaded, at_us=now_us())

    def take(self, loaded: Loaded, simulators: Mapping[str, str]) -> None:
        """From the next request on. simulators: base URLs by provider, empty while none is simulated."""
        live = live_of(loaded, self._settings, simulators)
        self._kinds.prepare(loaded.world)
        self._books.follow(live.world, simulated=live.simulated)
        self.loaded, self._parts.live = loaded, live
        self._keeping.remember_configuration(loaded, at_us=now_us())


def live_of(loaded: Loaded, settings: Settings, simulators: Mapping[str, str]) -> Live:
    return Live(loaded.world, _targets(loaded, settings, simulators), bool(simulators))


def models_of(live: Live, provider: str) -> tuple[str, ...]:
    return tuple(model.id for model in live.world.market.plain.values() if model.provider == provider)


def _targets(loaded: Loaded, settings: Settings, simulators: Mapping[str, str]) -> dict[str, Target]:
    """Where each usable model's requests go, its key already in the headers."""
    market, targets = loaded.world.market, {}
    for model in market.models.values():
        provider, mode = market.providers[model.provider], loaded.modes[model.provider]
        if mode == "off":
            continue
        simulated = mode == "simulated"
        base = simulators[provider.name] if simulated else provider.base_url
        key = "simulated" if simulated else settings.get(provider.key_env or "")
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        path = "embeddings" if model.embeds else "chat/completions"
        targets[model.id] = Target(
            model=model, provider=provider, dialect=DIALECTS[provider.dialect],
            url=f"{base.rstrip('/')}/{path}", headers=headers, simulated=simulated,
        )  # fmt: skip
    return targets
