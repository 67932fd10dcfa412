"""POST /v1/feedback: how good an answer was, from whoever asked for it.

A decision of another team is answered in the same words as one that does not exist.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response

from gateway.core.contracts import LedgerUnavailable
from gateway.core.errors import UNREADABLE, Blame, GatewayError
from gateway.core.world import Caller, World

from .guard import small_body

DEADLINE_S = 10.0
MOST_BYTES = 16 * 1024


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller says. score: 0 (useless) to 1 (right). kind: what it was, where the gateway may have erred."""

    decision: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class FeedbackParts:
    """What the composition root hands in.

    give: blocks and runs in a thread; takes caller, decision, score and kind, returns what is answered. Raises
    LookupError for a decision that is not this caller's, ValueError for one without an answer, LedgerUnavailable.
    just_made: whether a decision of this id may be on its way into the ledger still.
    """

    give: Callable[[Caller, str, float, str | None], msgspec.Struct]
    just_made: Callable[[str], bool]


def feedback_routes(
    parts: FeedbackParts,
    world: Callable[[], World],
    authenticate: Callable[[Any], Caller],  # Any: an ASGI scope
) -> APIRouter:
    routes = APIRouter(tags=["feedback"])

    @routes.post("/v1/feedback")
    async def feedback(request: Request) -> Response:
        """Grade the answer to a decision of one's own: {"decision": id, "score": 0 to 1, "kind": optional}."""
        caller = authenticate(request.scope)
        given = _read(await small_body(request, MOST_BYTES), world())
        try:
            async with asyncio.timeout(DEADLINE_S):
                taken = await asyncio.to_thread(parts.give, caller, given.decision, given.score, given.kind)
        except LookupError as exc:
            raise _unknown(given.decision, parts.just_made(given.decision)) from exc
        except ValueError as exc:
            raise GatewayError(
                Blame.CALLER, 409, told=f"{given.decision}: {exc}", param="decision", code="not_answered"
            ) from exc
        except LedgerUnavailable as exc:
            told = "feedback cannot be taken at the moment (the database is away); try again shortly"
            raise GatewayError(Blame.GATEWAY, 503, told=told, headers=(("retry-after", "1"),)) from exc
        except TimeoutError as exc:
            told = f"the database did not answer within {DEADLINE_S:g} s; giving the same feedback again is safe"
            raise GatewayError(Blame.GATEWAY, 504, told=told) from exc
        return Response(msgspec.json.encode(taken), media_type="application/json")

    return routes


_decode = msgspec.json.Decoder(Given).decode


def _read(body: bytes, world: World) -> Given:
    try:
        given = _decode(body)
    except UNREADABLE as exc:
        told = f'the body must be like {{"decision": "...", "score": 0.8, "kind": "..."}}: {exc}'
        raise GatewayError(Blame.CALLER, 400, told=told, code="invalid_json") from exc
    kinds = world.words.kinds
    if given.kind is not None and given.kind not in kinds:
        told = f"'kind' is {given.kind[:60]!r}; it takes one of {', '.join(sorted(kinds)) or 'no word here'}"
        raise GatewayError(Blame.CALLER, 400, told=told, param="kind", code="unknown_kind")
    return given


def _unknown(decision: str, just_made: bool) -> GatewayError:
    told = f"there is no decision {decision[:64]!r} of this team"
    if just_made:
        told += " in the ledger yet; try again in a moment"
    return GatewayError(Blame.CALLER, 404, told=told, param="decision", code="decision_not_found")
