"""The composition root: the one file that knows every part. Starts them in order, serves, drains, stops.

Nothing is decided here about requests; this is where concrete stores, upstreams and dialects meet the contracts.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version as package_version
from math import ceil
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from gateway.admin.api import AdminParts, SpendQuestion, create_api
from gateway.config import Loaded, load
from gateway.core.contracts import LedgerUnavailable, Target, Upstream
from gateway.core.errors import Blame, GatewayError
from gateway.core.explain import Explanation, explain
from gateway.core.money import usd_per_million
from gateway.core.request import parse_chat
from gateway.core.routing import Signals, decide
from gateway.core.world import KEYLESS, World, key_digest
from gateway.dialects import DIALECTS
from gateway.proxy.chat import ChatEndpoint, Live, Parts, find_route
from gateway.proxy.clock import ticks_s
from gateway.proxy.door import authenticate, bearer, refuse_foreign_page
from gateway.proxy.health import Health
from gateway.proxy.keeper import Keeper
from gateway.proxy.litellm_upstream import LiteLLMUpstream
from gateway.proxy.metrics import Metrics, prices_in_force, provider_health
from gateway.proxy.reply import Receive, Reply, Scope, Send
from gateway.proxy.settle import Booking, Settler
from gateway.proxy.upstream import HttpUpstream
from gateway.simulator import Rates, Sale, Simulator
from gateway.stores.embedded import EmbeddedStore, EmbeddedStoreError
from gateway.stores.ledger import LEDGER_FILE, SqlLedger, open_engine, sqlite_url
from gateway.stores.redis_cache import RedisCache
from gateway.stores.spend import period, spend
from gateway.stores.spend_text import to_json

log = logging.getLogger("gateway")

VERSION = package_version("llm-routing-gateway")
CHAT_PATH = "/v1/chat/completions"


class StartError(Exception):
    """The gateway cannot start; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the gateway listens and keeps its data. `env` is read for keys and addresses, never printed."""

    routes: Path
    host: str
    port: int
    data_dir: Path
    env: Mapping[str, str] = field(repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str], *, routes: Path, host: str, port: int, data_dir: Path) -> Settings:
        return cls(routes=routes, host=host, port=port, data_dir=data_dir, env=dict(env))

    def get(self, name: str) -> str | None:
        """An environment variable without surrounding white space; an empty one counts as unset."""
        return self.env.get(name, "").strip() or None

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(slots=True)
class Gateway:
    """A started gateway: an ASGI application and what it says of itself at the start."""

    asgi: Callable[[Scope, Receive, Send], Any]  # Any: the coroutine ASGI asks for
    banner: Sequence[str]
    loaded: Loaded
    simulator: Simulator | None
    settler: Settler
    ledger: SqlLedger
    chat: ChatEndpoint
    server: uvicorn.Server | None = None
    draining: bool = False

    @property
    def listening(self) -> bool:
        return self.server is not None and self.server.started

    def stop(self) -> None:
        """Take no new connections, finish what is in flight, and let `serve` return."""
        self.draining = True
        if self.server is not None:
            self.server.should_exit = True


def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigError or StartError when the gateway cannot start."""
    uvloop.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    async with started(settings) as gateway:
        _spare_the_collector()
        await serve(gateway, settings)


