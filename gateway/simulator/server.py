"""The simulator: one HTTP server, a path for each provider, and the bill they keep.

    async with Simulator(prices=SAMPLE_PRICES) as sim:
        client = AsyncOpenAI(base_url=sim.base_url("openai"), api_key="any")

Every attempt that was received whole leaves exactly one bill line, however it ended. Everything about an answer is
decided in plain functions before the first await; after it only delivery waits.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from types import TracebackType
from typing import Self

from aiohttp import web

from gateway.simulator.answers import Answer, Manner, make_answer, service_tier
from gateway.simulator.ask import Ask, read_ask
from gateway.simulator.bill import NO_TOKENS, Bill, BillLine, End, Tokens, Total, cost_nano
from gateway.simulator.control import control_routes
from gateway.simulator.delivery import Delivery
from gateway.simulator.embeddings import embedded, read_text_ask
from gateway.simulator.prices import PriceData, PriceRule, PriceTable, Rates, Sale
from gateway.simulator.promptcache import CacheRule, PromptCache
from gateway.simulator.scenario import NO_FAULT, Fault, Given, Scenario, Scenarios, apply_rule
from gateway.simulator.tokens import count_tokens
from gateway.simulator.wires import WIRES, Refusal, Wire

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Answerer = Callable[[web.Request, "_Attempt", bytes], Awaitable[web.StreamResponse]]

_BODY_BYTES = 64 * 1024 * 1024
_STOP_S = 0.2  # how long open answers may go on when the simulator stops; stalled ones never end by themselves


@dataclass(slots=True)
class _Attempt:
    """What a bill line needs, gathered as it becomes known."""

    id: str | None
    wire: Wire
    received_at: float
    model: str = ""
    stream: bool = False
    fault: str | None = None
    rates: Rates | None = None


class Simulator:
    def __init__(
        self,
        prices: PriceData,
        *,
        price_rule: PriceRule | None = None,
        scenarios: Given | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        clock: Callable[[], float] = time.time,
        keep_lines: int = 100_000,
    ) -> None:
        """`scenarios` by provider or (provider, model); `seed` draws the faults that are only probable."""
        self._prices = PriceTable(prices, price_rule)
        self._scenarios = Scenarios(scenarios, seed)
        self._cache = PromptCache()
        self._bill = Bill(keep_lines)
        self._clock = clock
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self._answers = 0
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    # ── life ──

    async def start(self) -> None:
        app = web.Application(client_max_size=_BODY_BYTES)
        for wire in WIRES.values():
            app.router.add_post(f"{wire.prefix}/chat/completions", self._handler(wire, self._answer))
            if wire.embeds:
                app.router.add_post(f"{wire.prefix}/embeddings", self._handler(wire, self._embed))
            app.router.add_get(f"{wire.prefix}/models", self._models_handler(wire))
        app.add_routes(control_routes(self))
        # Cancelled at once when the client leaves: only so is known how far an answer had been generated then.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=_STOP_S)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ── what embedders use ──

    @property
    def url(self) -> str:
        """The root, under which the control paths are (/_sim/...)."""
        return f"http://{self._host}:{self._port}"

    def base_url(self, provider: str) -> str:
        return self.url + WIRES[provider].prefix

    @property
    def bill(self) -> list[BillLine]:
        """The last lines, oldest first; totals() counts for ever."""
        return self._bill.lines

    def totals(self) -> dict[tuple[str, str], Total]:
        """By (provider, model); attempts that came to no price are under the model "(unpriced)"."""
        return self._bill.totals

    def total_nano(self) -> int:
        return self._bill.total_nano()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    async def idle(self) -> None:
        """Returns when no attempt is open: then every one that was received has its line."""
        await self._idle.wait()

    def set_scenario(self, provider: str | None, scenario: Scenario | None, model: str | None = None) -> None:
        """For a provider, one model of it, or (provider None) everything; a scenario of None takes it away."""
        self._scenarios.set(provider, scenario, model)

    def set_price(self, provider: str, model: str, from_epoch_s: float, rates: Rates) -> None:
        self._prices.add(provider, model, from_epoch_s, rates)

    def reset(self) -> None:
        """Bill, prompt cache and scenarios as at the start; prices stay."""
        self._bill.clear()
        self._cache.clear()
        self._scenarios.reset()

    # ── one attempt ──

    def _handler(self, wire: Wire, answer: _Answerer) -> _Handler:
        async def taken(request: web.Request) -> web.StreamResponse:
            received_at = self._clock()
            raw = await request.read()
            attempt = _Attempt(request.headers.get("x-gateway-attempt"), wire, received_at)
            self._in_flight += 1
            self._idle.clear()
            try:
                return await answer(request, attempt, raw)
            finally:
                self._in_flight -= 1
                if not self._in_flight:
                    self._idle.set()

        return taken

    def _models_handler(self, wire: Wire) -> _Handler:
        async def models(request: web.Request) -> web.Response:
            listed = [
                {"id": model, "object": "model", "created": 0, "owned_by": wire.name}
                for model in self._prices.models(wire.name)
            ]
            return web.json_response({"object": "list", "data": listed})

        return models

    async def _answer(self, request: web.Request, attempt: _Attempt, raw: bytes) -> web.StreamResponse:
        wire = attempt.wire
        key = _bearer(request)
        if not key or key == "bad-key":
            return self._refused(attempt, wire.bad_key(key))
        try:
            ask = read_ask(raw)
        except ValueError as exc:
            return self._refused(attempt, Refusal(400, str(exc)))
        attempt.model, attempt.stream = ask.model[:200], ask.stream  # a line is kept; a client's megabyte is not
        try:
            scenario = self._scenario(request, wire, ask)
        except ValueError as exc:
            return self._refused(attempt, Refusal(400, f"bad simulator rule: {exc}"))
        fault = self._strikes(attempt, scenario)
        if fault.status is not None:
            return await self._failed(attempt, scenario, fault)
        answer = self._decide(attempt, ask, scenario, fault)
        if isinstance(answer, Refusal):
            return self._refused(attempt, answer)
        return await self._deliver(request, attempt, answer, scenario, fault)

    async def _embed(self, request: web.Request, attempt: _Attempt, raw: bytes) -> web.StreamResponse:
        """A vector of a text. Of the faults only those with a status strike, and the pause before an answer holds."""
        wire, key = attempt.wire, _bearer(request)
        if not key or key == "bad-key":
            return self._refused(attempt, wire.bad_key(key))
        try:
            ask = read_text_ask(raw)
        except ValueError as exc:
            return self._refused(attempt, Refusal(400, str(exc)))
        attempt.model = ask.model[:200]
        scenario = self._scenarios.find(wire.name, ask.model)
        fault = self._strikes(attempt, scenario)
        if fault.status is not None:
            return await self._failed(attempt, scenario, fault)
        tokens = Tokens(input=count_tokens(ask.text))
        attempt.rates = self._prices.rates(Sale(wire.name, ask.model, attempt.received_at, tokens.prompt, "default"))
        if attempt.rates is None:
            return self._refused(attempt, wire.unknown_model(ask.model))
        self._answers += 1
        self._write_line(attempt, 200, End.COMPLETED, tokens)  # it is made at once, whoever waits for it
        await asyncio.sleep(scenario.ttft_ms / 1000)
        headers = wire.headers(f"{self._answers:032x}", scenario.ttft_ms)
        return web.Response(body=embedded(ask, tokens), content_type="application/json", headers=headers)

    def _strikes(self, attempt: _Attempt, scenario: Scenario) -> Fault:
        fault = self._scenarios.fault_of(scenario)
        attempt.fault = scenario.fault if fault is not NO_FAULT else None
        return fault

    async def _failed(self, attempt: _Attempt, scenario: Scenario, fault: Fault) -> web.Response:
        """A fault that is an error status."""
        wire, status = attempt.wire, fault.status or 500
        long = fault.kind == "context_length"
        refusal = wire.too_long() if long else wire.fault(status, attempt.model, scenario.retry_after)
        response = self._refused(attempt, refusal)
        if status == 429:
            response.headers["retry-after"] = f"{scenario.retry_after:g}"
        await asyncio.sleep(scenario.ttft_ms / 1000)
        return response

    def _scenario(self, request: web.Request, wire: Wire, ask: Ask) -> Scenario:
        scenario = self._scenarios.find(wire.name, ask.model)
        user = ask.body.get("user")
        if isinstance(user, str) and user.startswith("sim:"):
            scenario = apply_rule(scenario, user[4:], wire.name)
        if rule := request.headers.get("x-sim-fault"):
            scenario = apply_rule(scenario, rule, wire.name)
        return scenario

    def _decide(self, attempt: _Attempt, ask: Ask, scenario: Scenario, fault: Fault) -> Answer | Refusal:
        wire = attempt.wire
        prefixes = ask.prefixes()
        prompt = prefixes[-1][1]
        sale = Sale(wire.name, ask.model, attempt.received_at, prompt, service_tier(ask))
        attempt.rates = self._prices.rates(sale)
        if attempt.rates is None:
            return wire.unknown_model(ask.model)
        effort = wire.effort(ask)
        if refusal := wire.refuse(ask, effort):
            return refusal
        rule = wire.cache if scenario.cache_min is None else CacheRule(scenario.cache_min, 1)
        read, written = self._cache.visit((wire.name, ask.model), prefixes, rule)
        if "cache_write" not in attempt.rates:
            written = 0
        counted = Tokens(input=prompt - read - written, cached_input=read, cache_write=written)
        manner = Manner(scenario, fault.kind, effort, wire.most_choices, scenario.chunk_tokens or wire.chunk_tokens)
        self._answers += 1
        id = blake2b(ask.seed, digest_size=16, salt=self._answers.to_bytes(8, "big")).hexdigest()
        try:
            return make_answer(ask, manner, counted, id, int(attempt.received_at))
        except ValueError as exc:
            return Refusal(400, f"Invalid schema: {exc}")

    async def _deliver(
        self, request: web.Request, attempt: _Attempt, answer: Answer, scenario: Scenario, fault: Fault
    ) -> web.StreamResponse:
        wire = attempt.wire
        delivery = Delivery(request, wire, scenario, fault, wire.headers(answer.id, scenario.ttft_ms))
        end: End | None = None
        try:
            end = await delivery.send(answer)
        except ConnectionError:
            pass  # the client has left: what that means is below
        finally:
            gone = fault.kind == "drop" or (end is None and not delivery.response.prepared)
            end = end or delivery.if_left
            tokens = answer.tokens
            if end is End.LEFT_PARTIAL and tokens is not NO_TOKENS:
                progress = delivery.progress
                tokens = replace(tokens, output=progress.output, reasoning=progress.reasoning)
            self._write_line(attempt, 0 if gone else 200, end, tokens)
        return delivery.response

    def _refused(self, attempt: _Attempt, refusal: Refusal) -> web.Response:
        self._write_line(attempt, refusal.status, End.REFUSED, NO_TOKENS)
        wire = attempt.wire
        return web.Response(
            status=refusal.status,
            body=wire.error(refusal),
            content_type="application/json",
            headers=wire.headers(f"{self._bill.attempts():032x}", 0),
        )

    def _write_line(self, attempt: _Attempt, status: int, end: End, tokens: Tokens) -> None:
        billed = end.billed and attempt.rates is not None
        self._bill.add(
            BillLine(
                attempt=attempt.id,
                provider=attempt.wire.name,
                model=attempt.model,
                received_at=attempt.received_at,
                status=status,
                stream=attempt.stream,
                fault=attempt.fault,
                tokens=tokens if billed else NO_TOKENS,
                price=attempt.rates,
                cost_nano=cost_nano(tokens, attempt.rates) if billed and attempt.rates is not None else 0,
                billed=billed,
                why=end.value,
            )
        )


def _bearer(request: web.Request) -> str:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
