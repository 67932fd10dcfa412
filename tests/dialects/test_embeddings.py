"""Texts to vectors on the wires that have them."""

from __future__ import annotations

import json

import pytest

from gateway.core.catalog import Model
from gateway.dialects import DIALECTS

MODEL = Model("p/vectors", "p", "vectors-1", 8_000, 0, frozenset(), 0, embeds=True)
REPLY = {"object": "list", "data": [{"index": 0, "embedding": [0.5, -0.5]}], "usage": {"prompt_tokens": 3}}


def test_openai_and_google_have_them_and_deepseek_has_none():
    assert {name: dialect.embeddings is not None for name, dialect in DIALECTS.items()} == {
        "openai": True, "google": True, "deepseek": False,
    }  # fmt: skip


def test_one_text_is_asked_for_under_the_providers_name_of_the_model():
    body = json.loads(DIALECTS["openai"].embeddings.body("what “is” it?\n", MODEL))

    assert body == {"model": "vectors-1", "input": "what “is” it?\n", "encoding_format": "float"}


def test_a_reply_is_its_vector_and_what_the_provider_counted():
    found = DIALECTS["google"].embeddings.read(json.dumps(REPLY).encode())

    assert (found.vector, found.tokens) == ([0.5, -0.5], 3)


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": -1}, {"prompt_tokens": 10**12}])
def test_a_count_that_is_none_is_not_known(usage):
    assert DIALECTS["openai"].embeddings.read(json.dumps({**REPLY, "usage": usage}).encode()).tokens is None


@pytest.mark.parametrize(
    "reply",
    [
        b"", b"[]", b"{}", b'{"data": []}', b'{"data": [{"embedding": []}]}', b'{"data": [{"embedding": [0, 0]}]}',
        b'{"data": [{"embedding": "AAAA"}]}', b'{"data": [{"embedding": [1e999]}]}',
        b'{"data": [{"embedding": [1e300]}]}', b'{"data": [{"embedding": [1]}, {"embedding": [1]}]}',
    ],
)  # fmt: skip
def test_a_reply_without_a_vector_of_one_text_is_none(reply):
    assert DIALECTS["openai"].embeddings.read(reply) is None
