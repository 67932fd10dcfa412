"""Who is asked first, and how much is read: what every route of this room has in common."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from gateway.core.errors import Blame, GatewayError

BODY_DEADLINE_S = 10.0


def guarded(authorise: Callable[[Any], None]) -> type[APIRoute]:
    """Routes that ask who it is first: FastAPI would read and judge the body before any dependency."""

    class Guarded(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Any]:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                authorise(request.scope)
                answer: Response = await handle(request)
                return answer

            return guarded

    return Guarded


async def small_body(request: Request, most_bytes: int) -> bytes:
    """The whole body. Raises GatewayError 413 past the limit, 408 when it does not arrive in time."""
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            async for chunk in request.stream():
                read += chunk
                if len(read) > most_bytes:
                    raise GatewayError(Blame.CALLER, 413, told=f"this takes a body of at most {most_bytes:,} bytes")
    except TimeoutError as exc:
        raise GatewayError(Blame.CALLER, 408, told=f"no whole body came within {BODY_DEADLINE_S:g} s") from exc
    return bytes(read)
