"""What a simulated provider shall do with a request: its pace, its size, its fault.

A Scenario is set for everything, for a provider, or for one model of it (the nearest one wins), and a request may
change parts of it by a rule, so that one test run mixes everything:

    x-sim-fault: fault=cut_after_3;gap_ms=5                 a request header, for whoever calls the simulator itself
    "user": "sim:fault@deepseek=http_503;ttft_ms=20"        the body's `user` field, which a gateway passes untouched

A rule is `name=value` parts joined by `;`, each the name of a field below, each limited to one provider by
`@provider` if wished; or just the name of a fault. Later parts win, the header wins over the body. A mistake in a rule
is answered 400 with what is wrong.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, get_args

from gateway.simulator.tokens import seeded

PROVIDERS = ("openai", "deepseek", "google")

ERROR_STATUSES = (400, 401, 402, 404, 422, 429, 500, 503)

# Every fault, and after how many content chunks it strikes when the name does not say. None: it has no such place;
# -1: before even the opening chunk.
FAULTS: Mapping[str, int | None] = {
    **{f"http_{status}": None for status in ERROR_STATUSES},
    "context_length": None,  # 400: the request is longer than the model takes, in the provider's words
    "drop": None,  # the connection ends before any byte
    "drop_headers": None,  # ... after the headers, before any of the body
    "stall": -1,  # headers, not even an opening chunk, then nothing for ever (DeepSeek: keep-alives for ever)
    "cut": 1,  # the connection ends inside the body: what was announced never comes
    "eof": 1,  # the body ends in good order, but too early: no finish_reason, no [DONE]
    "malformed": 1,  # a chunk (or the body) that is no JSON, then the end
    "error_event": 1,  # an error object inside a 200 stream, then the end
    "no_usage": None,  # whole and billed, but usage is never told
    "zero_usage": None,  # whole, but the provider counted (and bills) nothing
    "no_done": None,  # whole and billed; [DONE] never comes and the connection stays open
    "content_filter": None,  # stopped half way by the filter: finish_reason content_filter, billed as far as it went
    "slow": None,  # gap_ms, or 250 ms between chunks
}

_FAULT_NAME = re.compile(r"(\w+?)(?:_after_(\d+))?")
_RULE_PART = re.compile(r"\s*(\w+)(?:@(\w+))?\s*=\s*(\S*)\s*")


_MOST_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Scenario:
    """Times are in milliseconds; None means: as the request or the provider has it."""

    fault: str | None = None  # a name in FAULTS; stall, cut, eof, malformed, error_event may end in _after_N
    p: float = 1.0  # how probable the fault is, drawn for each attempt from the simulator's seed
    retry_after: float = 1.0  # seconds, for http_429

    ttft_ms: float = 0.0  # from the request to the first token (or to the error)
    gap_ms: float = 0.0  # between two chunks
    queue_ms: float = 0.0  # DeepSeek: waiting for a place, filled with keep-alives; comes before ttft_ms
    keepalive_ms: float = 1000.0  # DeepSeek: between two keep-alives; 0 sends none
    split_bytes: int = 0  # write the stream in pieces of so many bytes, wherever that cuts; 0 writes whole events

    answer_tokens: int | None = None  # None: 8 to 60, by the request's hash
    reasoning_tokens: int | None = None  # None: by reasoning_effort
    cache_min: int | None = None  # shortest prompt prefix that is cached, and then every length; None: the provider's
    chunk_tokens: int | None = None  # content tokens in one chunk; None: the provider's (Google 5, the others 1)
    usage_at: str | None = None  # DeepSeek: "finish" (in the finish chunk, as documented) or "own" (a chunk after it)

    def __post_init__(self) -> None:
        if self.fault is not None:
            parse_fault(self.fault)
        if not 0 <= self.p <= 1:
            raise ValueError(f"p={self.p} is not a probability; use 0 to 1")
        if self.usage_at not in (None, "finish", "own"):
            raise ValueError(f"usage_at={self.usage_at!r}: use finish or own")
        if max(self.answer_tokens or 0, self.reasoning_tokens or 0) > _MOST_TOKENS:
            raise ValueError(f"an answer has at most {_MOST_TOKENS:,} tokens")
        for name in ("ttft_ms", "gap_ms", "queue_ms", "keepalive_ms", "split_bytes", "retry_after"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


@dataclass(frozen=True, slots=True)
class Fault:
    kind: str
    after: int  # content chunks before it strikes

    @property
    def status(self) -> int | None:
        if self.kind == "context_length":
            return 400
        return int(self.kind[5:]) if self.kind.startswith("http_") else None


NO_FAULT = Fault("", 0)


@lru_cache(maxsize=512)
def parse_fault(name: str) -> Fault:
    match = _FAULT_NAME.fullmatch(name)
    kind, after = (match[1], match[2]) if match else (name, None)
    if kind not in FAULTS:
        raise ValueError(f"no fault named {name!r}; there are: {', '.join(FAULTS)}")
    place = FAULTS[kind]
    if place is None and after is not None:
        raise ValueError(f"{kind} strikes at one place only; leave out _after_{after}")
    return Fault(kind, int(after) if after is not None else (place or 0))


# Rules are written by clients, so what is remembered of them is bounded.
@lru_cache(maxsize=512)
def parse_rule(rule: str) -> tuple[tuple[str, str | None, object], ...]:
    """`fault@deepseek=drop;gap_ms=5` -> (("fault", "deepseek", "drop"), ("gap_ms", None, 5.0)); ValueError if wrong."""
    changes = []
    for part in filter(str.strip, rule.split(";")):
        match = _RULE_PART.fullmatch(part)
        if not match:
            raise ValueError(f"bad rule part {part.strip()!r}; write name=value or name@provider=value")
        name, provider, text = match[1], match[2], match[3]
        if provider is not None and provider not in PROVIDERS:
            raise ValueError(f"no provider named {provider!r}; there are: {', '.join(PROVIDERS)}")
        changes.append((name, provider, _field_value(name, text)))
    return tuple(changes)


def apply_rule(base: Scenario, rule: str, provider: str) -> Scenario:
    """`base` with the rule's changes for this provider; a bare fault name is a rule too. ValueError if it is wrong."""
    if "=" not in rule and rule.strip():
        rule = f"fault={rule.strip()}"
    changes = {name: value for name, only, value in parse_rule(rule) if only in (None, provider)}
    # Any because the fields have several types; _field_value gave each its own.
    wanted: dict[str, Any] = changes
    return replace(base, **wanted) if wanted else base


