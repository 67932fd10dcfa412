"""Would this request be answered from the response cache, would its answer be kept, and is one kept: for people.

The same functions decide here as for a request; nothing is sent, changed or removed. Neither the prompt nor a kept
answer is in what is told.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

from gateway.config import did_you_mean
from gateway.core.caching import CachedAnswer, CacheRule, Control
from gateway.core.money import usd
from gateway.core.question import Question, answer
from gateway.core.routing import Decision
from gateway.core.savings import baseline
from gateway.core.world import Caller, World
from gateway.proxy.keeper import not_replayed
from gateway.proxy.live import Live
from gateway.proxy.plan import CachePlan, plan_cache
from gateway.stores.kept import KeptAnswers
from gateway.stores.table import to_us

NAME_CHARS = 16
"""Of the name that an answer is kept under: enough to see that two requests share one."""

Facts: TypeAlias = dict[str, Any]  # Any: numbers, text, a mapping of the same; None where there is nothing

_US = 1_000_000


async def inspect(store: KeptAnswers, secret: bytes, question: Question, live: Live, control: Control) -> Facts:
    """secret: of the names that answers are kept under.

    Raises GatewayError for terms that cannot be had, CacheUnavailable.
    """
    decision = answer(question, live.world)
    caller, rule = question.caller, decision.route.cache
    facts: Facts = {"route": question.route.name, "team": caller.team, "key": caller.key_id or None}
    if rule is None:
        return {**facts, "cache": None, "reason": "the route keeps no answers", "kept": None}
    plan = plan_cache(secret, question.request, caller, decision, live, control)
    entry = await store.inspect(plan.key, plan.scope)
    facts |= {
        "cache": _rule(rule), "scope": plan.scope, "name": plan.key[:NAME_CHARS],
        "looks": plan.look, "keeps": plan.keep, "shares": plan.share, "reason": plan.reason or None,
    }  # fmt: skip
    if entry is None:
        return {**facts, "kept": None}
    if entry.answer is None or entry.reason:
        return {**facts, "kept": {"stored_bytes": entry.stored_bytes, "replayed": False, "why_not": entry.reason}}
    return {**facts, "kept": {"stored_bytes": entry.stored_bytes, **_kept(entry.answer, decision, plan, live)}}


def caller_of(world: World, team: str | None, key: str) -> Caller:
    """Whoever a request is inspected for. Raises ValueError for a team that is none."""
    if not world.teams:
        if team not in (None, world.keyless.team):
            raise ValueError(f"no teams are configured, so nobody is of team {team!r}")
        return world.keyless
    if team is None:
        raise ValueError(f"name the team that asks, one of: {', '.join(world.teams)}")
    if team not in world.teams:
        raise ValueError(f"no team is named {team[:100]!r} in the configuration{did_you_mean(team[:100], world.teams)}")
    return dataclasses.replace(world.teams[team], key_id=key)


def _rule(rule: CacheRule) -> dict[str, Any]:  # Any: numbers and words
    return {
        "ttl_s": rule.ttl_s, "stale_while_revalidate_s": rule.stale_while_revalidate_s,
        "stale_if_error_s": rule.stale_if_error_s, "max_bytes": rule.max_bytes, "scope": rule.scope.value,
        "semantic": rule.semantic is not None,
    }  # fmt: skip


def _kept(kept: CachedAnswer, decision: Decision, plan: CachePlan, live: Live) -> Facts:
    at_us = to_us(decision.now)
    why_not = not_replayed(kept, decision, plan, live, at_us) or ("" if plan.look else plan.reason)
    own = live.world.market.prices.at(kept.model, decision.now)
    saved = None
    if own is not None:
        saved = usd(baseline(decision.route.baseline, own, kept.usage, live.world.market, decision.now).cost)
    return {
        "body_bytes": len(kept.body), "model": kept.model, "team": kept.team, "finish_reason": kept.finish_reason,
        "freshness": kept.freshness(at_us).value, "age_s": kept.age_s(at_us),
        "fresh_for_s": max(kept.fresh_until_us - at_us, 0) // _US, "ends_in_s": max(kept.ends_us - at_us, 0) // _US,
        "saved_usd_a_hit": saved, "replayed": not why_not, "why_not": why_not or None,
    }  # fmt: skip
