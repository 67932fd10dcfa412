"""A reload as the admin API tells of it: what came of it, or why it was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from gateway.admin.config import ConfigParts
from gateway.config import Outcome, Standing
from gateway.core.errors import Blame, GatewayError

DEADLINE_S = 30.0


def config_parts(reload: Callable[[], Awaitable[Outcome]], standing: Callable[[], Standing]) -> ConfigParts:
    """reload: in every process; may raise GatewayError. standing: of the configuration in force."""

    async def reloaded() -> dict[str, Any]:  # Any: facts of every kind, checked on their way out
        try:
            async with asyncio.timeout(DEADLINE_S):
                outcome = await reload()
        except TimeoutError as exc:
            told = "the reload has not ended in time; GET /admin/config says what comes of it"
            raise GatewayError(Blame.GATEWAY, 504, told=told) from exc
        if outcome.result == "refused":
            told = "\n".join(outcome.mistakes)
            raise GatewayError(Blame.CALLER, 422, told=told)
        if outcome.late:
            told = (
                f"configuration {outcome.version} is in force, but {outcome.late} workers have not taken it in time; "
                "they are replaced"
            )
            raise GatewayError(Blame.GATEWAY, 504, told=told)
        return {
            "version": outcome.version,
            "changed": outcome.result == "applied",
            "warnings": outcome.warnings,
        }

    def in_force() -> dict[str, Any]:  # Any: as above
        now = standing()
        return {"version": now.version, "since": now.since, "trigger": now.trigger, "refused": _refused(now)}

    return ConfigParts(reloaded, in_force)


def _refused(standing: Standing) -> dict[str, Any] | None:  # Any: as above
    one = standing.refusal
    return None if one is None else {"at": one.at, "trigger": one.trigger, "mistakes": one.mistakes}
