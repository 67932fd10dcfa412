"""The HTTP API beside the chat endpoint. Each route names who may use it; the composition root hands in the rest.

Who may use what: /healthz and /readyz anybody; /v1/* a caller's key; /admin/* the admin key; /metrics the metrics or
admin key. Without any configured keys everything is open to programs on this machine, and only there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, FastAPI, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from gateway.core.contracts import LedgerUnavailable
from gateway.core.errors import Blame, GatewayError
from gateway.core.explain import Explanation
from gateway.core.world import Caller, World

from .audit import Read, audit_routes
from .cache import CacheParts, cache_routes
from .config import ConfigParts, config_routes
from .feedback import FeedbackParts, feedback_routes
from .keys import KeyParts, key_routes

Asked = TypeVar("Asked")
Found = TypeVar("Found")

QUERY_DEADLINE_S = 30.0


class SpendQuestion(BaseModel):
    """What spend is asked for. A filter that is not known is refused: the sum of everything would be taken for its."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: str = Field(default="provider", description="comma-separated: provider, model, route, team, key, tag:NAME, ...")
    since: str | None = Field(default=None, description="ISO date or instant, UTC if unsaid; included")
    until: str | None = Field(default=None, description="ISO date or instant, UTC if unsaid; excluded")
    team: str | None = None
    provider: str | None = None
    model: str | None = None
    route: str | None = None
    key: str | None = None
    organisation: str | None = None
    end_user: str | None = None
    tag: list[str] = Field(default=[], description="NAME=VALUE: only with this tag; may be given several times")
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class AdminParts:
    """What the composition root hands in. `authorise_*` raise GatewayError.

    spend and decision block and run in a thread; decision raises LookupError for an unknown id.
    """

    world: Callable[[], World]
    authenticate: Callable[[Any], Caller]  # Any: an ASGI scope
    authorise_admin: Callable[[Any], None]
    authorise_metrics: Callable[[Any], None]
    explain: Callable[[Any, bytes], Awaitable[Explanation]]
    spend: Callable[[SpendQuestion], bytes]
    metrics: Callable[[], Awaitable[bytes]]
    metrics_type: str
    readiness: Callable[[], Mapping[str, Any]]
    keys: KeyParts
    configs: ConfigParts
    feedback: FeedbackParts
    decision: Callable[[str], msgspec.Struct]
    cache: CacheParts
    audit: Read


class _Out(Response):
    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # Any: whatever msgspec can write
        return content if isinstance(content, bytes) else msgspec.json.encode(content)


def create_api(parts: AdminParts, *, version: str) -> FastAPI:
    """The FastAPI application, with OpenAI error bodies throughout."""
    api = FastAPI(title="LLM routing gateway", version=version, default_response_class=_Out, redoc_url=None)
    _install_errors(api)
    _install_health(api, parts)
    _install_models(api, parts)
    _install_admin(api, parts)
    api.include_router(key_routes(parts.keys, parts.authorise_admin))
    api.include_router(cache_routes(parts.cache, parts.authorise_admin))
    api.include_router(audit_routes(parts.audit, parts.authorise_admin))
    api.include_router(config_routes(parts.configs, parts.authorise_admin))
    api.include_router(feedback_routes(parts.feedback, parts.world, parts.authenticate))
    return api


def _install_errors(api: FastAPI) -> None:
    @api.exception_handler(GatewayError)
    async def _ours(request: Request, error: GatewayError) -> Response:
        return Response(error.body(), error.status, dict(error.headers), "application/json")

    @api.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        name = str(first["loc"][-1])
        told = f"{name!r}: {first['msg']}"
        return await _ours(request, GatewayError(Blame.CALLER, 400, told=told, param=name))

    @api.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        told = f"{request.method} {request.url.path}: {error.detail}"
        headers = tuple((error.headers or {}).items())
        return await _ours(request, GatewayError(Blame.CALLER, error.status_code, told=told, headers=headers))