def _spare_the_collector() -> None:
    """What has been loaded stays loaded: the cycle collector need not walk it again, and seldom has cycles to find.

    At its default threshold of 700 allocations it ran several times a request and took a sixth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


async def serve(gateway: Gateway, settings: Settings) -> None:
    """Listen, print the banner, and stay until told to stop; requests in flight are finished first."""
    server = _Server(
        uvicorn.Config(
            gateway.asgi, host=settings.host, port=settings.port, loop="none", http="httptools", ws="none",
            lifespan="off", log_config=None, access_log=False, server_header=False, timeout_keep_alive=75, backlog=2048,
            proxy_headers=False,  # nothing here trusts an address that a client can write itself
            timeout_graceful_shutdown=ceil(gateway.loaded.world.server.drain_s),
        )
    )  # fmt: skip
    server.banner = gateway.banner
    gateway.server = server
    loop = asyncio.get_running_loop()
    for one in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(one, gateway.stop)
    try:
        await server.serve()
    except SystemExit as exc:  # uvicorn's way to say that the address cannot be had; it has logged the reason
        raise StartError(f"cannot listen on {settings.host}:{settings.port}; is another program using it?") from exc


class _Server(uvicorn.Server):
    """uvicorn, with signals left to us: its own handlers would end the process before the ledger is written."""

    banner: Sequence[str] = ()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[Any] | None = None) -> None:  # Any: as uvicorn declares it
        await super().startup(sockets)
        if self.started:
            sys.stderr.write("\n".join(self.banner) + "\n")


@asynccontextmanager
async def started(settings: Settings) -> AsyncIterator[Gateway]:
    """Every part started, in order; stopped in the reverse order, the ledger last to be written."""
    loaded = load(settings.routes, settings.env, now=datetime.now(UTC))
    _refuse_exposure(loaded, settings)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    async with AsyncExitStack() as stack:
        store_url, store_says = await _open_store(settings, stack)
        cache = _open_cache(store_url)
        stack.push_async_callback(cache.close)
        if not await cache.ping():
            log.warning("the Redis at REDIS_URL does not answer; answers are not cached until it does")
        ledger, ledger_says = await _open_ledger(settings)
        stack.callback(ledger.close)
        simulator = await _start_simulator(loaded, stack)

        world = loaded.world
        metrics = Metrics(VERSION)
        settler = Settler(ledger)
        settler.start()
        stack.push_async_callback(settler.close, world.server.drain_s)
        keeper = Keeper(cache, _cache_secret(settings))
        stack.push_async_callback(keeper.close)
        upstreams: dict[str, Upstream] = {"http": HttpUpstream(), "litellm": LiteLLMUpstream()}
        for upstream in upstreams.values():
            stack.push_async_callback(upstream.close)
        health = Health(ticks_s, _models_of(world))
        live = Live(world, _targets(loaded, settings, simulator), simulator is not None)
        parts = Parts(live, upstreams, keeper, settler, Booking(settler, metrics), health, metrics)
        chat = ChatEndpoint(parts)
        banner = _banner(settings, loaded, store_says, ledger_says)
        gateway = Gateway(chat, banner, loaded, simulator, settler, ledger, chat)
        _wire_gauges(metrics, gateway, parts, cache)
        gateway.asgi = _front(chat, create_api(_admin_parts(gateway, parts, settings, ledger), version=VERSION))
        yield gateway


def _refuse_exposure(loaded: Loaded, settings: Settings) -> None:
    """What must never be reachable from another machine: a gateway without keys, and simulated answers."""
    if settings.loopback:
        return
    if not loaded.world.teams:
        raise StartError(
            f"{settings.routes} has no teams, so anybody who can reach {settings.host} could spend money: "
            "serve 127.0.0.1, or add teams with keys (`gateway keys new` makes one)"
        )
    if "simulated" in loaded.modes.values():
        raise StartError(
            f"no provider key is set, and simulated answers are served on loopback only, not on {settings.host}: "
            "set OPENAI_API_KEY, DEEPSEEK_API_KEY or GEMINI_API_KEY"
        )


async def _open_store(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    url = settings.get("REDIS_URL")
    if url is not None:
        return url, "Redis at REDIS_URL"
    try:
        store = await stack.enter_async_context(EmbeddedStore(settings.data_dir))
    except EmbeddedStoreError as exc:
        raise StartError(str(exc)) from exc
    return store.url, f"embedded Valkey, files in {settings.data_dir / 'valkey'}"


def _open_cache(url: str) -> RedisCache:
    try:
        return RedisCache(url)
    except ValueError as exc:
        raise StartError(f"REDIS_URL cannot be used: {exc}") from exc


async def _open_ledger(settings: Settings) -> tuple[SqlLedger, str]:
    file = settings.data_dir / LEDGER_FILE
    url = settings.get("DATABASE_URL")
    says = f"SQLite, {file}" if url is None else "SQL at DATABASE_URL"
    try:
        ledger = SqlLedger(open_engine(url or sqlite_url(file)))
        await asyncio.to_thread(ledger.prepare)
    except (LedgerUnavailable, ValueError) as exc:
        raise StartError(f"the ledger cannot be opened, so spend could not be booked: {exc}") from exc
    return ledger, says


async def _start_simulator(loaded: Loaded, stack: AsyncExitStack) -> Simulator | None:
    if "simulated" not in loaded.modes.values():
        return None
    prices = loaded.world.market.prices
    models = [model for model in loaded.world.market.models.values() if loaded.modes[model.provider] == "simulated"]

    def in_force(sale: Sale) -> Rates | None:
        price = prices.at(f"{sale.provider}/{sale.model}", datetime.fromtimestamp(sale.at, UTC))
        if price is None:
            return None
        rates = price.rates(sale.prompt_tokens)
        return {
            "input": usd_per_million(rates.input),
            "cached_input": usd_per_million(rates.cached_input),
            "cache_write": usd_per_million(rates.cache_write),
            "output": usd_per_million(rates.output),
        }

    sold = {(model.provider, model.upstream_name): [(0.0, {"input": "1", "output": "1"})] for model in models}
    return await stack.enter_async_context(Simulator(sold, price_rule=in_force))


def _targets(loaded: Loaded, settings: Settings, simulator: Simulator | None) -> dict[str, Target]:
    """Where each usable model's requests go, its key already in the headers."""
    market, targets = loaded.world.market, {}
    for model in market.models.values():
        provider, mode = market.providers[model.provider], loaded.modes[model.provider]
        if mode == "off":
            continue
        simulated = mode == "simulated" and simulator is not None
        base = simulator.base_url(provider.name) if simulated and simulator is not None else provider.base_url
        key = "simulated" if simulated else settings.get(provider.key_env or "")
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if key is not None:
            headers["authorization"] = f"Bearer {key}"
        targets[model.id] = Target(
            model=model, provider=provider, dialect=DIALECTS[provider.dialect],
            url=f"{base.rstrip('/')}/chat/completions", headers=headers, simulated=simulated,
        )  # fmt: skip
    return targets


