"""The whole configuration as one frozen value: built new, checked, then swapped in by one reference."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from .budget import Rules, ScopeKind
from .catalog import AUTO
from .market import Market
from .route import Route
from .terms import NO_WORDS, Words

KEYLESS_TEAM = "default"
DEFAULT_ORGANISATION = "default"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is asking. routes and jurisdictions limit the team; None means no limit of its own.

    may_loosen: whether a request's headers may also make the terms of its route looser. cache_bypass: the keys whose
    requests may go past the cache; None: every key.
    """

    team: str
    key_id: str
    routes: frozenset[str] | None = None
    jurisdictions: frozenset[str] | None = None
    organisation: str = DEFAULT_ORGANISATION
    may_loosen: bool = False
    cache_bypass: frozenset[str] | None = None

    @property
    def may_bypass_cache(self) -> bool:
        return self.cache_bypass is None or self.key_id in self.cache_bypass

    def may_use(self, route: Route) -> bool:
        """A team limited to routes may not name models directly either."""
        return self.routes is None or route.name in self.routes

    def scopes(self, route: str, provider: str) -> dict[ScopeKind, str]:
        """Under which names an attempt at this provider is counted."""
        return {
            ScopeKind.KEY: self.key_id,
            ScopeKind.TEAM: self.team,
            ScopeKind.ORGANISATION: self.organisation,
            ScopeKind.ROUTE: route,
            ScopeKind.PROVIDER: provider,
        }


KEYLESS = Caller(team=KEYLESS_TEAM, key_id="keyless", may_loosen=True)
"""Every caller of a gateway without teams; such a gateway serves loopback only."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Limits of the front door. Bytes and seconds."""

    max_body_bytes: int = 10 * 1024 * 1024
    body_timeout_s: float = 30.0
    drain_s: float = 30.0
    abandoned_stream_s: float = 120.0
    max_concurrency: int = 2_000
    watch_s: float = 2.0


@dataclass(frozen=True, slots=True)
class World:
    """All that a request is judged by.

    routes: by name. direct: by every name a model answers to (id, and bare name or alias when unique). embedders: by
    every such name, the id of a model that only embeds.
    callers: by SHA-256 hex of the key, those of routes.yaml; further keys stand in the ledger's database. teams: what
    a team's keys may do, also one without a key of its own here. No teams means that everybody is `keyless`.
    rules: budgets and limits. words: what a request's headers may name. version: a digest of what it was built from.
    """

    version: str
    market: Market
    routes: Mapping[str, Route]
    direct: Mapping[str, Route]
    callers: Mapping[str, Caller] = field(default_factory=dict)
    server: ServerSettings = ServerSettings()
    teams: Mapping[str, Caller] = field(default_factory=dict)
    rules: Rules = field(default_factory=Rules)
    keyless: Caller = KEYLESS
    words: Words = NO_WORDS
    embedders: Mapping[str, str] = field(default_factory=dict)

    def route(self, name: str) -> Route | None:
        return self.routes.get(name) or self.direct.get(name)

    def asks_kind(self, route: Route) -> bool:
        """Whether the kind of a request decides anything on this route, or on one whose rules may hold for it."""
        if not route.when and route.step_down is None:  # as most routes, at every request
            return route.kind == AUTO
        others = [one.to for one in route.when]
        if route.step_down is not None:
            others.append(route.step_down.to)
        return route.asks_kind or any(self.routes[name].asks_kind for name in others)


def key_digest(key: str) -> str:
    """Keys are random secrets of 256 bits, so a plain SHA-256 is enough to store them by."""
    return hashlib.sha256(key.encode()).hexdigest()