def _field_value(name: str, text: str) -> object:
    types = {field.name: field.type for field in fields(Scenario)}
    if name not in types:
        raise ValueError(f"no scenario field named {name!r}; there are: {', '.join(types)}")
    kinds = get_args(types[name]) or (types[name],)
    if text in ("", "none") and type(None) in kinds:
        return None
    kind = kinds[0]
    try:
        return kind(text) if callable(kind) else text
    except ValueError:
        raise ValueError(f"{name}={text!r} is not a {getattr(kind, '__name__', kind)}") from None


def read_scenario(given: object, provider: str | None) -> Scenario | None:
    """From JSON: a rule, an object of fields, or null for none. ValueError if it is wrong."""
    if given is None:
        return None
    if isinstance(given, dict):
        given = ";".join(f"{name}={'none' if value is None else value}" for name, value in given.items())
    if not isinstance(given, str):
        raise ValueError("scenario: give an object of fields, a rule as text, or null")
    return apply_rule(DEFAULT, given, provider or "")


# By provider, or by (provider, model).
Given = Mapping[str, Scenario] | Mapping[tuple[str, str], Scenario] | Mapping[str | tuple[str, str], Scenario]


class Scenarios:
    """Which scenario holds: nearest first, (provider, model), then provider, then everything."""

    def __init__(self, given: Given | None = None, seed: int = 0) -> None:
        self._given: Given = given or {}
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        """Back to what was given at the start, dice included."""
        self._set: dict[tuple[str | None, str | None], Scenario] = {}
        self._dice = seeded(str(self._seed).encode())
        for where, scenario in self._given.items():
            provider, model = (where, None) if isinstance(where, str) else where
            self.set(provider, scenario, model)

    def set(self, provider: str | None, scenario: Scenario | None, model: str | None = None) -> None:
        if provider is not None and provider not in PROVIDERS:
            raise ValueError(f"no provider named {provider!r}; there are: {', '.join(PROVIDERS)}")
        if scenario is None:
            self._set.pop((provider, model), None)
        else:
            self._set[provider, model] = scenario

    def find(self, provider: str, model: str) -> Scenario:
        for where in ((provider, model), (provider, None), (None, None)):
            if scenario := self._set.get(where):
                return scenario
        return DEFAULT

    def fault_of(self, scenario: Scenario) -> Fault:
        """The fault this one attempt meets; draws the dice only when there is something to draw for."""
        if scenario.fault is None or (scenario.p < 1 and self._dice.random() >= scenario.p):
            return NO_FAULT
        return parse_fault(scenario.fault)


DEFAULT = Scenario()