def _models_of(world: World) -> Callable[[str], tuple[str, ...]]:
    def models_of(provider: str) -> tuple[str, ...]:
        return tuple(model.id for model in world.market.models.values() if model.provider == provider)

    return models_of


def _cache_secret(settings: Settings) -> bytes:
    """GATEWAY_CACHE_SECRET, or one made once and kept in the data directory, readable by its owner only."""
    given = settings.get("GATEWAY_CACHE_SECRET")
    if given is not None:
        return given.encode()
    path = settings.data_dir / "cache.secret"
    if not path.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


def _front(chat: ChatEndpoint, api: Callable[..., Any]) -> Callable[[Scope, Receive, Send], Any]:
    """The chat path is entered before FastAPI: a comparison on the hot path, not a router."""

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == CHAT_PATH:
            if scope["method"] == "POST":
                await chat(scope, receive, send)
            else:
                told = f"{CHAT_PATH} takes POST, not {scope['method']}"
                error = GatewayError(Blame.CALLER, 405, told=told, headers=(("allow", "POST"),))
                await Reply(receive, send, "-").error(error)
        else:
            await api(scope, receive, send)

    return front


def _admin_parts(gateway: Gateway, parts: Parts, settings: Settings, ledger: SqlLedger) -> AdminParts:
    admin_key, metrics_key = settings.get("GATEWAY_ADMIN_KEY"), settings.get("GATEWAY_METRICS_KEY")

    def guard(scope: Scope, keys: Sequence[str | None], names: str) -> None:
        if not parts.live.world.teams and not any(keys):
            refuse_foreign_page(scope)
            return
        if not any(keys):
            told = f"set {names} in the gateway's environment to use this, and send it as a bearer key"
            raise GatewayError(Blame.CALLER, 403, told=told)
        given = key_digest(bearer(scope) or "")
        if not any(key is not None and secrets.compare_digest(given, key_digest(key)) for key in keys):
            raise GatewayError(Blame.CALLER, 401, told=f"this needs {names} as a bearer key", code="invalid_api_key")

    def explain_now(body: bytes) -> Explanation:
        world, request = parts.live.world, parse_chat(body)
        route = find_route(world, KEYLESS, request.model)
        signals = Signals(now=datetime.now(UTC), unhealthy=parts.health.unhealthy())
        return explain(decide(route, request, world.market, signals), request, world.market)

    def spend_json(asked: SpendQuestion) -> bytes:
        since, until = period(asked.since, asked.until)
        lines = spend(
            ledger.engine, by=asked.by, since=since, until=until, team=asked.team, provider=asked.provider,
            model=asked.model, route=asked.route, simulated=asked.simulated,
        )  # fmt: skip
        return to_json(lines).encode()

    def readiness() -> dict[str, Any]:
        return {
            "ready": not gateway.draining and not parts.settler.full,
            "draining": gateway.draining,
            "ledger_pending": parts.settler.pending,
            "ledger_failures": parts.settler.failures,
            "config": parts.live.world.version,
            "simulated": parts.live.simulated,
        }

    return AdminParts(
        world=lambda: parts.live.world,
        authenticate=lambda scope: authenticate(scope, parts.live.world),
        authorise_admin=lambda scope: guard(scope, (admin_key,), "GATEWAY_ADMIN_KEY"),
        authorise_metrics=lambda scope: guard(scope, (metrics_key, admin_key), "GATEWAY_METRICS_KEY"),
        explain=explain_now,
        spend=spend_json,
        metrics=parts.metrics.render,
        metrics_type=parts.metrics.content_type,
        readiness=readiness,
    )


