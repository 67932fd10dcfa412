"""The composition root: the one file that knows every part. Starts them in order and stops them in the reverse order.

Nothing is decided here about requests; this is where concrete stores, upstreams and dialects meet the contracts.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from gateway.admin.api import AdminParts, SpendQuestion, create_api
from gateway.admin.keys import KeyParts
from gateway.config import Loaded, PriceRefresher, teams_of
from gateway.core.candidate import Signals
from gateway.core.contracts import Target, Upstream
from gateway.core.errors import Blame, GatewayError
from gateway.core.explain import Explanation, explain
from gateway.core.request import parse_chat
from gateway.core.routing import decide
from gateway.core.world import World, key_digest
from gateway.dialects import DIALECTS
from gateway.proxy.admission import Admissions
from gateway.proxy.affinity import Affinity
from gateway.proxy.chat import ChatEndpoint, Live, Parts, find_route
from gateway.proxy.clock import now_us, ticks_s
from gateway.proxy.door import authenticate, bearer, refuse_foreign_page
from gateway.proxy.health import Health
from gateway.proxy.keeper import Keeper
from gateway.proxy.learner import Learner
from gateway.proxy.litellm_upstream import LiteLLMUpstream
from gateway.proxy.metrics import Metrics, prices_in_force, provider_health
from gateway.proxy.moment import Moment
from gateway.proxy.reply import Receive, Reply, Scope, Send
from gateway.proxy.settle import Booking
from gateway.proxy.upstream import HttpUpstream
from gateway.stores.circuits import SharedCircuits
from gateway.stores.key_table import KeyTable
from gateway.stores.learned import SqlTallies
from gateway.stores.ledger import SqlLedger
from gateway.stores.redis_cache import RedisCache
from gateway.stores.spend import names_in, period, spend, tags_wanted
from gateway.stores.spend_text import to_json
from gateway.stores.warmth import RedisWarmth

from .accounting import Books, open_books
from .banner import banner
from .keyring import Keyring
from .settings import VERSION, Settings, StartError
from .shared import Shared, cache_secret, open_ledger, opened

log = logging.getLogger("gateway")

CHAT_PATH = "/v1/chat/completions"


def _nothing() -> None:
    pass


@dataclass(slots=True)
class Gateway:
    """A started gateway: an ASGI application and what it says of itself at the start.

    listening and draining are kept by whoever serves it, who hears of `stop` through `on_stop`.
    """

    asgi: Callable[[Scope, Receive, Send], Any]  # Any: the coroutine ASGI asks for
    banner: Sequence[str]
    loaded: Loaded
    books: Books
    ledger: SqlLedger
    chat: ChatEndpoint
    metrics: Metrics
    on_stop: Callable[[], None] = _nothing
    listening: bool = False
    draining: bool = False

    def stop(self) -> None:
        """Take no new connections, finish what is in flight, and let `serve` return."""
        self.draining = True
        self.on_stop()


@asynccontextmanager
async def started(settings: Settings, shared: Shared | None = None) -> AsyncIterator[Gateway]:
    """Every part started, in order; stopped in the reverse order, the ledger last to be written.

    shared: what a supervisor has opened for all of its workers; None: opened here, for this process alone.
    """
    async with AsyncExitStack() as stack:
        if shared is None:
            shared = await stack.enter_async_context(opened(settings))
        loaded = shared.loaded
        cache = _open_cache(shared.store_url)
        stack.push_async_callback(cache.close)
        if not await cache.ping():
            log.warning("the Redis at REDIS_URL does not answer: until it does, no cache, and hard budgets refuse")
        ledger, ledger_says = await open_ledger(settings)
        stack.callback(ledger.close)

        world = loaded.world
        metrics = Metrics(VERSION)
        simulated = bool(shared.simulated)
        books = await stack.enter_async_context(open_books(shared.store_url, world, ledger, simulated=simulated))
        secret = cache_secret(settings)
        keeper = Keeper(cache, secret)
        stack.push_async_callback(keeper.close)
        upstreams: dict[str, Upstream] = {"http": HttpUpstream(), "litellm": LiteLLMUpstream()}
        for upstream in upstreams.values():
            stack.push_async_callback(upstream.close)
        health = Health(ticks_s, _models_of(world))
        circuits = SharedCircuits(shared.store_url, health, simulated=simulated)
        circuits.start()
        stack.push_async_callback(circuits.close)
        live = Live(world, _targets(loaded, settings, shared.simulated), simulated)
        learner = Learner(SqlTallies(ledger.engine), lambda: parts.live.world, lambda: simulated, now_us)
        affinity = Affinity(RedisWarmth(shared.store_url), secret)
        booking, admissions = Booking(books.accounts, metrics, learner.observe), Admissions(books.accounts)
        keys = KeyTable(ledger.engine, now_us)
        await keys.start()
        stack.push_async_callback(keys.close)
        moment = Moment(health, admissions, learner, affinity, lambda _: {})
        parts = Parts(live, upstreams, keeper, books.settler, booking, admissions, health, moment, metrics, keys)
        await learner.start()
        stack.push_async_callback(learner.close)
        affinity.start()
        stack.push_async_callback(affinity.close)
        chat = ChatEndpoint(parts)
        said = banner(settings, loaded, shared.store_says, ledger_says)
        gateway = Gateway(chat, said, loaded, books, ledger, chat, metrics)
        _wire_gauges(metrics, gateway, parts, cache)
        refresher = _refresher(gateway, parts, settings, shared)
        refresher.start()
        stack.push_async_callback(refresher.close)
        admin = _admin_parts(gateway, parts, settings, shared)
        gateway.asgi = _front(chat, create_api(admin, version=VERSION))
        yield gateway


def _refresher(gateway: Gateway, parts: Parts, settings: Settings, shared: Shared) -> PriceRefresher:
    """Looks at the reviewed price file of routes.yaml, if any; requests in flight keep the prices they began with."""

    def swap(new: Loaded) -> None:
        gateway.loaded = new
        parts.live = Live(new.world, _targets(new, settings, shared.simulated), bool(shared.simulated))

    return PriceRefresher(lambda: gateway.loaded, swap, settings.env, now=lambda: datetime.now(UTC))


def _open_cache(url: str) -> RedisCache:
    try:
        return RedisCache(url)
    except ValueError as exc:
        raise StartError(f"REDIS_URL cannot be used: {exc}") from exc


def _targets(loaded: Loaded, settings: Settings, simulators: Mapping[str, str]) -> dict[str, Target]:
    """Where each usable model's requests go, its key already in the headers. simulators: base URLs by provider."""
    market, targets = loaded.world.market, {}
    for model in market.models.values():
        provider, mode = market.providers[model.provider], loaded.modes[model.provider]
        if mode == "off":
            continue
        simulated = mode == "simulated"
        base = simulators[provider.name] if simulated else provider.base_url
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


