"""What one provider left in a conversation, another one accepts; and what needs no change is not touched."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.core.candidate import Warm
from gateway.core.catalog import Model
from gateway.core.request import parse_chat
from gateway.dialects import DIALECTS
from tests.core.market import model

OPENAI, DEEPSEEK, GOOGLE = DIALECTS["openai"], DIALECTS["deepseek"], DIALECTS["google"]
LUNA, FLASH, ARGON = model("openai/gpt-6-luna"), model("deepseek/deepseek-flash"), model("google/gemini-4-argon")
ASK, MORE = {"role": "user", "content": "q"}, {"role": "user", "content": "and?"}
SIGNED = {"google": {"thought_signature": "c2lnbmVk"}}
DUMMY = {"google": {"thought_signature": "skip_thought_signature_validator"}}


def call(id: str = "c1", **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "look", "arguments": "{}"}, **more}


def calls(*several: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(several), **more}


def result(id: str = "c1") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": "nothing"}


def sent(dialect, to: Model, *messages: dict[str, Any], warm: Warm | None = None, **fields: Any) -> dict[str, Any]:
    body = json.dumps({"model": "auto", "messages": messages, **fields}).encode()
    return json.loads(dialect.body(parse_chat(body), to, None, warm))


def messages_sent(dialect, to: Model, *messages: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return sent(dialect, to, *messages, **more)["messages"]


UNTOUCHED = [
    b'[ {"content":"caf\\u00e9","role":"user", "x":1} ]',
    b'[{"role":"user"}, {"role":"assistant","content":"a","refusal":null} ,{"role":"user","content":"r"}]',
]


@pytest.mark.parametrize(("dialect", "to"), [(OPENAI, LUNA), (DEEPSEEK, FLASH), (GOOGLE, ARGON)])
@pytest.mark.parametrize("messages", UNTOUCHED)
def test_messages_that_need_no_change_stay_the_callers_own_bytes(dialect, to, messages):
    body = dialect.body(parse_chat(b'{"model":"auto","messages":%b}' % messages), to)

    assert messages in body


@pytest.mark.parametrize(
    ("dialect", "to", "own"),
    [
        (OPENAI, LUNA, b'{"role":"assistant", "tool_calls":[{"id":"c1","function":{}}]}'),
        (DEEPSEEK, FLASH, b'{"role":"assistant", "reasoning_content":"hm","tool_calls":[{"index":0,"id":"c1"}]}'),
        (GOOGLE, ARGON, b'{"role":"assistant", "tool_calls":[{"extra_content":{"google":{"thought_signature":"s"}}}]}'),
    ],
)
def test_a_providers_own_tool_loop_goes_back_as_it_came(dialect, to, own):
    messages = b'[{"role":"user", "content":"q"},%b, {"role":"tool","content":"1"}]' % own

    assert messages in dialect.body(parse_chat(b'{"model":"auto","messages":%b}' % messages), to)


def test_openai_gets_no_field_that_it_does_not_know():
    asked = calls(call(index=0, extra_content=SIGNED, strict=True), reasoning_content="hm", extra_content={}, name="n")

    assert messages_sent(OPENAI, LUNA, ASK, asked, result()) == [ASK, calls(call(strict=True), name="n"), result()]


def test_what_changes_keeps_its_order_and_its_unknown_fields():
    body = (
        b'{"model":"auto","messages":[{"role":"user","content":"q"},'
        b'{"z":1.0,"reasoning_content":"hm","content":"\\u00e9","role":"assistant","a":[ 1,2]},{"role":"user"}]}'
    )

    assert b'{"z":1.0,"content":"\\u00e9","role":"assistant","a":[ 1,2]}' in OPENAI.body(parse_chat(body), LUNA)


def test_deepseek_gets_a_blank_where_another_provider_did_the_thinking():
    own = calls(call("c1"), reasoning_content="hm")
    foreign = calls(call("c2", extra_content=SIGNED))
    said = {"role": "assistant", "content": "so"}

    changed = messages_sent(DEEPSEEK, FLASH, ASK, own, result(), foreign, result("c2"), said, MORE)

    assert changed[1] == own
    assert changed[3] == calls(call("c2"), reasoning_content=" ")
    assert changed[5] == {**said, "reasoning_content": " "}


@pytest.mark.parametrize("off", [{"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}])
def test_deepseek_that_does_not_think_wants_no_reasoning_back(off):
    assert messages_sent(DEEPSEEK, FLASH, ASK, calls(call()), result(), **off)[1] == calls(call())


def test_deepseek_without_tools_wants_no_reasoning_back():
    said = {"role": "assistant", "content": "so"}

    assert messages_sent(DEEPSEEK, FLASH, ASK, said, MORE)[1] == said


def test_google_gets_the_documented_word_where_a_call_was_never_signed():
    changed = messages_sent(GOOGLE, ARGON, ASK, calls(call("a", index=0), call("b"), reasoning_content="hm"), result())

    assert changed[1] == calls(call("a", extra_content=DUMMY), call("b"))


def test_google_models_before_3_sign_nothing_and_get_no_word():
    old = model("google/gemini-2.5-flash")

    assert messages_sent(GOOGLE, old, ASK, calls(call()), result())[1] == calls(call())


SIGNED_CALL = calls(call(extra_content=SIGNED))


@pytest.mark.parametrize(
    ("warm", "kept"),
    [
        (None, True),  # nobody knows, so it is believed
        (Warm("google/gemini-4-argon", 0), True),
        (Warm("google/gemini-4-argon@low", 0), True),
        (Warm("google/gemini-4-argon", 0, own_from=2), False),  # it took over after that call
        (Warm("google/gemini-3.8-flash", 0), False),
        (Warm("deepseek/deepseek-flash", 0), False),
    ],
)
def test_a_signature_goes_back_to_the_model_that_made_it_only(warm, kept):
    changed = messages_sent(GOOGLE, ARGON, ASK, SIGNED_CALL, result(), warm=warm)

    assert changed[1] == (SIGNED_CALL if kept else calls(call(extra_content=DUMMY)))


def test_a_signature_on_text_of_another_model_is_taken_out():
    said = {"role": "assistant", "content": "so", "extra_content": SIGNED}

    assert messages_sent(GOOGLE, ARGON, ASK, said, MORE)[1] == said
    assert messages_sent(GOOGLE, ARGON, ASK, said, MORE, warm=Warm("openai/big", 0))[1] == {
        "role": "assistant", "content": "so",
    }  # fmt: skip


@pytest.mark.parametrize("odd", [None, [], "text", 7, [3], {"a": 1}, [{"extra_content": [1]}], [{"extra_content": 5}]])
@pytest.mark.parametrize(("dialect", "to"), [(OPENAI, LUNA), (DEEPSEEK, FLASH), (GOOGLE, ARGON)])
def test_tool_calls_that_are_none_are_the_providers_to_refuse(dialect, to, odd):
    sent_ = messages_sent(dialect, to, ASK, {"role": "assistant", "tool_calls": odd}, MORE)

    assert [message["role"] for message in sent_] == ["user", "assistant", "user"]


# ── effort ──


@pytest.mark.parametrize(
    ("effort", "openai", "deepseek"),
    [
        ("none", "none", None), ("minimal", "minimal", "low"), ("low", "low", "low"), ("medium", "medium", "high"),
        ("high", "high", "high"), ("xhigh", "xhigh", "high"), ("max", "max", "max"),
    ],
)  # fmt: skip
def test_an_effort_is_said_in_each_providers_words_whoever_asks_for_it(effort, openai, deepseek):
    def efforts(dialect, name: str) -> list[dict[str, Any]]:
        candidate = sent(dialect, model(name, effort=effort), ASK)
        caller = sent(dialect, model(name), ASK, reasoning_effort=effort)
        return [
            {key: one[key] for key in ("reasoning_effort", "thinking") if key in one} for one in (candidate, caller)
        ]

    off = {"thinking": {"type": "disabled"}}
    assert efforts(OPENAI, "openai/gpt-6-luna") == [{"reasoning_effort": openai}] * 2
    assert efforts(GOOGLE, "google/gemini-4-argon") == [{"reasoning_effort": openai}] * 2
    assert efforts(DEEPSEEK, "deepseek/deepseek-flash") == [{"reasoning_effort": deepseek} if deepseek else off] * 2


@pytest.mark.parametrize(("dialect", "to"), [(OPENAI, LUNA), (DEEPSEEK, FLASH), (GOOGLE, ARGON)])
def test_nobody_who_asked_for_no_effort_is_given_one(dialect, to):
    assert not {"reasoning_effort", "thinking"} & sent(dialect, to, ASK).keys()


@pytest.mark.parametrize(
    ("dialect", "to", "prompt", "held"),
    [
        (OPENAI, LUNA, 1_023, 0), (OPENAI, LUNA, 1_500, 1_408), (DEEPSEEK, FLASH, 63, 0), (DEEPSEEK, FLASH, 130, 128),
        (GOOGLE, ARGON, 4_095, 0), (GOOGLE, ARGON, 5_001, 5_001),
        (GOOGLE, model("google/gemini-2.5-pro"), 2_048, 2_048),
    ],
)  # fmt: skip
def test_each_provider_caches_from_a_length_of_its_own_on(dialect, to, prompt, held):
    assert dialect.prompt_cache(to).holds(prompt) == held
