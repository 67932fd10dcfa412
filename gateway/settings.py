"""What the command line and the environment say: where to listen, where the data are, which keys there are."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path

VERSION = package_version("llm-routing-gateway")

BACKLOG = 2048
"""How many connections may wait until they are taken."""


class StartError(Exception):
    """The gateway cannot start; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway listens and keeps its data. `env` is read for keys and addresses, never printed."""

    routes: Path
    host: str
    port: int
    data_dir: Path
    env: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, routes: Path, host: str, port: int, data_dir: Path) -> Settings:
        return cls(routes=routes, host=host, port=port, data_dir=data_dir, env=dict(env))

    def get(self, name: str) -> str | None:
        """An environment variable without surrounding white space; an empty one counts as unset."""
        return self.env.get(name, "").strip() or None

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
