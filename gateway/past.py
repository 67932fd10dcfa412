"""Decisions of the past, and the configurations that they were made under.

A configuration is kept once, when it is put in force; whoever asks about an old decision gets it made again under the
one of then. The command line and the admin API share it.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from functools import lru_cache

from sqlalchemy import Engine

from gateway.config import ConfigError, Loaded, keep, restore
from gateway.core.contracts import LedgerUnavailable
from gateway.core.decided import PastDecision, look_back, remembered_in
from gateway.core.world import World
from gateway.stores.configurations import configuration, keep_configuration
from gateway.stores.spend import attempts_of
from gateway.stores.table import EPOCH

log = logging.getLogger("gateway")

RETRY_S = 5.0
DEADLINE_S = 30.0
CLOSE_S = 2.0


class UnknownDecision(LookupError):
    """The ledger has no decision of this id."""


def past_decision(engine: Engine, decision: str) -> PastDecision:
    """Blocks. Raises UnknownDecision and LedgerUnavailable."""
    rows = attempts_of(engine, decision)
    if not rows:
        raise UnknownDecision(
            f"the ledger has no decision {decision[:60]!r}: its id is what the reply's x-gateway-decision said;"
            " requests that were refused before any attempt are not in it, and those of just now may not be yet"
        )
    at = (EPOCH + timedelta(microseconds=rows[0].at_us)).isoformat()
    remembered = remembered_in(rows)
    if remembered is None:
        return look_back(rows, None, "not possible: the ledger has not kept what it was made of", at)
    world, why_not = _world(engine, remembered.config)
    return look_back(rows, world, why_not, at)


def _world(engine: Engine, version: str) -> tuple[World | None, str]:
    """The world of that version, else why it cannot be had."""
    found = configuration(engine, version)
    if found is None:
        return None, f"not possible: the configuration {version} is not kept"
    try:
        return _restored(found[0], version, found[1]), ""
    except (ConfigError, ValueError) as exc:
        return None, f"not possible: the configuration {version} is no longer understood: {str(exc).splitlines()[0]}"


_restored = lru_cache(maxsize=4)(restore)
"""Reading the price book takes a tenth of a second, and who asks about one decision asks about the next."""


class Keeping:
    """Owns the tasks that keep configurations. `close` ends them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._tasks: set[asyncio.Task[None]] = set()

    def remember_configuration(self, loaded: Loaded, *, at_us: int) -> None:
        """Keep what was just put in force, beside everything else and however often it takes."""
        task = asyncio.create_task(self._keep(loaded, at_us), name="keep-configuration")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()

    async def _keep(self, loaded: Loaded, at_us: int) -> None:
        version = loaded.world.version
        content = await asyncio.wait_for(asyncio.to_thread(keep, loaded), DEADLINE_S)
        while True:
            try:
                async with asyncio.timeout(DEADLINE_S):
                    await asyncio.to_thread(keep_configuration, self._engine, version, content, at_us=at_us)
            except (LedgerUnavailable, TimeoutError) as exc:
                why = "no answer" if isinstance(exc, TimeoutError) else exc
                log.warning("the configuration %s is not kept yet: %s", version, why)
                await asyncio.sleep(RETRY_S)
            else:
                return
