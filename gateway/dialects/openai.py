"""OpenAI's wire: cached and cache-written tokens sit inside prompt_tokens, reasoning inside completion_tokens."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gateway.core.catalog import Model
from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

from .shape import PromptDetails, capped, disjoint, error_from, fields_for, pop_limit, read_tokens

# These refuse `max_tokens` and want `max_completion_tokens`, which means the same for the caller.
_RENAMED_LIMIT = re.compile(r"(gpt-[5-9]|o\d)")


class OpenAI:
    name = "openai"

    def body(self, request: ChatRequest, model: Model, output_cap: int | None = None) -> bytes:
        fields = fields_for(request, model.upstream_name)
        renamed = _RENAMED_LIMIT.match(model.upstream_name)
        if "max_tokens" in fields and renamed:
            limit = pop_limit(fields)
            if limit is not None:
                fields["max_completion_tokens"] = limit
        capped(fields, request, model, output_cap, "max_completion_tokens" if renamed else "max_tokens")
        return msgspec.json.encode(fields)

    def usage(self, raw: bytes) -> Usage | None:
        tokens = read_tokens(raw)
        if tokens is None:
            return None
        details = tokens.prompt_tokens_details or PromptDetails()
        return disjoint(tokens, cached=details.cached_tokens, written=details.cache_write_tokens)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> GatewayError:
        return error_from(status, headers, body, self.name)