def _wire_gauges(metrics: Metrics, gateway: Gateway, parts: Parts, cache: RedisCache) -> None:
    """What is read at scrape time instead of being counted."""

    metrics.config = lambda: parts.live.world.version
    metrics.healthy = lambda: provider_health(parts.live.world.market, parts.health.unhealthy())
    metrics.prices = lambda: prices_in_force(parts.live.world.market, datetime.now(UTC))
    metrics.ledger_pending = lambda: parts.settler.pending
    metrics.ledger_failures = lambda: parts.settler.failures
    metrics.store_errors = cache.errors.total
    metrics.in_flight = lambda: gateway.chat.in_flight


def _banner(settings: Settings, loaded: Loaded, store: str, ledger: str) -> list[str]:
    """What is on, in a few lines."""
    modes = loaded.modes
    real = sorted(name for name, mode in modes.items() if mode == "real")
    off = sorted(name for name, mode in modes.items() if mode == "off")
    simulated = sorted(name for name, mode in modes.items() if mode == "simulated")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"gateway {VERSION} on http://{host}:{settings.port}"]
    if simulated:
        lines += [
            f"  providers  SIMULATED: {', '.join(simulated)}. No provider key is set, so every answer is made up here",
            "             and every record is marked. Set OPENAI_API_KEY, DEEPSEEK_API_KEY or GEMINI_API_KEY (or put",
            "             it in .env) and start again for real ones.",
        ]
    else:
        lines.append(f"  providers  real: {', '.join(real)}" + (f"; off, no key: {', '.join(off)}" if off else ""))
    return [
        *lines,
        f"  store      {store}",
        f"  ledger     {ledger}",
        f"  routes     {', '.join(loaded.world.routes)} ({settings.routes}, {len(loaded.world.direct)} names in all)",
        f"  keys       {_keys_say(loaded.world)}",
    ]


def _keys_say(world: World) -> str:
    if not world.teams:
        return "none: programs on this machine only"
    return f"{len(world.callers)} in the routes file, for {len(world.teams)} teams"