def _admin_parts(gateway: Gateway, parts: Parts, settings: Settings, shared: Shared) -> AdminParts:
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
        route = find_route(world, world.keyless, request.model)
        signals = Signals(now=datetime.now(UTC), unhealthy=parts.health.unhealthy())
        return explain(decide(route, request, world.market, signals), request, world.market)

    def spend_json(asked: SpendQuestion) -> bytes:
        since, until = period(asked.since, asked.until)
        lines = spend(
            gateway.ledger.engine, by=names_in(asked.by), since=since, until=until, team=asked.team,
            provider=asked.provider, model=asked.model, route=asked.route, key=asked.key,
            organisation=asked.organisation, end_user=asked.end_user, tags=tags_wanted(asked.tag),
            simulated=asked.simulated,
        )  # fmt: skip
        return to_json(lines).encode()

    async def metrics_page() -> bytes:
        others = None if shared.others is None else await shared.others()
        return parts.metrics.render(others)

    ring = Keyring(gateway.ledger.engine, lambda: teams_of(parts.live.world), actor="admin")

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
        authenticate=lambda scope: authenticate(scope, parts.live.world, parts.keys),
        authorise_admin=lambda scope: guard(scope, (admin_key,), "GATEWAY_ADMIN_KEY"),
        authorise_metrics=lambda scope: guard(scope, (metrics_key, admin_key), "GATEWAY_METRICS_KEY"),
        explain=explain_now,
        spend=spend_json,
        metrics=metrics_page,
        metrics_type=parts.metrics.content_type,
        readiness=readiness,
        keys=KeyParts(ring.create, ring.listed, ring.revoke, ring.rotate),
    )


def _wire_gauges(metrics: Metrics, gateway: Gateway, parts: Parts, cache: RedisCache) -> None:
    """What is read at scrape time instead of being counted."""

    metrics.config = lambda: parts.live.world.version
    metrics.healthy = lambda: provider_health(parts.live.world.market, parts.health.unhealthy())
    metrics.prices = lambda: prices_in_force(parts.live.world.market, datetime.now(UTC))
    metrics.ledger_pending = lambda: parts.settler.pending + gateway.books.accounts.waiting
    metrics.ledger_failures = lambda: parts.settler.failures
    metrics.store_errors = lambda: cache.errors.total() + gateway.books.accounts.failures
    metrics.in_flight = lambda: gateway.chat.in_flight
