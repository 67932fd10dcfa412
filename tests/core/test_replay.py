"""One answer in two deliveries, and under which key it may be delivered again."""

from __future__ import annotations

import json

import pytest

from gateway.core.cachekey import cache_key, may_keep
from gateway.core.replay import cut_stream, join_stream
from gateway.core.request import parse_chat

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "refusal": None,
                "reasoning_content": "thinking",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
                ],
            },
            "logprobs": {"content": [{"token": "t", "logprob": -0.5}]},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}


def chunk(delta, finish=None, **more) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, **more}
    return (
        b"data: " + json.dumps({"id": "c", "object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n"
    )


def test_a_completion_cut_and_joined_again_is_the_same():
    stream = cut_stream(json.dumps(COMPLETION).encode(), include_usage=False)
    joined = json.loads(join_stream(stream, json.dumps(COMPLETION["usage"]).encode()))

    assert joined == COMPLETION


def test_pieces_of_text_and_of_tool_arguments_are_joined_in_order():
    stream = b"".join(
        (
            chunk({"role": "assistant", "content": ""}),
            b": keep-alive\n\n",
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk(
                {
                    "tool_calls": [
                        {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}
                    ]
                }
            ),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"ci'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": 'ty":1}'}}]}),
            chunk({"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]}),
            chunk({}, "tool_calls"),
        )
    )
    message = json.loads(join_stream(stream, b""))["choices"][0]["message"]

    assert message["content"] == "Hello"
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"city":1}', "{}"]
    assert [call["id"] for call in message["tool_calls"]] == ["a", "b"]


def test_usage_is_cut_into_a_last_chunk_only_when_asked_for():
    body = json.dumps(COMPLETION).encode()

    assert b'"usage":{' not in cut_stream(body, include_usage=False)
    last = cut_stream(body, include_usage=True).split(b"\n\n")[-2]
    assert json.loads(last[6:])["choices"] == []
    assert json.loads(last[6:])["usage"]["total_tokens"] == 7


def test_a_stream_without_chunks_is_no_answer():
    assert join_stream(b": keep-alive\n\n", b"") is None


def key(body: bytes, *, team="a", route="r", version="1", secret=b"s") -> str:
    return cache_key(secret, team=team, route=route, version=version, request=parse_chat(body))


BODY = b'{"model":"r","messages":[{"role":"user","content":"x"}],"temperature":0}'


@pytest.mark.parametrize(
    "other",
    [
        {"team": "b"},
        {"route": "q"},
        {"version": "2"},
        {"secret": b"t"},
        {"body": BODY.replace(b":0}", b":1}")},
        {"body": BODY.replace(b'"x"', b'"y"')},
        {"body": BODY.replace(b'"temperature":0', b'"temperature":0,"unknown_field":1')},
    ],
)
def test_whatever_differs_gives_another_key(other):
    assert key(other.pop("body", BODY), **other) != key(BODY)


def test_field_order_and_delivery_do_not_change_the_key():
    reordered = b'{"temperature":0,"messages":[{"role":"user","content":"x"}],"model":"r"}'
    streamed = BODY.replace(b'"temperature"', b'"stream":true,"stream_options":{"include_usage":true},"temperature"')

    assert key(reordered) == key(streamed) == key(BODY)


@pytest.mark.parametrize(
    ("n", "finish", "size", "kept"),
    [(1, "stop", 10, True), (1, "tool_calls", 10, True), (1, "length", 10, False), (1, "content_filter", 10, False),
     (1, None, 10, False), (2, "stop", 10, False), (1, "stop", 101, False)],
)  # fmt: skip
def test_only_whole_answers_are_kept(n, finish, size, kept):
    assert may_keep(n=n, finish_reason=finish, size=size, max_bytes=100) is kept
