"""The money side of one worker, put together: accounts, ledger writer and upkeep, started and ended in the right order.

At the end: what was held beside requests is given back, what is finished is settled, then written, then told.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from gateway.core.world import World
from gateway.proxy.settle import Settler
from gateway.stores.accounts import RedisAccounts
from gateway.stores.gate import Gate
from gateway.stores.ledger import SqlLedger
from gateway.stores.redis_link import RedisLink
from gateway.stores.spent import spent_since
from gateway.stores.upkeep import Upkeep

from .settings import StartError

CONNECTIONS = 8
"""For each organisation: one for the flights, the others for the upkeep and for those that a deadline took away."""

DRAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Books:
    accounts: RedisAccounts
    settler: Settler
    upkeep: Upkeep


@asynccontextmanager
async def open_books(url: str, world: World, ledger: SqlLedger, *, simulated: bool) -> AsyncIterator[Books]:
    """Raises StartError when the address of the store is none."""
    worker = secrets.token_hex(8)
    settler = Settler(ledger)
    organisations = {caller.organisation for caller in (world.keyless, *world.teams.values())}
    try:
        links = {name: RedisLink(url, connections=CONNECTIONS) for name in sorted(organisations)}
    except ValueError as exc:
        raise StartError(f"REDIS_URL cannot be used: {exc}") from exc
    gates = {name: Gate(link, name, worker, settled=settler.put) for name, link in links.items()}

    def sums(scope: Mapping[str, str], since_us: int, bucket_us: int) -> Mapping[int, int]:
        found = spent_since(ledger.engine, scope, since_us, bucket_us=bucket_us or None, simulated=simulated)
        return found if isinstance(found, dict) else {since_us: found}

    accounts = RedisAccounts(gates, sums)
    settler.taken = accounts.taken
    upkeep = Upkeep(accounts, ledger, worker)
    for gate in gates.values():
        gate.start()
    settler.start()
    upkeep.start()
    try:
        yield Books(accounts, settler, upkeep)
    finally:
        await upkeep.close()
        await _settled(accounts)
        await settler.close(world.server.drain_s)
        for gate in gates.values():
            await gate.close(DRAIN_S)
        for link in links.values():
            await link.close()


async def _settled(accounts: RedisAccounts) -> None:
    """Wait until the store has every settlement, unless it is away: the ledger gets them all the same."""
    deadline = asyncio.get_running_loop().time() + DRAIN_S
    while accounts.waiting and not accounts.away and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - once
        await asyncio.sleep(0.005)
