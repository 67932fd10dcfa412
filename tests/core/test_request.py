"""Reading the caller's body: what is learned, what passes through, what is refused with which words."""

from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.catalog import Capability
from gateway.core.errors import GatewayError
from gateway.core.request import parse_chat

HELLO = [{"role": "user", "content": "hello"}]


def parse(**fields):
    return parse_chat(json.dumps({"model": "auto", "messages": HELLO, **fields}).encode())


def test_unknown_fields_are_kept_as_they_came():
    request = parse_chat(b'{"model":"m","messages":[{"role":"user","content":"x"}],"brand_new":{"a":[1, 2.50]}}')

    assert bytes(request.fields["brand_new"]) == b'{"a":[1, 2.50]}'


def test_a_model_given_twice_cannot_differ_between_check_and_send():
    request = parse_chat(b'{"model":"cheap","messages":[{"role":"user","content":"x"}],"model":"best"}')

    assert request.model == "best"
    assert msgspec.json.decode(request.fields["model"]) == "best"


@pytest.mark.parametrize(
    ("fields", "need"),
    [
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, Capability.TOOLS),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, Capability.JSON_SCHEMA),
        ({"response_format": {"type": "json_object"}}, Capability.JSON_OBJECT),
        ({"logprobs": True}, Capability.LOGPROBS),
        ({"n": 2}, Capability.N),
    ],
)
def test_what_a_request_needs_is_read_from_its_fields(fields, need):
    assert parse(**fields).needs == {need}


@pytest.mark.parametrize(
    "fields", [{"tools": []}, {"logprobs": False}, {"n": 1}, {"response_format": {"type": "text"}}]
)
def test_plain_values_need_nothing(fields):
    assert parse(**fields).needs == frozenset()


def test_an_image_needs_vision_and_its_bytes_are_not_counted_as_text():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
    request = parse(messages=[{"role": "user", "content": [{"type": "text", "text": "what is this?"}, picture]}])

    assert request.needs == {Capability.VISION}
    assert request.images == 1
    assert request.prompt_bytes < 200


def test_the_newer_limit_wins_over_the_older_name():
    assert parse(max_tokens=10).max_output_tokens == 10
    assert parse(max_tokens=10, max_completion_tokens=20).max_output_tokens == 20


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"{", None, "one JSON object"),
        (b"[]", None, "one JSON object"),
        (b"\xff\xfe", None, "one JSON object"),
        (b'{"messages":[{"role":"user"}]}', "model", "required"),
        (b'{"model":7,"messages":[{"role":"user"}]}', "model", "a string"),
        (b'{"model":"m"}', "messages", "required"),
        (b'{"model":"m","messages":[]}', "messages", "at least one"),
        (b'{"model":"m","messages":"hi"}', "messages", "array"),
        (b'{"model":"m","messages":[{"content":"no role"}]}', "messages", "role"),
        (b'{"model":"m","messages":[{"role":"user"}],"stream":"yes"}', "stream", "true or false"),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":-5}', "max_tokens", "1 or more"),
        (b'{"model":"m","messages":[{"role":"user"}],"max_tokens":1.5}', "max_tokens", "whole number"),
        (b'{"model":"m","messages":[{"role":"user"}],"n":0}', "n", "1 or more"),
        (b'{"model":"m","messages":[{"role":"user"}],"tools":{}}', "tools", "array"),
        (b'{"model":"m","messages":[{"role":"user"}],"stream_options":[]}', "stream_options", "object"),
    ],
)
def test_bad_input_is_refused_with_the_field_and_what_it_takes(body, param, words):
    with pytest.raises(GatewayError) as caught:
        parse_chat(body)

    assert caught.value.status == 400
    assert caught.value.param == param
    assert words in caught.value.told


def test_deep_nesting_is_refused_not_crashed_on():
    deep = b'{"model":"m","messages":[{"role":"user"}],"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"

    with pytest.raises(GatewayError) as caught:
        parse_chat(deep)
    assert caught.value.status == 400


@given(st.binary(max_size=200))
def test_any_bytes_give_a_request_or_a_clear_400(body):
    with contextlib.suppress(GatewayError) as _:
        assert parse_chat(body).model
