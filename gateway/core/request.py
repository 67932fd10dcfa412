"""The caller's body, read once and shallowly: what routing must know; everything else stays raw JSON.

Fields that this gateway does not know pass through untouched. What goes upstream is re-encoded from `fields`, never
the caller's own bytes: with a key given twice, what was checked and what a provider reads could differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TypeVar

import msgspec

from .catalog import EFFORTS, Capability
from .conversation import Conversation, History, read_conversation
from .errors import UNREADABLE, Blame, GatewayError

T = TypeVar("T")

IMAGE_TOKENS = 1_000
"""Prior for one image's prompt tokens: between a small tile (85) and a large picture (1,500) at the three providers.
A file part counts as one too: its pages cannot be counted without reading it."""

IMAGE_BYTES = 4 * IMAGE_TOKENS

MOST_CHOICES = 128
MOST_TOKENS = 10_000_000
"""Above what any provider takes; a larger number is a mistake, or meant to overflow an account."""

MOST_USER_CHARS = 256
MOST_TAGS = 16
MOST_TAG_NAME_CHARS = 64
MOST_TAG_CHARS = 512


class ChatRequest(msgspec.Struct, frozen=True, dict=True):
    """What routing knows of one chat request.

    prompt_bytes counts messages, tools and the response format as JSON, without embedded images and audio, whose bytes
    are embedded_bytes. end_user and tags are what the caller says for its own accounts: `user`, and `metadata`.
    effort: the reasoning effort it asks for, as far as it is one of EFFORTS. history: None before the first answer.
    """

    model: str
    stream: bool
    include_usage: bool
    needs: frozenset[Capability]
    prompt_bytes: int
    images: int
    max_output_tokens: int | None
    n: int
    fields: Mapping[str, msgspec.Raw]
    embedded_bytes: int = 0
    service_tier: str | None = None
    end_user: str | None = None
    tags: Mapping[str, str] = {}
    effort: str | None = None
    history: History | None = None

    @cached_property
    def conversation(self) -> Conversation:
        """What it continues, and will be continued by. Worked out when it is first asked for, and kept."""
        return read_conversation(self.fields, self.history)

    @property
    def prompt_size(self) -> int:
        """The prompt's bytes, with as many for each image as its tokens would have as text."""
        return self.prompt_bytes + self.images * IMAGE_BYTES

    def prompt_tokens(self, tokens_per_byte: float) -> int:
        """The estimated size of the prompt, rounded up."""
        return int(self.prompt_bytes * tokens_per_byte) + 1 + self.images * IMAGE_TOKENS


class _Part(msgspec.Struct):
    type: str
    image_url: msgspec.Raw = msgspec.Raw()
    input_audio: msgspec.Raw = msgspec.Raw()
    file: msgspec.Raw = msgspec.Raw()


_ABSENT = msgspec.Raw()


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: msgspec.Raw = _ABSENT
    reasoning_content: msgspec.Raw = _ABSENT
    extra_content: msgspec.Raw = _ABSENT
    audio: msgspec.Raw = _ABSENT


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _ResponseFormat(msgspec.Struct):
    type: str


_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_messages = msgspec.json.Decoder(list[_Message])
_text = msgspec.json.Decoder(str)
_optional_text = msgspec.json.Decoder(str | None)
_flag = msgspec.json.Decoder(bool | None)
_count = msgspec.json.Decoder(int | None)
_stream_options = msgspec.json.Decoder(_StreamOptions | None)
_response_format = msgspec.json.Decoder(_ResponseFormat | None)
_tools = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)

_metadata = msgspec.json.Decoder(dict[str, object] | None)
_NO_TAGS: Mapping[str, str] = {}
_NULL = msgspec.Raw(b"null")
_RESULTS = ("tool", "function")

_PROMPT_FIELDS = ("messages", "tools", "functions", "response_format")
_FORMAT_NEEDS = {"json_schema": Capability.JSON_SCHEMA, "json_object": Capability.JSON_OBJECT}


def parse_chat(body: bytes) -> ChatRequest:
    """Read a chat-completions body. Raises GatewayError (400, the caller's) that names the field and what it takes."""
    try:
        body.decode()  # once for all: fields that are not read here go upstream as they came, and must be UTF-8 too
        fields = _fields.decode(body)
    except UNREADABLE as exc:
        raise _bad(f"the body must be one JSON object: {exc}", code="invalid_json") from exc
    model = _read(fields, "model", _text, "a string: a route or a model of GET /v1/models")
    if not model:
        raise _bad("'model' is required: a route or a model of GET /v1/models", param="model")
    messages = _read(fields, "messages", _messages, "an array of objects, each with a 'role'")
    if not messages:
        raise _bad("'messages' is required and must hold at least one message", param="messages")
    stream = bool(_read(fields, "stream", _flag, "true or false"))
    options = _read(fields, "stream_options", _stream_options, "an object such as {'include_usage': true}")
    n = _count_of(fields, "n", MOST_CHOICES)
    limits = [_count_of(fields, name, MOST_TOKENS) for name in ("max_completion_tokens", "max_tokens")]
    effort: str | None = _read(fields, "reasoning_effort", _optional_text, "a string")
    needs, images, embedded = _needs(fields, messages, n, effort)
    return ChatRequest(
        model=model,
        stream=stream,
        include_usage=options is not None and bool(options.include_usage),
        needs=needs,
        prompt_bytes=sum(_size(fields, name) for name in _PROMPT_FIELDS) - embedded,
        images=images,
        max_output_tokens=limits[0] or limits[1],
        n=n or 1,
        fields=fields,
        embedded_bytes=embedded,
        service_tier=_read(fields, "service_tier", _optional_text, "a string"),
        end_user=_end_user(fields),
        tags=_tags(fields),
        effort=effort if effort in EFFORTS else None,
        history=_history(messages),
    )


