"""litellm's answers as OpenAI's JSON: what the provider said, without what the SDK made up.

Pure: values in, bytes out. What was found in litellm 1.109.1, and what is done about it:

- Usage that a provider did not report is invented: zeros in a whole answer, a tokenizer's guess in a stream, both looking
  like a report. The guess is switched off where the SDK is loaded, so that it is zero as well; and no prompt has zero
  tokens. So usage without prompt tokens is left out, and the gateway books an estimate that is marked as one.
- A stream that ended without a finish reason gets "stop". The SDK's stream knows better and is asked (`was_cut`).
- A cost by the SDK's own price list is added to usage. It is left out.

Not seen from here, because a provider's adapter made it up before: a Gemini or Vertex AI stream that ends early but in
good order has "stop" in every chunk, and a whole answer without a finish reason has "stop" as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

# Any, throughout: dumps of pydantic models whose fields differ by provider.
Fields = dict[str, Any]

_REQUIRED_NULLS = {"finish_reason": None, "logprobs": None}


def whole_body(answer: Fields) -> bytes:
    """A chat completion from the dump of a `ModelResponse`."""
    shaped = _stated(answer, keep=("choices",))
    shaped["choices"] = [_choice(choice, "message") for choice in answer["choices"]]
    for choice in shaped["choices"]:
        choice.setdefault("logprobs", None)  # required by OpenAI's description, null allowed; the next two as well
        choice["message"] = {"content": None, "refusal": None} | choice["message"]
    _restate_usage(shaped)
    return msgspec.json.encode(shaped)


def event(chunk: Fields, *, usage_reported: bool) -> bytes:
    """One server-sent event from the dump of a chunk; empty when nothing is left that the provider said."""
    shaped = _stated(chunk, keep=("choices",))
    shaped["choices"] = [{"finish_reason": None} | _choice(choice, "delta") for choice in chunk["choices"]]
    if not usage_reported:
        shaped.pop("usage", None)
    _restate_usage(shaped)
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


def _choice(choice: Fields, part: str) -> Fields:
    shaped = _stated(choice)
    shaped[part] = _stated(choice[part] or {})
    return shaped


def _restate_usage(shaped: Fields) -> None:
    usage = shaped.pop("usage", None)
    if not usage or not usage.get("prompt_tokens"):
        return
    usage.pop("cost", None)
    shaped["usage"] = _stated(
        {name: _stated(value) if isinstance(value, dict) else value for name, value in usage.items()}
    )


def _stated(fields: Mapping[str, Any], keep: tuple[str, ...] = ()) -> Fields:
    """Without the nulls and empty containers that the SDK's models add; `provider_specific_fields` one level deeper."""
    own = fields.get("provider_specific_fields")
    if isinstance(own, dict):
        fields = {**fields, "provider_specific_fields": _stated(own)}
    return {name: value for name, value in fields.items() if name in keep or value not in (None, {}, [])}
