"""What a caller is told when a budget or a limit stands in the way: what it is, how full, and what can be done.

What is counted by provider stands in the way of one candidate only, and what does not fit into a budget may fit at a
cheaper one: then another may be tried (`retry`).
"""

from __future__ import annotations

from datetime import UTC, datetime

from .budget import Bound, Limit, ScopeKind, Slot
from .errors import Blame, GatewayError
from .money import usd

AWAY_RETRY_S = 1.0
BUSY_RETRY_S = 1.0
NO_RETRY = (("x-should-retry", "false"),)


def budget_used_up(bound: Bound, used_nano: int, amount_nano: int, slot: Slot) -> GatewayError:
    """402 and not 429, which clients would repeat: waiting a second does not help."""
    budget = bound.budget
    left = usd(max(budget.limit_nano - used_nano, 0))
    period = f"rolling {budget.window.unit}" if budget.window.rolling else str(budget.window.unit)
    ends = "" if budget.window.rolling else f"; it begins anew at {_stamp(slot.end_s)}"
    told = (
        f"budget {budget.name!r} of {budget.scope.kind} {bound.name!r} has ${left} left of ${usd(budget.limit_nano)} "
        f"per {period}, and this request may cost up to ${usd(amount_nano)} (less with a lower output limit){ends}"
    )
    return GatewayError(
        Blame.CALLER, 402, told=told, type="insufficient_quota", code="budget_exceeded", outcome="over_budget",
        headers=NO_RETRY, retry=True,
    )  # fmt: skip


def over_rate(limit: Limit, what: str, wait_us: int) -> GatewayError:
    """what: requests or tokens."""
    per_minute = limit.requests_per_minute if what == "requests" else limit.tokens_per_minute
    wait_s = wait_us / 1e6
    told = f"limit {limit.name!r} allows {per_minute:,} {what} a minute; try again in {wait_s:.1f} s"
    headers = (
        (f"x-ratelimit-limit-{what}", str(per_minute)),
        (f"x-ratelimit-remaining-{what}", "0"),
        (f"x-ratelimit-reset-{what}", f"{wait_us // 1_000 + 1}ms"),
    )
    return GatewayError(
        Blame.CALLER, 429, told=told, code="rate_limit_exceeded", retry_after_s=wait_s, outcome="over_limit",
        headers=headers, retry=_of_one_provider(limit),
    )  # fmt: skip


def more_than_a_minute(limit: Limit, tokens: int) -> GatewayError:
    told = (
        f"this request alone is expected to take {tokens:,} tokens, and limit {limit.name!r} allows "
        f"{limit.tokens_per_minute:,} a minute: shorten it, or lower its output limit"
    )
    return GatewayError(Blame.CALLER, 400, told=told, code="over_token_limit", outcome="over_limit",
                        retry=_of_one_provider(limit))  # fmt: skip


def too_many_at_once(limit: Limit, most: int) -> GatewayError:
    told = f"limit {limit.name!r} allows {most:,} requests in progress at once; try again when one has ended"
    return GatewayError(
        Blame.CALLER, 429, told=told, code="too_many_at_once", retry_after_s=BUSY_RETRY_S, outcome="over_limit",
        retry=_of_one_provider(limit),
    )  # fmt: skip


def _of_one_provider(limit: Limit) -> bool:
    return limit.scope.kind is ScopeKind.PROVIDER


def accounts_away(bound: Bound) -> GatewayError:
    told = (
        f"budget {bound.budget.name!r} cannot be checked at the moment (the store is away), "
        "and what cannot be checked is not spent; try again shortly"
    )
    return GatewayError(
        Blame.GATEWAY, 503, told=told, code="accounts_away", retry_after_s=AWAY_RETRY_S, outcome="accounts_away"
    )


def accounts_unready() -> GatewayError:
    told = "the budgets of this request cannot be read from the ledger at the moment; try again shortly"
    return GatewayError(
        Blame.GATEWAY, 503, told=told, code="accounts_away", retry_after_s=AWAY_RETRY_S, outcome="accounts_away"
    )


def _stamp(at_s: int) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
