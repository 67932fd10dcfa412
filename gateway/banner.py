"""What the gateway says of itself at its start, in a few lines."""

from __future__ import annotations

from gateway.config import Loaded
from gateway.core.world import World

from .settings import VERSION, Settings


def banner(settings: Settings, loaded: Loaded, store: str, ledger: str, *, workers: int = 1) -> list[str]:
    """store, ledger: where they are, in words."""
    modes = loaded.modes
    real = sorted(name for name, mode in modes.items() if mode == "real")
    off = sorted(name for name, mode in modes.items() if mode == "off")
    simulated = sorted(name for name, mode in modes.items() if mode == "simulated")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"gateway {VERSION} on http://{host}:{settings.port}"]
    if simulated:
        lines += [
            f"  providers  SIMULATED: {', '.join(simulated)}. No provider key is set, so every answer is made up here",
            "             and every record is marked. Set OPENAI_API_KEY, DEEPSEEK_API_KEY or GEMINI_API_KEY (or put",
            "             it in .env) and start again for real ones.",
        ]
    else:
        lines.append(f"  providers  real: {', '.join(real)}" + (f"; off, no key: {', '.join(off)}" if off else ""))
    if workers > 1:
        lines.append(f"  workers    {workers} processes behind this port; SIGHUP reloads, SIGUSR2 replaces them")
    return [
        *lines,
        f"  store      {store}",
        f"  ledger     {ledger}",
        f"  routes     {', '.join(loaded.world.routes)} ({settings.routes}, {len(loaded.world.direct)} names in all)",
        f"  keys       {_keys_say(loaded.world)}",
    ]


def _keys_say(world: World) -> str:
    if not world.teams:
        return "none: programs on this machine only"
    return f"{len(world.callers)} in the routes file, for {len(world.teams)} teams; `gateway keys list` tells of others"
