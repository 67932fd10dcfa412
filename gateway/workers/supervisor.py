"""Opens what the workers share, keeps every place filled, replaces workers one by one, and ends them all.

It serves no request itself. Invariants: at most one worker stands at a place; one that replaces another is ready
before the other is told to leave; the stores end after the last worker. One task decides what is started, so that a
death and a rolling restart never fill the same place twice.

It alone reads the configuration's files, and checks them; workers are sent the texts. A worker that does not serve them
in time is replaced, so that after a reload all serve the same.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from time import monotonic

import msgspec
import uvloop

from gateway.banner import banner
from gateway.config import Loaded, Reloader, Standing, read_texts
from gateway.proxy.reports import Report
from gateway.settings import Settings, StartError
from gateway.shared import cache_keys, cache_secret, checked, open_ledger, open_store
from gateway.simulated import SimulatedProviders

from .channel import Orders, Serve
from .listen import listen
from .patience import Patience
from .process import Worker

log = logging.getLogger("gateway.workers")

START_S = 60.0
"""How long a worker may take until it serves."""

TAKE_S = 10.0
"""How long a worker may take until it serves another configuration; it is a matter of some 50 ms."""

LEAVE_MARGIN_S = 10.0


def run(settings: Settings, workers: int) -> None:
    """Serve until SIGINT or SIGTERM. Raises ConfigError or StartError when the gateway cannot start, or go on."""
    uvloop.run(_run(settings, workers))


async def _run(settings: Settings, workers: int) -> None:
    loaded = checked(settings)
    async with AsyncExitStack() as stack:
        sockets = [stack.enter_context(one) for one in listen(settings)]
        store_url, store_says = await open_store(settings, stack)
        providers = SimulatedProviders()
        stack.push_async_callback(providers.close)
        # What workers could otherwise make at the same time.
        ledger, ledger_says = await open_ledger(settings)
        ledger.close()
        cache_keys(settings, cache_secret(settings))
        orders = Orders(
            routes=str(settings.routes),
            host=settings.host,
            port=settings.port,
            data_dir=str(settings.data_dir),
            store_url=None if settings.get("REDIS_URL") else store_url,
            sockets=[one.fileno() for one in sockets],
            serve=Serve(loaded.texts, await providers.follow(loaded), Standing(loaded.world.version, _now())),
        )
        supervisor = Supervisor(settings, loaded, orders, sockets, providers, workers)
        await supervisor.run(banner(settings, loaded, store_says, ledger_says, workers=workers))


class Supervisor:
    """Owns the workers from `run`'s beginning to its end."""

    def __init__(
        self,
        settings: Settings,
        loaded: Loaded,
        orders: Orders,
        sockets: Sequence[socket.socket],
        providers: SimulatedProviders,
        workers: int,
    ) -> None:
        self._reloader = Reloader(
            loaded, partial(read_texts, settings.routes), partial(checked, settings), self._take,
            standing=orders.serve.standing, now=_now, told=self._tell,
        )  # fmt: skip
        self._answering: set[asyncio.Task[None]] = set()
        self._drain_s = loaded.world.server.drain_s
        self._orders = orders
        self._sockets = sockets
        self._providers = providers
        self._places: list[Worker | None] = [None] * workers
        self._running: set[Worker] = set()  # those at their places, those that start and those that leave
        self._gone = Report()
        self._patience = Patience()
        self._news = asyncio.Event()
        self._stop = asyncio.Event()
        self._to_replace: deque[int] = deque()

    async def run(self, said: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.ask)
        loop.add_signal_handler(signal.SIGUSR2, self._replace_all)
        self._reloader.start()
        tending = asyncio.create_task(self._tend(said), name="tending")
        stopping = asyncio.create_task(self._stop.wait(), name="stopping")
        try:
            await asyncio.wait((tending, stopping), return_when=asyncio.FIRST_COMPLETED)
            if tending.done():
                tending.result()  # it never ends by itself, so this raises
        finally:
            stopping.cancel()
            tending.cancel()
            await asyncio.wait((tending, stopping))
            await self._reloader.close()
            for answering in tuple(self._answering):
                answering.cancel()
                await asyncio.wait([answering])
            await self._end_all()

    async def _end_all(self) -> None:
        for one in self._sockets:
            one.close()
        leaving = list(self._running)
        for worker in leaving:
            worker.leave(self._leave_s)
        for worker in leaving:
            await worker.gone()

    @property
    def _leave_s(self) -> float:
        """A worker finishes its requests and then writes its records, each for up to drain_s."""
        return 2 * self._drain_s + LEAVE_MARGIN_S

    async def _tend(self, said: Sequence[str]) -> None:
        if not all(await self._fill(range(len(self._places)))):
            raise StartError("not every worker could be started; what they said stands above")
        sys.stderr.write("\n".join(said) + "\n")
        while True:
            self._news.clear()
            empty = [place for place, worker in enumerate(self._places) if worker is None]
            if empty:
                await self._refill(empty)
            elif self._to_replace:
                await self._replace(self._to_replace.popleft())
            else:
                await self._news.wait()  # a signal, or the end of a worker

    async def _fill(self, places: Sequence[int]) -> list[bool]:
        started = await asyncio.gather(*(self._start() for _ in places))
        for place, worker in zip(places, started, strict=True):
            # It may have died while its neighbours were starting; then the place is empty again.
            self._places[place] = worker if worker in self._running else None
        return [worker is not None for worker in started]

    async def _start(self) -> Worker | None:
        """A worker that takes connections, or None."""
        orders = self._orders
        try:
            worker = await Worker.start(
                orders, others=self._sum_without, on_reload=self._reload_for, on_gone=self._on_gone
            )
        except OSError as exc:
            log.error("a worker cannot be started: %s", exc.strerror)
        else:
            self._running.add(worker)
            if orders.serve is not self._orders.serve:  # a reload came while the process was made
                worker.tell(self._orders.serve)
            if await worker.ready(START_S):
                self._patience.started()
                return worker
        self._patience.start_failed()
        return None

    async def _refill(self, empty: Sequence[int]) -> None:
        await asyncio.sleep(self._patience.pause_s)
        await self._fill(empty)
        if self._patience.exhausted and not any(self._places):
            raise StartError("no worker is left and none can be started; what they said stands above")

    async def _replace(self, place: int) -> None:
        fresh = await self._start()
        old = self._places[place]
        if fresh is None:
            log.error("a worker could not be replaced, so the others stay as they are; what it said stands above")
            self._to_replace.clear()
            return
        self._places[place] = fresh
        if old is not None:
            old.leave(self._leave_s)
        log.info("worker %d serves in the place of %s", fresh.pid, "one that died" if old is None else old.pid)

    def _replace_all(self) -> None:
        """A rolling restart, under the configuration in force."""
        self._to_replace = deque(range(len(self._places)))
        self._news.set()
        log.info("%d workers are replaced, one by one", len(self._places))

    async def _take(self, loaded: Loaded, standing: Standing) -> int:
        """In every worker that is here or starting, and in all that come later. Returns how many were late."""
        longer = max(self._drain_s, loaded.world.server.drain_s)
        self._drain_s = longer  # until all know of the new one, some drain by the old one
        serve = Serve(loaded.texts, await self._providers.follow(loaded), standing)
        self._orders = msgspec.structs.replace(self._orders, serve=serve)
        serving = [one for one in self._running if not one.leaving]
        in_time = await asyncio.gather(*(one.serves(serve, TAKE_S) for one in serving))
        late = [one for one, served in zip(serving, in_time, strict=True) if not served]
        for worker in late:
            log.error("worker %d has not taken the configuration within %g s", worker.pid, TAKE_S)
            if worker in self._places:
                self._to_replace.append(self._places.index(worker))
                self._news.set()
        if not late:
            self._drain_s = loaded.world.server.drain_s
        return len(late)

    def _tell(self, standing: Standing) -> None:
        self._orders = msgspec.structs.replace(
            self._orders, serve=msgspec.structs.replace(self._orders.serve, standing=standing)
        )
        for worker in self._running:
            worker.tell(standing)

    def _reload_for(self, worker: Worker) -> None:
        """A worker was asked for a reload."""

        async def answer() -> None:
            worker.tell(await self._reloader.reload("admin"))

        task = asyncio.create_task(answer(), name=f"reload-for-{worker.pid}")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    def _sum_without(self, asking: Worker) -> Report:
        whole = Report()
        whole.outlive(self._gone)
        for worker in self._running - {asking}:
            if worker.ready_at is not None:
                whole.add(worker.report)
        return whole

    def _on_gone(self, worker: Worker) -> None:
        self._running.discard(worker)
        self._gone.outlive(worker.report)
        if worker not in self._places:
            return
        self._places[self._places.index(worker)] = None
        self._news.set()
        if not worker.leaving:
            self._patience.ended(0.0 if worker.ready_at is None else monotonic() - worker.ready_at)
            log.error("worker %d has ended (%s); another takes its place", worker.pid, _how(worker.code))


def _now() -> datetime:
    return datetime.now(UTC)


def _how(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
