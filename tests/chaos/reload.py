"""The configuration is reloaded over and over under load, good files and bad ones in turn: no request fails.

Each good one has other limits and deadlines, and a team whose organisation comes and goes. Once a reload is answered
every worker serves what it said; a bad one changes nothing, and its mistake is named with its line.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

from gateway.core.world import key_digest
from tests.running import RunningGateway

from .rolling import WORKERS, steady
from .stage import Verdict, compare, load, percentile, routes, stage

ADMIN = {"authorization": "Bearer admin-canary"}
PROBES = 12
"""New connections after each reload; any worker may take one."""

PAUSE_S = 0.2


@dataclass
class Reloads:
    took_s: list[float] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    other: int = 0
    """Probes that found another version than the one that was just answered."""
    unnamed: int = 0
    """Bad files that were not refused with their line."""


def good(number: int) -> str:
    guest = f"guest{number % 3}"
    team = f'  {guest}: {{keys: [{{id: {guest}, sha256: "{key_digest(guest)}"}}], organisation: {guest}}}\n'
    text = routes("100000").replace("teams:\n", f"teams:\n{team}").replace("total_s: 20", f"total_s: {20 + number}")
    limits = f"limits:\n  all-{number}: {{each: team, concurrency: {1_000 + number}}}\n"
    return f"{text}{limits}server: {{watch_s: 0, max_concurrency: {2_000 + number}}}\n"


def bad(number: int) -> tuple[str, str]:
    """And the place of its mistake."""
    text = good(number).replace("candidates: [openai/gpt-6-test", "candidates: [openai/gpt-6-tset", 1)
    before, _, after = text.partition("openai/gpt-6-tset")
    assert after
    return text, f"routes.yaml:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: unknown model"


async def run(folder: Path, *, times: int = 100) -> bool:
    print(f"reload: {times} reloads, good and bad ones in turn, {WORKERS} workers", flush=True)
    verdict = Verdict()
    async with stage(folder, good(0), workers=WORKERS, more={"GATEWAY_ADMIN_KEY": "admin-canary"}) as on:
        pids = on.gateway.worker_pids()
        loading = asyncio.create_task(load(on, seconds=3_600, at_once=20, make=steady))
        reloads = Reloads()
        for number in range(1, times + 1):
            await asyncio.sleep(PAUSE_S)
            await asyncio.to_thread(_reload, on.gateway, number, reloads)
        failed, statuses, same = list(on.seen.failed), dict(on.seen.statuses), on.gateway.worker_pids() == pids
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        rested = await on.at_rest(20)
        spent, held = on.spent("paying-month"), on.held()
    async with asyncio.timeout(20):
        await on.sim.idle()
    books = compare(folder, on.sim)
    verdict.hold("requests failed", not failed and set(statuses) == {200}, f"{len(failed)} of {statuses}")
    verdict.hold("versions seen", len(reloads.versions) == 1 + -(-times // 2), len(reloads.versions))
    verdict.hold("another version served after the answer", not reloads.other, f"{reloads.other} of {times * PROBES}")
    verdict.hold("bad files not refused with their line", not reloads.unnamed, f"{reloads.unnamed} of {times // 2}")
    verdict.hold("no process was replaced", same)
    verdict.hold("lost, doubled, mispriced rows", books.good, books.faults)
    verdict.hold("held afterwards", rested and held == 0, held)
    total = books.settled_nano + books.uncertain_nano
    verdict.hold("counter is the ledger", spent == total, f"{spent} = {total}")
    p50, p99 = (percentile(reloads.took_s, at) * 1e3 for at in (50, 99))
    print(f"       until all {WORKERS} workers serve a new one: p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    return verdict.kept


def _reload(gateway: RunningGateway, number: int, seen: Reloads) -> None:
    """Odd ones are good."""
    text, place = (good(number), "") if number % 2 else bad(number)
    new = gateway.routes.with_suffix(".new")
    new.write_text(text)
    new.replace(gateway.routes)
    before = _versions(gateway)
    began = time.perf_counter()
    status, _, body = gateway.post("/admin/reload", {}, **ADMIN)
    took_s = time.perf_counter() - began
    told = json.loads(body)
    if place:
        seen.unnamed += not (status == 422 and place in told["error"]["message"])
        expected = before
    else:
        seen.took_s.append(took_s)
        expected = [told.get("version", f"status {status}")] * PROBES
    after = _versions(gateway)
    seen.versions.update(before, after)
    seen.other += sum(one != other for one, other in zip(after, expected, strict=True))


def _versions(gateway: RunningGateway) -> list[str]:
    return [json.loads(gateway.get("/readyz")[2])["config"] for _ in range(PROBES)]
