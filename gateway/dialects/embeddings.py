"""Texts to vectors, as OpenAI's wire has it and Google's compatible one takes over."""

from __future__ import annotations

import math

import msgspec

from gateway.core.catalog import Model
from gateway.core.contracts import Embedded
from gateway.core.errors import UNREADABLE

from .shape import MOST_TOKENS

MOST_DIMENSIONS = 16_384


class _Item(msgspec.Struct):
    embedding: list[float]


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None


class _Reply(msgspec.Struct):
    data: list[_Item]
    usage: _Usage | None = None


_reply = msgspec.json.Decoder(_Reply).decode


class OpenAIEmbeddings:
    """One text a call: what is asked for is one question."""

    def body(self, text: str, model: Model) -> bytes:
        return msgspec.json.encode({"model": model.upstream_name, "input": text, "encoding_format": "float"})

    def read(self, raw: bytes) -> Embedded | None:
        try:
            reply = _reply(raw)
        except UNREADABLE:
            return None
        vector = reply.data[0].embedding if len(reply.data) == 1 else []
        length = sum(value * value for value in vector)
        if not 0 < len(vector) <= MOST_DIMENSIONS or not math.isfinite(length) or length <= 0:
            return None
        tokens = None if reply.usage is None else reply.usage.prompt_tokens
        return Embedded(vector, tokens if tokens is not None and 0 <= tokens <= MOST_TOKENS else None)


EMBEDDINGS = OpenAIEmbeddings()
