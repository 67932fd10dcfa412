"""Under which key an answer may be replayed, who shares it, and whether it may be looked for and kept at all. Pure.

The key covers the scope, the rules that hold for this request (who may answer, and where each of them is), the caller's
own limits, and every field of the request as JSON without its white space, except those that only say how the answer is
delivered or whom it is for. Two requests that differ in anything else never share an answer: where they would have been
equal all the same, that costs a miss.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

from .caching import CacheRule, Scope
from .errors import UNREADABLE
from .market import Market
from .request import ChatRequest
from .route import Route
from .world import Caller

_NOT_THE_ANSWER = frozenset({"stream", "stream_options", "metadata", "user", "safety_identifier"})
"""`user` and `metadata` are for accounts and for the provider's watch over misuse. Tags can change who answers: by the
rules that they lead to, which are in the key."""

_FINISHED = frozenset({"stop", "tool_calls", "function_call"})
_EFFECTS = ("store", "web_search_options", "audio", "search_parameters", "enable_search", "plugins")
_OFF = (b"null", b"false")
_ABSENT = (b"null", b"[]", b"{}", b'""')
_SAID = ("content", "tool_calls", "function_call", "refusal")

_BOUND = frozenset(
    {"audio", "extra_content", "thinking_blocks", "reasoning_details", "reasoning_items", "encrypted_content"}
)
"""In a message or a tool call: what only the provider that made it can read when it is sent back."""

_SIGNED_ID = b"__thought__"
"""litellm appends a signature of Gemini's thoughts to the id of a tool call, after this."""

_CALLERS_TOOLS = frozenset({"function", "custom"})
"""Tools that the caller runs. Those of any other type a provider runs: a search, code in a sandbox."""


class _Tool(msgspec.Struct):
    type: str = ""
    function: dict[str, msgspec.Raw] | None = None

    @property
    def runs_at_the_caller(self) -> bool:
        return self.type in _CALLERS_TOOLS or (not self.type and self.function is not None)


_number = msgspec.json.Decoder(float | None).decode
_words = msgspec.json.Decoder(list[str] | None).decode
_tools = msgspec.json.Decoder(list[_Tool] | None).decode


def scope_name(scope: Scope, caller: Caller, *, simulated: bool) -> str:
    """Who shares an answer, in words. Simulated answers never meet real ones."""
    names = {
        Scope.KEY: f"{caller.team}/{caller.key_id}",
        Scope.TEAM: caller.team,
        Scope.ORGANISATION: caller.organisation,
        Scope.GLOBAL: "",
    }
    return f"{'simulated/' if simulated else ''}{scope}:{names[scope]}"


def rules_digest(route: Route, market: Market) -> bytes:
    """32 bytes of what decides who may answer, and how long an answer holds: the same after a reload that changed
    something else."""
    names = (*route.candidates, *route.fallbacks)
    models = [(name, market.models[name].upstream_name, market.models[name].provider) for name in names]
    places = {provider: market.providers[provider].base_url for _, _, provider in models}
    cache = route.cache
    rules = {
        "route": route.name, "policy": route.policy.name, "models": models, "first": len(route.candidates),
        "places": places, "kind": route.kind,
        "floors": route.floors, "means": route.floor_means, "weights": route.weights,
        "jurisdictions": None if route.jurisdictions is None else sorted(route.jurisdictions),
        # When it ends stands in a kept answer: a shorter time must hold for those that are there already.
        "times": cache and (cache.ttl_s, cache.stale_while_revalidate_s, cache.stale_if_error_s),
    }  # fmt: skip
    return hashlib.sha256(msgspec.json.encode(rules, order="sorted")).digest()


