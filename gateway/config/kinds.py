"""The task kinds that requests are told apart by: those of the trained file that ships, or of your own."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from gateway.kinds.shipped import SHIPPED, kind_names

from .mistakes import ConfigError, Mistake


def kinds_file(env: Mapping[str, str]) -> Path:
    """The shipped one, unless the environment names one that `make learn` wrote."""
    return Path(env.get("GATEWAY_KINDS", "").strip() or SHIPPED)


@lru_cache(maxsize=4)
def names_in(path: Path) -> tuple[str, ...]:
    """The kinds of a trained file, read once for each path. Raises ConfigError when it is none."""
    try:
        return kind_names(path.read_bytes())
    except OSError as exc:
        raise ConfigError([Mistake(str(path), 0, 0, f"cannot be read (GATEWAY_KINDS): {exc.strerror}")]) from exc
    except ValueError as exc:
        raise ConfigError([Mistake(str(path), 0, 0, f"{exc} (GATEWAY_KINDS)")]) from exc
