"""The response cache and the audit as the admin API asks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import Engine

from gateway.admin.audit import Read
from gateway.admin.cache import CacheParts, PurgeRequest
from gateway.core.question import Question
from gateway.core.request import ChatRequest, parse_chat
from gateway.core.world import Caller, World
from gateway.proxy.clock import now_us
from gateway.proxy.door import control_of
from gateway.proxy.live import Live
from gateway.proxy.reply import Scope
from gateway.stores.audit import audit_log
from gateway.stores.kept import CacheUnavailable, KeptAnswers
from gateway.stores.table import EPOCH

from .cacheinspect import caller_of, inspect
from .cachekeeping import CacheKeeping, Facts, Purge

Ask = Callable[[Scope, ChatRequest, Caller, World, int], Awaitable[Question]]
"""A request with its headers as a question of this moment. Raises GatewayError."""


def cache_parts(
    store: KeptAnswers, engine: Engine, live: Callable[[], Live], *, secret: bytes, question: Ask
) -> CacheParts:  # fmt: skip
    keeping = CacheKeeping(store, lambda: engine, lambda: live().world, actor="admin")

    async def purge(asked: PurgeRequest) -> Facts:
        wanted = Purge(
            routes=asked.named("route"), teams=asked.named("team"), models=asked.named("model"),
            tags=asked.named("tag"), everything=asked.all,
        )  # fmt: skip
        return await keeping.purge(wanted, force=asked.force)

    async def inspected(scope: Scope, body: bytes, team: str | None, key: str) -> Facts:
        now = live()
        one = await question(scope, parse_chat(body), caller_of(now.world, team, key), now.world, now_us())
        return await inspect(store, secret, one, now, control_of(scope))

    return CacheParts(keeping.stats, purge, inspected, CacheUnavailable)


def audit_reader(engine: Engine) -> Read:
    def read(limit: int, subject: str | None) -> list[dict[str, Any]]:  # Any: a moment, text, what a detail holds
        return [
            {
                "at": EPOCH + timedelta(microseconds=one.at_us), "actor": one.actor, "action": one.action,
                "subject": one.subject, "detail": msgspec.json.decode(one.detail),
            }
            for one in audit_log(engine, limit=limit, subject=subject)
        ]  # fmt: skip

    return read
