"""What the response cache's store says of its memory, read now and then, so that no scrape of the metrics waits."""

from __future__ import annotations

import asyncio
import contextlib

from .kept import CacheUnavailable, KeptAnswers, StoreFacts

EVERY_S = 15.0


class StoreWatch:
    """Owns the task that asks. facts: as they were last; None until the store has answered once."""

    def __init__(self, store: KeptAnswers, *, every_s: float = EVERY_S) -> None:
        self._store = store
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None
        self.facts: StoreFacts | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._watch(), name="store-watch")

    @property
    def memory(self) -> tuple[int, int, int] | None:
        """Keys evicted for want of memory, bytes used, bytes at most (0: no bound); None while nothing is known."""
        one = self.facts
        return None if one is None else (one.evicted_keys, one.used_memory_bytes, one.maxmemory_bytes)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(CacheUnavailable):  # the cache itself says so, once
                self.facts = await self._store.facts()
            await asyncio.sleep(self._every_s)
