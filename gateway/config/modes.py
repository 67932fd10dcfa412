"""Which providers are in use here: real, off, or simulated.

A provider is real when its key is set, or when it needs none. While no provider is real, the three that the simulator
speaks for are simulated and the others off; as soon as one is, a provider without its key is off, never simulated.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from gateway.core.catalog import Provider

Mode: TypeAlias = Literal["real", "off", "simulated"]

SIMULATED = frozenset({"openai", "deepseek", "google"})


def provider_modes(providers: Mapping[str, Provider], env: Mapping[str, str]) -> dict[str, Mode]:
    real = {
        name
        for name, provider in providers.items()
        if provider.key_env is None or env.get(provider.key_env, "").strip()
    }
    modes: dict[str, Mode] = {}
    for name in providers:
        if name in real:
            modes[name] = "real"
        else:
            modes[name] = "simulated" if not real and name in SIMULATED else "off"
    return modes


def off_reasons(providers: Mapping[str, Provider], modes: Mapping[str, Mode]) -> dict[str, str]:
    """For Market.off: the reason by provider."""
    return {name: f"no key: set {providers[name].key_env}" for name, mode in modes.items() if mode == "off"}
