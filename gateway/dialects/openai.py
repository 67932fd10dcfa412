"""OpenAI's wire: everything that has a detail sits inside prompt_tokens or completion_tokens.

Cached, cache-written, audio and image tokens are parts of the prompt; reasoning and audio of the completion.
Fields that it does not know are refused with 400, also in messages, so what other providers left there is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gateway.core.candidate import Warm
from gateway.core.catalog import Model
from gateway.core.conversation import PromptCache
from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

from .embeddings import EMBEDDINGS
from .history import Fields, adapt, drop, each_call
from .shape import capped, disjoint, error_from, fields_for, pop_limit, read_error, read_tokens

# These refuse `max_tokens` and want `max_completion_tokens`, which means the same for the caller.
_RENAMED_LIMIT = re.compile(r"(gpt-[5-9]|o\d)")

# platform.openai.com/docs/guides/prompt-caching: from 1,024 tokens on, in steps of 128, until 5 to 10 minutes unused.
_CACHE = PromptCache(least_tokens=1_024, step=128)


# It has a code of its own for it; the servers that copy the wire, and those behind litellm, have only these words.
_TOO_LONG = re.compile("maximum context length|context window|prompt is too long", re.IGNORECASE)


class OpenAI:
    name = "openai"
    embeddings = EMBEDDINGS

    def body(
        self, request: ChatRequest, model: Model, output_cap: int | None = None, warm: Warm | None = None
    ) -> bytes:
        fields = fields_for(request, model)
        renamed = _RENAMED_LIMIT.match(model.upstream_name)
        if "max_tokens" in fields and renamed:
            limit = pop_limit(fields)
            if limit is not None:
                fields["max_completion_tokens"] = limit
        capped(fields, request, model, output_cap, "max_completion_tokens" if renamed else "max_tokens")
        if request.history is not None:
            adapt(fields, request.history.bound, _only_known)
        return msgspec.json.encode(fields)

    def prompt_cache(self, model: Model) -> PromptCache:
        return _CACHE

    def usage(self, raw: bytes) -> Usage | None:
        tokens = read_tokens(raw)
        if tokens is None:
            return None
        return disjoint(tokens, cached=tokens.prompt.cached_tokens, written=tokens.prompt.cache_write_tokens)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        found = read_error(body) if status == 429 else None
        if found is not None and found.code == "insufficient_quota":
            status = 402  # no rate that recovers by itself: the balance is used up
        return error_from(status, headers, body, self.name, too_long=_TOO_LONG)


def _only_known(_: int, message: Fields) -> bool:
    changed = drop(message, "reasoning_content", "extra_content")
    # `index` is a stream's: DeepSeek has it in whole answers too.
    return each_call(message, lambda _, call: drop(call, "extra_content", "index")) or changed
