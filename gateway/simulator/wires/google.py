"""Google's OpenAI-compatible wire: usage in every chunk, growing; thinking only in total_tokens; errors in an array.

After recorded streams: no finish_reason key until the last chunk, which may carry no text; no system_fingerprint, no
logprobs; usage told whether or not it was asked for.
"""

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.simulator.answers import Answer, Call, Choice
from gateway.simulator.ask import Ask
from gateway.simulator.bill import Tokens
from gateway.simulator.promptcache import CacheRule
from gateway.simulator.tokens import count_tokens
from gateway.simulator.wires.base import DONE, Event, Refusal, dumps, in_chunks, indented, sse

_STATUSES = {401: "UNAUTHENTICATED", 402: "FAILED_PRECONDITION", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}
_STATUSES |= {500: "INTERNAL", 503: "UNAVAILABLE"}

_THINKS = re.compile(r"gemini-(2\.5|[3-9])")
_SIGNS = re.compile(r"gemini-[3-9]")  # from Gemini 3 on, a tool call has to come back with its signature
_SKIP = "skip_thought_signature_validator"  # stands in for a signature that another model's call never had
_NEVER_IDLE = re.compile(r"gemini-[4-9]")  # thinking cannot be switched off


class Google:
    name = "google"
    prefix = "/google/v1beta/openai"
    cache = CacheRule(minimum=4096, step=1)
    chunk_tokens = 5
    most_choices = 8
    bills_whole_when_left = True
    embeds = True

    def effort(self, ask: Ask) -> str | None:
        return (ask.effort or "medium") if _THINKS.match(ask.model) else None

    def refuse(self, ask: Ask, effort: str | None) -> Refusal | None:
        if _NEVER_IDLE.match(ask.model) and ask.effort in ("none", "minimal"):
            return Refusal(400, f"Thinking level {ask.effort.upper()} is not supported for this model.")
        if ask.max_tokens is not None and ask.max_tokens < 1:
            return Refusal(400, f"Invalid value at 'max_tokens': {ask.max_tokens} must be positive.")
        for place, message in enumerate(ask.messages):
            calls = message.get("tool_calls")
            calls = calls if isinstance(calls, list) else []
            if calls and _SIGNS.match(ask.model) and not _signature(calls[0]):
                return Refusal(400, f"Function call is missing a thought_signature in functionCall parts. Message "
                                    f"{place}, position 1.")  # fmt: skip
            given = [_signature(one) for one in (message, *calls)]
            if any(one is not None and not _is_signed_by(ask.model, one) for one in given):
                return Refusal(400, "Corrupted thought signature.")
        return None

    def unknown_model(self, model: str) -> Refusal:
        return Refusal(404, f"models/{model} is not found for API version v1main, or is not supported for "
                            "generateContent. Call ListModels to see the list of available models.")  # fmt: skip

    def bad_key(self, key: str) -> Refusal:
        if not key:
            return Refusal(401, "Missing or invalid Authorization header.")
        return Refusal(401, "API key not valid. Please pass a valid API key.")

    def too_long(self) -> Refusal:
        return Refusal(400, "The input token count (1048577) exceeds the maximum number of tokens allowed (1048576).")

    def fault(self, status: int, model: str, retry_after: float) -> Refusal:
        match status:
            case 401:
                return self.bad_key("simulated")
            case 404:
                return self.unknown_model(model)
            case 429:
                return Refusal(429, "Resource has been exhausted (e.g. check quota).", param=f"{retry_after:g}s")
            case 500:
                return Refusal(500, "An internal error has occurred. Please retry or report in "
                                    "https://developers.generativeai.google/guide/troubleshooting")  # fmt: skip
            case 503:
                return Refusal(503, "The model is overloaded. Please try again later.")
        return Refusal(status, "Request contains an invalid argument.")

    def error(self, refusal: Refusal) -> bytes:
        return indented([{"error": _error(refusal)}], 2)

    def error_event(self) -> bytes:
        return sse({"error": _error(self.fault(500, "", 0))})

    def headers(self, id: str, elapsed_ms: float) -> Mapping[str, str]:
        return {"server-timing": f"gfet4t7; dur={int(elapsed_ms) or 1}", "x-content-type-options": "nosniff"}

    def whole(self, answer: Answer) -> bytes:
        choices = []
        for choice in answer.choices:
            message: dict[str, Any] = {"content": choice.text, "role": "assistant"}
            if choice.calls:
                message = {"role": "assistant", "tool_calls": _tool_calls(answer, choice)}
            choices.append({"finish_reason": choice.finish, "index": choice.index, "message": message})
        return dumps(_body(answer, choices, "chat.completion", answer.tokens))

    def events(self, answer: Answer) -> Iterator[Event]:
        counted = answer.tokens
        given = 0  # output tokens so far
        for choice in answer.choices:
            deltas = list(_deltas(answer, choice))
            for place, (delta, count) in enumerate(deltas):
                given += count
                said: dict[str, Any] = {"delta": {**delta, "role": "assistant"}}
                last = place == len(deltas) - 1
                if last:
                    said["finish_reason"] = choice.finish
                said["index"] = choice.index
                sofar = min(given, counted.output)
                usage = Tokens(counted.input, counted.cached_input, counted.cache_write, sofar, counted.reasoning)
                data = sse(_body(answer, [said], "chat.completion.chunk", usage))
                thought = len(choice.reasoning) if place == 0 else 0
                yield Event("finish" if last else "content", data, output=count, reasoning=thought)
        yield Event("done", DONE)


