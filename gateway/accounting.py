"""The money side of one worker, put together: accounts, ledger writer and upkeep, started and ended in the right order.

At the end: what was held beside requests is given back, what is finished is settled, then written, then told.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

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


class Books:
    """Follows the configuration: `follow` it before the first request is served by it.

    Invariant: an organisation keeps its gate until the end, also when it was taken out of the configuration: attempts
    under way hold something there.
    """

    def __init__(self, url: str, ledger: SqlLedger) -> None:
        self._url = url
        self._ledger = ledger
        self._worker = secrets.token_hex(8)
        self._links: list[RedisLink] = []
        self._simulated = False
        self._drain_s = DRAIN_S
        self.settler = Settler(ledger)
        self.accounts = RedisAccounts({}, self._sums)
        self.settler.taken = self.accounts.taken
        self.upkeep = Upkeep(self.accounts, ledger, self._worker)

    def follow(self, world: World, *, simulated: bool) -> None:
        """Open the accounts of organisations that are new here. Raises ValueError when the store's address is none."""
        self._simulated, self._drain_s = simulated, world.server.drain_s
        for name in sorted({caller.organisation for caller in (world.keyless, *world.teams.values())}):
            if name not in self.accounts.gates:
                link = RedisLink(self._url, connections=CONNECTIONS)
                gate = Gate(link, name, self._worker, settled=self.settler.put)
                gate.start()
                self._links.append(link)
                self.accounts.add(name, gate)
        self.accounts.follow(world.rules.budgets)

    def start(self) -> None:
        self.settler.start()
        self.upkeep.start()

    async def close(self) -> None:
        await self.upkeep.close()
        await self._settled()
        await self.settler.close(self._drain_s)
        for gate in self.accounts.gates.values():
            await gate.close(DRAIN_S)
        for link in self._links:
            await link.close()

    async def _settled(self) -> None:
        """Wait until the store has every settlement, unless it is away: the ledger gets them all the same."""
        accounts, clock = self.accounts, asyncio.get_running_loop().time
        deadline = clock() + DRAIN_S
        while accounts.waiting and not accounts.away and clock() < deadline:  # noqa: ASYNC110 - once
            await asyncio.sleep(0.005)

    def _sums(self, scope: Mapping[str, str], since_us: int, bucket_us: int) -> Mapping[int, int]:
        engine = self._ledger.engine
        found = spent_since(engine, scope, since_us, bucket_us=bucket_us or None, simulated=self._simulated)
        return found if isinstance(found, dict) else {since_us: found}


@asynccontextmanager
async def open_books(url: str, world: World, ledger: SqlLedger, *, simulated: bool) -> AsyncIterator[Books]:
    """Raises StartError when the address of the store is none."""
    books = Books(url, ledger)
    try:
        books.follow(world, simulated=simulated)
    except ValueError as exc:
        raise StartError(f"REDIS_URL cannot be used: {exc}") from exc
    books.start()
    try:
        yield books
    finally:
        await books.close()
