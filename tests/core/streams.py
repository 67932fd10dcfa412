"""Completions and streams for tests: of the three wires, and drawn at random."""

from __future__ import annotations

import json
import random
from itertools import accumulate

from hypothesis import strategies as st

from gateway.simulator import Scenario, Tokens
from gateway.simulator.answers import Manner, make_answer
from gateway.simulator.ask import read_ask
from gateway.simulator.wires import WIRES

MODELS = {"openai": "gpt-4o-mini", "deepseek": "deepseek-flash", "google": "gemini-3.8-flash"}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"properties": {"city": {"type": "string"}}}}}
    for name in ("weather", "clock")
]
ASKED = {
    "text": {},
    "usage": {"stream_options": {"include_usage": True}},
    "tools": {"tools": TOOLS},
    "tools, usage": {"tools": TOOLS, "stream_options": {"include_usage": True}},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "three": {"n": 3, "stream_options": {"include_usage": True}},
}


def answer_of(provider: str, asked: dict, *, id: str = "ab", usage_at: str | None = None):
    """(the wire, an answer of it). Answers to the same question differ in their ids only."""
    wire = WIRES[provider]
    body = {"model": MODELS[provider], "messages": [{"role": "user", "content": "hello"}], **asked}
    ask = read_ask(json.dumps(body).encode())
    manner = Manner(Scenario(usage_at=usage_at), "", wire.effort(ask), wire.most_choices, wire.chunk_tokens)
    return wire, make_answer(ask, manner, Tokens(input=8), id * 16, 1_700_000_000)


def events_of(provider: str, asked: dict, **more) -> list[bytes]:
    """The events of a stream, without [DONE]."""
    wire, answer = answer_of(provider, asked, **more)
    return [event.data for event in wire.events(answer) if event.kind != "done"]


def whole_of(provider: str, asked: dict, **more) -> bytes:
    wire, answer = answer_of(provider, asked, **more)
    return wire.whole(answer)


def prefixes(events: list[bytes]) -> list[bytes]:
    """What had been sent when a stream broke off, at every boundary of events."""
    return list(accumulate(events, initial=b""))


def said(value):
    """What an answer says: without what is named anew in every call, and without what is empty."""
    if isinstance(value, dict):
        bare = {name: said(inner) for name, inner in value.items() if name not in ("id", "created")}
        return {name: inner for name, inner in bare.items() if inner not in (None, "", [], {})}
    return [said(one) for one in value] if isinstance(value, list) else value


# Drawn at random -----------------------------------------------------------------------------------------------------

texts = st.text(max_size=12)
calls = st.lists(
    st.fixed_dictionaries({"name": st.text("abc", min_size=1, max_size=3), "arguments": texts}), min_size=1, max_size=3
)
messages = st.fixed_dictionaries(
    {"content": st.none() | texts},
    optional={
        "reasoning_content": texts,
        "reasoning": texts,
        "refusal": st.none() | texts,
        "annotations": st.lists(st.fixed_dictionaries({"type": st.just("url_citation"), "url": texts}), max_size=2),
        "calls": calls,
    },
)
choices = st.lists(st.tuples(messages, st.sampled_from(["stop", "tool_calls", "length"])), min_size=1, max_size=3)


def completion(drawn: list, *, id: str = "one") -> dict:
    """A completion of drawn choices; its ids are made of `id`."""
    made = []
    for index, (message, finish) in enumerate(drawn):
        whole = {"role": "assistant", "refusal": None, **message}
        if "calls" in whole:
            whole["tool_calls"] = [
                {"id": f"{id}-{index}-{at}", "type": "function", "function": dict(call)}
                for at, call in enumerate(whole.pop("calls"))
            ]
        made.append({"index": index, "message": whole, "logprobs": None, "finish_reason": finish})
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
    head = {"id": id, "object": "chat.completion", "created": 1, "model": "m", "service_tier": "default"}
    return {**head, "choices": made, "usage": usage}


def streamed(whole: dict, dice: random.Random, *, end: bytes, several_lines: float) -> list[bytes]:
    """A completion in events as some provider might send them: text in pieces, choices and calls in turns.

    several_lines: the share of events whose data has more than one.
    """
    queues = [[*_deltas(choice["message"], dice), {}] for choice in whole["choices"]]
    events = []
    while any(queues):
        index = dice.choice([at for at, queue in enumerate(queues) if queue])
        delta = queues[index].pop(0)
        finish = None if queues[index] else whole["choices"][index]["finish_reason"]
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        head = {name: value for name, value in whole.items() if name not in ("choices", "usage")}
        chunk = {**head, "object": "chat.completion.chunk", "choices": [choice], "obfuscation": "x" * dice.randrange(4)}
        events.append(event(chunk, end=end, several_lines=dice.random() < several_lines))
    return events


def event(chunk: dict, *, end: bytes = b"\n\n", several_lines: bool = False) -> bytes:
    data = json.dumps(chunk, indent=1 if several_lines else None).splitlines()
    return end[: len(end) // 2].join(b"data: " + line.encode() for line in data) + end


def _deltas(message: dict, dice: random.Random) -> list[dict]:
    deltas: list[dict] = [{"role": message["role"], "content": None if message["content"] is None else ""}]
    for name in ("reasoning_content", "reasoning", "content", "refusal"):
        deltas += [{name: piece} for piece in _pieces(message.get(name) or "", dice)]
    if message.get("annotations"):
        deltas.append({"annotations": message["annotations"]})
    begun, going_on = [], []
    for at, call in enumerate(message.get("tool_calls", ())):
        function = {"name": call["function"]["name"], "arguments": ""}
        begun.append({"tool_calls": [{"index": at, **call, "function": function}]})
        pieces = _pieces(call["function"]["arguments"], dice)
        going_on.append([{"tool_calls": [{"index": at, "function": {"arguments": piece}}]} for piece in pieces])
    while any(going_on):
        queue = dice.choice([queue for queue in going_on if queue])
        begun.append(queue.pop(0))
    return deltas + begun


def _pieces(text: str, dice: random.Random) -> list[str]:
    pieces = []
    while text:
        size = dice.randint(1, len(text))
        pieces.append(text[:size])
        text = text[size:]
    return pieces
