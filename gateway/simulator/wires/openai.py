"""OpenAI's wire: a role chunk first, usage in a chunk of its own after the finish chunk, only if it was asked for.

Chunk shapes after the published OpenAPI description; error bodies carry all four keys. Whole bodies and errors are
indented, streamed chunks are not: so it is on the real wire, and a reader that looks for `"usage":{` finds out.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.simulator.answers import Answer, Call, Choice
from gateway.simulator.ask import Ask
from gateway.simulator.bill import Tokens
from gateway.simulator.promptcache import CacheRule
from gateway.simulator.tokens import count_tokens
from gateway.simulator.wires.base import DONE, Event, Refusal, in_chunks, indented, sse

_REASONS = re.compile(r"(gpt-[5-9]|o\d)")
_PADDING = "aB3dE5gH7jK9mN1p"  # obfuscation hides a chunk's length; ours is as long as the text is short of 16

_MESSAGE = frozenset(
    ("role", "content", "name", "refusal", "audio", "annotations", "function_call", "tool_calls", "tool_call_id")
)
_CALL = frozenset(("id", "type", "function", "custom"))

_TYPES = {401: "invalid_request_error", 402: "insufficient_quota", 429: "requests", 500: "server_error"}
_TYPES[503] = "server_error"


class OpenAI:
    name = "openai"
    prefix = "/openai/v1"
    cache = CacheRule(minimum=1024, step=128)
    chunk_tokens = 1
    most_choices = 128
    bills_whole_when_left = False
    embeds = True

    def effort(self, ask: Ask) -> str | None:
        return (ask.effort or "medium") if _REASONS.match(ask.model) else None

    def refuse(self, ask: Ask, effort: str | None) -> Refusal | None:
        reasons = effort is not None
        if reasons and "max_tokens" in ask.body:
            message = "Unsupported parameter: 'max_tokens' is not supported with this model. "
            message += "Use 'max_completion_tokens' instead."
            return Refusal(400, message, code="unsupported_parameter", param="max_tokens")
        if not reasons and ask.effort:
            return Refusal(400, "Unrecognized request argument supplied: reasoning_effort")
        if ask.max_tokens is not None and ask.max_tokens < 1:
            name = "max_completion_tokens" if "max_completion_tokens" in ask.body else "max_tokens"
            message = f"Invalid '{name}': integer below minimum value. Expected a value >= 1, but got "
            return Refusal(400, f"{message}{ask.max_tokens} instead.", "integer_below_min_value", name)
        if ask.response_format == "json_object" and not ask.mentions_json():
            message = "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
            return Refusal(400, f"{message}'json_object'.", param="messages")
        unknown = next(_unknown_fields(ask), None)
        if unknown is not None:
            return Refusal(400, f"Unknown parameter: '{unknown}'.", code="unknown_parameter", param=unknown)
        return None

    def unknown_model(self, model: str) -> Refusal:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return Refusal(404, message, code="model_not_found")

    def bad_key(self, key: str) -> Refusal:
        if not key:
            return Refusal(401, "You didn't provide an API key. You need to provide your API key in an Authorization "
                                "header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).")  # fmt: skip
        message = f"Incorrect API key provided: {key}. You can find your API key at "
        return Refusal(401, f"{message}https://platform.openai.com/account/api-keys.", code="invalid_api_key")

    def too_long(self) -> Refusal:
        message = "This model's maximum context length is 128000 tokens. However, your messages resulted in 128001 "
        message += "tokens. Please reduce the length of the messages."
        return Refusal(400, message, code="context_length_exceeded", param="messages")

    def fault(self, status: int, model: str, retry_after: float) -> Refusal:
        match status:
            case 401:
                return self.bad_key("sk-simulated")
            case 402:
                return Refusal(402, "Your account is not active, please check your billing details on our website.",
                               code="billing_not_active")  # fmt: skip
            case 404:
                return self.unknown_model(model)
            case 429:
                message = f"Rate limit reached for {model} in organization org-simulated on requests per min (RPM): "
                message += f"Limit 3, Used 3, Requested 1. Please try again in {retry_after:g}s."
                return Refusal(429, message, code="rate_limit_exceeded")
            case 500:
                return Refusal(500, "The server had an error while processing your request. Sorry about that!")
            case 503:
                return Refusal(503, "The engine is currently overloaded, please try again later.")
        return Refusal(status, "Your request was refused by a simulated fault.")

    def error(self, refusal: Refusal) -> bytes:
        return indented(_error(refusal), 4)

    def error_event(self) -> bytes:
        return sse(_error(self.fault(500, "", 0)))

    def headers(self, id: str, elapsed_ms: float) -> Mapping[str, str]:
        return {
            "x-request-id": f"req_{id}",
            "openai-version": "2020-10-01",
            "openai-organization": "org-simulated",
            "openai-processing-ms": str(int(elapsed_ms) or 1),
            "x-ratelimit-limit-requests": "10000",
            "x-ratelimit-limit-tokens": "2000000",
            "x-ratelimit-remaining-requests": "9999",
            "x-ratelimit-remaining-tokens": "1999000",
            "x-ratelimit-reset-requests": "6ms",
            "x-ratelimit-reset-tokens": "30ms",
        }

    def whole(self, answer: Answer) -> bytes:
        body = _frame(answer, "chat.completion")
        body["choices"] = [_whole_choice(answer, choice) for choice in answer.choices]
        if answer.tells_usage:
            body["usage"] = usage(answer.tokens)
        return indented(body, 2)

    def events(self, answer: Answer) -> Iterator[Event]:
        frame = _frame(answer, "chat.completion.chunk")
        asked = answer.ask.include_usage and answer.tells_usage
        silent = {"usage": None} if asked else {}
        for choice in answer.choices:
            yield from _choice_events(answer, choice, frame, silent)
        if asked:
            yield Event("usage", sse({**frame, "choices": [], "usage": usage(answer.tokens)}))
        yield Event("done", DONE)


def _unknown_fields(ask: Ask) -> Iterator[str]:
    """The places in the messages that hold what this API does not know."""
    for place, message in enumerate(ask.messages):
        yield from (f"messages[{place}].{name}" for name in message if name not in _MESSAGE)
        calls = message.get("tool_calls")
        for nth, call in enumerate(calls if isinstance(calls, list) else ()):
            known = call if isinstance(call, dict) else {}
            yield from (f"messages[{place}].tool_calls[{nth}].{name}" for name in known if name not in _CALL)


def usage(tokens: Tokens) -> dict[str, object]:
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached_input,
            "cache_write_tokens": tokens.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def logprobs(answer: Answer, tokens: tuple[str, ...]) -> dict[str, object] | None:
    """Log probabilities for these tokens, or None when they were not asked for."""
    if answer.ask.body.get("logprobs") is not True:
        return None
    several = answer.ask.body.get("top_logprobs")
    count = min(several, 20) if isinstance(several, int) else 0

    def said(token: str, rank: int) -> dict[str, object]:
        return {"token": token, "logprob": -0.03125 * (1 + rank * 8), "bytes": list(token.encode())}

    each = [{**said(t, 0), "top_logprobs": [said(t if r == 0 else f"{t}{r}", r) for r in range(count)]} for t in tokens]
    return {"content": each, "refusal": None}


def tool_call(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": "".join(call.arguments)}
    return {"id": f"call_{call.id}", "type": "function", "function": function}


def tool_call_deltas(choice: Choice, size: int) -> Iterator[tuple[dict[str, Any], int]]:
    """(a tool_calls delta, its tokens): each call's id and name first, then its arguments in pieces."""
    for place, call in enumerate(choice.calls):
        opened = {**tool_call(call), "function": {"name": call.name, "arguments": ""}}
        yield {"tool_calls": [{"index": place, **opened}]}, count_tokens(call.name)
        for text, tokens in in_chunks(call.arguments, size):
            yield {"tool_calls": [{"index": place, "function": {"arguments": text}}]}, tokens


