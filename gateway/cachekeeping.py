"""The response cache, as those who run the gateway see it: counted and purged.

The command line and the admin API share it. What is told of a kept answer are its size, its times and whom it is for,
never what it says. Every purge leaves a line in the audit.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from sqlalchemy import Engine

from gateway.config import did_you_mean
from gateway.core.caching import ALL, CachedAnswer, Freshness
from gateway.core.contracts import LedgerUnavailable
from gateway.core.world import World
from gateway.proxy.memo import MEMO_S
from gateway.stores.audit import audit_log, audited
from gateway.stores.kept import CacheUnavailable, KeptAnswers

log = logging.getLogger("gateway.cache")

MOST_ENTRIES = 100_000
"""So many kept answers are looked at; then what is told says that there are more."""

DELETED_AT_ONCE = 500
LEDGER_S = 10.0

By = Literal["route", "team", "model", "scope"]
Facts: TypeAlias = dict[str, Any]  # Any: numbers, text, lists of the same; None where nothing is known


class Purge(msgspec.Struct, frozen=True):
    """What is to go: everything that carries any one of these. tags: NAME=VALUE."""

    routes: Sequence[str] = ()
    teams: Sequence[str] = ()
    models: Sequence[str] = ()
    tags: Sequence[str] = ()
    everything: bool = False


class NotAudited(LedgerUnavailable):
    """The purge was made, and its line in the audit was not."""


class CacheKeeping:
    """Raises ValueError for what cannot be done, CacheUnavailable and LedgerUnavailable.

    engine and world: of the audit, and what may be purged by name; asked for by a purge only. actor: who is written
    into the audit.
    """

    def __init__(
        self, store: KeptAnswers, engine: Callable[[], Engine], world: Callable[[], World], *, actor: str
    ) -> None:
        self._store = store
        self._engine = engine
        self._world = world
        self._actor = actor

    async def stats(self, by: By = "route", most: int = MOST_ENTRIES) -> Facts:
        """What is kept, in groups, and how the store is. Looks at `most` entries."""
        facts = await self._store.facts()
        epoch, purges = await self._store.purges()
        tally, at_us = _Tally(by), _now_us()
        complete = True
        async for entry in self._store.entries():
            if tally.entries >= most:
                complete = False
                break
            tally.add(entry.answer if not entry.reason else None, entry.reason, entry.stored_bytes, at_us)
        return {
            **tally.facts(),
            "complete": complete,
            "store": {
                "used_bytes": facts.used_memory_bytes, "max_bytes": facts.maxmemory_bytes,
                "policy": facts.maxmemory_policy, "evictions": facts.evicted_keys, "keys": facts.keys,
                "warning": _warning(facts.maxmemory_policy, facts.maxmemory_bytes),
            },
            "purges": {"epoch": epoch, "labels": len(purges)},
        }  # fmt: skip

    async def purge(self, asked: Purge, *, force: bool = False) -> Facts:
        """Returns once no process replays what was purged. force: also names that the configuration does not have."""
        labels = labels_of(asked, self._world(), force=force)
        engine = self._engine()
        await self._in_time(audit_log, engine, limit=1)  # what could not be told is not done
        epoch = await self._store.purge(labels)
        done_at = time.monotonic()
        found = await self._removed(labels)
        await self._tell(engine, labels, epoch, found)
        # What a worker answered a moment ago it answers again, for so long, without asking.
        await asyncio.sleep(max(done_at + MEMO_S - time.monotonic(), 0))
        return {"purged": labels, "epoch": epoch, **found}

    async def _removed(self, labels: Sequence[str]) -> Facts:
        """Remove what is purged already, for its room's sake; counted is what carries the labels."""
        wanted, names, counted = frozenset(labels), [], 0
        looked_at = deleted = freed_bytes = 0
        complete = True
        try:
            async for entry in self._store.entries():
                if looked_at >= MOST_ENTRIES:
                    complete = False
                    break
                looked_at += 1
                if entry.answer is None or entry.reason != "purged":
                    continue
                names.append(entry.name)
                if not wanted.isdisjoint(entry.answer.labels):
                    counted, freed_bytes = counted + 1, freed_bytes + entry.stored_bytes
                if len(names) >= DELETED_AT_ONCE:
                    deleted += await self._store.delete(names)
                    names = []
            deleted += await self._store.delete(names)
        except CacheUnavailable as exc:
            log.warning("what was purged is not replayed any more, and not all of it could be removed: %s", exc)
            complete = False
        return {"entries": min(counted, deleted), "freed_bytes": freed_bytes, "complete": complete}

    async def _tell(self, engine: Engine, labels: Sequence[str], epoch: int, found: Facts) -> None:
        try:
            await self._in_time(
                audited, engine, _now_us(), self._actor, "purge", ", ".join(labels), epoch=epoch, **found
            )
        except LedgerUnavailable as exc:
            log.error("purged by %s, and the audit could not be written: %s", self._actor, ", ".join(labels))
            raise NotAudited(f"{', '.join(labels)} is purged, but that could not be written into the audit") from exc

    async def _in_time(self, act: Callable[..., object], *arguments: object, **more: object) -> None:
        try:
            async with asyncio.timeout(LEDGER_S):
                await asyncio.to_thread(act, *arguments, **more)
        except TimeoutError as exc:
            raise LedgerUnavailable(f"the database did not answer within {LEDGER_S:g} s") from exc


