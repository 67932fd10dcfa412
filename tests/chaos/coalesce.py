"""Equal requests at the same moment over four workers: one call, whoever leads it dies, and everybody is answered."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from pathlib import Path

from gateway.simulator import Scenario
from tests.flow.crowd import Client, ask_all, crowd, workers_of
from tests.flow.world import MODELS

from .stage import KEYS, Stage, Verdict, compare, routes, sqlite_rows, stage

WORKERS = 4
FOLLOWERS = 60
LEASE_S = 2.0
SLACK_S = 1.0
"""For a machine that is busy with a thousand clients, four workers and the provider."""

WAITS_MS = 1_500
"""Before a call's first byte: time for everybody to come."""

_ROUTE = f"""
    policy: cheapest
    candidates: [{", ".join(MODELS)}]
    baseline: openai/gpt-6-test
    timeouts: {{first_token_s: 20, between_tokens_s: 20, total_s: 40}}"""
SHARED = f"""
  shared:{_ROUTE}
    cache: {{ttl_s: 600, max_kib: 64}}
  plain:{_ROUTE}
"""


async def run(folder: Path, *, times: int = 3, requests: int = 1_000) -> bool:
    print(f"coalesce: {requests} equal requests at once, {times} times each way; {WORKERS} workers", flush=True)
    verdict = Verdict()
    async with stage(folder, shared_routes(), workers=WORKERS) as on:
        on.sim.set_scenario(None, Scenario(ttft_ms=WAITS_MS, gap_ms=25, answer_tokens=40, reasoning_tokens=0))
        for number in range(times):
            for stream in (False, True):
                await _at_once(folder, on, verdict, requests, fields(f"round {number}", stream))
        for number in range(times):
            for stream in (False, True):
                await _leader_killed(on, verdict, fields(f"kill {number}", stream))
        rested = await on.at_rest(100)  # a killed worker's hold is given up after a minute
        held = on.held()
    async with asyncio.timeout(20):
        await on.sim.idle()
    books = compare(folder, on.sim)
    verdict.hold("lost, doubled, mispriced rows", books.good, books.faults)
    verdict.hold("settled rows that nobody billed", not books.unbilled_settled, books.unbilled_settled)
    verdict.hold("held afterwards", rested and held == 0, held)
    return verdict.kept


def shared_routes() -> str:
    return routes("100000").replace("\nteams:", f"{SHARED}\nteams:")


def fields(what: str, stream: bool) -> dict:
    """Of a question that nobody has asked before: the other delivery's answer would serve as well."""
    text = f"{what}, {'streamed' if stream else 'whole'}"
    return {"model": "shared", "messages": [{"role": "user", "content": text}], "stream": stream}


async def _at_once(folder: Path, on: Stage, verdict: Verdict, count: int, asked: dict) -> None:
    what = asked["messages"][0]["content"]
    before, since = len(on.sim.bill), time.time_ns() // 1_000
    clients = await crowd(on.gateway, count)
    began = time.monotonic()
    await ask_all(clients, asked, KEYS["free"])
    took = max(client.ended_s for client in clients) - began

    calls, words = len(on.sim.bill) - before, Counter(client.cache for client in clients)
    verdict.hold(f"{what}: calls", calls == 1, f"{calls}; {dict(words)}, the last after {took:.1f} s")
    texts = {client.text for client in clients}
    verdict.hold(f"{what}: answered whole and alike", len(texts) == 1 and texts != {""} and not _broken(clients),
                 f"{len(texts)} texts, {len(_broken(clients))} broken off")  # fmt: skip
    rows = await _rows(folder, count, since)
    paid = [row for row in rows if row["cost_nano"]]
    saved = [row for row in rows if (row["outcome"], row["cost_nano"]) == ("cached", 0) and row["baseline_nano"] > 0]
    verdict.hold(f"{what}: rows that cost nothing and tell what they saved", (len(paid), len(saved)) == (1, count - 1),
                 f"{len(saved)} and {len(paid)} that paid, of {len(rows)}")  # fmt: skip


async def _leader_killed(on: Stage, verdict: Verdict, asked: dict) -> None:
    what = asked["messages"][0]["content"]
    before = len(on.sim.bill)
    call_s = (WAITS_MS + 40 * 25) / 1e3
    [leader] = await crowd(on.gateway, 1)
    leading = asyncio.create_task(leader.ask(asked, KEYS["free"]))
    await asyncio.sleep(0.3)
    followers = await crowd(on.gateway, FOLLOWERS)
    workers = await workers_of(on.gateway, [leader, *followers])
    victim = workers[leader.port]
    safe = [client for client in followers if workers[client.port] != victim]
    following = asyncio.create_task(ask_all(followers, asked, KEYS["free"]))
    # A stream is killed when a part of it has gone out to all, a whole answer while it is waited for.
    await asyncio.sleep(WAITS_MS / 1e3 + 0.3 if asked["stream"] else 0.5)
    had = sum(bool(client.body) for client in safe)

    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    await asyncio.gather(leading, following)

    [after] = await crowd(on.gateway, 1)
    await after.ask(asked, KEYS["free"])
    late = max(client.ended_s for client in safe) - killed_at
    calls, texts = len(on.sim.bill) - before, {client.text for client in safe}
    verdict.hold(f"{what}: {len(safe)} on other workers, {had} with a part, have what is kept now",
                 texts == {after.text} != {""} and not _broken(safe)
                 and (had, after.cache) == (len(safe) if asked["stream"] else 0, "hit"),
                 f"{len(texts)} texts, {len(_broken(safe))} broken off")  # fmt: skip
    verdict.hold(f"{what}: calls, the killed one with them", calls == 2, calls)
    bound = LEASE_S + call_s + SLACK_S
    verdict.hold(f"{what}: the last after at most a lease and a call ({LEASE_S + call_s:g} s)", late < bound,
                 f"{late:.2f} s")  # fmt: skip
    for _ in range(300):
        if len(on.gateway.worker_pids()) == WORKERS:
            break
        await asyncio.sleep(0.1)


def _broken(clients: list[Client]) -> list[Client]:
    return [client for client in clients if client.broke or client.status != 200]


async def _rows(folder: Path, count: int, since_us: int) -> list[dict]:
    """The rows of requests since then, once there are so many."""
    deadline = time.monotonic() + 30
    while True:
        rows = [row for row in sqlite_rows(folder) if row["at_us"] >= since_us]
        if len(rows) >= count or time.monotonic() > deadline:
            return rows
        await asyncio.sleep(0.2)
