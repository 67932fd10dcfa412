"""Google's OpenAI-compatible wire: usage in every chunk, thinking that shows only in the total, signed tool calls.

total_tokens - (prompt_tokens + completion_tokens) are thinking tokens; they are billed as output. Should they be stated
in completion_tokens_details as well, they are counted once.
From Gemini 3 on the first tool call of an answer carries a thought signature that must come back: none at all, or one
of another model, is refused with 400. A documented word stands in where there is none that this model can read.
Errors come as a JSON array, with numbers as codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gateway.core.candidate import Warm
from gateway.core.catalog import Model
from gateway.core.conversation import History, PromptCache, base
from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

from .embeddings import EMBEDDINGS
from .history import Fields, adapt, drop, each_call, inner
from .shape import MOST_RETRY_AFTER_S, capped, disjoint, error_from, fields_for, read_tokens

# google.rpc.RetryInfo, among the details of an error; the header does not always come with it.
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,9}(?:\.\d{1,9})?)s"')
_TOO_LONG = re.compile("input token count .* exceeds the maximum number of tokens allowed")

# How long is not published; the shortest prompts that are cached are those of litellm's price map, 2026-11-23.
_CACHE = PromptCache(least_tokens=4_096)
_CACHE_OF_2 = PromptCache(least_tokens=2_048)

_BEFORE_3 = re.compile(r"gemini-[12]\b")
_UNSIGNED = msgspec.Raw(b'{"google":{"thought_signature":"skip_thought_signature_validator"}}')


class Google:
    name = "google"
    embeddings = EMBEDDINGS

    def body(
        self, request: ChatRequest, model: Model, output_cap: int | None = None, warm: Warm | None = None
    ) -> bytes:
        fields = fields_for(request, model)
        capped(fields, request, model, output_cap, "max_tokens")
        if request.history is not None:
            _adapt(fields, request.history, model, warm)
        return msgspec.json.encode(fields)

    def prompt_cache(self, model: Model) -> PromptCache:
        return _CACHE_OF_2 if _BEFORE_3.match(model.upstream_name) else _CACHE

    def usage(self, raw: bytes) -> Usage | None:
        tokens = read_tokens(raw)
        if tokens is None:
            return None
        stated = max(tokens.prompt_tokens or 0, 0) + max(tokens.completion_tokens or 0, 0)
        return disjoint(tokens, cached=tokens.prompt.cached_tokens, hidden=(tokens.total_tokens or 0) - stated)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        if status == 400 and b"API_KEY_INVALID" in body:
            status = 401  # a bad key is the operator's affair, whatever number it comes under
        error = error_from(status, headers, body, self.name, too_long=_TOO_LONG)
        if error.retryable and error.retry_after_s is None and (told := _RETRY_DELAY.search(body)) is not None:
            error.retry_after_s = min(float(told[1]), MOST_RETRY_AFTER_S)
        return error


def _adapt(fields: Fields, history: History, model: Model, warm: Warm | None) -> None:
    signs = not _BEFORE_3.match(model.upstream_name)
    own_from = _own_from(model, warm)

    def change(place: int, message: Fields) -> bool:
        own = own_from is not None and place >= own_from

        def change_call(nth: int, call: Fields) -> bool:
            changed = drop(call, "index")  # a stream's, which some clients leave in
            changed |= _drop_foreign(call, own=own)
            # Of calls made at once only the first is signed.
            if signs and nth == 0 and "thought_signature" not in inner(inner(call, "extra_content"), "google"):
                call["extra_content"] = _UNSIGNED
                changed = True
            return changed

        changed = drop(message, "reasoning_content")
        changed |= _drop_foreign(message, own=own)
        return each_call(message, change_call) or changed

    adapt(fields, history.bound, change)


def _own_from(model: Model, warm: Warm | None) -> int | None:
    """From which message on signatures are this model's; None: none is. Where nothing is known they are kept."""
    if warm is None:
        return 0
    return warm.own_from if base(warm.model) == model.base else None


def _drop_foreign(fields: Fields, *, own: bool) -> bool:
    if own and "google" in inner(fields, "extra_content"):
        return False
    return drop(fields, "extra_content")
