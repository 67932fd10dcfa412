"""One answer in two deliveries, and the rest of it for whoever had the beginning: nothing is lost, nothing added."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.replay import cut_stream, join_stream, rest_of
from tests.core.streams import ASKED, choices, completion, event, events_of, prefixes, said, streamed, whole_of

PROVIDERS = ["openai", "deepseek", "google"]
USAGE = b'{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}'

CALLS = [
    {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
    {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
]
MESSAGE = {"role": "assistant", "content": None, "refusal": None, "reasoning_content": "thinking", "tool_calls": CALLS}
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "system_fingerprint": "fp",
    "service_tier": "flex",
    "choices": [
        {
            "index": 0,
            "message": MESSAGE,
            "logprobs": {"content": [{"token": "t", "logprob": -0.5}], "refusal": None},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": json.loads(USAGE),
}


def always(**strategies):
    """For every value; without a deadline, because the machine may be busy."""
    return lambda test: settings(deadline=None)(given(**strategies)(test))


def chunk(delta, finish=None, index=0, **more) -> bytes:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return event({"id": "c", "object": "chat.completion.chunk", "choices": [choice], **more})


def chunks_of(stream: bytes) -> list[dict]:
    return [json.loads(one[6:]) for one in stream.split(b"\n\n")[:-1]]


def joined(stream: bytes, usage: bytes = b"") -> dict:
    whole = join_stream(stream, usage)
    assert whole is not None
    return json.loads(whole)


def message_of(stream: bytes) -> dict:
    return joined(stream)["choices"][0]["message"]


# A stream joined -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_joined_says_what_the_whole_answer_says(provider, asked):
    whole = json.loads(whole_of(provider, asked))
    found = joined(b"".join(events_of(provider, asked)), json.dumps(whole["usage"]).encode())

    for choice in (*found["choices"], *whole["choices"]):
        # Google signs a streamed text in its last delta, and a whole one not at all; DeepSeek numbers whole calls.
        choice["message"].pop("extra_content", None)
        for call in choice["message"].get("tool_calls", ()):
            call.pop("index", None)
    assert said(found) == said(whole)


def test_pieces_of_text_and_of_tool_arguments_are_joined_in_order():
    stream = b"".join(
        (
            chunk({"role": "assistant", "content": ""}),
            b": keep-alive\n\n",
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({"tool_calls": [{"index": 0, **CALLS[0], "function": {"name": "f", "arguments": ""}}]}),
            chunk({"tool_calls": [{"index": 1, **CALLS[1]}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]}),
            chunk({"tool_calls": [{"index": 0, "id": "", "function": {"name": None, "arguments": ":1}"}}]}),
            chunk({}, "tool_calls"),
            b"data: [DONE]\n\n",
        )
    )

    assert message_of(stream) == {"role": "assistant", "content": "Hello", "refusal": None, "tool_calls": CALLS}


def test_usage_is_what_was_given_or_else_the_last_that_the_stream_tells():
    growing = chunk({"content": "Hi"}, usage={"total_tokens": 1}) + chunk({}, "stop", usage={"total_tokens": 2})

    assert joined(growing)["usage"] == {"total_tokens": 2}
    assert joined(growing + event({"choices": [], "usage": {"total_tokens": 3}}))["usage"] == {"total_tokens": 3}
    assert joined(growing, USAGE)["usage"] == json.loads(USAGE)
    assert "usage" not in joined(chunk({"content": "Hi"}, "stop", usage=None))


def test_lines_may_end_as_http_lines_do_and_data_may_have_several():
    first = b'data: {"id":"c","choices":[\r\ndata:{"delta":{"content":"Hi"}}]}\r\n\r\n'
    last = b'data: {"choices":[{"delta":{},\r\ndata: "finish_reason":"stop"}]}\r\n\r\n'

    assert message_of(b": warm\r\n\r\n" + first + last)["content"] == "Hi"


def test_empty_names_and_finish_reasons_are_filled_in_by_later_chunks():
    stream = b"".join(
        (
            event({"id": "", "model": "", "created": 0, "choices": [], "prompt_filter_results": [{"index": 0}]}),
            chunk({"content": "Hi"}, "", model="m", created=7, service_tier=None, obfuscation="abc"),
            chunk({}, "stop", model="m", created=7, service_tier="flex"),
        )
    )
    whole = joined(stream)

    assert (whole["id"], whole["model"], whole["created"], whole["service_tier"]) == ("c", "m", 7, "flex")
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert "obfuscation" not in whole


def test_what_a_provider_adds_to_a_choice_is_kept():
    stream = event({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "stop_reason": 7}]})

    assert joined(stream)["choices"][0]["stop_reason"] == 7
    assert joined(cut_stream(json.dumps(joined(stream)).encode(), include_usage=False)) == joined(stream)


@pytest.mark.parametrize(
    "stream",
    [
        b": keep-alive\n\n",
        chunk({"content": "Hi"}),
        chunk({"content": "Hi"}, "stop") + chunk({"content": "Ho"}, index=1),
        chunk({"content": "Hi"}, "stop")[:-1],
        chunk({"content": "Hi"}) + b"data: {}}\n\n",
        chunk({"content": ["Hi"]}) + chunk({"content": "Ho"}, "stop"),
        chunk({"mood": "glad"}) + chunk({"mood": "sad"}, "stop"),
        chunk({"tool_calls": [{"index": 0, **CALLS[0]}, {"index": 0, **CALLS[1]}]}, "tool_calls"),
        chunk({"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]}, "tool_calls"),
        event({"choices": [{"delta": {"content": "\\ud83d"}}]}).replace(b"\\\\", b"\\"),
        event({"error": {"message": "no"}}) + chunk({"content": "Hi"}, "stop"),
        b"data: [1]\n\n",
    ],
    ids=["nothing", "unfinished", "one of two", "half", "not JSON", "parts and text", "an unknown field in pieces",
         "two calls, one number", "a call without a name", "half a character", "an error", "no object"],
)  # fmt: skip
def test_a_stream_that_is_not_clearly_one_answer_is_none(stream):
    assert join_stream(stream, b"") is None


# A completion cut ----------------------------------------------------------------------------------------------------


def test_a_completion_cut_and_joined_again_is_the_same():
    stream = cut_stream(json.dumps(COMPLETION).encode(), include_usage=False)

    assert joined(stream, USAGE) == COMPLETION


@pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))
@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_wires_answers_go_through_both_deliveries_unchanged(provider, asked):
    kept = joined(b"".join(events_of(provider, asked)), USAGE)
    whole = whole_of(provider, asked)
    usage = json.dumps(json.loads(whole)["usage"]).encode()

    assert joined(cut_stream(json.dumps(kept).encode(), include_usage=True), USAGE) == kept
    once = joined(cut_stream(whole, include_usage=False), usage)
    assert joined(cut_stream(json.dumps(once).encode(), include_usage=True), usage) == once
    calls = [call for choice in once["choices"] for call in choice["message"].get("tool_calls", ())]
    assert len(calls) == (2 if "tools" in asked else 0)


@always(drawn=choices, seed=st.integers(0, 2**32), end=st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_any_stream_goes_through_both_deliveries_unchanged(drawn, seed, end):
    whole = completion(drawn)
    kept = joined(b"".join(streamed(whole, random.Random(seed), end=end, several_lines=0.2)), USAGE)

    assert said(kept) == said(whole)
    assert joined(cut_stream(json.dumps(kept).encode(), include_usage=True), USAGE) == kept


def test_usage_is_cut_into_a_last_chunk_only_when_asked_for():
    body = json.dumps(COMPLETION).encode()

    assert all("usage" not in one for one in chunks_of(cut_stream(body, include_usage=False)))
    *others, last = chunks_of(cut_stream(body, include_usage=True))
    assert all(one["usage"] is None and one["choices"] for one in others)
    assert (last["choices"], last["usage"]) == ([], COMPLETION["usage"])


def test_there_is_no_usage_chunk_when_nobody_knows_the_usage():
    body = json.dumps({name: value for name, value in COMPLETION.items() if name != "usage"}).encode()

    assert all(one["choices"] for one in chunks_of(cut_stream(body, include_usage=True)))


def test_reasoning_text_and_each_tool_call_come_in_chunks_of_their_own():
    message = {**MESSAGE, "content": "text"}
    body = {**COMPLETION, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    stream = cut_stream(json.dumps(body).encode(), include_usage=False)
    deltas = [one["choices"][0]["delta"] for one in chunks_of(stream)]

    assert deltas == [
        {"role": "assistant", "reasoning_content": "thinking"},
        {"content": "text", "refusal": None},
        {"tool_calls": [{"index": 0, **CALLS[0]}]},
        {"tool_calls": [{"index": 1, **CALLS[1]}]},
        {"content": ""},
    ]  # fmt: skip


def test_a_chunk_holds_one_choice():
    stream = cut_stream(whole_of("openai", {"n": 3}), include_usage=False)

    assert [one["choices"][0]["index"] for one in chunks_of(stream)] == [0, 0, 1, 1, 2, 2]
    assert all(len(one["choices"]) == 1 for one in chunks_of(stream))


def test_a_choice_without_a_message_can_be_cut():
    body = b'{"id":"c","choices":[{"message":null,"finish_reason":"stop"}]}'

    assert [one["choices"][0]["finish_reason"] for one in chunks_of(cut_stream(body, include_usage=False))] == ["stop"]


# The rest of it ------------------------------------------------------------------------------------------------------


def other_ids(whole: bytes) -> bytes:
    """The same answer of another call: everything that is named anew has another name."""
    body = json.loads(whole)
    body |= {"id": "other", "created": 9, "model": "other"}
    for choice in body["choices"]:
        for at, call in enumerate(choice["message"].get("tool_calls", ())):
            call["id"] = f"other-{at}"
    return json.dumps(body).encode()


def ids_of(stream: bytes) -> tuple:
    """What a client knows an answer and its tool calls by: the first name that it was told."""
    found = chunks_of(stream)
    calls: dict = {}
    for one in (choice for whole in found for choice in whole["choices"]):
        for call in one["delta"].get("tool_calls", ()):
            calls.setdefault((one["index"], call["index"]), call.get("id"))
    return found[0]["id"], found[0]["created"], found[0]["model"], calls


@pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_of_any_wire_cut_at_any_event_is_completed_by_another_calls_answer(provider, asked):
    events = events_of(provider, asked)
    whole = joined(b"".join(events))
    answer = other_ids(json.dumps({**whole, "usage": json.loads(USAGE)}).encode())

    for sent in prefixes(events):
        rest = rest_of(sent, answer, include_usage="stream_options" in asked)
        assert rest is not None, sent
        found = joined(sent + rest)
        assert said(found["choices"]) == said(whole["choices"])
        if sent:
            assert (found["id"], found["created"], found["model"]) == (whole["id"], whole["created"], whole["model"])
            assert all(one["id"] == whole["id"] for one in chunks_of(rest))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_stream_is_completed_by_what_the_same_wire_says_whole(provider):
    events = events_of(provider, {"tools": ASKED["tools"]["tools"]})
    answer = other_ids(whole_of(provider, {"tools": ASKED["tools"]["tools"]}, id="cd"))

    for sent in prefixes(events)[1:]:
        rest = rest_of(sent, answer, include_usage=False)
        assert rest is not None
        assert ids_of(sent + rest)[:3] == ids_of(sent)[:3]
        assert ids_of(sent + rest)[3].items() >= ids_of(sent)[3].items()


@always(drawn=choices, seed=st.integers(0, 2**32), end=st.sampled_from([b"\n\n", b"\r\n\r\n"]))
def test_any_stream_cut_at_any_event_is_completed_and_the_first_names_stay(drawn, seed, end):
    events = streamed(completion(drawn), random.Random(seed), end=end, several_lines=0.2)
    other = completion(drawn, id="other")

    for sent in prefixes(events):
        rest = rest_of(sent, json.dumps(other).encode(), include_usage=True)
        assert rest is not None
        assert said(joined(sent + rest)["choices"]) == said(other["choices"])
        assert chunks_of(rest)[-1]["usage"] == other["usage"]
        assert {one["id"] for one in chunks_of(rest)} == {"one" if sent else "other"}


@always(drawn=choices, seed=st.integers(0, 2**32), data=st.data())
def test_an_answer_that_differs_in_one_character_that_was_sent_completes_nothing(drawn, seed, data):
    events = streamed(completion(drawn), random.Random(seed), end=b"\n\n", several_lines=0)
    sent = data.draw(st.sampled_from(prefixes(events)))
    texts = sorted((where, text) for where, text in told(sent).items() if text)
    if not texts:
        return
    (index, name, at), text = data.draw(st.sampled_from(texts))
    place = data.draw(st.integers(0, len(text) - 1))
    other = completion(drawn, id="other")
    message = other["choices"][index]["message"]
    holder = message if at < 0 else message["tool_calls"][at]["function"]
    holder[name] = text[:place] + chr(ord(text[place]) ^ 1) + holder[name][place + 1 :]

    assert rest_of(sent, json.dumps(other).encode(), include_usage=True) is None


def told(sent: bytes) -> dict[tuple[int, str, int], str]:
    """The texts that a client has had: by choice, field and tool call (-1: the message's own)."""
    found: dict[tuple[int, str, int], str] = {}
    for choice in (choice for one in chunks_of(sent) for choice in one["choices"]):
        delta = choice["delta"]
        parts = [(name, -1, delta.get(name)) for name in ("content", "reasoning_content", "reasoning", "refusal")]
        for call in delta.get("tool_calls", ()):
            parts += [(name, call["index"], call["function"].get(name)) for name in ("name", "arguments")]
        for name, at, piece in parts:
            where = (choice["index"], name, at)
            found[where] = found.get(where, "") + (piece or "")
    return found


SENT = chunk({"role": "assistant", "content": ""}) + chunk({"content": "Hello wor"})
SAYS = {"role": "assistant", "content": "Hello world"}
ANSWER = {"id": "d", "choices": [{"index": 0, "message": SAYS, "finish_reason": "stop"}]}


def test_the_rest_is_what_is_missing_and_the_finish():
    rest = rest_of(SENT, json.dumps(ANSWER).encode(), include_usage=False)
    assert rest is not None

    first, last = chunks_of(rest)
    assert (first["id"], first["choices"][0]["delta"]) == ("c", {"content": "ld"})
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")


def test_nothing_is_left_of_a_stream_that_had_come_to_its_end():
    sent = SENT + chunk({"content": "ld"}) + chunk({}, "stop")
    answer = json.dumps({**ANSWER, "usage": json.loads(USAGE)}).encode()

    assert rest_of(sent, answer, include_usage=False) == b""
    rest = rest_of(sent, answer, include_usage=True)
    assert rest is not None
    assert [one["choices"] for one in chunks_of(rest)] == [[]]
    told = sent + event({"id": "c", "choices": [], "usage": {"prompt_tokens": 1}})
    assert rest_of(told, answer, include_usage=True) == b""


@pytest.mark.parametrize(
    ("sent", "change"),
    [
        (SENT, {"content": "Hello"}),
        (SENT, {"content": None}),
        (SENT, {"content": "hello world"}),
        (SENT, {"role": "tool"}),
        (SENT + chunk({"reasoning_content": "hm"}), {}),
        (SENT + chunk({"annotations": [{"url": "a"}]}), {"annotations": [{"url": "b"}]}),
        (SENT + chunk({"tool_calls": [{"index": 0, **CALLS[0]}]}), {}),
        (SENT + chunk({"tool_calls": [{"index": 0, **CALLS[0]}]}), {"tool_calls": [CALLS[1]]}),
        (SENT + chunk({"tool_calls": [{"index": 1, **CALLS[1]}]}), {"tool_calls": CALLS}),
        (SENT + chunk({"tool_calls": [{"index": 0, **CALLS[0], "extra_content": "signature"}]}),
         {"tool_calls": [{**CALLS[0], "extra_content": "of another thought"}]}),
        (SENT + chunk({}, "stop"), {}),
        (SENT + chunk({"content": "ld"}, "length"), {}),
        (SENT + chunk({"content": "Hi"}, index=1), {}),
        (SENT[:-2], {}),
        (SENT + event({"error": {"message": "no"}}), {}),
        (SENT + b"data: {}}\n\n", {}),
    ],
    ids=["shorter", "no text", "other text", "another role", "reasoning", "an annotation", "a call", "another call",
         "a later call", "a signature", "ended before", "ended otherwise", "a second choice", "half an event",
         "an error", "not JSON"],
)  # fmt: skip
def test_what_does_not_begin_with_what_was_sent_completes_nothing(sent, change):
    choice = ANSWER["choices"][0]
    answer = {**ANSWER, "choices": [{**choice, "message": {**SAYS, **change}}]}

    assert rest_of(sent, json.dumps(answer).encode(), include_usage=False) is None


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b"{}", b'{"choices":null}', b'{"choices":[1]}'])
def test_an_unreadable_answer_completes_nothing(answer):
    assert rest_of(SENT, answer, include_usage=False) is None
