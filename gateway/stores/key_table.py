"""The keys that were made while the gateway runs, as one process knows them: in memory, read anew when they change.

Invariant: a lookup never waits. While the database is away what is known stays in use, and `away` says that there may
be more; a revoked key can then open until the database is back, a key that is not known is not called wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine

from gateway.core.contracts import LedgerUnavailable

from .keys import ApiKey, changed_since

log = logging.getLogger("gateway.keys")

PAUSE_S = 0.4
"""Between two looks at the version. A revocation has to reach every process within a second."""

DEADLINE_S = 2.0
_NONE_YET = -1  # no version is below 0, so the first look reads all


class KeyTable:
    """Owns the task that keeps it fresh. `start` it in a running loop; `close` ends it.

    now_us: the clock that expiry is judged by, in microseconds since the epoch.
    """

    def __init__(self, engine: Engine, now_us: Callable[[], int]) -> None:
        self._engine = engine
        self._now_us = now_us
        self._version = _NONE_YET
        self._keys: Mapping[str, ApiKey] = {}
        self._families: Mapping[str, str] = {}
        self._answers = True
        self._task: asyncio.Task[None] | None = None
        # A thread of its own: reports and the ledger's writer may keep the shared ones busy for longer than a second.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="key-table")

    @property
    def loaded(self) -> bool:
        """Whether the keys have been read at least once."""
        return self._version != _NONE_YET

    @property
    def away(self) -> bool:
        """Whether a key that is not found may exist all the same."""
        return not (self.loaded and self._answers)

    def lookup(self, digest: str) -> ApiKey | None:
        """The key of this SHA-256, if it opens now."""
        key = self._keys.get(digest)
        return key if key is not None and key.opens(self._now_us()) else None

    def owner(self, digest: str) -> tuple[str, str] | None:
        """Whose key this is, if it opens now: the team, and the id that its spend counts under.

        The latter is that of the first key of a row of rotations, so that a budget of a key outlives a rotation.
        """
        key = self.lookup(digest)
        return None if key is None else (key.team, self._families[key.id])

    async def start(self) -> None:
        """Read all keys once; a database that is away is no reason not to start."""
        await self._look()
        self._task = asyncio.create_task(self._watch(), name="key-table")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_S)
            await self._look()

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await loop.run_in_executor(self._thread, changed_since, self._engine, self._version)
        except Exception as exc:  # whatever it is, what is known stays, and the next look may succeed
            if self._answers:
                known = isinstance(exc, LedgerUnavailable | TimeoutError)
                why = "no answer" if isinstance(exc, TimeoutError) else exc
                log.error("keys cannot be read, those known stay in use: %s", why, exc_info=not known)
            self._answers = False
            return
        if not self._answers:
            log.warning("keys can be read again")
        self._answers = True
        if found is not None:
            self._version, keys = found
            self._keys = {key.digest: key for key in keys}
            self._families = _families(keys)


def _families(keys: Sequence[ApiKey]) -> dict[str, str]:
    """The first id of each key's row of rotations. What a key was rotated from is older than itself."""
    families: dict[str, str] = {}
    for key in sorted(keys, key=lambda key: key.created_at_us):
        families[key.id] = key.id if key.rotated_from is None else families.get(key.rotated_from, key.rotated_from)
    return families
