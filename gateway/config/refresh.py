"""Look at the reviewed price file again and again, and swap the world when it has changed for a good one.

The one part of this room that waits. A file that is wrong is refused as a whole: its mistakes are logged once, and the
rows of before stay in force. So does a file that cannot be read, or that is being written. Whoever replaces it does so
by renaming a finished file onto it; a list cut off between two rows is a good file, and nobody could tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from .load import Loaded, with_reviewed
from .mistakes import ConfigError

log = logging.getLogger("gateway.prices")

WITHOUT_A_FILE_S = 60.0
"""How often it is asked whether there is a file by now: a reload may bring one."""

STILL_S = 0.5
"""A changed file must read the same this much later, or somebody is writing it."""


class PriceRefresher:
    """Owns the task that looks. `start` it in a running loop; `close` ends it.

    loaded: what is in force now. swap: puts another in its place; called in the loop, never while a look goes on.
    """

    def __init__(
        self,
        loaded: Callable[[], Loaded],
        swap: Callable[[Loaded], None],
        env: Mapping[str, str],
        *,
        now: Callable[[], datetime],
        still_s: float = STILL_S,
    ) -> None:
        self._loaded = loaded
        self._swap = swap
        self._env = env
        self._now = now
        self._still_s = still_s
        self._task: asyncio.Task[None] | None = None
        self._complaint: object = None
        self.refreshed = 0
        self.refused = False
        """The file as it stands now was refused, or cannot be read; older rows are in force."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_looking(), name="price-refresh")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _keep_looking(self) -> None:
        while True:
            refresh = self._loaded().refresh
            await asyncio.sleep(WITHOUT_A_FILE_S if refresh is None else refresh.every_s)
            await self.look()

    async def look(self) -> None:
        """One look at the file: nothing new, a swap, or a refusal."""
        before = self._loaded()
        if before.refresh is None or before.texts.reviewed is None:
            return
        path = before.refresh.path
        try:
            raw = await self._read(path)
        except OSError as exc:
            why = "%s cannot be read (%s); the price rows of before stay in force"
            self._complain(str(exc), why, path, exc.strerror)
            return
        if raw is None:
            return  # being written; the next look will see the end of it
        if raw == before.texts.reviewed.raw:
            self.refused, self._complaint = False, None
            return
        try:
            found = await asyncio.to_thread(with_reviewed, before, raw, self._env, now=self._now())
        except ConfigError as exc:
            why = "%s is refused, and the price rows of before stay in force:\n%s"
            self._complain(raw, why, path, exc)
            return
        if self._loaded() is not before:
            return  # a reload came first; look at its file instead
        self._swap(found)
        self.refreshed += 1
        self.refused, self._complaint = False, None
        log.info("%s has changed: its price rows are in force, configuration %s", path, found.world.version)

    async def _read(self, path: Path) -> bytes | None:
        """The file's bytes once they are still; None while they are not. Raises OSError."""
        raw = await asyncio.to_thread(path.read_bytes)
        reviewed = self._loaded().texts.reviewed
        if reviewed is not None and raw == reviewed.raw:
            return raw
        await asyncio.sleep(self._still_s)
        return raw if raw == await asyncio.to_thread(path.read_bytes) else None

    def _complain(self, about: object, why: str, *values: object) -> None:
        """Once for each state of the file, not at every look."""
        self.refused = True
        if about != self._complaint:
            self._complaint = about
            log.error(why, *values)
