"""litellm's answers as OpenAI's JSON: what the provider said, without what the SDK made up.

Pure: values in, bytes out. What was found in litellm 1.109.1, and what is done about it:

- Usage that a provider did not report is invented: zeros in a whole answer, a tokenizer's guess in a stream, looking
  like a report. Guessing is switched off where the SDK is loaded, so that a guess is zero too, and no prompt has zero
  tokens. So usage without prompt tokens is left out, and the gateway books an estimate that is marked as one.
- A stream that ended without a finish reason gets "stop". The SDK's stream knows better and is asked (`was_cut`).
- A cost by the SDK's own price list is added to usage. It is left out.

Not seen from here, because a provider's adapter made it up before: in a Gemini or Vertex AI stream every chunk says
"stop", so one that ends early but in good order seems finished; a whole answer without a finish reason has "stop" too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

# Any, throughout: dumps of pydantic models whose fields differ by provider.
Fields = dict[str, Any]

# Required by OpenAI's description, null allowed.
_CHOICE: Fields = {"finish_reason": None, "logprobs": None}
_MESSAGE: Fields = {"content": None, "refusal": None}


def whole_body(answer: Fields) -> bytes:
    """A chat completion from the dump of a `ModelResponse`."""
    shaped = _shaped(answer)
    shaped["choices"] = [_choice(choice, "message", _MESSAGE) for choice in answer["choices"]]
    return msgspec.json.encode(shaped)


def event(chunk: Fields, *, usage_reported: bool) -> bytes:
    """One server-sent event from the dump of a chunk; empty when nothing is left that the provider said."""
    shaped = _shaped(chunk)
    shaped["choices"] = [_choice(choice, "delta", {}) for choice in chunk["choices"]]
    if not usage_reported:
        shaped.pop("usage", None)
    if not shaped["choices"] and "usage" not in shaped:
        return b""
    return b"data: " + msgspec.json.encode(shaped) + b"\n\n"


def finishes(chunk: Fields) -> bool:
    return any(choice.get("finish_reason") is not None for choice in chunk["choices"])


def was_cut(stream: object) -> bool:
    """Whether the finish reason that litellm's stream gives was never heard from the provider."""
    return not (
        getattr(stream, "received_finish_reason", None)
        or getattr(stream, "intermittent_finish_reason", None)
        or getattr(stream, "received_any_finish_reason", False)
    )


def usage_was_reported(stream: object) -> bool:
    """Whether any chunk of litellm's stream came with usage; what it adds at the end is not among them."""
    return any(getattr(chunk, "usage", None) is not None for chunk in getattr(stream, "chunks", ()))


def _shaped(answer: Fields) -> Fields:
    shaped = _stated(answer)
    usage = shaped.pop("usage", {})
    usage.pop("cost", None)
    if usage.get("prompt_tokens"):
        shaped["usage"] = usage
    return shaped


def _choice(choice: Fields, part: str, nulls: Fields) -> Fields:
    return _CHOICE | _stated(choice, keep=("logprobs",)) | {part: nulls | _stated(choice[part] or {})}


def _stated(fields: Mapping[str, Any], keep: tuple[str, ...] = ()) -> Fields:
    """Without the nulls, at any depth, and the empty containers that the SDK's models add. `keep` is left as it is."""
    bare = {name: value if name in keep else _without_nulls(value) for name, value in fields.items()}
    return {name: value for name, value in bare.items() if value not in (None, {}, [])}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_nulls(inner) for inner in value]
    return value