def labels_of(asked: Purge, world: World, *, force: bool) -> list[str]:
    """The labels of a purge, each once. Raises ValueError for a name that is not known, unless forced to."""
    if asked.everything:
        return [ALL]
    market = world.market
    named: dict[str, Mapping[str, Iterable[str]]] = {
        "route": {name: (name,) for name in world.routes},
        "team": {name: (name,) for name in (*world.teams, world.keyless.team)},
        # A model at a reasoning effort answers under a name of its own.
        "model": {
            name: [one.id for one in market.models.values() if model in (one.id, one.base)]
            for name, route in world.direct.items() for model in route.candidates[:1]
        },
    }  # fmt: skip
    labels: dict[str, None] = {}
    for kind, names in (("route", asked.routes), ("team", asked.teams), ("model", asked.models)):
        known = named[kind]
        for name in names:
            if name not in known and not force:
                told = f"no {kind} is named {name[:100]!r} in the configuration{did_you_mean(name[:100], known)}"
                raise ValueError(f"{told}; what the file no longer has is purged with force")
            labels.update(dict.fromkeys(f"{kind}:{one}" for one in known.get(name, (name,))))
    for tag in asked.tags:
        name, sign, _ = tag.partition("=")
        if not name or not sign:
            raise ValueError(f"{tag[:100]!r} is not NAME=VALUE")
        labels[f"tag:{tag}"] = None
    if not labels:
        raise ValueError("nothing is named to be purged: a route, a team, a model, a tag, or all")
    return list(labels)


class _Tally:
    """What is kept, added up."""

    def __init__(self, by: By) -> None:
        self._by = by
        self._groups: dict[str, Facts] = {}
        self._reasons = {"unreadable": 0, "purged": 0}
        self.entries = 0
        self._bytes = 0

    def add(self, answer: CachedAnswer | None, reason: str, stored_bytes: int, at_us: int) -> None:
        self.entries += 1
        self._bytes += stored_bytes
        if answer is None:
            self._reasons[reason] = self._reasons.get(reason, 0) + 1
            return
        age_s, name = answer.age_s(at_us), getattr(answer, self._by)
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = {
                self._by: name, "entries": 0, "stored_bytes": 0, "stale": 0,
                "newest_age_s": age_s, "oldest_age_s": age_s,
            }  # fmt: skip
        group["entries"] += 1
        group["stored_bytes"] += stored_bytes
        group["stale"] += answer.freshness(at_us) is not Freshness.FRESH
        group["newest_age_s"] = min(age_s, group["newest_age_s"])
        group["oldest_age_s"] = max(age_s, group["oldest_age_s"])

    def facts(self) -> Facts:
        groups = sorted(self._groups.values(), key=lambda one: (-one["stored_bytes"], one[self._by]))
        return {
            "entries": self.entries, "stored_bytes": self._bytes,
            "stale": sum(one["stale"] for one in groups), **self._reasons,
            "newest_age_s": min((one["newest_age_s"] for one in groups), default=None),
            "oldest_age_s": max((one["oldest_age_s"] for one in groups), default=None),
            "by": self._by, "groups": groups,
        }  # fmt: skip


def _warning(policy: str, max_bytes: int) -> str | None:
    if policy.startswith("allkeys"):
        return f"{policy} lets the store evict budgets and holds with the answers: give it volatile-lru"
    if policy == "noeviction" and max_bytes:
        return "noeviction: answers can fill the store until it refuses budgets and holds: give it volatile-lru"
    return None


def _now_us() -> int:
    return time.time_ns() // 1_000
