"""A whole completion, read for what billing and caching must know; the bytes themselves go on unchanged."""

from __future__ import annotations

import msgspec

from .errors import UNREADABLE, Blame, GatewayError


class Answer(msgspec.Struct, frozen=True):
    """finish_reason is that of the last choice; usage_raw is the usage object's JSON, empty when there is none."""

    body: bytes
    usage_raw: bytes
    finish_reason: str | None
    service_tier: str | None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: msgspec.Raw = msgspec.Raw()
    service_tier: str | None = None


_decoder = msgspec.json.Decoder(_Completion)


def read_answer(body: bytes) -> Answer:
    """Read a completion. Raises GatewayError (the provider's, worth another candidate) when it is not one."""
    # DeepSeek sends empty lines while a request waits in its queue; they are white space before the JSON.
    body = body.lstrip(b"\r\n ")
    try:
        completion = _decoder.decode(body)
    except UNREADABLE as exc:
        raise malformed("the provider's answer is not a chat completion") from exc
    if not completion.choices:
        raise malformed("the provider's answer has no choices")
    usage = bytes(completion.usage)
    return Answer(
        body=body,
        usage_raw=b"" if usage == b"null" else usage,
        finish_reason=completion.choices[-1].finish_reason,
        service_tier=completion.service_tier,
    )


def malformed(noted: str) -> GatewayError:
    return GatewayError(
        Blame.UPSTREAM, 502, told="the provider's answer was malformed", noted=noted, retry=True, outcome="malformed"
    )