def _history(messages: Sequence[_Message]) -> History | None:
    for one in messages:
        if one.role == "assistant":
            break
    else:
        return None
    answers = [place for place, one in enumerate(messages) if one.role == "assistant"]
    last = first = answers[-1]
    while first and messages[first - 1].role == "assistant":
        first -= 1
    bound = tuple(place for place in answers if _is_bound(messages[place]))
    return History(
        answered=first,
        answers=tuple(answers),
        bound=bound,
        called=any(messages[place].tool_calls is not _ABSENT for place in bound),
        in_loop=any(one.role in _RESULTS for one in messages[last + 1 :]),
        # An answer that was spoken is sent back as the id under which its maker keeps it.
        held=any(messages[place].audio not in (_ABSENT, _NULL) for place in answers),
    )


def _is_bound(message: _Message) -> bool:
    return (
        message.tool_calls is not _ABSENT
        or message.reasoning_content is not _ABSENT
        or message.extra_content is not _ABSENT
    )


def _end_user(fields: Mapping[str, msgspec.Raw]) -> str | None:
    for name in ("safety_identifier", "user"):
        user: str | None = _read(fields, name, _optional_text, "a string")
        if user:
            return user[:MOST_USER_CHARS]
    return None


def _tags(fields: Mapping[str, msgspec.Raw]) -> Mapping[str, str]:
    """The texts of `metadata`; what is not text is the provider's affair and no tag."""
    metadata = _read(fields, "metadata", _metadata, "an object")
    if not metadata:
        return _NO_TAGS
    return checked_tags({name: value for name, value in metadata.items() if isinstance(value, str)}, "metadata")


def checked_tags(tags: Mapping[str, str], param: str) -> Mapping[str, str]:
    """Raises GatewayError 400 past OpenAI's own bounds for metadata: they go into every row of the ledger."""
    if len(tags) > MOST_TAGS:
        raise _bad(f"{param!r} may hold {MOST_TAGS} tags at most, not {len(tags)}", param=param)
    for name, value in tags.items():
        if not name or len(name) > MOST_TAG_NAME_CHARS or len(value) > MOST_TAG_CHARS:
            bounds = f"names of 1 to {MOST_TAG_NAME_CHARS} characters and values of at most {MOST_TAG_CHARS}"
            raise _bad(f"{param!r} takes {bounds}", param=param)
    return tags


def _needs(
    fields: Mapping[str, msgspec.Raw], messages: list[_Message], n: int | None, effort: str | None
) -> tuple[frozenset[Capability], int, int]:
    """Capabilities needed, images in the prompt, and the bytes that embedded images and audio take."""
    needs: set[Capability] = set()
    images = embedded = 0
    for message in messages:
        if isinstance(message.content, list):
            for part in message.content:
                if part.type == "image_url":
                    needs.add(Capability.VISION)
                    images += 1
                elif part.type == "file":
                    images += 1
                elif part.type == "input_audio":
                    needs.add(Capability.AUDIO)
                embedded += _raw_size(part.image_url) + _raw_size(part.input_audio) + _raw_size(part.file)
    if any(_read(fields, name, _tools, "an array of objects") for name in ("tools", "functions")):
        needs.add(Capability.TOOLS)
    if effort not in (None, "none"):
        needs.add(Capability.REASONING)
    response_format = _read(fields, "response_format", _response_format, "an object with a 'type'")
    if response_format is not None and response_format.type in _FORMAT_NEEDS:
        needs.add(_FORMAT_NEEDS[response_format.type])
    if _read(fields, "logprobs", _flag, "true or false"):
        needs.add(Capability.LOGPROBS)
    if n is not None and n > 1:
        needs.add(Capability.N)
    return frozenset(needs), images, embedded


def _read(fields: Mapping[str, msgspec.Raw], name: str, decoder: msgspec.json.Decoder[T], takes: str) -> T | None:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return decoder.decode(raw)
    except UNREADABLE as exc:
        raise _bad(f"{name!r} must be {takes}", param=name) from exc


def _count_of(fields: Mapping[str, msgspec.Raw], name: str, most: int) -> int | None:
    takes = f"a whole number of 1 or more, at most {most:,}"
    count = _read(fields, name, _count, takes)
    if count is not None and not 1 <= count <= most:
        raise _bad(f"{name!r} must be {takes}", param=name)
    return count


def _size(fields: Mapping[str, msgspec.Raw], name: str) -> int:
    raw = fields.get(name)
    return 0 if raw is None else _raw_size(raw)


def _raw_size(raw: msgspec.Raw) -> int:
    return len(memoryview(raw))


def _bad(told: str, *, param: str | None = None, code: str | None = None) -> GatewayError:
    return GatewayError(Blame.CALLER, 400, told=told, param=param, code=code, outcome="invalid")
