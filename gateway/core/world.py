"""The whole configuration as one frozen value: built new, checked, then swapped in by one reference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from .routing import Market, Route

KEYLESS_TEAM = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking. routes and jurisdictions limit the team; None means no limit of its own."""

    team: str
    key_id: str
    routes: frozenset[str] | None = None
    jurisdictions: frozenset[str] | None = None

    def may_use(self, route: Route) -> bool:
        """A team limited to routes may not name models directly either."""
        return self.routes is None or route.name in self.routes


KEYLESS = Caller(team=KEYLESS_TEAM, key_id="keyless")
"""Every caller of a gateway without configured keys; such a gateway serves loopback only."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Limits of the front door. Bytes and seconds."""

    max_body_bytes: int = 10 * 1024 * 1024
    body_timeout_s: float = 30.0
    drain_s: float = 30.0
    abandoned_stream_s: float = 120.0
    max_concurrency: int = 2_000


@dataclass(frozen=True, slots=True)
class World:
    """All that a request is judged by.

    routes: by name. direct: by every name a model answers to (id, and bare name or alias when unique).
    callers: by SHA-256 hex of the key; empty means keyless. version: a digest of what it was built from.
    """

    version: str
    market: Market
    routes: Mapping[str, Route]
    direct: Mapping[str, Route]
    callers: Mapping[str, Caller] = field(default_factory=dict)
    server: ServerSettings = ServerSettings()

    def route(self, name: str) -> Route | None:
        return self.routes.get(name) or self.direct.get(name)


def key_digest(key: str) -> str:
    """Keys are random secrets of 256 bits, so a plain SHA-256 is enough to store them by."""
    return hashlib.sha256(key.encode()).hexdigest()
