"""DeepSeek's wire: `max_tokens` only, and cache hits counted inside prompt_tokens under a name of their own."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gateway.core.catalog import Model
from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

from .shape import capped, disjoint, error_from, fields_for, pop_limit, read_tokens

_TOO_LONG = re.compile("maximum context length")  # under the code of every other mistake in a request


class DeepSeek:
    name = "deepseek"

    def body(self, request: ChatRequest, model: Model, output_cap: int | None = None) -> bytes:
        fields = fields_for(request, model.upstream_name)
        # DeepSeek does not know the newer name; sent under it, the caller's limit would be ignored and paid for.
        limit = pop_limit(fields)
        if limit is not None:
            fields["max_tokens"] = limit
        capped(fields, request, model, output_cap, "max_tokens")
        return msgspec.json.encode(fields)

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
