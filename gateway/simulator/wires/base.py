"""What a wire is: one provider's way to say an answer, a stream and an error, as bytes. Pure; no socket here.

A stream is a list of Events, so that whoever sends it can break off after any of them and still know what had been
generated until then.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

from gateway.simulator.answers import Answer
from gateway.simulator.ask import Ask
from gateway.simulator.promptcache import CacheRule

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event. `output` and `reasoning` are the tokens generated since the event before."""

    kind: Literal["open", "content", "finish", "usage", "done"]
    data: bytes
    output: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a provider does not take a request; `code` and `param` are said where the provider's errors have them."""

    status: int
    message: str
    code: str | None = None
    param: str | None = None


class Wire(Protocol):
    name: str
    prefix: str  # the path of the base URL
    cache: CacheRule
    chunk_tokens: int  # content tokens in one chunk, unless the scenario says otherwise
    most_choices: int
    bills_whole_when_left: bool
    embeds: bool  # whether it makes vectors of texts

    def effort(self, ask: Ask) -> str | None:
        """How hard the model thinks about this; None when it does not reason at all."""

    def refuse(self, ask: Ask, effort: str | None) -> Refusal | None:
        """What this provider does not accept, as it says it."""

    def unknown_model(self, model: str) -> Refusal: ...

    def bad_key(self, key: str) -> Refusal: ...

    def too_long(self) -> Refusal:
        """The request is longer than the model takes."""

    def fault(self, status: int, model: str, retry_after: float) -> Refusal:
        """What this provider says with an error status of its own making."""

    def error(self, refusal: Refusal) -> bytes: ...

    def error_event(self) -> bytes: ...

    def headers(self, id: str, elapsed_ms: float) -> Mapping[str, str]: ...

    def whole(self, answer: Answer) -> bytes: ...

    def events(self, answer: Answer) -> Iterator[Event]: ...


def dumps(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        # A tool's name comes from the request and may hold a lone surrogate, which no UTF-8 can say.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def indented(value: object, by: int) -> bytes:
    return msgspec.json.format(dumps(value), indent=by)


def sse(value: object) -> bytes:
    return b"data: " + dumps(value) + b"\n\n"


def in_chunks(tokens: tuple[str, ...], size: int) -> Iterator[tuple[str, int]]:
    """(text, tokens in it), `size` tokens at a time."""
    for start in range(0, len(tokens), size):
        some = tokens[start : start + size]
        yield "".join(some), len(some)
