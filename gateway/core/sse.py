"""Server-sent events in passing: forward the provider's bytes, learn usage, finish reason and faults on the way.

Bytes in, bytes out, no socket. The common chunk (whole events that end in "}", nothing remarkable inside) is
returned as the same object after one regular-expression scan; only the few remarkable events of a stream are parsed.
An incomplete event is held back until it is whole, so that what must not reach the client can still be left out:
the usage event a client did not ask for, `[DONE]`, and in-band errors. Keep-alive comments are forwarded.

The rule a newcomer would break: `[DONE]` is never in the output. Whoever drives the scanner writes it, and only when
`complete` is true; a truncated stream is never presented as finished, not even one that says `[DONE]` itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from .errors import UNREADABLE

MAX_EVENT_BYTES = 16 * 1024 * 1024
"""An event above this is a fault of the provider: an embedded picture fits, a runaway line does not."""

DONE = b"data: [DONE]\n\n"

# Whitespace is allowed as any JSON writer may put it; escaped quotes inside a string cannot match.
_REMARKABLE = re.compile(rb'"(?:usage"\s*:\s*\{|finish_reason"\s*:\s*"|error"\s*:)')
_BOUNDARY = re.compile(rb"\r?\n\r?\n")
_ABSENT = (b"", b"null", b"{}")
_EMPTY = (b"null", b'""', b"[]", b"{}")


class _Choice(msgspec.Struct):
    index: int = 0
    delta: dict[str, msgspec.Raw] | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    service_tier: str | None = None


_decoder = msgspec.json.Decoder(_Chunk)


class StreamScanner:
    """Reads one provider stream.

    usage_raw: the last usage object seen, as JSON bytes; content: a content event has been seen; events: content
    events so far; finish_reason: the last one given; complete: every choice that was asked for or began has a finish
    reason; settled: usage came then, or with it, so that nothing is missing any more; done: `[DONE]` was seen; fault:
    why the stream is broken, or None; error_raw: the provider's in-band error.
    """

    __slots__ = (
        "_begun",
        "_choices",
        "_drop_usage",
        "_finished",
        "_tail",
        "content",
        "done",
        "error_raw",
        "events",
        "fault",
        "finish_reason",
        "service_tier",
        "settled",
        "usage_raw",
    )

    def __init__(self, *, drop_usage: bool, choices: int = 1) -> None:
        """choices: how many the request asked for; a stream that has finished fewer is not complete."""
        self._drop_usage = drop_usage
        self._choices = choices
        self._tail = bytearray()
        self._begun: set[int] = set()
        self._finished: set[int] = set()
        self.usage_raw = b""
        self.content = False
        self.events = 0
        self.finish_reason: str | None = None
        self.service_tier: str | None = None
        self.settled = False
        self.done = False
        self.fault: str | None = None
        self.error_raw = b""

    @property
    def complete(self) -> bool:
        return len(self._finished) >= self._choices and self._begun <= self._finished

    def feed(self, chunk: bytes) -> bytes:
        """Take what the provider sent; return what the client may have now: nothing, after `[DONE]` or a fault."""
        if self.done or self.fault is not None:
            return b""
        whole = self.content and not self._tail and chunk.endswith(b"}\n\n") and chunk.startswith(b"data: {")
        if whole and b"[DONE]" not in chunk and _REMARKABLE.search(chunk) is None:
            self.events += chunk.count(b"\n\n")
            return chunk
        return self._feed_events(chunk)

    def _feed_events(self, chunk: bytes) -> bytes:
        searched = max(len(self._tail) - 3, 0)  # a boundary may begin in what was here; the rest holds none
        self._tail += chunk
        if _BOUNDARY.search(self._tail, searched) is None:
            if len(self._tail) > MAX_EVENT_BYTES:
                self.fault = f"an event of more than {MAX_EVENT_BYTES} bytes"
            return b""
        data = bytes(self._tail)
        out: list[bytes] = []
        start = 0
        for boundary in _BOUNDARY.finditer(data, searched):
            event = data[start : boundary.end()]
            start = boundary.end()
            if self._passes(event):
                out.append(event)
            if self.done or self.fault is not None:
                break
        self._tail = bytearray(data[start:])
        return b"".join(out)

    def _passes(self, event: bytes) -> bool:
        payload = _payload(event)
        if payload is None:
            return bool(event.strip())  # a comment or another field: forwarded; it is not content
        if payload == b"[DONE]":
            self.done = True
            return False
        try:
            chunk = _decoder.decode(payload)
        except UNREADABLE:
            self.fault = "an event that is not JSON"
            return False
        if (error := bytes(chunk.error)) not in _ABSENT:
            self.error_raw = error
            self.fault = "an in-band error"
            return False
        return self._learn(chunk)

    def _learn(self, chunk: _Chunk) -> bool:
        usage = bytes(chunk.usage)
        has_usage = usage not in _ABSENT
        if has_usage:
            self.usage_raw = usage
        if chunk.service_tier is not None:
            self.service_tier = chunk.service_tier
        for choice in chunk.choices or ():
            self._begun.add(choice.index)
            if choice.finish_reason:  # some servers write an empty one into every chunk
                self._finished.add(choice.index)
                self.finish_reason = choice.finish_reason
                self.content = True
            if choice.delta and any(name != "role" and bytes(raw) not in _EMPTY for name, raw in choice.delta.items()):
                self.content = True
                self.events += 1
        # Google repeats a running usage in every chunk: only one that came with the finish, or after it, is the last.
        if has_usage and self.complete:
            self.settled = True
        return not (self._drop_usage and has_usage and not chunk.choices)


def payloads(events: bytes) -> Iterator[bytes]:
    """The data of whole events, those without data left out. Raises ValueError when the last one is not whole."""
    *whole, tail = _BOUNDARY.split(events) if b"\r" in events else events.split(b"\n\n")  # quicker, and as it mostly is
    if tail.strip():
        raise ValueError("an event that is not whole")
    for event in whole:
        payload = _payload(event)
        if payload is not None:
            yield payload


def _payload(event: bytes) -> bytes | None:
    """The data of an event, its lines joined as the format says; None when it has no data line."""
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines).strip() if lines else None
