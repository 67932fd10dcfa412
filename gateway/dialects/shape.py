"""What the three wires share: a body with the model's name swapped in, and errors by HTTP status.

Each dialect keeps its own differences; nothing here knows a provider.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gateway.core.budget import capped_output
from gateway.core.catalog import Model
from gateway.core.errors import UNREADABLE, Blame, GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

MOST_MESSAGE_CHARS = 2_000
MOST_RETRY_AFTER_S = 86_400.0
_CODE = re.compile(r"[\w.-]{1,64}")


class Totals(msgspec.Struct):
    """The counts that a usage object is worth nothing without."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class Tokens(Totals):
    """The usage object of a chat completion, as far as it is billed."""

    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None

    @property
    def prompt(self) -> PromptDetails:
        return self.prompt_tokens_details or _NO_PROMPT_DETAILS

    @property
    def completion(self) -> CompletionDetails:
        return self.completion_tokens_details or _NO_COMPLETION_DETAILS


class PromptDetails(msgspec.Struct, frozen=True):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


class CompletionDetails(msgspec.Struct, frozen=True):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None
    image_tokens: int | None = None


_NO_PROMPT_DETAILS, _NO_COMPLETION_DETAILS = PromptDetails(), CompletionDetails()


class ProviderError(msgspec.Struct):
    """An error object; Google writes numbers as codes and its own `status` word."""

    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | int | None = None
    status: str | None = None


class _Envelope(msgspec.Struct):
    error: ProviderError


_tokens = msgspec.json.Decoder(Tokens)
_totals = msgspec.json.Decoder(Totals)
_envelope: msgspec.json.Decoder[_Envelope | list[_Envelope]] = msgspec.json.Decoder(_Envelope | list[_Envelope])
_options = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)

MOST_TOKENS = 1_000_000_000
"""No request has a thousand million tokens; a count above it is a fault, and is not booked as a fact."""

_NULL = msgspec.Raw(b"null")
_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')


def fields_for(request: ChatRequest, model: Model) -> dict[str, msgspec.Raw]:
    """The caller's fields under the provider's model name and effort; a stream always reports its usage."""
    fields = dict(request.fields)
    fields["model"] = msgspec.Raw(msgspec.json.encode(model.upstream_name))
    if model.effort is not None:
        fields["reasoning_effort"] = msgspec.Raw(msgspec.json.encode(model.effort))
    if request.stream and not request.include_usage:
        options = _options.decode(fields.get("stream_options", _NULL))
        fields["stream_options"] = (
            msgspec.Raw(msgspec.json.encode({**options, "include_usage": True})) if options else _INCLUDE_USAGE
        )
    return fields


def pop_limit(fields: dict[str, msgspec.Raw]) -> msgspec.Raw | None:
    """The caller's output limit under either name, taken out; null counts as none, or it would lift the other."""
    limits = [fields.pop(name, _NULL) for name in ("max_completion_tokens", "max_tokens")]
    return next((limit for limit in limits if bytes(limit) != b"null"), None)


def capped(
    fields: dict[str, msgspec.Raw], request: ChatRequest, model: Model, output_cap: int | None, name: str
) -> None:
    """Write the output limit that must hold, under the name that the wire has for it; None leaves the caller's own."""
    if output_cap is not None:
        pop_limit(fields)
        fields[name] = msgspec.Raw(b"%d" % capped_output(request, model, output_cap))


def read_tokens(raw: bytes) -> Tokens | None:
    """The usage object; None when it is not one, states no prompt or completion, or nothing believable.

    Details that cannot be read are as good as none: the totals stand, and no discount is guessed.
    """
    try:
        tokens = _tokens.decode(raw)
    except UNREADABLE:
        try:
            totals = _totals.decode(raw)
        except UNREADABLE:
            return None
        tokens = Tokens(totals.prompt_tokens, totals.completion_tokens, totals.total_tokens)
    if tokens.prompt_tokens is None or tokens.completion_tokens is None:
        return None
    counts = (tokens.prompt_tokens, tokens.completion_tokens, tokens.total_tokens or 0)
    return None if max(counts) > MOST_TOKENS else tokens