def cache_key(secret: bytes, *, scope: str, rules: bytes, caller: Caller, request: ChatRequest) -> str:
    """An HMAC-SHA-256 in hex. Parts are length-prefixed, so no two different requests run together."""
    places = "" if caller.jurisdictions is None else ",".join(sorted(caller.jurisdictions))
    parts = [scope.encode(), rules, b"-" if caller.jurisdictions is None else places.encode()]
    for name in sorted(request.fields):
        if name not in _NOT_THE_ANSWER:
            parts += (name.encode(), _without_space(bytes(request.fields[name])))
    digest = hmac.new(secret, digestmod=hashlib.sha256)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _without_space(raw: bytes) -> bytes:
    """White space between tokens is all that is equal for certain: a model reads the order of keys in a tool's schema,
    and the digits of a number in it."""
    try:
        return msgspec.json.format(raw, indent=-1)
    except RecursionError:  # it could be read where fewer calls were open: at worst a miss
        return raw


def not_kept_for(rule: CacheRule, request: ChatRequest) -> str:
    """Why answers to this request are neither looked for nor kept; "" when nothing speaks against it.

    sampled: the caller wants answers that vary. not_repeatable: the answer has an effect or a source beside the prompt,
    such as a search of the web. A temperature that is not stated is the provider's affair and wants nothing.
    """
    if not rule.sampled and (request.n > 1 or (_temperature(request) or 0) > 0):
        return "sampled"
    fields = request.fields
    if any(bytes(fields[name]) not in _OFF for name in _EFFECTS if name in fields):
        return "not_repeatable"
    return "not_repeatable" if "audio" in _modalities(request) or _has_foreign_tools(request) else ""


def _temperature(request: ChatRequest) -> float | None:
    raw = request.fields.get("temperature")
    try:
        return None if raw is None else _number(raw)
    except UNREADABLE:
        return None  # the provider will refuse it


def _modalities(request: ChatRequest) -> list[str]:
    raw = request.fields.get("modalities")
    try:
        return [] if raw is None else _words(raw) or []
    except UNREADABLE:
        return []


def _has_foreign_tools(request: ChatRequest) -> bool:
    raw = request.fields.get("tools")
    try:
        return raw is not None and any(not tool.runs_at_the_caller for tool in _tools(raw) or ())
    except UNREADABLE:
        return True  # tools of no known form: whoever runs them


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    message: dict[str, msgspec.Raw] | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


_completion = msgspec.json.Decoder(_Completion).decode
_mapping = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_calls = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None).decode


def not_kept_as(rule: CacheRule, request: ChatRequest, body: bytes) -> str:
    """Why this answer is served and not kept; "" when it may be. body: a whole completion.

    oversized; truncated or filtered, by a finish reason; unfinished: not all choices that were asked for are whole, or
    one says nothing at all; bound: it holds what only its maker can read.
    """
    if len(body) > rule.max_bytes:
        return "oversized"
    try:
        body.decode()  # once for all: what is not looked at here is replayed as it came, and must be UTF-8 too
        choices = _completion(body).choices
        bound = any(_is_bound(choice.message or {}) for choice in choices)
    except UNREADABLE:
        return "unfinished"
    reasons = {choice.finish_reason for choice in choices}
    if "length" in reasons:
        return "truncated"
    if "content_filter" in reasons:
        return "filtered"
    if len(choices) != request.n or not reasons <= _FINISHED:
        return "unfinished"
    if bound:
        return "bound"
    # Providers are known to end an answer before it began; the next try may well say something.
    return "" if all(_says_something(choice.message or {}) for choice in choices) else "unfinished"


def _says_something(message: dict[str, msgspec.Raw]) -> bool:
    return any(name in message and bytes(message[name]) not in _ABSENT for name in _SAID)


def _is_bound(message: dict[str, msgspec.Raw]) -> bool:
    calls = message.get("tool_calls")
    parts = [message, *(() if calls is None else _calls(calls) or ())]
    parts += [_mapping(call["function"]) or {} for call in parts[1:] if "function" in call]
    return any(_carries_state(name, raw) for part in parts for name, raw in part.items())


def _carries_state(name: str, raw: msgspec.Raw) -> bool:
    if name == "provider_specific_fields":  # litellm's: of no account, but for signatures of thoughts
        return b"signature" in bytes(raw)
    if name == "id":
        return _SIGNED_ID in bytes(raw)
    return name in _BOUND and bytes(raw) not in _ABSENT
