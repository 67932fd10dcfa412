"""What litellm's SDK raises, as a provider's error reply or as one of our errors.

The SDK's own classes are no guide: a refused connection is its InternalServerError, a lost one its APIConnectionError,
and a reply that it could not read is any of them. The chain of causes is one: the library that met the fault is in it.
Texts of the SDK are not handed on, except to say why it refused a request: they hold prompts, answers and tracebacks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp
import msgspec

from gateway.core.answer import malformed
from gateway.core.errors import GatewayError, error_body

from .faults import lost, silent, truncated, unreachable
from .litellm_call import refused

if TYPE_CHECKING:
    import httpx

MAX_ERROR_BYTES = 64 * 1024
MAX_REASON_CHARS = 300
IN_BAND = b"data: " + error_body("the provider reported an error within its answer", type="api_error") + b"\n\n"

_MOST_CAUSES = 20
_SHORTEST_KEY = 8  # a shorter one is no secret, and taking it out would spoil words
_SAYS_WHEN = ("retry-after", "retry-after-ms")
_SDK_CLASSES = re.compile(r"^(?:(?:litellm\.)?\w+(?:Error|Exception)(?:: | - ))+")
_SDK_ADVICE = re.compile(r"\. To drop|\n|\. ?If you want")  # from here on: how to change the SDK's settings, its stack
_UNSUPPORTED = re.compile(r"does not support parameters: \['(\w+)'")


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """A provider's error reply: the body in a shape that dialects read, of the headers those that say when to retry."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def read_fault(exc: Exception, *, provider: str, attempt_id: str, key: str | None) -> ErrorReply | GatewayError:
    """What happened, told by the chain of causes. `key` is taken out of whatever the provider wrote."""
    import httpx  # comes with litellm and is loaded with it, never before

    causes = _causes(exc)
    replies = [reply for one in causes if isinstance(reply := getattr(one, "response", None), httpx.Response)]
    genuine = [reply for reply in replies if reply.headers]  # those without headers are the SDK's inventions
    if genuine and genuine[-1].status_code >= 300:
        return _error_reply(genuine, provider, key)
    unconnected = httpx.ConnectError | httpx.ConnectTimeout | aiohttp.ClientConnectorError
    if any(isinstance(one, unconnected) for one in causes):
        return unreachable(provider, "no connection")
    for one in causes:
        if isinstance(one, httpx.TimeoutException):
            return silent(provider, attempt_id)
        if isinstance(one, httpx.TransportError | aiohttp.ClientError | OSError):
            # Before any byte of a reply, as on a pooled connection that its server was closing.
            before = any(isinstance(cause, aiohttp.ServerDisconnectedError) for cause in causes)
            return lost(provider, f"connection lost ({type(one).__name__})", repeatable=before)
        if isinstance(one, StopAsyncIteration):
            return truncated(provider)
    return _sdk_fault(exc, provider, type(causes[-1]).__name__, key)


def is_in_band(exc: Exception) -> bool:
    """Of an exception within a stream: it came of an error event, for it began as a provider's error, not a fault."""
    first = _causes(exc)[-1]
    return hasattr(first, "status_code") or hasattr(first, "body")


def _causes(exc: BaseException) -> list[BaseException]:
    """The exception, what it came of, and so on to the first; at least itself."""
    found: list[BaseException] = []
    one: BaseException | None = exc
    while one is not None and one not in found and len(found) < _MOST_CAUSES:
        found.append(one)
        one = one.__cause__ or one.__context__
    return found


def _error_reply(genuine: Sequence[httpx.Response], provider: str, key: str | None) -> ErrorReply:
    reply = genuine[-1]
    if reply.status_code < 400:
        return ErrorReply(502, error_body(f"{provider} redirects; redirects are not followed", type="api_error"))
    written = next((content for one in genuine if (content := _content(one))), b"")
    headers = {name: reply.headers[name] for name in _SAYS_WHEN if name in reply.headers}
    return ErrorReply(reply.status_code, _readable(_without(key, written), provider, reply.status_code), headers)


def _content(reply: httpx.Response) -> bytes:
    try:
        return reply.content[:MAX_ERROR_BYTES]
    except RuntimeError:  # httpx: not read, and its connection is closed by now
        return b""


def _readable(written: bytes, provider: str, status: int) -> bytes:
    """As it is when it has an `error` object, as nearly every provider's has; else its message in one."""
    try:
        said = msgspec.json.decode(written)
    except (msgspec.DecodeError, RecursionError):
        said = None
    first = said[0] if isinstance(said, list) and said else said
    if isinstance(first, dict):
        if isinstance(first.get("error"), dict):
            return written
        for name in ("message", "detail", "error"):
            if isinstance(first.get(name), str):
                return error_body(first[name], type="invalid_request_error" if status < 500 else "api_error")
    return error_body(f"{provider} answered {status}", type="api_error")


def _sdk_fault(exc: Exception, provider: str, first_cause: str, key: str | None) -> ErrorReply | GatewayError:
    """Nothing came over the wire: the SDK would not send the request, or could not read a reply."""
    status = getattr(exc, "status_code", None)
    text = _without(key, str(exc).encode()).decode()
    if status == 400:
        named = _UNSUPPORTED.search(text)
        if named is not None:
            return refused(provider, named[1], "its models do not take it")
        reason = _SDK_ADVICE.split(_SDK_CLASSES.sub("", text), maxsplit=1)[0]
        return refused(provider, None, reason[:MAX_REASON_CHARS])
    if status in (401, 403, 404):
        return ErrorReply(status, error_body(f"{provider} cannot be asked: {status}", type="api_error"))
    return malformed(f"{provider}: litellm could not read the reply ({first_cause})")


def _without(key: str | None, text: bytes) -> bytes:
    return text if key is None or len(key) < _SHORTEST_KEY else text.replace(key.encode(), b"[key]")
