"""/admin/reload and /admin/config: take changed configuration files now, and say what is in force."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

# Any: checked on its way out.
_Facts = Mapping[str, Any]
Trigger = Literal["start", "signal", "watch", "admin"]


class Reloaded(BaseModel):
    """What is in force after a reload that refused nothing."""

    version: str
    changed: bool = Field(description="False: the files hold what was in force already.")
    warnings: list[str]


class Refused(BaseModel):
    """The last refusal, while nothing good has come after it."""

    at: datetime
    trigger: Trigger
    mistakes: list[str] = Field(description="Each with its file, line and column.")


class InForce(BaseModel):
    """The configuration in force."""

    version: str
    since: datetime
    trigger: Trigger
    refused: Refused | None


@dataclass(frozen=True, slots=True)
class ConfigParts:
    """What the composition root hands in. reload: raises GatewayError, 422 with the mistakes among others."""

    reload: Callable[[], Awaitable[_Facts]]
    in_force: Callable[[], _Facts]


def config_routes(parts: ConfigParts, authorise: Callable[[Any], None]) -> APIRouter:  # Any: an ASGI scope
    def admin(request: Request) -> None:
        authorise(request.scope)

    routes = APIRouter(prefix="/admin", tags=["admin"], dependencies=[Depends(admin)])

    @routes.post("/reload", response_model=Reloaded)
    async def reload() -> _Facts:
        """Read the configuration files again. 200 once every worker serves them; 422 with every mistake otherwise."""
        return await parts.reload()

    @routes.get("/config", response_model=InForce)
    async def config() -> _Facts:
        """Which configuration is in force, since when, and what was refused last."""
        return parts.in_force()

    return routes
