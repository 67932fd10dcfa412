"""A chat-completions request as the simulator reads it, and the size of its prompt in the simulator's tokens.

Reads leniently what all three providers share; what one of them refuses is its wire's business.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.simulator.tokens import count_tokens

# Request bodies are any JSON, hence Any.
Json = dict[str, Any]

IMAGE_TOKENS = 258
_MESSAGE_TOKENS = 3  # around each message, as chat templates cost


@dataclass(frozen=True, slots=True)
class Ask:
    body: Mapping[str, Any]
    model: str
    messages: list[Json]
    seed: bytes  # a digest of the body: the answer depends on nothing else

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def stream_options(self) -> Json:
        options = self.body.get("stream_options")
        return options if isinstance(options, dict) else {}

    @property
    def include_usage(self) -> bool:
        return self.stream_options.get("include_usage") is True

    @property
    def max_tokens(self) -> int | None:
        """None when the request sets no limit; a limit that is no integer counts as none."""
        for name in ("max_completion_tokens", "max_tokens"):
            if isinstance(limit := self.body.get(name), int):
                return limit
        return None

    @property
    def stops(self) -> list[str]:
        stop = self.body.get("stop")
        stops = stop if isinstance(stop, list) else [stop]
        return [one for one in stops if isinstance(one, str)]

    @property
    def effort(self) -> str | None:
        effort = self.body.get("reasoning_effort")
        return effort if isinstance(effort, str) else None

    @property
    def response_format(self) -> str:
        wanted = self.body.get("response_format")
        return str(wanted.get("type", "text")) if isinstance(wanted, dict) else "text"

    @property
    def schema(self) -> Any:
        wanted = self.body.get("response_format")
        named = wanted.get("json_schema") if isinstance(wanted, dict) else None
        return named.get("schema", {}) if isinstance(named, dict) else {}

    @property
    def functions(self) -> list[Json]:
        """The functions to call in this answer, in order; empty when it is to be text."""
        tools = self.body.get("tools")
        choice = self.body.get("tool_choice")
        # After a tool's result comes text, or an agent's loop would never end.
        if not isinstance(tools, list) or choice == "none" or self.messages[-1].get("role") == "tool":
            return []
        known = [t["function"] for t in tools if isinstance(t, dict) and isinstance(t.get("function"), dict)]
        if isinstance(choice, dict):
            wanted = choice.get("function")
            name = wanted.get("name") if isinstance(wanted, dict) else None
            return [function for function in known if function.get("name") == name][:1]
        return known[:1] if self.body.get("parallel_tool_calls") is False else known[:2]

    @property
    def has_images(self) -> bool:
        return any(part.get("type") == "image_url" for message in self.messages for part in _parts(message))

    def mentions_json(self) -> bool:
        return any("json" in str(part.get("text", "")).lower() for message in self.messages for part in _parts(message))

    def prefixes(self) -> list[tuple[bytes, int]]:
        """The prompt's growing prefixes, one after the tools and one after each message: (digest, tokens so far)."""
        tools = self.body.get("tools")
        text = json.dumps(tools, ensure_ascii=False) if tools else ""
        chain = hashlib.blake2b(text.encode(), digest_size=16)
        tokens = 3 + count_tokens(text)
        found = []
        for message in self.messages:
            chain.update(json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass"))
            tokens += _message_tokens(message)
            found.append((chain.digest(), tokens))
        return found


def read_ask(raw: bytes) -> Ask:
    """Raises ValueError, saying what is wrong, when this is no chat request."""
    try:
        body = json.loads(raw)
    except ValueError as exc:
        raise ValueError(f"could not parse the JSON body of your request: {exc}") from exc
    except RecursionError:
        raise ValueError("could not parse the JSON body of your request: nested too deep") from None
    if not isinstance(body, dict):
        raise ValueError("the request body must be a JSON object")
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str) or not model:
        raise ValueError("you must provide a model parameter")
    if not isinstance(messages, list) or not messages or not all(isinstance(one, dict) for one in messages):
        raise ValueError("missing required parameter: 'messages'")
    seed = hashlib.blake2b(raw, digest_size=16).digest()
    return Ask(body=body, model=model.removeprefix("models/"), messages=messages, seed=seed)


def _message_tokens(message: Json) -> int:
    tokens = _MESSAGE_TOKENS
    for part in _parts(message):
        tokens += IMAGE_TOKENS if part.get("type") == "image_url" else count_tokens(str(part.get("text", "")))
    if calls := message.get("tool_calls"):
        tokens += count_tokens(json.dumps(calls, ensure_ascii=False))
    return tokens


def _parts(message: Json) -> list[Json]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
