"""What a reply says of how it came about: `x-gateway-*` headers, and the trailer comment of a stream."""

from __future__ import annotations

import msgspec

from gateway.core.caching import CachedAnswer
from gateway.core.contracts import Target
from gateway.core.money import usd
from gateway.core.records import SpendRecord, UsageSource
from gateway.core.route import Route

from .attempt import Attempt
from .reply import Headers

NO_STORE: Headers = [(b"cache-control", b"no-store")]


def of_decision(route: Route, request_id: str) -> Headers:
    return [*of_route(route), of_id(request_id)]


def of_route(route: Route) -> Headers:
    return [(b"x-gateway-route", route.name.encode()), (b"x-gateway-policy", route.policy.name.encode())]


def of_id(request_id: str) -> tuple[bytes, bytes]:
    return (b"x-gateway-decision", request_id.encode())


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


def of_cache_reason(reason: str) -> Headers:
    return [(b"x-gateway-cache-reason", reason.encode())] if reason else []


def of_kept(answer: CachedAnswer, at_us: int, *, reason: str, stream: bool) -> Headers:
    """How old a kept answer is, and how long it is good for: `age` and `cache-control`, as RFC 9111 has them."""
    found = [(b"age", str(answer.age_s(at_us)).encode()), *of_cache_reason(reason)]
    if not stream:  # a stream has a cache-control of its own
        left_s = max(answer.fresh_until_us - at_us, 0) // 1_000_000
        found.append((b"cache-control", b"private, max-age=%d" % left_s))
    return found


def trailer(attempt: Attempt) -> bytes:
    """What is known only at the end of a stream, as an SSE comment that clients skip."""
    return _trailer(
        attempt.target, attempts=attempt.number, cost=attempt.request_cost, saved=attempt.request_saved,
        usage_source=attempt.usage_source,
    )  # fmt: skip


def free_trailer(target: Target, record: SpendRecord) -> bytes:
    """The same of an answer that no provider was asked for."""
    return _trailer(target, attempts=0, cost=0, saved=record.saved_nano, usage_source=record.usage_source)


def _trailer(target: Target, *, attempts: int, cost: int, saved: int, usage_source: UsageSource) -> bytes:
    facts = {
        "provider": target.provider.name,
        "model": target.model.id,
        "attempts": attempts,
        "cost_usd": usd(cost),
        "saved_usd": usd(saved),
        "usage_source": usage_source,
    }
    return b": gateway " + msgspec.json.encode(facts) + b"\n\n"