def usage(tokens: Tokens) -> dict[str, object]:
    """Thinking is in no field of its own: it is what total_tokens has beyond the two others."""
    told: dict[str, object] = {
        "completion_tokens": tokens.output,
        "prompt_tokens": tokens.prompt,
        "total_tokens": tokens.prompt + tokens.output + tokens.reasoning,
    }
    if tokens.cached_input:
        told["prompt_tokens_details"] = {"cached_tokens": tokens.cached_input}
    return told


def _body(answer: Answer, choices: list[dict[str, Any]], object: str, tokens: Tokens) -> dict[str, Any]:
    body = {
        "choices": choices,
        "created": answer.created,
        "id": base64.urlsafe_b64encode(bytes.fromhex(answer.id)).decode().rstrip("="),
        "model": answer.ask.model,
        "object": object,
    }
    if answer.tells_usage:
        body["usage"] = usage(tokens)
    return body


def _deltas(answer: Answer, choice: Choice) -> Iterator[tuple[dict[str, Any], int]]:
    """The text in pieces of several tokens, or each tool call whole; then a last delta without text."""
    said = _tool_calls(answer, choice)
    for place, call in enumerate(choice.calls):
        count = count_tokens(call.name) + len(call.arguments)
        yield {"tool_calls": [{**said[place], "index": place}]}, count
    for text, count in in_chunks(choice.content, answer.chunk_tokens):
        yield {"content": text}, count
    if not choice.calls and choice.reasoning:
        yield {"extra_content": {"google": {"thought_signature": _sign(answer)}}}, 0
    else:
        yield {}, 0


def _tool_calls(answer: Answer, choice: Choice) -> list[dict[str, Any]]:
    """Of calls that are made at once only the first is signed."""
    calls = [_tool_call(call) for call in choice.calls]
    if calls:
        calls[0] = {"extra_content": {"google": {"thought_signature": _sign(answer)}}, **calls[0]}
    return calls


def _tool_call(call: Call) -> dict[str, Any]:
    return {
        "function": {"arguments": "".join(call.arguments), "name": call.name},
        "id": f"function-call-{int(call.id, 16) % 10**18}",
        "type": "function",
    }


def _sign(answer: Answer) -> str:
    return base64.b64encode(_mark(answer.ask.model) + answer.dice.randbytes(36)).decode()


def _is_signed_by(model: str, signature: object) -> bool:
    if signature == _SKIP:
        return True
    try:
        return base64.b64decode(str(signature), validate=True).startswith(_mark(model))
    except ValueError:
        return False


def _mark(model: str) -> bytes:
    """What every signature of a model begins with here; in truth only the model can read them."""
    return hashlib.blake2b(model.encode("utf-8", "surrogatepass"), digest_size=12).digest()


def _signature(call: Any) -> object:
    extra = call.get("extra_content") if isinstance(call, dict) else None
    google = extra.get("google") if isinstance(extra, dict) else None
    return google.get("thought_signature") if isinstance(google, dict) else None


def _error(refusal: Refusal) -> dict[str, Any]:
    status = _STATUSES.get(refusal.status, "INVALID_ARGUMENT")
    error: dict[str, Any] = {"code": refusal.status, "message": refusal.message, "status": status}
    if refusal.status == 429 and refusal.param:
        error["details"] = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": refusal.param}]
    return error
