"""The front door: who is asking, and the request's body within its limits. Everything here refuses early."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from gateway.core.caching import AS_EVER, Control, read_control
from gateway.core.errors import Blame, GatewayError
from gateway.core.request import ChatRequest, checked_tags
from gateway.core.terms import HEADERS
from gateway.core.world import Caller, World, key_digest

from .reply import Receive, Scope, header

TAGS = b"x-gateway-tags"
SWALLOW_S = 2.0
_LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


class LiveKeys(Protocol):
    """Keys beyond those of the configuration. away: one that is not found may exist all the same."""

    @property
    def away(self) -> bool: ...

    def owner(self, digest: str) -> tuple[str, str] | None:
        """The team, and the id that its spend counts under."""


def authenticate(scope: Scope, world: World, keys: LiveKeys) -> Caller:
    """The caller by its bearer key.

    Raises GatewayError 401, 403 for a web page reaching a keyless gateway, 503 for a key that cannot be looked up now.
    """
    if not world.teams:
        refuse_foreign_page(scope)
        return world.keyless
    key = bearer(scope)
    caller = None if key is None else _caller(key_digest(key), world, keys)
    if caller is None and key is not None and keys.away:
        told = "this API key cannot be looked up at the moment; try again shortly"
        raise GatewayError(
            Blame.GATEWAY, 503, told=told, code="keys_away", outcome="keys_away", headers=(("retry-after", "1"),)
        )
    if caller is None:
        told = "no API key given: send 'Authorization: Bearer <key>'" if key is None else "this API key is not known"
        raise GatewayError(Blame.CALLER, 401, told=told, code="invalid_api_key", outcome="unauthorised")
    return caller


def _caller(digest: str, world: World, keys: LiveKeys) -> Caller | None:
    """What the team may do now is what counts, not what it might when the key was made."""
    caller = world.callers.get(digest)
    owner = keys.owner(digest) if caller is None else None
    if owner is None or owner[0] not in world.teams:
        return caller
    return replace(world.teams[owner[0]], key_id=owner[1])


def bearer(scope: Scope) -> str | None:
    """The bearer key of a request, or None."""
    scheme, _, key = (header(scope, b"authorization") or b"").partition(b" ")
    return key.strip().decode("latin-1") if scheme.lower() == b"bearer" and key.strip() else None


def refuse_foreign_page(scope: Scope) -> None:
    """Without keys only programs of this machine may call.

    A page in a browser could otherwise spend money here: by a form or fetch (its Origin tells) or by pointing its own
    host name at the loopback address (the Host tells).
    """
    host = (header(scope, b"host") or b"").decode("latin-1")
    if not _is_loopback(host):
        raise _foreign(f"host {host!r}")
    origin = header(scope, b"origin")
    if origin is not None and not _is_loopback(origin.decode("latin-1").partition("://")[2]):
        raise _foreign("a web page of another origin")


def _is_loopback(netloc: str) -> bool:
    name = netloc.rpartition(":")[0] if not netloc.endswith("]") and ":" in netloc else netloc
    return name.lower() in _LOOPBACK_HOSTS


def _foreign(what: str) -> GatewayError:
    told = f"this gateway has no keys and serves programs on this machine only, not {what}; configure team keys first"
    return GatewayError(Blame.CALLER, 403, told=told, code="loopback_only", outcome="unauthorised")


def tags_of(scope: Scope, request: ChatRequest) -> Mapping[str, str]:
    """The request's tags: `metadata`, and over it the header `x-gateway-tags: project=apollo,stage=test`."""
    raw = header(scope, TAGS)
    if raw is None:
        return request.tags
    pairs = {}
    for part in raw.decode("latin-1").split(","):
        name, equals, value = part.strip().partition("=")
        if not equals:
            told = f"'{TAGS.decode()}' is written name=value,name=value"
            raise GatewayError(Blame.CALLER, 400, told=told, param=TAGS.decode(), outcome="invalid")
        pairs[name.strip()] = value.strip()
    return checked_tags({**request.tags, **pairs}, TAGS.decode())


def terms_given(scope: Scope) -> Mapping[str, str]:
    """What the request's headers ask of its route's terms, by the names that core.terms knows them by."""
    given: dict[str, str] = {}
    for name, value in scope["headers"]:
        term = HEADERS.get(name)
        if term is not None:
            given[term] = value.decode("latin-1").strip()
    return given


def control_of(scope: Scope) -> Control:
    """What `Cache-Control` asks; several lines of it are one list."""
    lines = [value for name, value in scope["headers"] if name == b"cache-control"]
    return read_control(b",".join(lines).decode("latin-1")) if lines else AS_EVER


async def read_body(scope: Scope, receive: Receive, *, limit: int, deadline_s: float) -> bytes:
    """The whole body. Raises GatewayError 413 over the limit, 408 when it does not arrive in time."""
    declared = header(scope, b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        await _swallow(receive, limit)
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                part, more = await _part(receive)
                size += len(part)
                if size > limit:
                    break
                parts.append(part)
                if not more:
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError as exc:
        told = f"the request's body did not arrive within {deadline_s:g} s"
        raise GatewayError(Blame.CALLER, 408, told=told, outcome="slow_request") from exc
    await _swallow(receive, limit)
    raise _too_large(limit)


async def _part(receive: Receive) -> tuple[bytes, bool]:
    """The next piece of the body, and whether more follows."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise GatewayError(Blame.CALLER, 400, told="the client left", outcome="client_left")
    return message.get("body", b""), message.get("more_body", False)


async def _swallow(receive: Receive, limit: int) -> None:
    """Read on for a moment what will be refused: most clients read no answer before they have sent everything."""
    size, more = 0, True
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SWALLOW_S):
            while more and size <= 2 * limit:
                part, more = await _part(receive)
                size += len(part)


def _too_large(limit: int) -> GatewayError:
    told = f"the request's body is over this gateway's limit of {limit:,} bytes (server.max_body_mib in routes.yaml)"
    return GatewayError(Blame.CALLER, 413, told=told, code="request_too_large", outcome="too_large")
