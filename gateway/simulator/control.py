"""The control paths, for whoever runs the simulator as a process of its own.

GET  /_sim/bill        totals, in nano-dollars and tokens, by provider and model
GET  /_sim/attempts    the last bill lines, oldest first; ?limit=100
POST /_sim/scenario    {"provider": "openai", "model": null, "scenario": {...} | "fault=drop;p=0.1" | null}
POST /_sim/price       {"provider": "openai", "model": "gpt-x", "from": 1793491200, "rates": {"input": "1", ...}}
POST /_sim/reset       bill, prompt cache and scenarios as at the start
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from gateway.simulator.bill import BillLine, Total
from gateway.simulator.prices import Rates
from gateway.simulator.scenario import Scenario, read_scenario


class Controlled(Protocol):
    """What of the simulator is controlled from outside."""

    @property
    def bill(self) -> list[BillLine]: ...

    @property
    def in_flight(self) -> int: ...

    def totals(self) -> Mapping[tuple[str, str], Total]: ...

    def total_nano(self) -> int: ...

    def set_scenario(self, provider: str | None, scenario: Scenario | None, model: str | None = None) -> None: ...

    def set_price(self, provider: str, model: str, from_epoch_s: float, rates: Rates) -> None: ...

    def reset(self) -> None: ...


def control_routes(sim: Controlled) -> list[web.RouteDef]:
    async def bill(request: web.Request) -> web.Response:
        totals = [
            {"provider": provider, "model": model, **asdict(total)} for (provider, model), total in sim.totals().items()
        ]
        told = {"total_nano": sim.total_nano(), "attempts": sum(total["attempts"] for total in totals)}
        return web.json_response({**told, "in_flight": sim.in_flight, "by_model": totals})

    async def attempts(request: web.Request) -> web.Response:
        limit = request.query.get("limit", "100")
        if not limit.isdecimal():
            return _wrong(f"limit={limit!r} is not a number")
        lines = sim.bill[-int(limit) :] if int(limit) else []
        return web.json_response({"attempts": [asdict(line) for line in lines]})

    async def scenario(request: web.Request) -> web.Response:
        try:
            given = await _object(request, {"provider", "model", "scenario"})
            provider = given.get("provider")
            sim.set_scenario(provider, read_scenario(given.get("scenario"), provider), given.get("model"))
        except ValueError as exc:
            return _wrong(str(exc))
        return web.json_response({"ok": True})

    async def price(request: web.Request) -> web.Response:
        try:
            given = await _object(request, {"provider", "model", "from", "rates"})
            since = float(given.get("from") or time.time())
            sim.set_price(str(given["provider"]), str(given["model"]), since, dict(given["rates"]))
        except (ValueError, TypeError, KeyError) as exc:
            return _wrong(f"give provider, model, from (epoch seconds) and rates: {exc}")
        return web.json_response({"ok": True})

    async def reset(request: web.Request) -> web.Response:
        sim.reset()
        return web.json_response({"ok": True})

    return [
        web.get("/_sim/bill", bill),
        web.get("/_sim/attempts", attempts),
        web.post("/_sim/scenario", scenario),
        web.post("/_sim/price", price),
        web.post("/_sim/reset", reset),
    ]


# The values may be any JSON, hence Any.
async def _object(request: web.Request, known: set[str]) -> dict[str, Any]:
    given = await request.json()
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")
    if unknown := set(given) - known:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(sorted(known))}")
    return given


def _wrong(message: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=400)
