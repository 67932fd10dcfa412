"""One answer in two deliveries: a stream joined into a completion, and a completion cut into a stream, or into what is
left of it for a client that has had the beginning.

In a stream text comes in pieces and is concatenated, and pieces of a list are matched by their `index`. Everything else
is said once, or the same again: what contradicts itself is not guessed at, it is no answer that can be kept. What only
a stream has (padding, the numbers of tool calls) is no part of a completion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from .errors import UNREADABLE
from .sse import payloads

# Any: provider payloads are open-ended JSON; nothing here depends on more than the shapes it checks.
Json = dict[str, Any]

_THOUGHTS = ("reasoning_content", "reasoning")
_TEXTS = frozenset({"content", "refusal", "arguments", "input", *_THOUGHTS})
_EMPTY: tuple[object, ...] = (None, "", [], {})

_NOT_HEAD = frozenset({"choices", "usage", "object", "obfuscation"})
_KNOWN_OF_CHOICE = frozenset({"index", "delta", "message", "logprobs", "finish_reason"})


_UNCLEAR = (*UNREADABLE, ValueError, AttributeError, KeyError, TypeError)
"""Raised by pieces that contradict one another, and by JSON of a shape of its own."""


def join_stream(events: bytes, usage_raw: bytes) -> bytes | None:
    """The completion that a finished stream amounts to; None when that cannot be told.

    usage_raw: where the events hold no usage, because nobody was to have it.
    """
    try:
        had = _read(events)
        if not had.choices or any("finish_reason" not in choice for choice in had.choices.values()):
            return None
        choices = [_whole(had.choices[index]) for index in sorted(had.choices)]
    except _UNCLEAR:
        return None
    completion = {**had.head, "object": "chat.completion", "choices": choices}
    if usage_raw or had.usage:
        completion["usage"] = msgspec.Raw(usage_raw) if usage_raw else had.usage
    return msgspec.json.encode(completion)


def cut_stream(completion: bytes, *, include_usage: bool) -> bytes:
    """A kept completion as chunks, in the order in which a provider would send them, without `[DONE]`.

    Usage comes in a last chunk of its own when it was asked for, and is null in the others, as OpenAI has it.
    """
    body: Json = msgspec.json.decode(completion)
    return _cut(body, _Beginning(), include_usage)


def rest_of(sent: bytes, completion: bytes, *, include_usage: bool) -> bytes | None:
    """What a client that has had the events `sent` still has to get, as `cut_stream` has it, of another call's answer.

    None when that answer does not begin with what was sent, or when it cannot be told. Text begins with text, tool
    calls are compared one by one, and the rest must be equal; what is random in every call is not compared: the names
    of the answer and of tool calls that were begun stay as they were sent.
    """
    try:
        return _cut(msgspec.json.decode(completion), _read(sent), include_usage)
    except _UNCLEAR:
        return None


# A stream, read ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Beginning:
    """What events amount to. choices: by index, each with its message so far, and with a finish reason once it came.
    usage: the last that was told; settled: it came with the end of all choices that had begun, or after it."""

    head: Json = field(default_factory=dict)
    choices: dict[int, Json] = field(default_factory=dict)
    usage: Json | None = None
    settled: bool = False


def _read(events: bytes) -> _Beginning:
    had = _Beginning()
    for data in payloads(events):
        if data == b"[DONE]":
            continue
        chunk: Json = msgspec.json.decode(data)
        if chunk.get("error") not in _EMPTY:
            raise ValueError("an error")
        for name, value in chunk.items():
            # The first chunk of some servers carries empty names, and the tier is known only in the last one.
            if name not in _NOT_HEAD and (value or name not in had.head):
                had.head[name] = value
        for part in chunk.get("choices") or ():
            _add(had.choices, part)
        if chunk.get("usage"):
            had.usage = chunk["usage"]
            had.settled = all("finish_reason" in choice for choice in had.choices.values())
    return had


def _add(choices: dict[int, Json], part: Json) -> None:
    index = part.get("index", 0)
    choice = choices.get(index)
    if choice is None:
        message = {"role": "assistant", "content": None, "refusal": None}
        choice = choices[index] = {"index": index, "message": message, "logprobs": None}
    _merge(choice["message"], part.get("delta") or {})
    if part.get("finish_reason"):  # some servers write an empty one into every chunk
        choice["finish_reason"] = part["finish_reason"]
    logprobs = part.get("logprobs")
    if logprobs is not None:
        if choice["logprobs"] is None:
            choice["logprobs"] = {}
        _merge(choice["logprobs"], logprobs)
    for name, value in part.items():
        if name not in _KNOWN_OF_CHOICE and value is not None:
            choice[name] = value


def _merge(whole: Json, delta: Mapping[str, Any]) -> None:
    for name, value in delta.items():
        held: Any = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif isinstance(value, list):
            whole[name] = _merge_list([] if held is None else held, value)
        elif held in _EMPTY:
            whole[name] = value
        elif isinstance(value, dict):
            _merge(held, value)
        elif name in _TEXTS and isinstance(held, str):
            whole[name] = None  # nobody else holds the text: it grows in its place, however many pieces there are
            held += value
            whole[name] = held
        elif value not in ("", held):
            raise ValueError(name)


def _merge_list(whole: list[Any], pieces: list[Any]) -> list[Any]:
    for piece in pieces:
        numbered = isinstance(piece, dict) and "index" in piece
        at = next((one for one in whole if one.get("index") == piece["index"]), None) if numbered else None
        if at is None:
            whole.append(piece)
        else:
            _merge(at, piece)
    return whole


def _whole(choice: Json) -> Json:
    """A finished choice as it stands in a completion."""
    calls = choice["message"].get("tool_calls")
    if calls:
        calls.sort(key=lambda call: call.get("index", 0))
        for call in calls:
            call.pop("index", None)  # it told the pieces apart
            if not (call.get("function") or call["custom"])["name"]:
                raise ValueError("a piece of a tool call that is part of none")
    return choice


# A completion, cut ---------------------------------------------------------------------------------------------------


def _cut(body: Json, had: _Beginning, include_usage: bool) -> bytes:
    begun = dict(had.choices)
    cut: list[Json] = []
    for place, choice in enumerate(body["choices"]):
        index = choice.get("index", place)
        # One choice in a chunk: many clients read the first one only.
        cut += [{"index": index, **piece} for piece in _pieces(choice, begun.pop(index, None))]
    if begun:
        raise ValueError("a choice that is not there")
    head = {name: value for name, value in body.items() if name not in _NOT_HEAD}
    head |= {name: value for name, value in had.head.items() if value not in _EMPTY}
    head["object"] = "chat.completion.chunk"
    chunks: list[Json] = [{**head, "choices": [one]} for one in cut]
    if include_usage:
        for chunk in chunks:
            chunk["usage"] = None
        if body.get("usage") and (chunks or not had.settled):
            chunks.append({**head, "choices": [], "usage": body["usage"]})
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks)


def _pieces(choice: Json, had: Json | None) -> Iterator[Json]:
    """The pieces of a choice, without its index. had: what was sent of it."""
    message: Json = choice.get("message") or {}
    finish = choice.get("finish_reason")
    delta = _left({} if had is None else had["message"], message)
    logprobs = choice.get("logprobs")
    if had is not None:
        logprobs = _left(had["logprobs"] or {}, logprobs or {}) or None
        if "finish_reason" in had:
            if had["finish_reason"] != finish or delta or logprobs:
                raise ValueError("it was another end")
            return
    yield from _deltas(delta, logprobs)
    more = {name: value for name, value in choice.items() if name not in _KNOWN_OF_CHOICE}
    # The example in DeepSeek's documentation adds up the content of whatever has no reasoning, the last chunk as well.
    thought = any(message.get(name) for name in _THOUGHTS) and isinstance(message.get("content"), str)
    yield {"delta": {"content": ""} if thought else {}, "logprobs": None, "finish_reason": finish, **more}


def _deltas(delta: Json, logprobs: Json | None) -> Iterator[Json]:
    """Reasoning, then the text and all else, then each tool call: some clients read one of these in a chunk."""
    nothing: Json = {"logprobs": None, "finish_reason": None}
    thoughts = {name: delta.pop(name) for name in _THOUGHTS if delta.get(name)}
    if thoughts:
        role = {"role": delta.pop("role")} if "role" in delta else {}
        yield {"delta": {**role, **thoughts}, **nothing}
    calls = delta.pop("tool_calls") if delta.get("tool_calls") else []
    if delta or logprobs:
        yield {"delta": delta, **nothing, "logprobs": logprobs}
    for call in calls:
        yield {"delta": {"tool_calls": [call]}, **nothing}


def _left(had: Mapping[str, Any], whole: Mapping[str, Any]) -> Json:
    """What merges with `had` into `whole`."""
    left: Json = {}
    for name, value in whole.items():
        held: Any = had.get(name)
        if name == "tool_calls" and value:
            rest: Any = _left_calls(held or [], value)
        elif name not in had:
            if value not in _EMPTY or not had:
                left[name] = value
            continue
        elif held in _EMPTY:
            rest = value
        elif isinstance(held, dict):
            rest = _left(held, value)
        elif isinstance(held, list) or name in _TEXTS:
            if value[: len(held)] != held:
                raise ValueError(name)
            rest = value[len(held) :]
        elif held != value:
            raise ValueError(name)
        else:
            continue
        if rest not in _EMPTY:
            left[name] = rest
    if any(value not in _EMPTY for name, value in had.items() if name not in whole):
        raise ValueError("more was said")
    return left


def _left_calls(had: list[Json], whole: list[Json]) -> list[Json]:
    if len(had) > len(whole):
        raise ValueError("more calls were begun")
    left = []
    for place, call in enumerate(whole):
        rest = {name: value for name, value in call.items() if name != "index"}
        if place < len(had):
            begun = dict(had[place])
            if begun.pop("index", place) != place:
                raise ValueError("calls out of order")
            if begun.get("id"):
                rest["id"] = begun["id"]
            rest = _left(begun, rest)
        if rest:
            left.append({"index": place, **rest})
    return left
