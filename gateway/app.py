"""The composition root: the one file that knows every part. Starts them in order and stops them in the reverse order.

Nothing is decided here about requests; this is where concrete stores, upstreams and dialects meet the contracts.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from gateway.admin.api import AdminParts, SpendQuestion, create_api
from gateway.admin.cache import CacheParts
from gateway.admin.config import ConfigParts
from gateway.admin.feedback import FeedbackParts
from gateway.admin.keys import KeyParts
from gateway.config import Loaded, Reloader, Standing, kinds_file, read_texts, teams_of
from gateway.core.contracts import Upstream
from gateway.core.errors import Blame, GatewayError
from gateway.core.explain import Explanation, explain
from gateway.core.question import answer
from gateway.core.request import parse_chat
from gateway.core.world import Caller, key_digest
from gateway.proxy.admission import Admissions
from gateway.proxy.affinity import Affinity
from gateway.proxy.chat import ChatEndpoint, Parts
from gateway.proxy.clock import made_within, now_us, ticks_s
from gateway.proxy.door import authenticate, bearer, refuse_foreign_page
from gateway.proxy.embedder import Embedder
from gateway.proxy.health import Health
from gateway.proxy.learner import Learner
from gateway.proxy.litellm_upstream import LiteLLMUpstream
from gateway.proxy.metrics import Metrics, prices_in_force, provider_health
from gateway.proxy.moment import Moment
from gateway.proxy.reply import Receive, Reply, Scope, Send
from gateway.proxy.semantic import Semantic
from gateway.proxy.settle import Booking
from gateway.proxy.upstream import HttpUpstream
from gateway.stores.circuits import SharedCircuits
from gateway.stores.feedback import Feedback, give_feedback
from gateway.stores.key_table import KeyTable
from gateway.stores.learned import SqlTallies
from gateway.stores.ledger import SqlLedger
from gateway.stores.redis_cache import RedisCache
from gateway.stores.similar import RedisSimilar
from gateway.stores.spend import names_in, period, spend, tags_wanted
from gateway.stores.spend_text import to_json
from gateway.stores.store_watch import StoreWatch
from gateway.stores.warmth import RedisWarmth

from .accounting import Books, open_books
from .banner import banner
from .cacheadmin import audit_reader, cache_parts
from .inforce import ConfigInForce, live_of, models_of
from .keyring import Keyring
from .past import Keeping, past_decision
from .reloading import config_parts
from .settings import VERSION, Settings, StartError
from .shared import Shared, cache_keys, cache_secret, checked, open_ledger, opened
from .tasks import TaskKinds

log = logging.getLogger("gateway")

CHAT_PATH = "/v1/chat/completions"

JUST_MADE_S = 60.0
"""So long after a decision nobody is told that there is none: its rows may be on their way into the ledger."""


def _nothing() -> None:
    pass


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Gateway:
    """A started gateway: an ASGI application and what it says of itself at the start.

    listening and draining are kept by whoever serves it, who hears of `stop` through `on_stop`. on_hangup: what SIGHUP
    is for; nothing where a supervisor hears it.
    """

    asgi: Callable[[Scope, Receive, Send], Any]  # Any: the coroutine ASGI asks for
    banner: Sequence[str]
    config: ConfigInForce
    books: Books
    ledger: SqlLedger
    chat: ChatEndpoint
    metrics: Metrics
    on_stop: Callable[[], None] = _nothing
    on_hangup: Callable[[], None] = _nothing
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
        secret = cache_secret(settings)
        sealing = cache_keys(settings, secret)
        cache = _open_cache(shared.store_url, sealing)
        stack.push_async_callback(cache.close)
        if not await cache.ping():
            log.warning("the Redis at REDIS_URL does not answer: until it does, no cache, and hard budgets refuse")
        ledger, ledger_says = await open_ledger(settings)
        stack.callback(ledger.close)

        metrics = Metrics(VERSION)
        live = live_of(loaded, settings, shared.simulated)
        books = await stack.enter_async_context(
            open_books(shared.store_url, live.world, ledger, simulated=live.simulated)
        )
        cache.start()
        upstreams: dict[str, Upstream] = {"http": HttpUpstream(), "litellm": LiteLLMUpstream()}
        for upstream in upstreams.values():
            stack.push_async_callback(upstream.close)
        parts: Parts  # what follows asks it for the configuration in force
        health = Health(ticks_s, lambda provider: models_of(parts.live, provider))
        circuits = SharedCircuits(shared.store_url, health, simulated=lambda: parts.live.simulated)
        stack.push_async_callback(circuits.close)
        learner = Learner(SqlTallies(ledger.engine), lambda: parts.live.world, lambda: parts.live.simulated, now_us)
        affinity = Affinity(RedisWarmth(shared.store_url), secret)
        booking, admissions = Booking(books.accounts, metrics, learner.observe), Admissions(books.accounts)
        keys = KeyTable(ledger.engine, now_us)
        await keys.start()
        stack.push_async_callback(keys.close)
        kinds = TaskKinds(kinds_file(settings.env))
        moment = Moment(health, admissions, learner, affinity, kinds.shares)
        parts = Parts(live, upstreams, cache, secret, books.settler, booking, admissions, health, moment, metrics, keys)
        circuits.start()
        await learner.start()
        stack.push_async_callback(learner.close)
        affinity.start()
        stack.push_async_callback(affinity.close)
        chat = ChatEndpoint(parts)
        similar = _open_similar(shared.store_url, sealing, secret)
        semantic = Semantic(cache, similar, Embedder(upstreams, booking, admissions, health), secret)
        stack.push_async_callback(semantic.close)
        chat.sharing.similar = semantic
        stack.push_async_callback(chat.close)
        said = banner(settings, loaded, shared.store_says, ledger_says)
        keeping = Keeping(ledger.engine)
        stack.push_async_callback(keeping.close)
        config = ConfigInForce(loaded, parts, books, keeping, kinds, settings)
        gateway = Gateway(chat, said, config, books, ledger, chat, metrics)
        watch = StoreWatch(cache)
        watch.start()
        stack.push_async_callback(watch.close)
        _wire_gauges(metrics, gateway, parts, learner, cache)
        metrics.cache_store = lambda: watch.memory
        if shared.supervisor is None:
            reloader = _own_reloader(gateway, settings, shared)
            reloader.start()
            stack.push_async_callback(reloader.close)
            gateway.on_hangup = reloader.ask
            configs = config_parts(lambda: reloader.reload("admin"), lambda: reloader.standing)
            metrics.reloads = lambda: reloader.standing.reloads
        else:
            supervisor = shared.supervisor
            configs = config_parts(supervisor.reload, lambda: supervisor.standing)
            metrics.reloads = lambda: supervisor.standing.reloads
        managed = cache_parts(cache, ledger.engine, lambda: parts.live, secret=secret, question=chat.question)
        admin = _admin_parts(gateway, parts, learner, settings, shared, configs, managed)
        gateway.asgi = _front(chat, create_api(admin, version=VERSION))
        yield gateway


def _own_reloader(gateway: Gateway, settings: Settings, shared: Shared) -> Reloader:
    """Of a gateway of one process; with several, the supervisor has it."""

    async def take(loaded: Loaded, _: Standing) -> int:
        gateway.config.take(loaded, {} if shared.follow is None else await shared.follow(loaded))
        return 0

    read, build = partial(read_texts, settings.routes), partial(checked, settings)
    standing = Standing(shared.loaded.world.version, _now())
    return Reloader(shared.loaded, read, build, take, standing=standing, now=_now)


def _open_cache(url: str, keys: Sequence[bytes]) -> RedisCache:
    try:
        return RedisCache(url, keys)
    except ValueError as exc:
        raise StartError(f"REDIS_URL cannot be used: {exc}") from exc


def _open_similar(url: str, keys: Sequence[bytes], secret: bytes) -> RedisSimilar:
    """secret: signatures of questions are drawn from one of their own."""
    return RedisSimilar(url, keys, hashlib.sha256(b"signatures of similar questions" + secret).digest())


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


def _admin_parts(
    gateway: Gateway, parts: Parts, learner: Learner, settings: Settings, shared: Shared, configs: ConfigParts,
    cache: CacheParts,
) -> AdminParts:  # fmt: skip
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

    async def explain_now(scope: Scope, body: bytes) -> Explanation:
        world = parts.live.world
        question = await gateway.chat.question(scope, parse_chat(body), world.keyless, world, now_us())
        decision = answer(question, world)
        return explain(decision, question.request, world.market, learner.lengths(question.route, decision.kind))

    def graded(caller: Caller, decision: str, score: float, kind: str | None) -> Feedback:
        return give_feedback(
            gateway.ledger.engine, decision, team=caller.team, key_id=caller.key_id, score=score, kind=kind,
            now_us=now_us(),
        )  # fmt: skip

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
        others = None if shared.supervisor is None else await shared.supervisor.others()
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
        configs=configs,
        feedback=FeedbackParts(graded, lambda decision: made_within(decision, JUST_MADE_S)),
        decision=lambda decision: past_decision(gateway.ledger.engine, decision),
        cache=cache,
        audit=audit_reader(gateway.ledger.engine),
    )


def _wire_gauges(metrics: Metrics, gateway: Gateway, parts: Parts, learner: Learner, cache: RedisCache) -> None:
    """What is read at scrape time instead of being counted."""

    metrics.config = lambda: parts.live.world.version
    metrics.healthy = lambda: provider_health(parts.live.world.market, parts.health.unhealthy())
    metrics.prices = lambda: prices_in_force(parts.live.world.market, datetime.now(UTC))
    metrics.ledger_pending = lambda: parts.settler.pending + gateway.books.accounts.waiting
    metrics.ledger_failures = lambda: parts.settler.failures
    metrics.store_errors = lambda: cache.errors.total() + gateway.books.accounts.failures
    metrics.cache_unreadable = lambda: cache.errors["unreadable"]
    metrics.learning_pending = lambda: learner.pending
    metrics.learning_failures = lambda: learner.failures
    metrics.in_flight = lambda: gateway.chat.in_flight
