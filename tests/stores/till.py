"""Workers of the accounts for tests: put together as open_books does, with the upkeep done when the test says so.

The scripts of a worker that is `driven` read the time from a key, so a test lets hours pass without waiting for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from redis.asyncio import Redis

from gateway.core.budget import Ask, Bound, BoundLimit, Budget, Limit, Rules, Scope, ScopeKind, Unit, Window
from gateway.core.contracts import Admission
from gateway.core.money import Nano
from gateway.core.records import LOST, SpendRecord, State, UsageSource
from gateway.proxy.settle import Settler
from gateway.stores.accounts import RedisAccounts
from gateway.stores.gate import PREFIX, Gate
from gateway.stores.ledger import SqlLedger
from gateway.stores.redis_link import RedisLink
from gateway.stores.spent import spent_since
from gateway.stores.table import TABLE
from gateway.stores.upkeep import Upkeep
from tests.stores.samples import ONE

CLOCK = "test:clock"
NOON_US = 1_795_435_200_000_000  # 2026-11-23T12:00:00Z
USD = 1_000_000_000

_names = itertools.count(1)


def an_organisation() -> str:
    """Tests share a server; each has the accounts of its own organisation."""
    return f"org{next(_names)}"


@dataclass(slots=True)
class Worker:
    """One process of the gateway as the store and the ledger see it."""

    organisation: str
    gate: Gate
    accounts: RedisAccounts
    settler: Settler
    upkeep: Upkeep
    made: int = 0
    answers: list[tuple[list[Any], list[Any]]] = field(default_factory=list)

    def ask(
        self, amount: int, *budgets: Budget, hold: str | None = None, limits: Sequence[Limit] = (), tokens: int = 0,
        team: str = "search",
    ) -> Ask:  # fmt: skip
        self.made += 1
        hold = hold or f"{self.organisation}-{self.gate._worker}-{self.made}.1"
        bounds, bound_limits = bounds_of(self.organisation, budgets, limits, team=team)
        note = msgspec.structs.replace(
            ONE, attempt_id=hold, request_id=hold.rpartition(".")[0], at_us=self.gate.now_us(), team=team,
            organisation=self.organisation, outcome=LOST, state=State.UNCERTAIN, usage_source=UsageSource.ESTIMATED,
            cost_nano=Nano(amount), hold_nano=Nano(amount),
        )  # fmt: skip
        return Ask(hold, self.organisation, Nano(amount), tokens, bounds, bound_limits, note)

    async def admit(self, amount: int, *budgets: Budget, **more: Any) -> Admission:
        return await self.accounts.admit(self.ask(amount, *budgets, **more))

    def settle(self, admission: Admission, cost: int, *, tokens: int = 0) -> None:
        self.accounts.settle(admission, ended(admission, cost, tokens=tokens))

    async def delivered(self) -> None:
        """The store has every settlement; the ledger may not."""
        await until(lambda: not self.gate.waiting)

    async def rest(self) -> None:
        """All is settled and written, and the store has let go of its copies."""

        def at_rest() -> bool:
            self.gate.nudge()
            return not (self.gate.waiting or self.settler.pending or self.gate._taken)

        await until(at_rest)


async def until(true: Callable[[], bool], *, within_s: float = 30) -> None:
    async with asyncio.timeout(within_s):
        while not true():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.001)


def ended(admission: Admission, cost: int, *, tokens: int = 0) -> SpendRecord:
    return msgspec.structs.replace(
        admission.ask.note, outcome="ok", state=State.SETTLED, usage_source=UsageSource.PROVIDER,
        cost_nano=Nano(cost), input_tokens=tokens, cached_input_tokens=0, output_tokens=0, reasoning_tokens=0,
    )  # fmt: skip


def bounds_of(
    organisation: str, budgets: Sequence[Budget], limits: Sequence[Limit] = (), *, team: str = "search"
) -> tuple[tuple[Bound, ...], tuple[BoundLimit, ...]]:
    who = {
        ScopeKind.KEY: ONE.key_id, ScopeKind.TEAM: team, ScopeKind.ORGANISATION: organisation,
        ScopeKind.ROUTE: ONE.route, ScopeKind.PROVIDER: ONE.provider,
    }  # fmt: skip
    rules = Rules(tuple(budgets), tuple(limits))
    return rules.budgets_for(who), rules.limits_for(who)


def a_budget(limit_nano: int, *, name: str = "b", window: Window | None = None, **more: Any) -> Budget:
    scope = more.pop("scope", Scope(ScopeKind.TEAM, "search"))
    return Budget(name, scope, Nano(limit_nano), window or Window(Unit.MONTH), **more)


@asynccontextmanager
async def a_worker(
    url: str, ledger: SqlLedger, organisation: str, *, name: str | None = None, driven: bool = False
) -> AsyncIterator[Worker]:
    """Whatever it has not settled when it ends stays as it is: to the others it has vanished."""
    name = name or f"w{next(_names)}"
    link = RedisLink(url, connections=8)
    settler = Settler(ledger)
    gate = Gate(link, organisation, name, settled=settler.put)
    if driven:
        drive(gate)

    def sums(scope: Mapping[str, str], since_us: int, bucket_us: int) -> Mapping[int, int]:
        found = spent_since(ledger.engine, scope, since_us, bucket_us=bucket_us or None, simulated=False)
        return found if isinstance(found, dict) else {since_us: found}

    accounts = RedisAccounts({organisation: gate}, sums)
    settler.taken = accounts.taken
    worker = Worker(organisation, gate, accounts, settler, Upkeep(accounts, ledger, name))
    _listen(worker)
    gate.start()
    settler.start()
    try:
        yield worker
    finally:
        await gate.close(5)
        await settler.close(5)
        await link.close()


def _listen(worker: Worker) -> None:
    """Keep what is asked of the store and what it answers."""
    asked = worker.gate.admit

    async def admit(entry: list[Any], note: bytes) -> list[Any]:
        answer = await asked(entry, note)
        worker.answers.append((entry, answer))
        return answer

    worker.gate.admit = admit  # type: ignore[method-assign]


def drive(gate: Gate) -> None:
    """The scripts as they are, but for where they read the clock."""
    read = (
        "{math.floor(tonumber(redis.call('GET', 'test:clock')) / 1000000), redis.call('GET', 'test:clock') % 1000000}"
    )
    for script in gate._scripts.values():
        assert script.text.count("redis.call('TIME')") == 1
        script.text = script.text.replace("redis.call('TIME')", read)
        script.sha = hashlib.sha1(script.text.encode(), usedforsecurity=False).hexdigest()


async def set_clock(client: Redis, at_us: int, *workers: Worker) -> None:
    await client.set(CLOCK, at_us)
    for worker in workers:
        worker.gate._set_clock(at_us)


@dataclass(slots=True)
class Books:
    """What the store holds of one organisation."""

    raw: dict[str, int]
    holds: set[str]
    busy: dict[str, int]
    stream: list[SpendRecord]

    @property
    def held(self) -> dict[str, int]:
        return self._by_budget("h|")

    @property
    def spent(self) -> dict[str, int]:
        return self._by_budget("s|")

    def _by_budget(self, kind: str) -> dict[str, int]:
        found: dict[str, int] = defaultdict(int)
        for name, value in self.raw.items():
            if name.startswith(kind):
                found[name.split("|")[1].partition(":")[0]] += value
        return dict(found)


async def books_of(client: Redis, organisation: str) -> Books:
    at = f"{PREFIX}{{{organisation}}}:"
    async with client.pipeline() as pipe:
        pipe.hgetall(at + "books").hkeys(at + "holds").hgetall(at + "rates").xrange(at + "stream")
        books, holds, rates, stream = await pipe.execute()
    decode = msgspec.msgpack.Decoder(SpendRecord).decode
    return Books(
        {name.decode(): int(value) for name, value in books.items()},
        {name.decode() for name in holds},
        {name.decode()[2:]: int(value) for name, value in rates.items() if name.startswith(b"c|") and int(value)},
        [decode(fields[b"r"]) for _, fields in stream],
    )


def rows_of(ledger: SqlLedger, organisation: str) -> dict[str, int]:
    """What each attempt has cost, corrections included."""
    ledger.prepare()
    text = "SELECT coalesce(corrects, attempt_id), sum(cost_nano) FROM {} WHERE organisation = '{}' GROUP BY 1"
    with ledger.engine.connect() as connection:
        found = connection.exec_driver_sql(text.format(TABLE.name, organisation))
        return {str(attempt): int(cost) for attempt, cost in found}
