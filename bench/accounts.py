"""What leave to spend costs: CPU of the gateway for one admission and its settlement, and time inside the store.

A real embedded store, which is another process: process_time counts the gateway's side alone. Each attempt has two
budgets and a limit of every kind, as a paying team has. The ledger is left out (a batch of rows costs the same whoever
settled them); what it has taken is told to the store, as always. The median of the rounds is shown, and the fastest.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop
from micro import RECORD
from redis.asyncio import Redis

from gateway.core.budget import Ask, Budget, Limit, Rules, Scope, ScopeKind, Unit, Window
from gateway.core.contracts import Settlement
from gateway.core.money import Nano
from gateway.core.records import SpendRecord
from gateway.stores.accounts import RedisAccounts
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.gate import Gate
from gateway.stores.redis_link import RedisLink

TARGET_US = 60
"""CPU of the gateway a request, at 32 at once."""

WHO = dict(zip(ScopeKind, ("key-1", "bench", "default", "bench", "openai"), strict=True))
RULES = Rules(
    budgets=(
        Budget("team", Scope(ScopeKind.TEAM, "bench"), Nano(10**15), Window(Unit.MONTH)),
        Budget("all", Scope(ScopeKind.ORGANISATION), Nano(10**15), Window(Unit.DAY, rolling=True)),
    ),
    limits=(Limit("team", Scope(ScopeKind.TEAM), 10**7, 10**9, 10_000),),
)


def asks_of(round_: str, count: int) -> list[tuple[Ask, SpendRecord]]:
    """Attempts and their ends, made before the clock runs: they cost the same with or without accounts."""
    budgets, limits = RULES.budgets_for(WHO), RULES.limits_for(WHO)
    base, found = SpendRecord(**{**RECORD, "organisation": "default"}), []
    for number in range(count):
        note = msgspec.structs.replace(base, attempt_id=f"01JXZ{round_:>8}{number:013d}.1", hold_nano=Nano(90_000))
        ask = Ask(note.attempt_id, "default", Nano(90_000), 100, budgets, limits, note)
        found.append((ask, msgspec.structs.replace(note, duration_us=5)))
    return found


async def measured(accounts: RedisAccounts, raw: Redis, round_: str, count: int, at_once: int) -> dict[str, float]:
    """Microseconds a request."""
    waiting = iter(asks_of(round_, count))

    async def caller() -> None:
        for ask, record in waiting:
            admission = await accounts.admit(ask)
            accounts.settle(admission, record)

    await raw.config_resetstat()
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(at_once)))
    while accounts.waiting:  # noqa: ASYNC110 - once a round
        await asyncio.sleep(0.001)
    used_s, took_s = time.process_time() - cpu, time.perf_counter() - began
    stats: dict[str, Any] = (await raw.info("commandstats"))["cmdstat_evalsha"]  # Any: redis-py has no types here
    return {
        "gateway CPU": used_s / count * 1e6,
        "inside the store": stats["usec"] / count,
        "wall": took_s / count * 1e6,
        "scripts": stats["calls"] / count,
        "us a script": stats["usec_per_call"],
    }


async def run(rounds: int, count: int) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedStore(Path(folder)) as store, Redis.from_url(store.url) as raw:
            link = RedisLink(store.url, connections=8)
            settled: list[Settlement] = []
            gate = Gate(link, "default", "bench", settled=settled.append)
            accounts = RedisAccounts({"default": gate}, lambda *_: {})
            gate.start()
            good = True
            print(f"{'us a request':<18}{'at once':>8}{'median':>10}{'fastest':>10}")
            for at_once in (1, 32):
                await measured(accounts, raw, f"w{at_once}", count // 10, at_once)
                found = []
                for number in range(rounds):
                    found.append(await measured(accounts, raw, f"{at_once}x{number}", count, at_once))
                    for one in settled:
                        accounts.taken(one)
                    settled.clear()
                for name in found[0]:
                    values = [one[name] for one in found]
                    print(f"{name:<18}{at_once:>8}{statistics.median(values):>10.2f}{min(values):>10.2f}")
                good = at_once == 1 or min(one["gateway CPU"] for one in found) < TARGET_US
            await gate.close(5)
            await link.close()
    return good


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--count", type=int, default=5_000, help="requests in a round (default: 5000)")
    asked = parser.parse_args()
    if not uvloop.run(run(asked.rounds, asked.count)):
        raise SystemExit(f"more than {TARGET_US} us of CPU a request")


if __name__ == "__main__":
    main()
