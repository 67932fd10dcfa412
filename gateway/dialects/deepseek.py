"""DeepSeek's wire: `max_tokens` only, and cache hits counted inside prompt_tokens under a name of their own."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.catalog import Model
from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

from .shape import capped, disjoint, error_from, fields_for, pop_limit, read_tokens


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
        return disjoint(tokens, cached=tokens.prompt_cache_hit_tokens)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return error_from(status, headers, body, self.name)
