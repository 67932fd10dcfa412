"""DeepSeek's wire: cache hits and misses inside prompt_tokens, reasoning in the open, keep-alives while queued.

Usage rides on the finish chunk (whose `choices` is not empty) even when nobody asked for it, as its documentation and
recorded streams have it. `usage_at=own` sends it in a chunk of its own instead, as OpenAI does; readers need both.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from gateway.simulator.answers import Answer, Choice
from gateway.simulator.ask import Ask
from gateway.simulator.bill import Tokens
from gateway.simulator.promptcache import CacheRule
from gateway.simulator.wires.base import DONE, Event, Refusal, dumps, in_chunks, sse
from gateway.simulator.wires.openai import logprobs, tool_call, tool_call_deltas

_ROLES = ("system", "user", "assistant", "tool", "latest_reminder")
_MOST_TOKENS = 393_216
_EFFORTS = {"minimal": "low", "medium": "high", "xhigh": "high", "ultra": "max"}

_TYPES = {401: "authentication_error", 402: "unknown_error", 500: "internal_server_error"}
_TYPES |= {429: "rate_limit_error", 503: "service_unavailable_error"}
_CODES = {500: "internal_server_error", 429: "rate_limit_error", 503: "service_unavailable_error"}


class DeepSeek:
    name = "deepseek"
    prefix = "/deepseek"
    cache = CacheRule(minimum=64, step=64)
    chunk_tokens = 1
    most_choices = 1  # `n` is not known there, and what is not known is ignored
    bills_whole_when_left = False
    embeds = False

    def effort(self, ask: Ask) -> str | None:
        """Thinking is on unless switched off; the old chat name never thinks."""
        thinking = ask.body.get("thinking")
        if ask.model == "deepseek-chat" or (isinstance(thinking, dict) and thinking.get("type") == "disabled"):
            return None
        return _EFFORTS.get(ask.effort or "high", ask.effort or "high")

    def refuse(self, ask: Ask, effort: str | None) -> Refusal | None:
        for place, message in enumerate(ask.messages):
            if (role := message.get("role")) not in _ROLES:
                known = ", ".join(f"`{one}`" for one in _ROLES)
                return _unreadable(f"messages[{place}].role: unknown variant `{role}`, expected one of {known}")
            # What a turn thought before it called tools has to come back with the tools' results.
            if effort and message.get("tool_calls") and not message.get("reasoning_content"):
                return Refusal(400, "The `reasoning_content` in the thinking mode must be passed back to the API.")
        if ask.has_images and "flash" not in ask.model:
            return _unreadable("messages[0]: unknown variant `image_url`, expected `text`")
        if ask.response_format == "json_schema":
            return Refusal(400, "This response_format type is unavailable now")
        if ask.response_format == "json_object" and not ask.mentions_json():
            needed = "Prompt must contain the word 'json' in some form to use 'response_format' of type "
            return Refusal(400, f"{needed}'json_object'.")
        if ask.max_tokens is not None and not 1 <= ask.max_tokens <= _MOST_TOKENS:
            return Refusal(400, f"Invalid max_tokens value, the valid range of max_tokens is [1, {_MOST_TOKENS}]")
        return None

    def unknown_model(self, model: str) -> Refusal:
        # 400, not 404: this is what DeepSeek answers.
        return Refusal(400, "Model Not Exist")

    def bad_key(self, key: str) -> Refusal:
        if not key:
            return Refusal(401, "Authentication Fails (auth header format should be Bearer sk-...)")
        return Refusal(401, f"Authentication Fails, Your api key: ****{key[-4:]} is invalid")

    def too_long(self) -> Refusal:
        return Refusal(400, "This model's maximum context length is 131072 tokens. However, you requested 131073 "
                            "tokens (127073 in the messages, 4000 in the completion). Please reduce the length of the "
                            "messages or completion.")  # fmt: skip

    def fault(self, status: int, model: str, retry_after: float) -> Refusal:
        match status:
            case 401:
                return self.bad_key("sk-simulated")
            case 402:
                return Refusal(402, "Insufficient Balance")
            case 422:
                message = "Failed to deserialize the JSON body into the target type: simulated fault at line 1 column 1"
                return Refusal(422, message)
            case 429:
                return Refusal(429, "Rate limit reached: too many concurrent requests")
            case 500:
                return Refusal(500, "Internal Server Error")
            case 503:
                return Refusal(503, "Service is too busy. We advise users to temporarily switch to alternative LLM API "
                                    "service providers.")  # fmt: skip
        return Refusal(status, "Your request was refused by a simulated fault")

    def error(self, refusal: Refusal) -> bytes:
        type = _TYPES.get(refusal.status, "invalid_request_error")
        code = refusal.code or _CODES.get(refusal.status, "invalid_request_error")
        return dumps({"error": {"message": refusal.message, "type": type, "param": None, "code": code}})

    def error_event(self) -> bytes:
        return b"data: " + self.error(self.fault(500, "", 0)) + b"\n\n"

    def headers(self, id: str, elapsed_ms: float) -> Mapping[str, str]:
        return {"x-ds-trace-id": id}

    def whole(self, answer: Answer) -> bytes:
        body = _frame(answer, "chat.completion")
        body["choices"] = [_whole_choice(answer, choice) for choice in answer.choices[:1]]
        if answer.tells_usage:
            body["usage"] = usage(answer.tokens)
        return dumps(body)

    def events(self, answer: Answer) -> Iterator[Event]:
        frame = _frame(answer, "chat.completion.chunk")
        # `usage` is null until the last chunk when it was asked for, and not there at all when it was not.
        silent = {"usage": None} if answer.ask.include_usage else {}
        told = {"usage": usage(answer.tokens)} if answer.tells_usage else silent
        own = answer.usage_at == "own"

        def chunk(delta: dict[str, Any], finish: str | None, said: Mapping[str, object], **more: object) -> bytes:
            one = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, **more}
            return sse({**frame, "choices": [one], **said})

        choice = answer.choices[0]
        thinks = bool(choice.reasoning)
        opening: dict[str, Any] = {"role": "assistant", "content": None if thinks else ""}
        if thinks:
            opening["reasoning_content"] = ""
        yield Event("open", chunk(opening, None, silent))
        for text, count in in_chunks(choice.reasoning, answer.chunk_tokens):
            delta = {"content": None, "reasoning_content": text}
            yield Event("content", chunk(delta, None, silent), reasoning=count)
        for delta, count in tool_call_deltas(choice, answer.chunk_tokens):
            yield Event("content", chunk(delta, None, silent), output=count)
        place = 0
        for text, count in in_chunks(choice.content, answer.chunk_tokens):
            delta = {"content": text, "reasoning_content": None} if thinks else {"content": text}
            probabilities = logprobs(answer, choice.content[place : place + count])
            yield Event("content", chunk(delta, None, silent, logprobs=probabilities), output=count)
            place += count
        last = {"content": "", "reasoning_content": None} if thinks else {"content": ""}
        yield Event("finish", chunk(last, choice.finish, silent if own else told))
        if own and answer.ask.include_usage and answer.tells_usage:
            yield Event("usage", sse({**frame, "choices": [], **told}))
        yield Event("done", DONE)


def usage(tokens: Tokens) -> dict[str, object]:
    told: dict[str, object] = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {"cached_tokens": tokens.cached_input},
    }
    if tokens.reasoning:
        told["completion_tokens_details"] = {"reasoning_tokens": tokens.reasoning}
    told["prompt_cache_hit_tokens"] = tokens.cached_input
    told["prompt_cache_miss_tokens"] = tokens.prompt - tokens.cached_input
    return told


def _unreadable(what: str) -> Refusal:
    return Refusal(400, f"Failed to deserialize the JSON body into the target type: {what} at line 1 column 1")


def _frame(answer: Answer, object: str) -> dict[str, Any]:
    id = answer.id
    return {
        "id": f"{id[:8]}-{id[8:12]}-{id[12:16]}-{id[16:20]}-{id[20:]}",
        "object": object,
        "created": answer.created,
        "model": answer.ask.model,
        "system_fingerprint": "fp_simulated_prod",
    }


def _whole_choice(answer: Answer, choice: Choice) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": choice.text}
    if choice.reasoning:
        message["reasoning_content"] = "".join(choice.reasoning)
    if choice.calls:
        message["tool_calls"] = [{"index": n, **tool_call(call)} for n, call in enumerate(choice.calls)]
    probabilities = logprobs(answer, choice.content) if not choice.calls else None
    return {"index": choice.index, "message": message, "logprobs": probabilities, "finish_reason": choice.finish}
