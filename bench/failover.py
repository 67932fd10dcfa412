"""What a fault costs a caller: an instant failover in milliseconds, and when a stall or a cut stream is found out.

A gateway process and a simulator process of their own, asked over sockets. Requests that fail over are interleaved with
such that do not, so that both meet the same machine. A stall is due at the route's limit; a stream that ends too early
is due at once. Of failovers the best round counts: a busy machine only adds to them.

    PYTHONPATH=. python bench/failover.py [--rounds N] [--pairs N] [--each N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import aiohttp

from gateway.simulator import Simulator
from tests.flow.world import MODELS, PRICES, ROUTES, env
from tests.running import RunningGateway

LIMIT_S = 1.0
"""first_token_s and between_tokens_s of these routes."""

WITHIN_MS = 250.0
FAULTS = ("stall", "stall_after_3", "cut_after_3", "eof_after_3", "malformed_after_3", "error_event_after_3")
MORE = """
  well: {policy: cheapest, candidates: [google/gemini-test]}
  ill: {policy: cheapest, candidates: [deepseek/chat-test], fallbacks: [google/gemini-test]}
"""


async def simulate() -> None:
    """The simulator's process: says where it is, and stays until it is ended."""
    async with Simulator(PRICES) as sim:
        print(json.dumps(env(sim)), flush=True)
        await asyncio.Event().wait()


async def failover(url: str, rounds: int, pairs: int) -> None:
    """Pairs of a request that is answered at once and one whose first candidate answers 503 at once."""
    print(f"failover, best of {rounds} rounds of {pairs} pairs, in ms   p50     p99")
    async with aiohttp.ClientSession(url) as session:
        best = min([await _round(session, pairs) for _ in range(rounds)], key=lambda one: _quantiles(one[2])[1])
    for name, values in zip(("answered at once", "failed over", "added by it"), best, strict=True):
        p50, p99 = _quantiles(values)
        print(f"  {name:<50}{p50:8.2f}{p99:8.2f}")
    print(f"  failed over / answered at once (p50): {statistics.median(best[1]) / statistics.median(best[0]):.2f}")


async def _round(session: aiohttp.ClientSession, pairs: int) -> tuple[list[float], list[float], list[float]]:
    """Answered at once, failed over, and the difference of each pair."""
    took: dict[str, list[float]] = {"well": [], "ill": []}
    for _ in range(pairs):
        for route in took:
            began = time.perf_counter()
            attempts = await _asked(session, model=route, user="sim:answer_tokens=8;fault@deepseek=http_503")
            took[route].append((time.perf_counter() - began) * 1e3)
            assert attempts == {"well": 1, "ill": 2}[route]
        for _ in range(2):  # good ones: no circuit opens
            await _asked(session, model="ill", user="sim:answer_tokens=8")
    return took["well"], took["ill"], [ill - well for well, ill in zip(took["well"], took["ill"], strict=True)]


async def _asked(session: aiohttp.ClientSession, **fields: str) -> int:
    """How many attempts it took."""
    body = {"messages": [{"role": "user", "content": "hello"}], **fields}
    async with session.post("/v1/chat/completions", json=body) as reply:
        await reply.read()
        assert reply.status == 200, reply.status
        return int(reply.headers["x-gateway-attempts"])


async def detection(url: str, each: int) -> bool:
    """How late the client hears of each fault, for each dialect; a stall is due LIMIT_S after the last content."""
    print(f"\nfound out, in ms after it was due ({each} each; bound: {WITHIN_MS:g})   p50     max")
    good = True
    async with aiohttp.ClientSession(url) as session:
        for model in MODELS:
            for fault in FAULTS:
                rules = [f"sim:fault={fault};answer_tokens=20;gap_ms=10;chunk_tokens=1;keepalive_ms=100"] * each
                late = [await one for one in asyncio.as_completed([_late_ms(session, model, rule) for rule in rules])]
                good = good and max(map(abs, late)) <= WITHIN_MS
                print(f"  {model:<24}{fault:<32}{statistics.median(late):8.1f}{max(late):8.1f}")
    return good


async def _late_ms(session: aiohttp.ClientSession, model: str, rule: str) -> float:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "x"}], "user": rule}
    last = time.perf_counter()
    async with session.post("/v1/chat/completions", json=body) as reply:
        while line := await reply.content.readline():
            assert not line.startswith(b"data: [DONE]")
            if line.startswith(b"data: {") and b'"error"' not in line:
                last = time.perf_counter()
            elif b'"error"' in line:
                break
    due_s = LIMIT_S if "stall" in rule else 0.0
    return (time.perf_counter() - last - due_s) * 1e3


def _quantiles(values: list[float]) -> tuple[float, float]:
    hundredths = statistics.quantiles(values, n=100)
    return hundredths[49], hundredths[98]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--each", type=int, default=10)
    parser.add_argument("--simulate", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.simulate:
        asyncio.run(simulate())
        return 0
    command = [sys.executable, __file__, "--simulate"]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as simulator,
        tempfile.TemporaryDirectory(prefix="gateway-failover-") as folder,
    ):
        assert simulator.stdout is not None
        try:
            addresses = json.loads(simulator.stdout.readline())
            with RunningGateway(Path(folder), ROUTES + MORE, addresses) as gateway:
                asyncio.run(failover(gateway.url, given.rounds, given.pairs))
                return 0 if asyncio.run(detection(gateway.url, given.each)) else 1
        finally:
            simulator.terminate()


if __name__ == "__main__":
    sys.exit(main())
