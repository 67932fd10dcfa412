"""What the steps of one request cost by themselves: no network, no disk, one thread.

Each step is timed with timeit: enough calls to fill a twentieth of a second, repeated; the median repeat is shown, and
the fastest, which tells how much the machine was disturbed. The market is the shipped price book with every provider
in use, so a decision prices real rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import timeit
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from gateway.config import Loaded, load
from gateway.core.cachekey import cache_key, rules_digest
from gateway.core.candidate import Signals
from gateway.core.catalog import Model
from gateway.core.contracts import TallyStore
from gateway.core.conversation import fingerprint, read_conversation
from gateway.core.learning import learn
from gateway.core.money import Nano
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.core.request import ChatRequest, parse_chat
from gateway.core.route import Route
from gateway.core.routing import decide
from gateway.core.sse import StreamScanner
from gateway.dialects import DIALECTS
from gateway.proxy.learner import Learner
from gateway.proxy.metrics import Metrics

ROUTES = Path(__file__).resolve().parent / "routes.yaml"
KEYS = dict.fromkeys(("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY"), "sk-micro")
SMALL, LARGE = 200, 25_000
HUGE = 10_000_000
"""Bytes of request bodies: a question, a long prompt, and the longest that is taken."""

BODY_MODEL = Model("bench", "bench", "bench", 1_000_000, 10_000, frozenset(), 500)

RECORD = {
    "attempt_id": "01JXZ0000000000000000001.1", "request_id": "01JXZ0000000000000000001", "attempt": 1,
    "at_us": 1_795_392_000_000_000, "route": "bench", "policy": "cheapest", "kind": "overall", "team": "bench",
    "key_id": "bench", "provider": "openai", "model": "openai/gpt-4o-mini", "simulated": False, "stream": True,
    "cache": "off", "state": State.SETTLED, "outcome": "ok", "status": 200, "finish_reason": "stop",
    "usage_source": UsageSource.PROVIDER, "input_tokens": 25, "cached_input_tokens": 0, "cache_write_tokens": 0,
    "output_tokens": 64, "reasoning_tokens": 0, "service_tier": "default", "price_id": "openai/gpt-4o-mini@2024-07-18",
    "expected_nano": Nano(42_000), "cost_nano": Nano(42_150), "baseline_model": "openai/gpt-4o",
    "baseline_price_id": "openai/gpt-4o@2024-10-02", "baseline_nano": Nano(702_500), "duration_us": 1_234_567,
    "ttft_us": 321_000, "candidates": "[]", "drops": "[]",
}  # fmt: skip


def chat_body(size: int) -> bytes:
    """A chat request of exactly `size` bytes."""

    def written(text: str) -> bytes:
        messages = [{"role": "system", "content": "Answer concisely."}, {"role": "user", "content": text}]
        return json.dumps({"model": "bench", "messages": messages, "temperature": 0, "max_tokens": 256}).encode()

    body = written("w" * (size - len(written(""))))
    assert len(body) == size
    return body


def talk_body(size: int) -> bytes:
    """A conversation of about this many bytes: nine messages and a tool call that another provider made."""
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    said = {"role": "user", "content": "w" * (size // 8)}, {"role": "assistant", "content": "w" * (size // 8)}
    calls = {"role": "assistant", "content": None, "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": "w" * (size // 8)}
    return json.dumps({"model": "bench", "messages": [*said * 3, said[0], calls, result]}).encode()


def conversation_steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """What a request pays in which the assistant has spoken, beside what every request pays."""
    for size, named in ((400, "400 B"), (LARGE, f"{LARGE // 1000} kB"), (HUGE, f"{HUGE // 1_000_000} MB")):
        request = parse_chat(talk_body(size))
        yield f"conversation's digests, {named}", partial(read_conversation, request.fields, request.history)
        if size == LARGE:
            yield "fingerprint", partial(fingerprint, bytes(32), organisation="o", team="t", said=bytes(32))
            for name, dialect in DIALECTS.items():
                model = replace(BODY_MODEL, provider=name)
                yield f"{name} body of a foreign tool loop, {named}", partial(dialect.body, request, model)


def route_with(loaded: Loaded, count: int, request: ChatRequest, signals: Signals) -> Route:
    """The benched route with this many candidates, all of which may serve the request."""
    market = loaded.world.market
    wide = replace(loaded.world.routes["bench"], candidates=tuple(market.models))
    able = [candidate.model.id for candidate in decide(wide, request, market, signals).candidates]
    if len(able) < count:
        raise SystemExit(f"the price book has only {len(able)} models that may serve the request, not {count}")
    return replace(wide, candidates=tuple(able[:count]))


def warm_scanner() -> StreamScanner:
    """A scanner that has seen content: from there on plain chunks take the short way."""
    scanner = StreamScanner(drop_usage=True)
    scanner.feed(stream_chunk())
    return scanner


def stream_chunk() -> bytes:
    choice = {"index": 0, "delta": {"content": " token"}, "logprobs": None, "finish_reason": None}
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "gpt-4o-mini",
             "system_fingerprint": "fp_1", "choices": [choice], "usage": None}  # fmt: skip
    return b"data: " + msgspec.json.encode(chunk) + b"\n\n"


def steps() -> Iterator[tuple[str, Callable[[], object]]]:
    """What is timed, with its name."""
    small, large = chat_body(SMALL), chat_body(LARGE)
    yield f"parse_chat, {SMALL} B", lambda: parse_chat(small)
    yield f"parse_chat, {LARGE // 1000} kB", lambda: parse_chat(large)

    loaded = load(ROUTES, KEYS, now=datetime.now(UTC))
    market = loaded.world.market
    request, signals = parse_chat(small), Signals(now=datetime.now(UTC))
    four, eight = (route_with(loaded, count, request, signals) for count in (4, 8))
    yield "decide, 4 candidates", lambda: decide(four, request, market, signals)
    yield "decide, 8 candidates", lambda: decide(eight, request, market, signals)

    rules, caller = rules_digest(eight, market), loaded.world.keyless
    asked = {"scope": "team:bench", "rules": rules, "caller": caller}
    yield "rules_digest, 8 candidates", lambda: rules_digest(eight, market)
    parsed = {SMALL: request, LARGE: parse_chat(large)}
    secret = bytes(32)
    yield f"cache_key, {SMALL} B", lambda: cache_key(secret, **asked, request=parsed[SMALL])
    yield f"cache_key, {LARGE // 1000} kB", lambda: cache_key(secret, **asked, request=parsed[LARGE])

    yield from conversation_steps()

    scanner, chunk = warm_scanner(), stream_chunk()
    assert scanner.feed(chunk) is chunk
    yield "StreamScanner.feed, one plain chunk", lambda: scanner.feed(chunk)

    record, metrics = SpendRecord(**RECORD), Metrics("micro")
    yield "SpendRecord, created", lambda: SpendRecord(**RECORD)
    yield "Metrics.record", lambda: metrics.record(record, final=True)

    answered = msgspec.structs.replace(record, decision='{"config":"micro"}', prompt_bytes=100)
    learner = Learner(_Unused(), lambda: loaded.world, lambda: False, lambda: record.at_us)
    yield "Learner.observe, a record", lambda: learner.observe(answered)
    many = [answered] * 1_000
    yield "learn, 1,000 records of streams (in the learner's thread)", lambda: learn(many)
    yield "Learner.estimates, looked up", lambda: learner.estimates(four, "overall")


class _Unused(TallyStore):
    """No round is made here."""


def timed(step: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Nanoseconds a call: the median of the repeats, and the fastest."""
    timer = timeit.Timer(step)
    calls, seconds = timer.autorange()
    calls = max(1, int(calls * 0.05 / seconds))
    per_call = [total / calls * 1e9 for total in timer.repeat(repeats, calls)]
    return statistics.median(per_call), min(per_call)


def readable(nanoseconds: float) -> str:
    return f"{nanoseconds:.0f} ns" if nanoseconds < 1_000 else f"{nanoseconds / 1_000:.2f} us"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9, help="how often each step is timed (default: 9)")
    repeats = parser.parse_args().repeats
    print(f"{'one call':<44}{'median':>12}{'fastest':>12}")
    for name, step in steps():
        median, fastest = timed(step, repeats)
        print(f"{name:<44}{readable(median):>12}{readable(fastest):>12}")


if __name__ == "__main__":
    main()
