"""What keeps the accounts true beside the requests. Safe to run in every worker at once; no worker is special.

renew     the leases of this worker's open holds, so that long answers keep theirs
sweep     holds whose worker is gone: charged at their hold, booked as uncertain
recover   records that a worker left in the stream: moved into the ledger, which books each id once
raise     counters that are below the ledger, after the store's memory was set back
slices    shares of budgets that may be spent while the store is away
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from gateway.core.budget import Bound, Offline
from gateway.core.contracts import Ledger, LedgerUnavailable
from gateway.core.records import SpendRecord

from .accounts import RedisAccounts, Slice
from .gate import LEASE_US, OVER_KEPT_US, Away, Gate

log = logging.getLogger("gateway.accounts")

TICK_S = 1.0
RENEW_S = 15.0
SWEEP_S = 2.0
RECOVER_S = 2.0
RAISE_S = 10.0
RETURN_S = 5.0
"""How long nobody sweeps after the store was away: leases ended meanwhile, and whoever is alive renews them first."""

RENEW_AT_ONCE = 1_000
SWEEP_AT_ONCE = 100
RECOVER_AT_ONCE = 500
ABANDONED_US = 5_000_000
"""A record this long in the stream was left there: its worker is gone, or waits for the ledger as everybody does."""

WRITE_DEADLINE_S = 30.0
SLICE_SHARE = 100
"""A slice is the hundredth part of what is left of a budget."""

Work = Callable[[str, Gate], Awaitable[None]]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_record = msgspec.msgpack.Decoder(SpendRecord).decode


class Upkeep:
    """Owns the background task. `start` it in a running loop."""

    def __init__(self, accounts: RedisAccounts, ledger: Ledger, worker: str) -> None:
        self._accounts = accounts
        self._ledger = ledger
        self._worker = worker
        self._task: asyncio.Task[None] | None = None
        self._slice_number = 0
        self.swept = 0
        self.recovered = 0

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="accounts-upkeep")

    async def close(self) -> None:
        """Stop, and give the slices back."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=1.0)
        for bound_id in list(self._accounts.slices):
            self._accounts.give_back(bound_id)

    async def _run(self) -> None:
        """Each work by itself: a ledger that hangs must not keep leases from being renewed."""
        async with asyncio.TaskGroup() as works:
            works.create_task(self._every(TICK_S, self._tell))
            works.create_task(self._every(RENEW_S, self.hold))
            works.create_task(self._every(SWEEP_S, self.sweep, after_s=RETURN_S))
            works.create_task(self._every(RECOVER_S, self.recover))
            works.create_task(self._every(RAISE_S, self.raise_counters))

    async def _every(self, period_s: float, work: Work, *, after_s: float = 0.0) -> None:
        """after_s: how long after the store's return it is first done again."""
        last: dict[str, float] = {}
        while True:
            for organisation, gate in self._accounts.gates.items():
                done_at = last.get(organisation, 0.0)
                back = gate.here_since >= done_at
                due = gate.here_since + after_s if back else done_at + period_s
                if not gate.away and time.monotonic() >= due:
                    last[organisation] = time.monotonic()
                    await self._do(work, organisation, gate)
            await asyncio.sleep(TICK_S)

    async def _do(self, work: Work, organisation: str, gate: Gate) -> None:
        try:
            await work(organisation, gate)
        except Away:
            log.info("the upkeep of the accounts waits for the store")
        except (LedgerUnavailable, TimeoutError) as exc:
            log.warning("the upkeep of the accounts waits for the ledger: %s", type(exc).__name__)
        except Exception:  # a fault of ours in one work must not end the others
            log.exception("the upkeep of the accounts failed inside the gateway")

    async def _tell(self, _: str, gate: Gate) -> None:
        gate.nudge()

    async def hold(self, organisation: str, gate: Gate) -> None:
        """Attempts first: one that spends from a slice is held itself before its slice is given back."""
        await self.renew(organisation, gate)
        await self.cut_slices(organisation, gate)

    async def renew(self, organisation: str, gate: Gate) -> None:
        mine = [one for one in self._accounts.open.values() if one.ask.organisation == organisation]
        kept = [one for one in self._accounts.slices.values() if one.organisation == organisation]
        names = [one.ask.hold for one in mine] + [one.hold for one in kept]
        for first in range(0, len(names), RENEW_AT_ONCE):
            _, lost = _decode(await gate.run("renew", str(LEASE_US), _encode(names[first : first + RENEW_AT_ONCE])))
            for at in lost:
                hold = names[first + at - 1]
                if hold in self._accounts.open:
                    one = self._accounts.open[hold]
                    await gate.admit([hold, one.ask.amount, one.budgets, one.limits, True], _encode(one.ask.note))
                else:
                    self._drop_slice(hold)

    def _drop_slice(self, hold: str) -> None:
        """It was lost with the store's memory, so nothing is set aside for it."""
        for kept in list(self._accounts.slices.values()):
            if kept.hold == hold:
                del self._accounts.slices[kept.bound.id]

    async def sweep(self, _: str, gate: Gate) -> None:
        found = SWEEP_AT_ONCE
        while found == SWEEP_AT_ONCE:
            found = int(await gate.run("sweep", str(SWEEP_AT_ONCE), str(OVER_KEPT_US)))
            self.swept += found
            if found:
                log.warning("%d holds were given up: their workers are gone; booked as uncertain", found)

    async def recover(self, _: str, gate: Gate) -> None:
        """Move what was left in the stream into the ledger, oldest first."""
        while True:
            before = f"{(gate.now_us() - ABANDONED_US) // 1_000}"
            entries = await gate.ask("XRANGE", gate.stream, "-", before, "COUNT", str(RECOVER_AT_ONCE))
            if not entries:
                return
            records = [record for _, fields in entries if (record := _readable(fields[1])) is not None]
            async with asyncio.timeout(WRITE_DEADLINE_S):
                await asyncio.to_thread(self._ledger.append, records)
            await gate.ask("XDEL", gate.stream, *(one for one, _ in entries))
            self.recovered += len(entries)

    async def raise_counters(self, organisation: str, _: Gate) -> None:
        for owner, bound in list(self._accounts.bounds.values()):
            if owner == organisation:
                await self._accounts.seed(organisation, [bound])

    async def cut_slices(self, organisation: str, gate: Gate) -> None:
        for owner, bound in list(self._accounts.bounds.values()):
            if owner == organisation and bound.budget.hard and bound.budget.offline is Offline.SLICE:
                await self._cut(organisation, gate, bound)

    async def _cut(self, organisation: str, gate: Gate, bound: Bound) -> None:
        """A fresh slice in the place of the old one, which is given back with what was not spent of it."""
        self._accounts.give_back(bound.id)
        left = bound.budget.limit_nano - self._accounts.used.get(bound.id, 0)
        amount = left // SLICE_SHARE
        if amount <= 0:
            return
        self._slice_number += 1
        hold = f"slice:{self._worker}:{bound.id}:{self._slice_number}"
        wire = self._accounts.budget_wire(gate, bound)
        answer = await gate.admit([hold, amount, [wire], [], False], b"")
        if answer[0] == 1:
            self._accounts.slices[bound.id] = Slice(organisation, hold, bound, wire, amount, amount)
            if bound.id not in self._accounts.bounds:  # a reload has taken the budget away meanwhile
                self._accounts.give_back(bound.id)


def _readable(raw: bytes) -> SpendRecord | None:
    try:
        return _record(raw)
    except msgspec.MsgspecError:
        # Left in the stream it would keep every later record out of the ledger. Here it can be booked by hand.
        log.exception("not booked, a record in the store cannot be read: %r", raw)
        return None
