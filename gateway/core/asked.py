"""The question that a request ends with, and the context that it is asked in. Pure.

A question may be answered by what was answered to another one only when everything else is equal: scope, rules, every
field, every earlier message. So the context is the cache key of the request without that text.
"""

from __future__ import annotations

import msgspec

from .cachekey import cache_key
from .errors import UNREADABLE
from .nearmiss import MOST_CHARS
from .request import ChatRequest
from .world import Caller

_split = msgspec.json.Decoder(list[msgspec.Raw]).decode
_open = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_close = msgspec.json.Encoder().encode

_USER = b'"user"'
_EMBEDDED_BY = "\0embedded_by"
"""A name that no field of a caller's needs; were it used all the same, the question would be in another context."""


class Asked(msgspec.Struct, frozen=True):
    context: str
    text: str


def asked(
    secret: bytes, *, scope: str, rules: bytes, caller: Caller, request: ChatRequest, embedded_by: str
) -> Asked | None:
    """None when the last message is not plain text of a user, or too long. embedded_by: the embedding model's id."""
    try:
        messages = _split(request.fields["messages"])
        last = _open(messages[-1])
        if bytes(last.get("role", b"")) != _USER or len(memoryview(last.get("content", b""))) > 6 * MOST_CHARS:
            return None
        text = _text(last["content"])
    except (*UNREADABLE, KeyError):  # the content is a list of parts, or none
        return None
    if not text.strip() or len(text) > MOST_CHARS:
        return None
    without = {name: raw for name, raw in last.items() if name != "content"}
    others = msgspec.Raw(_close([*messages[:-1], without]))
    fields = {**request.fields, "messages": others, _EMBEDDED_BY: msgspec.Raw(_close(embedded_by))}
    elsewhere = msgspec.structs.replace(request, fields=fields)
    return Asked(cache_key(secret, scope=scope, rules=rules, caller=caller, request=elsewhere), text)
