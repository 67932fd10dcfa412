"""DeepSeek's wire: `max_tokens` only, cache hits counted inside prompt_tokens under a name of their own, and thinking
that has to come back.

While it thinks, an answer before must bring its `reasoning_content`, or the request is refused with 400 ("must be
passed back"). Where another provider gave that answer there is none, and a blank is accepted in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gateway.core.candidate import Warm
from gateway.core.catalog import Model
from gateway.core.conversation import History, PromptCache
from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

from .history import Fields, adapt, drop, each_call, inner
from .shape import capped, disjoint, error_from, fields_for, pop_limit, read_tokens

# api-docs.deepseek.com/guides/kv_cache: units of 64 tokens, kept for hours to days. Half an hour of it is enough here.
_CACHE = PromptCache(least_tokens=64, step=64, keeps_s=1_800)

# The efforts that this wire knows are low, high and max (guides/thinking_mode); the others as that page maps them.
_EFFORTS = {b'"minimal"': b'"low"', b'"medium"': b'"high"', b'"xhigh"': b'"high"'}
_DISABLED = msgspec.Raw(b'{"type":"disabled"}')
_BLANK = msgspec.Raw(b'" "')
_NO_REASONING = (b"null", b'""')
_TOO_LONG = re.compile("maximum context length")  # under the code of every other mistake in a request


class DeepSeek:
    name = "deepseek"
    embeddings = None

    def body(
        self, request: ChatRequest, model: Model, output_cap: int | None = None, warm: Warm | None = None
    ) -> bytes:
        fields = fields_for(request, model)
        # DeepSeek does not know the newer name; sent under it, the caller's limit would be ignored and paid for.
        limit = pop_limit(fields)
        if limit is not None:
            fields["max_tokens"] = limit
        capped(fields, request, model, output_cap, "max_tokens")
        if "reasoning_effort" in fields:
            _say_effort(fields)
        if request.history is not None:
            _adapt(fields, request.history)
        return msgspec.json.encode(fields)

    def prompt_cache(self, model: Model) -> PromptCache:
        return _CACHE

    def usage(self, raw: bytes) -> Usage | None:
        tokens = read_tokens(raw)
        if tokens is None:
            return None
        # Hits are inside prompt_tokens, so they are taken out before pricing; billing both would charge a hit twice.
        # The same count comes under OpenAI's name too; whoever serves these models may send that one alone.
        hits = tokens.prompt_cache_hit_tokens
        return disjoint(tokens, cached=tokens.prompt.cached_tokens if hits is None else hits)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return error_from(status, headers, body, self.name, too_long=_TOO_LONG)


def _say_effort(fields: Fields) -> None:
    asked = bytes(fields["reasoning_effort"])
    if asked == b'"none"':
        del fields["reasoning_effort"]
        fields["thinking"] = _DISABLED
    elif asked in _EFFORTS:
        fields["reasoning_effort"] = msgspec.Raw(_EFFORTS[asked])


def _adapt(fields: Fields, history: History) -> None:
    thinks = bytes(inner(fields, "thinking").get("type", b"")) != b'"disabled"'
    wants_reasoning = thinks and history.called

    def change(_: int, message: Fields) -> bool:
        changed = drop(message, "extra_content")
        changed |= each_call(message, lambda _, call: drop(call, "extra_content"))
        if wants_reasoning and bytes(message.get("reasoning_content", b"null")) in _NO_REASONING:
            message["reasoning_content"] = _BLANK
            changed = True
        return changed

    # Once there were tools, answers without a tool call are asked for their reasoning too.
    adapt(fields, history.answers if wants_reasoning else history.bound, change)