def _error(refusal: Refusal) -> dict[str, object]:
    type = _TYPES.get(refusal.status, "invalid_request_error")
    return {"error": {"message": refusal.message, "type": type, "param": refusal.param, "code": refusal.code}}


def _frame(answer: Answer, object: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.id}",
        "object": object,
        "created": answer.created,
        "model": answer.ask.model,
        "service_tier": answer.service_tier,
        "system_fingerprint": "fp_simulated",
    }


def _whole_choice(answer: Answer, choice: Choice) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": None if choice.calls else choice.text}
    message |= {"refusal": None, "annotations": []}
    if choice.calls:
        message["tool_calls"] = [tool_call(call) for call in choice.calls]
    probabilities = logprobs(answer, choice.content) if not choice.calls else None
    return {"index": choice.index, "message": message, "logprobs": probabilities, "finish_reason": choice.finish}


def _choice_events(
    answer: Answer, choice: Choice, frame: dict[str, Any], silent: Mapping[str, object]
) -> Iterator[Event]:
    obfuscates = answer.ask.stream_options.get("include_obfuscation") is not False

    def chunk(delta: dict[str, Any], finish: str | None = None, tokens: tuple[str, ...] = ()) -> bytes:
        said = {"index": choice.index, "delta": delta, "logprobs": logprobs(answer, tokens) if tokens else None}
        body = {**frame, "choices": [{**said, "finish_reason": finish}], **silent}
        if obfuscates:
            body["obfuscation"] = _PADDING[len(delta.get("content") or "") :]
        return sse(body)

    opening = {"role": "assistant", "content": None if choice.calls else "", "refusal": None}
    # Reasoning is hidden here, but it was thought before the first chunk, and is billed from then on.
    yield Event("open", chunk(opening), reasoning=len(choice.reasoning))
    for delta, count in tool_call_deltas(choice, answer.chunk_tokens):
        yield Event("content", chunk(delta), output=count)
    place = 0
    for text, count in in_chunks(choice.content, answer.chunk_tokens):
        yield Event("content", chunk({"content": text}, None, choice.content[place : place + count]), output=count)
        place += count
    yield Event("finish", chunk({}, choice.finish))
