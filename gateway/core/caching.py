"""What a route says of its kept answers, what a caller asks in `Cache-Control`, and the kept answer itself. Pure.

A kept answer belongs to a scope (one key, one team, one organisation, or everybody) and is never replayed outside of
it. It carries the labels that it is purged by, and the epoch of purges in which it was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from .catalog import EFFORTS
from .errors import Blame, GatewayError
from .pricing import Usage

LONGEST_S = 31_536_000
"""A year: no answer lives longer, stale time included."""


ALL = "all"
"""The label that every kept answer has."""


class Scope(StrEnum):
    """Who shares an answer."""

    KEY = "key"
    TEAM = "team"
    ORGANISATION = "organisation"
    GLOBAL = "global"


@dataclass(frozen=True, slots=True)
class SemanticRule:
    """Answer also what means the same: the embedding model's id, and the least cosine similarity, 0 to 1."""

    model: str
    threshold: float


@dataclass(frozen=True, slots=True)
class CacheRule:
    """The response cache of a route. Seconds and bytes.

    ttl_s: how long an answer may be replayed, less up to jitter_percent of it, so that answers that were made together
    do not end together. Past it, for so long, an answer is replayed while another one is fetched
    (stale_while_revalidate_s), or when no other one can be had (stale_if_error_s). sampled: whether answers are kept
    that the caller wants to vary (a temperature above 0, several choices). coalesce: equal requests at the same time
    make one call.
    """

    ttl_s: int
    max_bytes: int
    scope: Scope = Scope.TEAM
    jitter_percent: int = 10
    stale_while_revalidate_s: int = 0
    stale_if_error_s: int = 0
    sampled: bool = False
    coalesce: bool = True
    semantic: SemanticRule | None = None

    @property
    def stale_s(self) -> int:
        """How long an answer is kept past its end."""
        return max(self.stale_while_revalidate_s, self.stale_if_error_s)


class Control(msgspec.Struct, frozen=True):
    """What a request's `Cache-Control` asks (RFC 9111). max_age_s: the oldest answer that it takes."""

    no_store: bool = False
    no_cache: bool = False
    only_if_cached: bool = False
    max_age_s: int | None = None


AS_EVER = Control()
"""Nothing is asked: what holds for nearly every request."""


_directive = re.compile(r'"[^"]*"|([^\s,="]+)\s*(?:=\s*(?:"([^"]*)"|([^,"]*)))?')
"""A name, and its value in quotes or without. What stands in quotes is no directive, also after a comma."""


def read_control(header: str) -> Control:
    """Unknown directives are ignored, as HTTP has it, and of one that stands twice the first counts.

    Raises GatewayError 400 for a max-age that is no number of seconds.
    """
    given: dict[str, str] = {}
    for name, quoted, plain in _directive.findall(header):
        given.setdefault(name.lower(), (quoted or plain).strip())
    return Control(
        no_store="no-store" in given,
        no_cache="no-cache" in given,
        only_if_cached="only-if-cached" in given,
        max_age_s=_seconds(given["max-age"]) if "max-age" in given else None,
    )


def _seconds(age: str) -> int:
    if not (age.isascii() and age.isdigit()):
        told = f"'cache-control: max-age' is {age[:40]!r}; it takes whole seconds, such as max-age=60"
        raise GatewayError(Blame.CALLER, 400, told=told, param="cache-control", code="invalid_term", outcome="invalid")
    # Past ten digits it is more than any answer's age, and Python refuses to read thousands of them.
    return min(int(age.lstrip("0")[:10] or "0"), LONGEST_S)


class Freshness(StrEnum):
    """fresh: it may be replayed; revalidate: replayed while another one is fetched; fallback: only when none can be."""

    FRESH = "fresh"
    REVALIDATE = "revalidate"
    FALLBACK = "fallback"
    OVER = "over"


class CachedAnswer(msgspec.Struct, frozen=True):
    """A kept answer with all that a ledger row of a hit needs. body: a whole completion.

    scope: of those who may have it, as `cachekey.scope_name` writes it; it is checked again when it is read. epoch: of
    purges, as it was when the answer was asked for. The times are microseconds since the epoch of Unix.
    """

    scope: str
    route: str
    team: str
    tags: Mapping[str, str]
    model: str
    body: bytes
    usage: Usage
    service_tier: str | None
    finish_reason: str | None
    epoch: int
    kept_at_us: int
    fresh_until_us: int
    revalidate_until_us: int
    fallback_until_us: int

    @property
    def ends_us(self) -> int:
        return max(self.fresh_until_us, self.revalidate_until_us, self.fallback_until_us)

    def freshness(self, at_us: int) -> Freshness:
        if at_us < self.fresh_until_us:
            return Freshness.FRESH
        if at_us < self.revalidate_until_us:
            return Freshness.REVALIDATE
        return Freshness.FALLBACK if at_us < self.fallback_until_us else Freshness.OVER

    def age_s(self, at_us: int) -> int:
        return max(at_us - self.kept_at_us, 0) // 1_000_000

    @property
    def labels(self) -> tuple[str, ...]:
        """What it is purged by. An answer at an effort is purged with its model too."""
        plain, _, effort = self.model.rpartition("@")
        models = (self.model, plain) if effort in EFFORTS else (self.model,)
        return (
            ALL, f"route:{self.route}", f"team:{self.team}", *(f"model:{name}" for name in models),
            *(f"tag:{name}={value}" for name, value in self.tags.items()),
        )  # fmt: skip


def purged(answer: CachedAnswer, purges: Mapping[str, int]) -> bool:
    """purges: by label, the epoch that its last purge began. What was asked for before that is gone."""
    return any(answer.epoch < purges.get(label, 0) for label in answer.labels)


class Role(StrEnum):
    """Of a request that no kept answer serves. lead: it makes the call; follow: another one is making it; alone: nobody
    can be asked, because the store is away or because it was not wanted."""

    LEAD = "lead"
    FOLLOW = "follow"
    ALONE = "alone"


class Lookup(msgspec.Struct, frozen=True):
    """What was found under a key.

    answer: kept, readable, of this scope and not purged; it may be stale. reason: why what was there is
    not it, one word. epoch: of purges, for what is kept later; 0: unknown, so nothing may be kept. flight: names the
    one call that is under way, which this request leads or follows.
    """

    answer: CachedAnswer | None = None
    reason: str = ""
    epoch: int = 0
    role: Role = Role.ALONE
    flight: str = ""


class FlightLost(Exception):
    """Whoever made the call is gone, or nothing can be heard of it."""