def _install_health(api: FastAPI, parts: AdminParts) -> None:
    def metrics_reader(request: Request) -> None:
        parts.authorise_metrics(request.scope)

    @api.get("/healthz", tags=["health"])
    async def healthz() -> Response:
        """The process answers."""
        return _Out({"status": "ok"})

    @api.get("/readyz", tags=["health"])
    async def readyz() -> Response:
        """Requests can be served: 503 while draining or while the ledger cannot take records."""
        state = parts.readiness()
        return _Out(state, 200 if state["ready"] else 503)

    @api.get("/metrics", tags=["health"], dependencies=[Depends(metrics_reader)])
    async def metrics() -> Response:
        """Prometheus text exposition."""
        return Response(await parts.metrics(), media_type=parts.metrics_type)


def _install_models(api: FastAPI, parts: AdminParts) -> None:
    @api.get("/v1/models", tags=["models"])
    async def models(request: Request) -> Response:
        """Routes and models that this caller may name in `model`."""
        caller = parts.authenticate(request.scope)
        return _Out({"object": "list", "data": _model_list(parts.world(), caller)})

    @api.get("/v1/models/{name:path}", tags=["models"])
    async def model(name: str, request: Request) -> Response:
        for entry in _model_list(parts.world(), parts.authenticate(request.scope)):
            if entry["id"] == name:
                return _Out(entry)
        raise GatewayError(Blame.CALLER, 404, told=f"no route or model is named {name[:100]!r}", code="model_not_found")


def _model_list(world: World, caller: Caller) -> list[dict[str, Any]]:
    entries = [
        {"id": name, "object": "model", "created": 0, "owned_by": "gateway", "kind": "route",
         "policy": route.policy.name, "candidates": list(route.candidates)}
        for name, route in world.routes.items()
        if caller.may_use(route)
    ]  # fmt: skip
    for model in world.market.models.values():
        if model.embeds or model.provider in world.market.off or not caller.may_use(world.direct[model.id]):
            continue
        entries.append({"id": model.id, "object": "model", "created": 0, "owned_by": model.provider, "kind": "model"})
    return entries


def _install_admin(api: FastAPI, parts: AdminParts) -> None:
    def admin(request: Request) -> None:
        parts.authorise_admin(request.scope)

    guarded = [Depends(admin)]

    @api.get("/admin/spend", tags=["admin"], dependencies=guarded)
    async def spend(asked: Annotated[SpendQuestion, Query()]) -> Response:
        """Spend, baseline and savings from the ledger, as `gateway spend --json` prints them."""
        try:
            return _Out(await _asked(parts.spend, asked))
        except ValueError as exc:
            raise GatewayError(Blame.CALLER, 400, told=str(exc)) from exc

    @api.get("/admin/decisions/{id}", tags=["admin"], dependencies=guarded)
    async def decision(name: Annotated[str, Path(alias="id")]) -> Response:
        """What a decision was made of, what became of it, and whether it comes out the same again."""
        try:
            return _Out(await _asked(parts.decision, name))
        except LookupError as exc:
            raise GatewayError(Blame.CALLER, 404, told=str(exc), code="decision_not_found") from exc

    @api.post("/admin/explain", tags=["admin"], dependencies=guarded)
    async def explain(request: Request) -> Response:
        """How a chat request would be routed now; nothing is sent. The body is a chat-completions body."""
        return _Out(await parts.explain(request.scope, await request.body()))


async def _asked(ask: Callable[[Asked], Found], about: Asked) -> Found:
    """What the ledger answers, in a thread and in time."""
    try:
        async with asyncio.timeout(QUERY_DEADLINE_S):
            return await asyncio.to_thread(ask, about)
    except LedgerUnavailable as exc:
        told = "the ledger cannot be read at the moment; try again shortly"
        raise GatewayError(Blame.GATEWAY, 503, told=told, headers=(("retry-after", "1"),)) from exc
    except TimeoutError as exc:
        told = f"the ledger did not answer within {QUERY_DEADLINE_S:g} s; ask for a shorter period"
        raise GatewayError(Blame.GATEWAY, 504, told=told) from exc
