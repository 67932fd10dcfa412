"""Under which key an answer may be replayed, and whether it may be kept at all.

The key covers the team, the route, the configuration's version and every field of the request as raw JSON, except
the two that only say how the answer is delivered. Two requests that differ in anything else never share an answer.
"""

from __future__ import annotations

import hashlib
import hmac

from .request import ChatRequest

_DELIVERY_ONLY = frozenset({"stream", "stream_options"})
_FINISHED = frozenset({"stop", "tool_calls"})


def cache_key(secret: bytes, *, team: str, route: str, version: str, request: ChatRequest) -> str:
    """An HMAC-SHA-256 in hex. Parts are length-prefixed, so no two different requests run together."""
    digest = hmac.new(secret, digestmod=hashlib.sha256)
    parts = [team.encode(), route.encode(), version.encode()]
    for name in sorted(request.fields):
        if name not in _DELIVERY_ONLY:
            parts += (name.encode(), bytes(request.fields[name]))
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def may_keep(*, n: int, finish_reason: str | None, size: int, max_bytes: int) -> bool:
    """Only whole answers are kept: one choice, finished by itself, within the route's size."""
    return n == 1 and finish_reason in _FINISHED and size <= max_bytes
