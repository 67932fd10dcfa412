"""What every scenario stands on: a simulator with its bill, a gateway of several workers, load, and the comparison."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from redis import Redis

from gateway.core.world import key_digest
from gateway.simulator import Simulator
from tests.flow.traffic import one_request
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway

KEYS = {"paying": "sk-paying-canary", "free": "sk-free-canary"}
BOOKS = "gw:a1:{default}:books"
HOLDS = "gw:a1:{default}:holds"
REFUSED_S = 0.2
STREAM = "gw:a1:{default}:stream"


def routes(budget_usd: str, *, more: str = "") -> str:
    """The routes of the flow tests, with a team under a hard monthly budget and one under none."""
    teams = "".join(
        f'  {team}: {{keys: [{{id: {team}-app, sha256: "{key_digest(key)}"}}]}}\n' for team, key in KEYS.items()
    )
    budget = f'budgets:\n  paying-month: {{team: paying, usd: "{budget_usd}", window: month}}\n'
    return f"{ROUTES}\nteams:\n{teams}{budget}{more}"


@dataclass
class Seen:
    """What the clients of a run saw."""

    statuses: Counter = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    left: int = 0
    cut: int = 0
    took_s: list[float] = field(default_factory=list)


@dataclass
class Stage:
    sim: Simulator
    gateway: RunningGateway
    store: Redis
    seen: Seen = field(default_factory=Seen)

    def afresh(self) -> Seen:
        """What was seen so far; what comes is counted anew."""
        before, self.seen = self.seen, Seen()
        return before

    def held(self) -> int:
        return sum(int(value) for name, value in self.store.hgetall(BOOKS).items() if name.startswith(b"h|"))

    def spent(self, budget: str) -> int:
        found = self.store.hgetall(BOOKS)
        return sum(int(value) for name, value in found.items() if name.startswith(f"s|{budget}:".encode()))

    async def at_rest(self, within_s: float) -> bool:
        """No hold is left, nothing is on its way into the ledger."""
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if not self.store.hlen(HOLDS) and not self.store.xlen(STREAM):
                return True
            await asyncio.sleep(0.2)
        return False


@asynccontextmanager
async def stage(
    folder: Path, routes_text: str, *, workers: int, more: dict[str, str] | None = None
) -> AsyncIterator[Stage]:
    async with Simulator(PRICES, keep_lines=1_000_000) as sim:
        gateway = RunningGateway(folder, routes_text, env(sim) | (more or {}), workers=workers)
        await asyncio.to_thread(gateway.start)
        socket = folder / "data" / "valkey" / "valkey.sock"
        store = Redis(unix_socket_path=str(socket)) if socket.exists() else Redis.from_url((more or {})["REDIS_URL"])
        try:
            yield Stage(sim, gateway, store)
        finally:
            await asyncio.to_thread(gateway.stop)
            store.close()


async def load(
    on: Stage, *, count: int | None = None, seconds: float | None = None, at_once: int = 40, team: str = "paying",
    make: Callable[[random.Random, int], tuple[dict, bool]] = one_request, seed: int = 20261124, pause_s: float = 0.0,
) -> None:  # fmt: skip
    """Keep `at_once` requests in progress until so many are sent, or so long. What clients saw goes to `on.seen`.

    pause_s: between two requests of one client.
    """
    dice = random.Random(seed)
    end = None if seconds is None else time.monotonic() + seconds
    number = 0
    headers = {"authorization": f"Bearer {KEYS[team]}"}
    timeout = aiohttp.ClientTimeout(total=60)

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal number
        while (count is None or number < count) and (end is None or time.monotonic() < end):
            number += 1
            fields, leaves = make(dice, number)
            began = time.monotonic()
            try:
                async with session.post("/v1/chat/completions", json=fields) as reply:
                    on.seen.statuses[reply.status] += 1
                    if leaves:
                        await reply.content.readany()
                        reply.close()
                        on.seen.left += 1
                    else:
                        body = await reply.read()
                        on.seen.cut += bool(fields.get("stream")) and not body.endswith(b"data: [DONE]\n\n")
                    if reply.status == 503:
                        await asyncio.sleep(REFUSED_S)  # a client that is refused waits before it asks again
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as exc:
                on.seen.failed.append(type(exc).__name__)
            on.seen.took_s.append(time.monotonic() - began)
            await asyncio.sleep(pause_s)

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(on.gateway.url, timeout=timeout, connector=connector, headers=headers) as session:
        await asyncio.gather(*(client(session) for _ in range(at_once)))


@dataclass
class Books:
    """The ledger beside the bill, attempt by attempt."""

    rows: int
    attempts: int
    billed: int
    lost: list[str]
    doubled: list[str]
    mispriced: list[str]
    settled_nano: int
    uncertain_nano: int
    bill_nano: int
    outcomes: Counter
    unbilled_settled: int

    @property
    def faults(self) -> tuple[int, int, int]:
        return len(self.lost), len(self.doubled), len(self.mispriced)

    @property
    def good(self) -> bool:
        return self.faults == (0, 0, 0)


def sqlite_rows(folder: Path) -> list[dict]:
    with sqlite3.connect(folder / "data" / "ledger.sqlite") as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute("SELECT * FROM spend_records")]


def compare(folder: Path, sim: Simulator, rows: list[dict] | None = None) -> Books:
    """Every attempt on the wire has exactly one row, and a settled row costs what was billed."""
    rows = sqlite_rows(folder) if rows is None else rows
    kept: dict[str, list[dict]] = {}
    for row in rows:
        kept.setdefault(row["corrects"] or row["attempt_id"], []).append(row)
    bill = {line.attempt: line for line in sim.bill}
    wire = Counter(line.attempt for line in sim.bill)
    lost = [attempt for attempt in wire if attempt not in kept]
    doubled = [a for a, found in kept.items() if sum(row["sign"] for row in found) != 1 or wire.get(a, 1) != 1]
    mispriced = []
    unbilled = 0
    for attempt, found in kept.items():
        last = max(found, key=lambda row: row["attempt_id"].endswith("~c"))  # a correction is what counts
        line = bill.get(attempt)
        if line is None:
            unbilled += last["state"] == "settled" and last["cost_nano"] != 0 and last["outcome"] != "cached"
        elif last["state"] == "settled" and last["cost_nano"] != line.cost_nano:
            mispriced.append(attempt)
    return Books(
        rows=len(rows), attempts=len(kept), billed=sum(line.billed for line in sim.bill), lost=lost, doubled=doubled,
        mispriced=mispriced, settled_nano=sum(row["cost_nano"] for row in rows if row["state"] == "settled"),
        uncertain_nano=sum(row["cost_nano"] for row in rows if row["state"] == "uncertain"),
        bill_nano=sum(line.cost_nano for line in sim.bill),
        outcomes=Counter(row["outcome"] for row in rows), unbilled_settled=unbilled,
    )  # fmt: skip


def percentile(values: list[float], at: int) -> float:
    return statistics.quantiles(values, n=100)[at - 1]


class Verdict:
    """Collects promises with their figures; prints each."""

    def __init__(self) -> None:
        self.kept = True

    def hold(self, promise: str, held: bool, figure: object = "") -> None:
        print(f"  {'ok  ' if held else 'FAIL'} {promise}{f': {figure}' if figure != '' else ''}", flush=True)
        self.kept = self.kept and held
