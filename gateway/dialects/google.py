"""Google's OpenAI-compatible wire: usage repeats in every chunk, and thinking shows only in the total.

total_tokens - (prompt_tokens + completion_tokens) are thinking tokens; they are billed as output. Should they be stated
in completion_tokens_details as well, they are counted once.
Errors come as a JSON array, with numbers as codes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from gateway.core.catalog import Model
from gateway.core.errors import GatewayError
from gateway.core.pricing import Usage
from gateway.core.request import ChatRequest

from .shape import MOST_RETRY_AFTER_S, capped, disjoint, error_from, fields_for, read_tokens

# google.rpc.RetryInfo, among the details of an error; the header does not always come with it.
_RETRY_DELAY = re.compile(rb'"retryDelay"\s*:\s*"(\d{1,9}(?:\.\d{1,9})?)s"')
_TOO_LONG = re.compile("input token count .* exceeds the maximum number of tokens allowed")


class Google:
    name = "google"

    def body(self, request: ChatRequest, model: Model, output_cap: int | None = None) -> bytes:
        fields = fields_for(request, model.upstream_name)
        capped(fields, request, model, output_cap, "max_tokens")
        return msgspec.json.encode(fields)

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
