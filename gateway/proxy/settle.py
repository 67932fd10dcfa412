"""From finished attempts to the book, off the hot path: a queue, one writer, batches.

An attempt is settled in the accounts first, which keep a copy of its record until the ledger has it; so a process that
is killed leaves nothing behind that another one does not find. Only while the accounts are away is a record booked
without that copy.

Invariant: a record leaves the queue only after the ledger has taken it. While the ledger is away records wait and
`full` turns true at the queue's limit; the front door then refuses new work, because spend could not be booked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice

from gateway.core.contracts import Accounts, Admission, Ledger, LedgerUnavailable, Settlement
from gateway.core.records import SpendRecord

from .metrics import Metrics

log = logging.getLogger("gateway.settle")

BATCH = 500
PAUSE_S = 0.05
"""How long a batch gathers: a commit costs as much as many rows."""

LONGEST_RETRY_S = 5.0
WRITE_DEADLINE_S = 60.0


class Settler:
    """Owns the writer task. `start` it in a running loop; `close` drains the queue.

    taken: told of each settlement whose record the ledger has.
    """

    def __init__(
        self, ledger: Ledger, *, taken: Callable[[Settlement], None] | None = None, limit: int = 200_000
    ) -> None:
        self._ledger = ledger
        self.taken = taken
        self._limit = limit
        self._queue: deque[Settlement] = deque()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self.failures = 0

    @property
    def pending(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        return len(self._queue) >= self._limit

    def put(self, settlement: Settlement) -> None:
        self._queue.append(settlement)
        if not self._wake.is_set():
            self._wake.set()

    def start(self) -> None:
        self._task = asyncio.create_task(self._write(), name="ledger-writer")

    async def close(self, deadline_s: float) -> int:
        """Write what is left, at most this long. Returns how many records could not be written."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            try:
                await asyncio.wait_for(self._task, deadline_s)
            except TimeoutError:
                log.error("the ledger did not take the last %d records within %g s", self.pending, deadline_s)
        return self.pending

    async def _write(self) -> None:
        retry_s = PAUSE_S
        while self._queue or not self._closing:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()  # woken by the next record or by close
                continue
            if not self._closing:
                await asyncio.sleep(PAUSE_S)  # lets a batch gather; costs the caller nothing
            batch = list(islice(self._queue, BATCH))
            records = [one.record for one in batch if one.record is not None]
            try:
                async with asyncio.timeout(WRITE_DEADLINE_S):
                    await asyncio.to_thread(self._ledger.append, records)
            except Exception as exc:  # whatever it is, the records stay queued and are tried again
                self.failures += 1
                known = isinstance(exc, LedgerUnavailable | TimeoutError)
                log.error("ledger not writable, %d records wait: %s", self.pending, exc, exc_info=not known)
                await asyncio.sleep(retry_s)
                retry_s = min(retry_s * 2, LONGEST_RETRY_S)
                continue
            retry_s = PAUSE_S
            for settlement in batch:
                self._queue.popleft()
                if self.taken is not None:
                    self.taken(settlement)


class Booking:
    """Where every finished attempt goes, once: accounts, book, metrics and the learner read the same record."""

    def __init__(self, accounts: Accounts, metrics: Metrics, learn: Callable[[SpendRecord], None]) -> None:
        self._accounts = accounts
        self._metrics = metrics
        self._learn = learn

    def book(self, record: SpendRecord, admission: Admission | None, *, final: bool) -> None:
        """final: no further attempt of this request follows."""
        self._accounts.settle(admission, record)
        self._metrics.record(record, final=final)
        self._learn(record)
