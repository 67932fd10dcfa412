"""What earlier answers left in a request's messages, made into something that another provider accepts. Pure.

Some answers come with fields of their maker's own: Google signs tool calls and wants the signature back, DeepSeek wants
its reasoning back, OpenAI refuses what it does not know. Each dialect says what becomes of one message; here is only
how a message is opened and closed again. Nothing else in it changes, neither order nor unknown fields, and messages
that need no change stay the caller's own bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.core.errors import UNREADABLE

Fields = dict[str, msgspec.Raw]
Change = Callable[[int, Fields], bool]
"""(a message's place, its fields) -> whether it was changed; the fields are changed in place."""

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_open = msgspec.json.Decoder(Fields).decode
_open_calls = msgspec.json.Decoder(list[Fields] | None).decode
_close = msgspec.json.Encoder().encode


def adapt(fields: Fields, places: Sequence[int], change: Change) -> None:
    """Change the messages at these places. What cannot be read stays as it is: the provider says what is wrong."""
    if not places:
        return
    try:
        messages = _split(fields["messages"])
        changed = False
        for place in places:
            message = _open(messages[place])
            if change(place, message):
                messages[place] = msgspec.Raw(_close(message))
                changed = True
    except UNREADABLE:
        return
    if changed:
        fields["messages"] = msgspec.Raw(_close(messages))


def drop(fields: Fields, *names: str) -> bool:
    """Take these fields out; whether there were any."""
    found = [name for name in names if name in fields]
    for name in found:
        del fields[name]
    return bool(found)


def each_call(message: Fields, change: Change) -> bool:
    """Change the tool calls of a message, each with its place among them; whether any was changed."""
    raw = message.get("tool_calls")
    calls = None if raw is None else _open_calls(raw)
    if not calls:
        return False
    changed = [change(place, call) for place, call in enumerate(calls)]
    if any(changed):
        message["tool_calls"] = msgspec.Raw(_close(calls))
    return any(changed)


def inner(fields: Fields, name: str) -> Fields:
    """The object under this name; empty when there is none."""
    raw = fields.get(name)
    if raw is None:
        return {}
    try:
        return _open(raw)
    except UNREADABLE:
        return {}
