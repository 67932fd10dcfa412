"""Several worker processes behind one port: real processes, real sockets, real signals."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from gateway.simulator import Simulator
from tests.flow.test_finance_agrees import nano_of
from tests.flow.world import PRICES, ROUTES, env
from tests.running import ROOT, RunningGateway, command_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are found in /proc")

REPORTED_S = 0.7
"""After this long every worker has reported what it had counted before."""


@asynccontextmanager
async def gateway_with(tmp_path, workers: int) -> AsyncIterator[RunningGateway]:
    """A gateway whose providers are one simulator outside of it."""
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, ROUTES, env(sim), workers=workers)
        await asyncio.to_thread(gateway.start)
        try:
            yield gateway
        finally:
            await asyncio.to_thread(gateway.stop)


async def until(true: Callable[[], object], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


class Load:
    """Clients that keep their connections and ask without pause: whole answers, and streams of some length."""

    def __init__(self, gateway: RunningGateway, clients: int = 12) -> None:
        self._gateway = gateway
        self._clients = clients
        self._stop = asyncio.Event()
        self.answered = 0
        self.whole_streams = 0
        self.closing = 0
        self.failed: Counter[str] = Counter()

    async def __aenter__(self) -> Load:
        self._group = asyncio.gather(*(self._client(number) for number in range(self._clients)))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await asyncio.wait_for(self._group, 30)

    async def _client(self, number: int) -> None:
        stream = number % 3 == 0
        connector = aiohttp.TCPConnector(limit=1)
        async with aiohttp.ClientSession(self._gateway.url, connector=connector) as session:
            while not self._stop.is_set():
                await self._ask(session, stream)
                await asyncio.sleep(0.02)

    async def _ask(self, session: aiohttp.ClientSession, stream: bool) -> None:
        body = {"model": "auto", "stream": stream, "messages": [{"role": "user", "content": "hello"}]}
        if stream:
            body["user"] = "sim:gap_ms=10"
        try:
            async with session.post("/v1/chat/completions", json=body, timeout=aiohttp.ClientTimeout(20)) as reply:
                told = await reply.read()
                self.closing += reply.headers.get("connection") == "close"
        except aiohttp.ClientError as exc:
            self.failed[repr(exc)] += 1
            return
        if reply.status != 200 or (stream and not told.endswith(b"data: [DONE]\n\n")):
            self.failed[f"{reply.status} {told[-200:]!r}"] += 1
            return
        self.answered += 1
        self.whole_streams += stream


async def test_three_workers_answer_as_one_gateway(tmp_path):
    async with gateway_with(tmp_path, 3) as gateway:
        answers = [await asyncio.to_thread(gateway.chat, f"question {number}") for number in range(30)]
        await asyncio.sleep(REPORTED_S)
        page = (await asyncio.to_thread(gateway.get, "/metrics"))[2].decode()
        rows = gateway.rows(expected=30)
        pids = gateway.worker_pids()

    assert [status for status, _, _ in answers] == [200] * 30
    assert len(pids) == 3
    assert len(rows) == 30
    assert sum(int(count) for count in re.findall(r"^gateway_requests_total\{.*\} (\d+)$", page, re.MULTILINE)) == 30
    assert "\ngateway_workers 3\n" in page
    assert gateway.log.count("3 processes behind this port") == 1
    assert gateway.log.count("gateway 0.1.0 on http://") == 1


async def test_a_rolling_restart_under_load_fails_no_request(tmp_path):
    async with gateway_with(tmp_path, 3) as gateway:
        before = gateway.worker_pids()
        async with Load(gateway) as load:
            await asyncio.sleep(1)
            os.kill(gateway.pid, signal.SIGUSR2)
            await until(lambda: len(set(gateway.worker_pids()) - set(before)) == 3)
            await until(lambda: not set(gateway.worker_pids()) & set(before))
            await asyncio.sleep(0.5)
        rows = await asyncio.to_thread(gateway.rows, load.answered)
        await asyncio.sleep(REPORTED_S)
        page = (await asyncio.to_thread(gateway.get, "/metrics"))[2].decode()

    assert load.failed == {}
    assert load.answered > 300
    assert load.whole_streams > 10
    assert load.closing > 0
    assert len(rows) == load.answered
    # Three workers are gone, three are here: what they all counted is what the ledger holds.
    assert nano_of(page, "gateway_spend_usd_total") == sum(row["cost_nano"] for row in rows) > 0
    assert nano_of(page, "gateway_baseline_usd_total") == sum(row["baseline_nano"] for row in rows)
    assert "\ngateway_workers 3\n" in page


async def test_a_killed_worker_is_replaced_and_nobody_who_comes_afterwards_fails(tmp_path):
    async with gateway_with(tmp_path, 3) as gateway:
        killed = gateway.worker_pids()[1]
        os.kill(killed, signal.SIGKILL)
        await until(lambda: not command_of(killed))
        statuses = [(await asyncio.to_thread(gateway.chat))[0] for _ in range(40)]
        await until(lambda: len(gateway.worker_pids()) == 3)
        await until(lambda: b"\ngateway_workers 3\n" in gateway.get("/metrics")[2])

    assert statuses == [200] * 40
    assert f"worker {killed} has ended (signal 9); another takes its place" in gateway.log


async def test_what_a_killed_worker_had_reported_is_still_counted(tmp_path):
    async with gateway_with(tmp_path, 2) as gateway:
        for number in range(20):
            await asyncio.to_thread(gateway.chat, f"question {number}")
        await asyncio.sleep(REPORTED_S)
        for pid in gateway.worker_pids():
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(gateway.worker_pids()) == 2)
        page = (await asyncio.to_thread(gateway.get, "/metrics"))[2].decode()
        rows = gateway.rows(expected=20)

    assert nano_of(page, "gateway_spend_usd_total") == sum(row["cost_nano"] for row in rows) > 0


async def test_a_worker_that_is_told_to_stop_finishes_its_requests_and_is_replaced(tmp_path):
    async with gateway_with(tmp_path, 2) as gateway:
        before = gateway.worker_pids()
        async with Load(gateway) as load:
            await asyncio.sleep(0.5)
            for pid in before:
                os.kill(pid, signal.SIGTERM)
                await until(lambda pid=pid: not command_of(pid))
                await until(lambda: len(gateway.worker_pids()) == 2)
        after = gateway.worker_pids()

    assert load.failed == {}
    assert not set(before) & set(after)


async def test_the_end_of_the_whole_loses_no_answer_that_was_given(tmp_path):
    async with gateway_with(tmp_path, 3) as gateway:
        workers = gateway.worker_pids()
        async with Load(gateway) as load:
            await asyncio.sleep(1.5)
            code = await asyncio.to_thread(gateway.stop)

    rows = gateway.rows()
    assert code == 0
    assert load.answered > 50
    assert sum(row["outcome"] == "ok" for row in rows) == load.answered
    assert not any(command_of(pid) for pid in workers)
    # Whoever came too late was turned away at the door, and nobody in the middle of an answer.
    assert not [what for what in load.failed if what[0].isdigit() or "Payload" in what]


async def test_a_rolling_restart_goes_on_with_the_configuration_in_force_whatever_the_file_holds(tmp_path):
    async with gateway_with(tmp_path, 2) as gateway:
        before = gateway.worker_pids()
        gateway.routes.write_text("routes: {auto: {polcy: cheapest}}\n")
        os.kill(gateway.pid, signal.SIGUSR2)
        await until(lambda: len(gateway.worker_pids()) == 2 and not set(gateway.worker_pids()) & set(before))

        assert {(await asyncio.to_thread(gateway.chat))[0] for _ in range(10)} == {200}


async def test_workers_do_not_outlive_a_supervisor_that_is_killed(tmp_path):
    async with gateway_with(tmp_path, 2) as gateway:
        workers = gateway.worker_pids()
        os.kill(gateway.pid, signal.SIGKILL)

        await until(lambda: not any(command_of(pid) for pid in workers))


def test_without_provider_keys_all_workers_ask_one_simulator(tmp_path):
    with RunningGateway(tmp_path, workers=2) as gateway:
        answers = [gateway.chat(f"question {number}") for number in range(10)]
        supervisor, workers = listening(gateway.pid), [listening(pid) for pid in gateway.worker_pids()]

    assert {headers["x-gateway-simulated"] for _, headers, _ in answers} == {"true"}
    assert workers == [{gateway.port}] * 2
    assert len(supervisor - {gateway.port}) == 1
    assert gateway.log.count("SIMULATED: deepseek, google, openai") == 1


def listening(pid: int) -> set[int]:
    """The TCP ports on which a process listens."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        if (found := re.fullmatch(r"socket:\[(\d+)\]", os.readlink(entry))) is not None:
            sockets.add(found[1])
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A" and line[9] in sockets}


