"""One answer in two deliveries: a stream's chunks joined into a completion, a completion cut into a stream.

Used where a kept answer is delivered in the other way than it was received. Text that arrived in pieces is
concatenated, pieces of a list are matched by their `index`, and everything else keeps its last value.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .errors import UNREADABLE

# Any: provider payloads are open-ended JSON; nothing here depends on more than the shapes it checks.
Json = dict[str, Any]

_CONCATENATED = frozenset({"content", "reasoning_content", "reasoning", "refusal", "arguments"})


def join_stream(events: bytes, usage_raw: bytes) -> bytes | None:
    """The completion that a finished stream of chunks amounts to; None when it holds none that can be joined."""
    try:
        return _join(events, usage_raw)
    except (*UNREADABLE, AttributeError, KeyError, TypeError):  # chunks of a shape of their own: served, not kept
        return None


def _join(events: bytes, usage_raw: bytes) -> bytes | None:
    completion: Json | None = None
    choices: dict[int, Json] = {}
    for line in events.splitlines():
        if not line.startswith(b"data:"):
            continue
        chunk: Json = msgspec.json.decode(line[5:])
        if completion is None:
            completion = {name: value for name, value in chunk.items() if name not in ("choices", "usage")}
        for part in chunk.get("choices") or ():
            index = part.get("index", 0)
            choice = choices.setdefault(index, {"index": index, "message": {}, "logprobs": None})
            _merge_choice(choice, part)
    if completion is None or not choices:
        return None
    for choice in choices.values():
        for call in choice["message"].get("tool_calls") or ():
            call.pop("index", None)  # it told the pieces apart; a whole message has none
    completion["object"] = "chat.completion"
    completion["choices"] = [choices[index] for index in sorted(choices)]
    if usage_raw:
        completion["usage"] = msgspec.Raw(usage_raw)
    return msgspec.json.encode(completion)


def _merge_choice(choice: Json, part: Json) -> None:
    _merge(choice["message"], part.get("delta") or {})
    choice["message"].setdefault("content", None)
    choice["message"].setdefault("refusal", None)
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]
    logprobs = part.get("logprobs")
    if logprobs is not None:
        kept = choice["logprobs"] = choice["logprobs"] or {}
        for name, values in logprobs.items():
            kept[name] = (kept.get(name) or []) + values if values else kept.get(name)


def _merge(whole: Json, delta: Json) -> None:
    for name, value in delta.items():
        held = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif name in _CONCATENATED and isinstance(value, str):
            whole[name] = (held or "") + value
        elif isinstance(value, list):
            whole[name] = _merge_list(held or [], value)
        elif isinstance(value, dict) and isinstance(held, dict):
            _merge(held, value)
        else:
            whole[name] = value


def _merge_list(whole: list[Any], pieces: list[Any]) -> list[Any]:
    for piece in pieces:
        if isinstance(piece, dict) and "index" in piece:
            at = next((item for item in whole if item.get("index") == piece["index"]), None)
            if at is None:
                whole.append(dict(piece))
            else:
                _merge(at, {name: value for name, value in piece.items() if name != "index"})
        else:
            whole.append(piece)
    return whole


def cut_stream(completion: bytes, *, include_usage: bool) -> bytes:
    """A kept completion as chunks: the whole message in one delta, the finish, and usage when it was asked for.

    Without `[DONE]`, which the proxy writes after its own trailer.
    """
    body: Json = msgspec.json.decode(completion)
    head = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    head["object"] = "chat.completion.chunk"
    first, last = [], []
    for choice in body["choices"]:
        delta = dict(choice["message"])
        if isinstance(delta.get("tool_calls"), list):
            delta["tool_calls"] = [{"index": at, **call} for at, call in enumerate(delta["tool_calls"])]
        index, finish = choice.get("index", 0), choice.get("finish_reason")
        first.append({"index": index, "delta": delta, "logprobs": choice.get("logprobs"), "finish_reason": None})
        last.append({"index": index, "delta": {}, "logprobs": None, "finish_reason": finish})
    chunks: list[Json] = [{**head, "choices": first}, {**head, "choices": last}]
    if include_usage:
        chunks = [{**chunk, "usage": None} for chunk in chunks] + [{**head, "choices": [], "usage": body.get("usage")}]
    return b"".join(b"data: " + msgspec.json.encode(chunk) + b"\n\n" for chunk in chunks)


def rest_of(sent: bytes, completion: bytes, *, include_usage: bool) -> bytes | None:
    """To come."""
    return None
