"""What a reply says of how it came about: `x-gateway-*` headers, and the trailer comment of a stream."""

from __future__ import annotations

import msgspec

from gateway.core.contracts import Target
from gateway.core.money import usd
from gateway.core.route import Route

from .attempt import Attempt
from .reply import Headers


def of_decision(route: Route, request_id: str) -> Headers:
    return [
        (b"x-gateway-route", route.name.encode()),
        (b"x-gateway-policy", route.policy.name.encode()),
        (b"x-gateway-decision", request_id.encode()),
    ]


def of_target(target: Target, *, cache: str, attempts: int) -> Headers:
    headers = [
        (b"x-gateway-provider", target.provider.name.encode()),
        (b"x-gateway-model", target.model.id.encode()),
        (b"x-gateway-cache", cache.encode()),
        (b"x-gateway-attempts", str(attempts).encode()),
    ]
    if target.simulated:
        headers.append((b"x-gateway-simulated", b"true"))
    return headers


def of_attempt(attempt: Attempt) -> Headers:
    return of_target(attempt.target, cache=attempt.job.cache, attempts=attempt.number)


def of_money(*, cost: int, saved: int) -> Headers:
    """Dollars with nine decimals; a loss against the baseline keeps its sign."""
    return [(b"x-gateway-cost-usd", usd(cost).encode()), (b"x-gateway-saved-usd", usd(saved).encode())]


def trailer(attempt: Attempt) -> bytes:
    """What is known only at the end of a stream, as an SSE comment that clients skip."""
    facts = {
        "provider": attempt.target.provider.name,
        "model": attempt.target.model.id,
        "attempts": attempt.number,
        "cost_usd": usd(attempt.request_cost),
        "saved_usd": usd(attempt.request_saved),
        "usage_source": attempt.usage_source,
    }
    return b": gateway " + msgspec.json.encode(facts) + b"\n\n"