def disjoint(tokens: Tokens, *, cached: int | None, written: int | None = None, hidden: int = 0) -> Usage:
    """Disjoint classes of a usage object.

    cached, written, audio and images are parts of the prompt; reasoning, audio and images parts of the completion.
    `hidden` is reasoning that the completion does not count. A part is never negative and never more than what is left
    of its whole.

    Cached tokens may be audio or images too, and no provider says which. They are counted once, and taken to be text as
    far as there is text: the discount is the smaller one.
    """
    prompt, completion = max(tokens.prompt_tokens or 0, 0), max(tokens.completion_tokens or 0, 0)
    from_cache, prompt = _part(cached, prompt)
    to_cache, prompt = _part(written, prompt)
    heard, prompt = _part(tokens.prompt.audio_tokens, prompt)
    seen, prompt = _part(tokens.prompt.image_tokens, prompt)
    spoken, completion = _part(tokens.completion.audio_tokens, completion)
    drawn, completion = _part(tokens.completion.image_tokens, completion)
    hidden = max(hidden, 0)
    # Reasoning that is stated and hidden at once is the same reasoning.
    shown, completion = _part((tokens.completion.reasoning_tokens or 0) - hidden, completion)
    return Usage(
        input=prompt,
        cached_input=from_cache,
        cache_write=to_cache,
        output=completion,
        reasoning=shown + hidden,
        audio_input=heard,
        image_input=seen,
        audio_output=spoken,
        image_output=drawn,
    )


def _part(stated: int | None, left: int) -> tuple[int, int]:
    """A part of what is left, and what is left after it."""
    part = min(max(stated or 0, 0), left)
    return part, left - part


def error_from(
    status: int, headers: Mapping[str, str], body: bytes, provider: str, *, too_long: re.Pattern[str]
) -> GatewayError:
    """A provider's error reply as ours.

    4xx that the caller caused is handed through in the provider's words; 401, 402, 403 and 404 are the operator's
    (key, balance, permission, model name) and another candidate may serve; 408, 409, 429 and 5xx are the provider's.
    too_long: how the provider says that a request is longer than the model takes.
    """
    found = read_error(body)
    message = ((found.message if found else None) or f"{provider} answered {status}")[:MOST_MESSAGE_CHARS]
    code = None if found is None or found.code is None else str(found.code)[:MOST_MESSAGE_CHARS]
    # A provider's words may hold the prompt or a line break; only what looks like a code is logged.
    noted = f"{provider} answered {status}" + (f" {code}" if code and _CODE.fullmatch(code) else "")
    if status < 400:
        told = f"{provider} answered {status}, which is no chat completion"
        return GatewayError(Blame.OPERATOR, 502, told=told, noted=noted, retry=True, outcome=f"http_{status}")
    if status in (401, 402, 403):
        told = f"{provider} refused this gateway's credentials or balance ({status}); the operator must look into it"
        trips = status != 403
        return GatewayError(Blame.OPERATOR, 502, told=told, noted=noted, retry=True, trips_provider=trips,
                            code="provider_refused", outcome=f"http_{status}")  # fmt: skip
    if status == 404:
        return GatewayError(Blame.OPERATOR, 502, told=f"{provider}: {message}", noted=noted, retry=True,
                            code="model_not_found", outcome="http_404")  # fmt: skip
    if status in (408, 409, 429) or status >= 500:
        return GatewayError(Blame.UPSTREAM, 429 if status == 429 else 502,
                            told=f"{provider} answered {status}; no other candidate was left", noted=noted, retry=True,
                            retry_after_s=retry_after(headers), code="rate_limit_exceeded" if status == 429 else None,
                            outcome=f"http_{status}")  # fmt: skip
    return GatewayError(Blame.CALLER, status, told=message, noted=noted, type=(found.type if found else None),
                        param=(found.param if found else None), code=code, outcome=f"http_{status}",
                        too_long=code == "context_length_exceeded" or bool(too_long.search(message)))  # fmt: skip


def read_error(body: bytes) -> ProviderError | None:
    try:
        envelope = _envelope.decode(body)
    except UNREADABLE:
        return None
    if isinstance(envelope, list):
        return envelope[0].error if envelope else None
    return envelope.error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms` or `retry-after`. The date form is not read: it needs a clock."""
    for name, scale in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is not None:
            try:
                seconds = float(value) * scale
            except ValueError:
                continue
            if 0 <= seconds < MOST_RETRY_AFTER_S:
                return seconds
    return None