def test_a_number_of_workers_that_is_none_is_refused(tmp_path):
    for words, variables in ((["--workers", "0"], {}), (["--workers", "many"], {}), ([], {"GATEWAY_WORKERS": "65"})):
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "serve", *words], cwd=tmp_path, capture_output=True, text=True,
            timeout=60, env={"PYTHONPATH": str(ROOT), **variables}, check=False,
        )  # fmt: skip

        assert done.returncode == 2
        assert "is not a number of workers: 1 to 64" in done.stderr


def test_workers_that_cannot_start_end_the_start_with_their_reason(tmp_path):
    gateway = RunningGateway(tmp_path, ROUTES, {"OPENAI_API_KEY": "x", "REDIS_URL": "nonsense://canary"}, workers=2)

    with pytest.raises(RuntimeError, match="the gateway ended with 1"):
        gateway.start()

    assert "REDIS_URL cannot be used" in gateway.log
    assert "not every worker could be started" in gateway.log
    assert "Traceback" not in gateway.log
    assert "canary" not in gateway.log


async def test_a_gateway_that_has_lost_all_workers_and_can_start_none_gives_up(tmp_path):
    async with gateway_with(tmp_path, 2) as gateway:
        for pid in gateway.worker_pids():
            os.kill(pid, signal.SIGSTOP)
        for file in (tmp_path / "data").glob("ledger.sqlite*"):
            file.unlink()
        (tmp_path / "data" / "ledger.sqlite").mkdir()
        for pid in gateway.worker_pids():
            os.kill(pid, signal.SIGKILL)

        assert await asyncio.to_thread(gateway.process.wait, 40) == 1
    assert "no worker is left and none can be started" in gateway.log
    assert "Traceback" not in gateway.log


def test_a_taken_port_is_named_before_any_worker_starts(tmp_path):
    with RunningGateway(tmp_path, ROUTES, {"OPENAI_API_KEY": "x"}, workers=2) as first:
        (tmp_path / "second").mkdir()
        second = RunningGateway(tmp_path / "second", ROUTES, {"OPENAI_API_KEY": "x"}, workers=2)
        second.port = first.port
        with pytest.raises(RuntimeError, match="ended with 1"):
            second.start()

    assert f"cannot listen on 127.0.0.1:{first.port}" in second.log
