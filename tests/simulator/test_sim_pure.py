"""What holds for every request: counted == sent, the same text in every form, and nothing a client writes breaks it."""

import json
import random
import re
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simclient import HELLO

from gateway import simulator
from gateway.simulator import PROVIDERS, SAMPLE_PRICES, Sale, Scenario, Tokens
from gateway.simulator.answers import Manner, make_answer
from gateway.simulator.ask import read_ask
from gateway.simulator.prices import PriceTable, off_peak_deepseek
from gateway.simulator.promptcache import CacheRule, PromptCache
from gateway.simulator.schema import example
from gateway.simulator.tokens import count_tokens, make_text, pieces
from gateway.simulator.wires import WIRES


def always(**strategies):
    """For every value; without a deadline, because the machine may be busy."""
    return lambda test: settings(deadline=None)(given(**strategies)(test))


TOOLS = [
    {"type": "function", "function": {"name": f"tool_{n}", "parameters": {"properties": {"a": {"type": "string"}}}}}
    for n in (1, 2)
]

bodies = st.fixed_dictionaries(
    {"model": st.just("gpt-6-luna"), "messages": st.just(HELLO), "seed": st.integers(0, 10**6)},
    optional={
        "max_tokens": st.integers(1, 60),
        "n": st.integers(1, 3),
        "stop": st.sampled_from([".", [" the", "?"]]),
        "tools": st.just(TOOLS),
        "logprobs": st.booleans(),
        "stream_options": st.just({"include_usage": True}),
        "response_format": st.just({"type": "json_object"}),
    },
)


def answer_of(body, wire, fault="", effort="low"):
    manner = Manner(Scenario(), fault, effort, wire.most_choices, wire.chunk_tokens)
    return make_answer(read_ask(json.dumps(body).encode()), manner, Tokens(input=8), "ab" * 16, 0)


@pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
@always(body=bodies)
def test_the_tokens_of_all_events_are_the_tokens_of_the_answer(wire, body):
    answer = answer_of(body, wire)
    events = list(wire.events(answer))

    assert sum(event.output for event in events) == answer.tokens.output
    assert sum(event.reasoning for event in events) == answer.tokens.reasoning
    assert events[-1].kind == "done"


@pytest.mark.parametrize("wire", WIRES.values(), ids=list(WIRES))
@always(body=bodies)
def test_a_stream_says_what_the_whole_answer_says(wire, body):
    answer = answer_of(body, wire)
    whole = json.loads(wire.whole(answer))

    streamed: dict[int, dict] = {}
    for event in wire.events(answer):
        if event.kind == "done":
            continue
        for choice in json.loads(event.data.removeprefix(b"data: "))["choices"]:
            told = streamed.setdefault(choice["index"], {"content": "", "finish": None, "arguments": {}})
            told["content"] += choice["delta"].get("content") or ""
            told["finish"] = choice.get("finish_reason") or told["finish"]
            for call in choice["delta"].get("tool_calls", ()):
                told["arguments"].setdefault(call["index"], "")
                told["arguments"][call["index"]] += call["function"]["arguments"]

    for choice in whole["choices"]:
        told = streamed.pop(choice["index"])
        assert told["content"] == (choice["message"].get("content") or "")
        assert told["finish"] == choice["finish_reason"]
        calls = choice["message"].get("tool_calls", ())
        assert list(told["arguments"].values()) == [call["function"]["arguments"] for call in calls]
    assert streamed == {}


@always(body=bodies)
def test_max_tokens_is_never_passed(body):
    limit = body.setdefault("max_tokens", 12)
    answer = answer_of({**body, "n": 1}, WIRES["openai"])

    assert answer.tokens.completion <= limit
    assert answer.choices[0].finish in ("stop", "length", "tool_calls")


@always(tokens=st.integers(0, 300), seed=st.integers())
def test_a_made_text_has_the_length_that_was_wished(tokens, seed):
    text = make_text(tokens, random.Random(seed))

    assert count_tokens(text) == tokens == len(pieces(text))
    assert "".join(pieces(text)) == text


@always(text=st.text().filter(str.strip))
def test_pieces_joined_are_the_text_and_each_is_one_token(text):
    assert "".join(pieces(text)) == text
    assert len(pieces(text)) == count_tokens(text)


def test_tokens_are_not_bytes_over_four():
    assert count_tokens("internationalisation") == 4  # six characters each, and a rest
    assert count_tokens("a, b. c!") == 6
    assert count_tokens(" \n\t") == 0


SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 9},
        "size": {"type": "number"},
        "count": {"type": "integer", "minimum": 5, "maximum": 6},
        "done": {"type": "boolean"},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 3},
        "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "either": {"type": ["null", "string"]},
        "kind": {"const": "k"},
        "inner": {"$ref": "#/$defs/inner"},
    },
    "required": ["name", "inner"],
    "$defs": {"inner": {"type": "object", "properties": {"next": {"$ref": "#/$defs/inner"}, "n": {"type": "integer"}}}},
}


@always(seed=st.integers())
def test_an_example_satisfies_its_schema(seed):
    made = example(SCHEMA, random.Random(seed))

    assert set(made) == set(SCHEMA["properties"])
    assert isinstance(made["name"], str)
    assert len(made["name"]) <= 9
    assert isinstance(made["size"], float)
    assert made["count"] in (5, 6)
    assert isinstance(made["done"], bool)
    assert len(made["tags"]) >= 3
    assert set(made["tags"]) <= {"a", "b"}
    assert isinstance(made["maybe"], int)
    assert isinstance(made["either"], str)
    assert made["kind"] == "k"
    assert isinstance(made["inner"]["n"], int)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["type", "text", "role", "content", "function", "name", "parameters", "properties", "schema", "json_schema",
         "items", "enum", "minimum", "$ref", "tool_calls", "image_url", "include_usage"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
FIELDS = ["messages", "tools", "tool_choice", "response_format", "stream", "stream_options", "stop", "n", "logprobs"]
FIELDS += [
    "top_logprobs",
    "max_tokens",
    "max_completion_tokens",
    "reasoning_effort",
    "thinking",
    "user",
    "service_tier",
]


@always(junk=st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=5), provider=st.sampled_from(PROVIDERS))
def test_no_field_of_any_type_breaks_the_reading_of_a_request(junk, provider):
    wire = WIRES[provider]
    if isinstance(junk.get("n"), int):
        junk["n"] = min(junk["n"], 3)
    body = {"model": {"openai": "gpt-6-luna", "google": "gemini-4-argon"}.get(provider, "deepseek-flash"), **junk}
    try:
        ask = read_ask(json.dumps({"messages": HELLO, **body}).encode())
    except ValueError:
        return
    ask.prefixes()
    effort = wire.effort(ask)
    if refusal := wire.refuse(ask, effort):
        assert json.loads(wire.error(refusal))
        return
    try:
        answer = make_answer(ask, Manner(Scenario(), "", effort, 3, 1), Tokens(), "ab" * 16, 0)
    except ValueError:
        return  # no schema; the server answers 400
    assert json.loads(wire.whole(answer))["choices"]
    assert b"".join(event.data for event in wire.events(answer)).endswith(b"data: [DONE]\n\n")


def test_a_prompt_cache_gives_whole_steps_of_the_longest_known_prefix():
    cache, rule, whose = PromptCache(), CacheRule(minimum=100, step=50), ("openai", "m")

    assert cache.visit(whose, [(b"a", 90)], rule) == (0, 0)  # too short
    assert cache.visit(whose, [(b"a", 90), (b"b", 170)], rule) == (0, 150)
    assert cache.visit(whose, [(b"a", 90), (b"b", 170), (b"c", 260)], rule) == (150, 100)
    assert cache.visit(("google", "m"), [(b"a", 90), (b"b", 170)], rule) == (0, 150)


def test_deepseek_is_at_half_price_outside_beijing_office_hours():
    table = PriceTable(SAMPLE_PRICES, off_peak_deepseek)

    def input_rate(day: str) -> str:
        at = datetime.fromisoformat(day).timestamp()
        return table.rates(Sale("deepseek", "deepseek-flash", at, 1, "default"))["input"]

    assert input_rate("2026-11-23T02:00+00:00") == "0.30"  # Monday, 10 in Beijing
    assert input_rate("2026-11-23T05:00+00:00") == "0.15"  # lunch
    assert input_rate("2026-11-23T09:59+00:00") == "0.30"
    assert input_rate("2026-11-23T10:00+00:00") == "0.15"
    assert input_rate("2026-11-22T02:00+00:00") == "0.15"  # Sunday


def test_a_scheduled_price_takes_effect_to_the_second():
    table = PriceTable(SAMPLE_PRICES)
    midnight = 1796083200  # 2026-12-01T00:00:00Z

    def rate(at: float) -> str:
        return table.rates(Sale("google", "gemini-4-argon", at, 1, "default"))["input"]

    assert (rate(midnight - 1), rate(midnight)) == ("2", "4")


def test_the_simulator_imports_nothing_else_of_the_gateway():
    room = Path(simulator.__file__).parent
    for file in room.rglob("*.py"):
        for line in re.findall(r"^\s*(?:from|import) (gateway\S*)", file.read_text(), re.MULTILINE):
            assert line.startswith("gateway.simulator"), f"{file.name}: {line}"
