"""What all workers of one machine share, opened once by whoever starts them: the checks, the stores, the simulator.

With one process that is `app.started` itself; with several it is the supervisor, which hands the addresses on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from gateway.config import ConfigError, Loaded, Mistake, Outcome, Standing, Texts, build, read_texts
from gateway.core.contracts import LedgerUnavailable
from gateway.proxy.reports import Report
from gateway.stores.box import box_key
from gateway.stores.embedded import EmbeddedStore, EmbeddedStoreError
from gateway.stores.ledger import LEDGER_FILE, SqlLedger, open_engine, sqlite_url

from .settings import Settings, StartError
from .simulated import SimulatedProviders

log = logging.getLogger("gateway")

SHORTEST_CACHE_KEY = 32
"""Characters."""


class Supervisor(Protocol):
    """What a worker asks of its supervisor."""

    @property
    def standing(self) -> Standing: ...

    async def others(self) -> Report:
        """The sum of what the other workers report. Raises GatewayError when it cannot be had in time."""

    async def reload(self) -> Outcome:
        """Reload the configuration in every worker. Whoever asks brings a deadline."""


@dataclass(frozen=True, slots=True)
class Shared:
    """store_url: may hold a password. store_says: the same in words that may be printed.

    simulated: base URLs by provider, empty while none is simulated. follow: the same under another configuration.
    supervisor: None in a gateway of one process, which reads its files itself.
    """

    loaded: Loaded
    store_url: str = field(repr=False)
    store_says: str
    simulated: Mapping[str, str]
    follow: Callable[[Loaded], Awaitable[Mapping[str, str]]] | None = None
    supervisor: Supervisor | None = None


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Shared]:
    """Check the configuration and open what it needs. Raises ConfigError or StartError."""
    loaded = checked(settings)
    async with AsyncExitStack() as stack:
        store_url, store_says = await open_store(settings, stack)
        providers = SimulatedProviders()
        stack.push_async_callback(providers.close)
        yield Shared(loaded, store_url, store_says, await providers.follow(loaded), providers.follow)


def checked(settings: Settings, texts: Texts | None = None) -> Loaded:
    """The configuration, once nothing speaks against serving it; its warnings go to the log.

    texts: what the files hold; None: they are read now. Raises ConfigError.
    """
    texts = read_texts(settings.routes) if texts is None else texts
    loaded = build(texts, settings.env, now=datetime.now(UTC))
    _refuse_exposure(loaded, settings)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded


def _refuse_exposure(loaded: Loaded, settings: Settings) -> None:
    """What must never be reachable from another machine: a gateway without keys, and simulated answers."""
    if settings.loopback:
        return
    found = []
    if not loaded.world.teams:
        found.append(
            f"it has no teams, so anybody who can reach {settings.host} could spend money: "
            "serve 127.0.0.1, or add teams with keys (`gateway keys new` makes one)"
        )
    if "simulated" in loaded.modes.values():
        found.append(
            f"no provider key is set, and simulated answers are served on loopback only, not on {settings.host}: "
            "set OPENAI_API_KEY, DEEPSEEK_API_KEY or GEMINI_API_KEY"
        )
    if found:
        raise ConfigError(Mistake(str(settings.routes), 0, 0, why) for why in found)


async def open_store(settings: Settings, stack: AsyncExitStack) -> tuple[str, str]:
    """Its address, and where it is in words. An embedded one ends with the stack."""
    url = settings.get("REDIS_URL")
    if url is not None:
        return url, "Redis at REDIS_URL"
    try:
        store = await stack.enter_async_context(EmbeddedStore(settings.data_dir))
    except EmbeddedStoreError as exc:
        raise StartError(str(exc)) from exc
    return store.url, f"embedded Valkey, files in {settings.data_dir / 'valkey'}"


async def open_ledger(settings: Settings) -> tuple[SqlLedger, str]:
    """The ledger, its table made where it was missing, and where it is in words."""
    file = settings.data_dir / LEDGER_FILE
    url = settings.get("DATABASE_URL")
    says = f"SQLite, {file}" if url is None else "SQL at DATABASE_URL"
    try:
        ledger = SqlLedger(open_engine(url or sqlite_url(file)))
        await asyncio.to_thread(ledger.prepare)
    except (LedgerUnavailable, ValueError) as exc:
        raise StartError(f"the ledger cannot be opened, so spend could not be booked: {exc}") from exc
    return ledger, says


CACHE_SECRET_FILE = "cache.secret"  # noqa: S105 - a name


def has_cache_secret(settings: Settings) -> bool:
    """Whether there is one already, so that `cache_secret` makes none."""
    return settings.get("GATEWAY_CACHE_SECRET") is not None or (settings.data_dir / CACHE_SECRET_FILE).exists()


def cache_secret(settings: Settings) -> bytes:
    """GATEWAY_CACHE_SECRET, or one made once and kept in the data directory, readable by its owner only."""
    given = settings.get("GATEWAY_CACHE_SECRET")
    if given is not None:
        return given.encode()
    path = settings.data_dir / CACHE_SECRET_FILE
    if not path.exists():
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
    return path.read_bytes()


def cache_keys(settings: Settings, secret: bytes) -> list[bytes]:
    """What seals kept answers: of GATEWAY_CACHE_KEYS, the first seals; else of the secret. Raises StartError."""
    given = settings.get("GATEWAY_CACHE_KEYS")
    if given is None:
        return [box_key(secret)]
    texts = [text.strip() for text in given.split(",")]
    for number, text in enumerate(texts, 1):
        if len(text) < SHORTEST_CACHE_KEY:
            raise StartError(
                f"GATEWAY_CACHE_KEYS: text {number} of {len(texts)} has {len(text)} characters, and "
                f"{SHORTEST_CACHE_KEY} are the least: separate texts by commas; `openssl rand -hex 32` makes one"
            )
    return [box_key(text.encode()) for text in texts]
