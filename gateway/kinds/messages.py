"""The text whose kind is read: what the user said last, found in the raw `messages` of a request.

Pure. The messages are walked once without being decoded (0.4 us for each kB, skipping what is not asked for); of the
user's last one no more is decoded than a reader of kinds looks at. What is no chat at all yields an empty text, never
an error: whether a request is valid is judged elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from gateway.core.errors import UNREADABLE

from .features import HEAD_CHARS, TAIL_CHARS

BYTES_PER_CHAR = 12
"""The most that JSON takes for one character: two escaped halves of a pair."""

_LONG_BYTES = (HEAD_CHARS + TAIL_CHARS) * BYTES_PER_CHAR + 2
"""From here on a text certainly has more characters than are looked at."""


class _Message(msgspec.Struct):
    role: str = ""
    content: msgspec.Raw = msgspec.Raw()


class _Part(msgspec.Struct):
    text: msgspec.Raw = msgspec.Raw()


_messages = msgspec.json.Decoder(list[_Message])
_parts = msgspec.json.Decoder(list[_Part])
_string = msgspec.json.Decoder(str)


def last_user_text(messages_raw: bytes | msgspec.Raw) -> str:
    """The text of the user's last message: its text parts, joined by lines. Of a very long one its head and tail.

    A message without any text (an image alone, the result of a tool) is passed over for the user's one before it.
    """
    try:
        messages = _messages.decode(messages_raw)
    except UNREADABLE:
        return ""
    for message in reversed(messages):
        if message.role == "user":
            text = _said(bytes(message.content))
            if text:
                return text
    return ""


def _said(content: bytes) -> str:
    if content.startswith(b'"'):
        return _text(content)
    try:
        parts = _parts.decode(content)
    except UNREADABLE:
        return ""
    texts = [raw for raw in (bytes(part.text) for part in parts) if raw.startswith(b'"')]
    if sum(map(len, texts)) <= _LONG_BYTES:
        return "\n".join(map(_text, texts))
    head = _enough(texts, HEAD_CHARS)
    tail = _enough(reversed(texts[len(head) :]), TAIL_CHARS)
    return "\n".join(head + tail[::-1])


def _enough(texts: Iterable[bytes], chars: int) -> list[str]:
    """The first of these, until they have so many characters."""
    found: list[str] = []
    for raw in texts:
        if chars <= 0:
            break
        found.append(_text(raw))
        chars -= len(found[-1])
    return found


def _text(string: bytes) -> str:
    """A JSON string decoded; of a long one so much of its head and tail that the rest does not matter."""
    if len(string) <= _LONG_BYTES:
        return _decoded(string)
    inner = string[1:-1]
    head = inner[: HEAD_CHARS * BYTES_PER_CHAR]
    # A cut may fall into the middle of an escape or of a character; some bytes further it does not.
    ends = (_decoded(b'"%b"' % head[: len(head) - less]) for less in range(BYTES_PER_CHAR))
    tail = inner[-(TAIL_CHARS + 2) * BYTES_PER_CHAR :]
    starts = (_decoded(b'"%b"' % tail[less:]) for less in range(BYTES_PER_CHAR))
    return f"{next(filter(None, ends), '')[:HEAD_CHARS]}\n{next(filter(None, starts), '')[-TAIL_CHARS:]}"


def _decoded(string: bytes) -> str:
    try:
        return _string.decode(string)
    except UNREADABLE:
        return ""
