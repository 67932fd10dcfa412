"""Answers from the response cache: how many one core gives in a second, and what one adds to a request.

The gateway and its embedded store have the first core to themselves, wrk and the provider simulator the second; a bare
server, which sends prepared bytes of the same size and reads nothing, is measured beside it in every round. Everything
on that a deployment has on: keys, a policy over three providers, the ledger (one row for each hit), metrics.

    hot         100 prompts over and over: what is asked again within a second is answered by the bytes of the request
    distinct    20,000 prompts in turns, so each is parsed, looked for in the store, opened and booked
    streamed    the hot prompts, delivered as a stream

Of rates the best round counts, since a busy machine only takes from them; of what is added to a request the best, too.
The processor time of an answer is that of the gateway and its store together.

    PYTHONPATH=. python bench/cache.py [--rounds N] [--seconds N] [--distinct N]

Exits with 1 when the hot prompts stay under 8,000 answers a second, or a hit adds 0.4 ms or more to the median request
at one connection. Needs Linux, two cores, taskset and wrk.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from compare import Row, answers, cores, read_wrk, started, stop

from gateway.core.world import key_digest
from gateway.simulator import Simulator
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway, free_port

HOT = 100
BUSY = 32
LEAST_RATE = 8_000.0
MOST_ADDED_MS = 0.4
ANSWER = "sim:answer_tokens=300;reasoning_tokens=0"
"""About 2 KB."""

KEY = "sk-bench-canary"
TEAMS = f'teams: {{bench: {{keys: [{{id: bench, sha256: "{key_digest(KEY)}"}}]}}}}\n'


@dataclass(frozen=True)
class Load:
    name: str
    url: str
    prompts: int
    pid: int
    connections: int = BUSY
    stream: bool = False
    rows: list[Row] = field(default_factory=list)

    def run(self, seconds: int) -> None:
        before = _cpu_s(self.pid)
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(_lua(self.prompts, stream=self.stream))
            script.flush()
            command = ["taskset", "-c", str(cores()[1]), "wrk", "-t1", f"-c{self.connections}", f"-d{seconds}s"]
            command += ["--latency", "--timeout", "10s", "-s", script.name, f"{self.url}/v1/chat/completions"]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        row = read_wrk(said)
        self.rows.append(row | {"cpu_us": (_cpu_s(self.pid) - before) / (row["rate"] * seconds) * 1e6})

    @property
    def rates(self) -> list[float]:
        return [row["rate"] for row in self.rows]


def _cpu_s(pid: int) -> float:
    """Processor time of a process and its children so far, in seconds: what others do on the same core is not in it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    told = [Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split() for one in (pid, *children)]
    return sum(int(words[11]) + int(words[12]) for words in told) / os.sysconf("SC_CLK_TCK")


def prompt(number: int) -> str:
    return f"Question number {number}: " + "what is kept here, and for how long is it kept? " * 6


def _body(number: int, **more: object) -> str:
    asked = {"model": "kept", "messages": [{"role": "user", "content": prompt(number)}], "max_completion_tokens": 400}
    return json.dumps({**asked, **more}, separators=(",", ":"))


def _lua(prompts: int, *, stream: bool) -> str:
    """In turns, from the first prompt on."""
    before, after = _body(123_456_789, **({"stream": True} if stream else {})).split("123456789")
    return f"""
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {KEY}"
local n, bodies = 0, {{}}
for i = 1, {prompts} do bodies[i] = {json.dumps(before)} .. i .. {json.dumps(after)} end
request = function() n = n % {prompts} + 1; return wrk.format(nil, nil, nil, bodies[n]) end
"""


# What is measured ----------------------------------------------------------------------------------------------------


async def _simulate() -> None:
    """The simulator's process: says where it is, and stays until it is ended."""
    async with Simulator(PRICES) as sim:
        print(json.dumps(env(sim)), flush=True)
        await asyncio.Event().wait()


async def _serve_bare(port: int, size: int) -> None:
    """The floor: a server that reads a request and sends prepared bytes, with about as many headers as the gateway."""
    import uvicorn

    head = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]
    head += [(b"x-bare-%d" % number, b"value") for number in range(9)]
    body = b"x" * size

    async def app(scope, receive, send) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    options = {"loop": "uvloop", "http": "httptools", "lifespan": "off", "access_log": False, "log_level": "error"}
    await uvicorn.Server(uvicorn.Config(app, port=port, **options)).serve()


@contextlib.contextmanager
def _beside(core: int, *words: str) -> Iterator[subprocess.Popen]:
    """This file again, in a process of its own on that core."""
    process = started(core, [sys.executable, __file__, *words], stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        stop(process)


@contextlib.contextmanager
def _gateway(folder: Path, addresses: dict[str, str]) -> Iterator[RunningGateway]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores()[0]})  # what is started now stays there, the store as well
    gateway = RunningGateway(folder, ROUTES + TEAMS, addresses)
    try:
        gateway.start()
        os.sched_setaffinity(0, allowed)
        yield gateway
    finally:
        gateway.stop()


async def _fill(url: str, prompts: int) -> int:
    """Ask each of them once, so that its answer is kept. Returns how large an answer is."""
    left = iter(range(1, prompts + 1))
    sizes: list[int] = []

    async def client(session: aiohttp.ClientSession) -> None:
        for number in left:
            async with session.post("/v1/chat/completions", data=_body(number, user=ANSWER)) as reply:
                sizes.append(len(await reply.read()))
                assert reply.status == 200, reply.status

    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    async with aiohttp.ClientSession(url, headers=headers) as session:
        await asyncio.gather(*(client(session) for _ in range(16)))
    return int(statistics.median(sizes))


def _misses(gateway: RunningGateway) -> int:
    page = gateway.get("/metrics")[2].decode()
    return sum(int(n) for n in re.findall(r"^gateway_cache_misses_total\{.*\} (\d+)$", page, re.MULTILINE))


# The verdict ---------------------------------------------------------------------------------------------------------


def _measure(gateway: RunningGateway, beside: tuple[str, int], given: argparse.Namespace) -> bool:
    kinds = [("bare server", *beside, HOT), ("hot", gateway.url, gateway.pid, HOT)]
    kinds += [("distinct", gateway.url, gateway.pid, given.distinct)] if given.distinct > HOT else []
    busy = [Load(name, url, prompts, pid) for name, url, pid, prompts in kinds]
    busy.append(Load("streamed", gateway.url, HOT, gateway.pid, stream=True))
    alone = [Load(name, url, prompts, pid, connections=1) for name, url, pid, prompts in kinds]
    bare, hot = busy[:2]
    before = _misses(gateway)
    for load in busy[1:]:
        load.run(1)
        load.rows.clear()
    for _ in range(given.rounds):
        for load in (*busy, *alone):
            load.run(given.seconds)
    bad = int(sum(row["bad"] for load in (*busy, *alone) for row in load.rows)) + _misses(gateway) - before
    print(f"{BUSY} connections, answers/s      best   median   of the bare server's   p99 ms   processor us")
    for load in busy:
        ratio = statistics.median(a / b for a, b in zip(load.rates, bare.rates, strict=True))
        p99, cpu = (statistics.median(row[name] for row in load.rows) for name in ("p99_ms", "cpu_us"))
        figures = f"{max(load.rates):10,.0f}{statistics.median(load.rates):9,.0f}{ratio:23.2f}{p99:9.2f}{cpu:15.1f}"
        print(f"  {load.name:<24}{figures}")
    print("one connection, p50 ms        best   median   added (best, median)")
    added = 0.0
    for load in alone:
        p50 = [row["p50_ms"] for row in load.rows]
        more = [a - b["p50_ms"] for a, b in zip(p50, alone[0].rows, strict=True)]
        added = max(added, min(more))
        figures = f"{min(p50):10.3f}{statistics.median(p50):9.3f}{min(more):15.3f}{statistics.median(more):8.3f}"
        print(f"  {load.name:<24}{figures}")
    print(f"answers that were bad, or not from the cache: {bad}")
    rate = max(hot.rates)
    print(f"at least {LEAST_RATE:,.0f}/s of hot prompts: {rate:,.0f}; less than {MOST_ADDED_MS} ms added: {added:.3f}")
    return rate >= LEAST_RATE and added < MOST_ADDED_MS and not bad


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=1, help="for one measurement")
    parser.add_argument("--distinct", type=int, default=20_000, help="prompts that are all kept; 0 leaves them out")
    parser.add_argument("--simulate", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bare", nargs=2, type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.simulate or given.bare:
        asyncio.run(_simulate() if given.simulate else _serve_bare(*given.bare))
        return 0
    gateways_core, other_core = cores()
    port = free_port()
    with (
        tempfile.TemporaryDirectory(prefix="gateway-cache-") as folder,
        _beside(other_core, "--simulate") as simulator,
    ):
        assert simulator.stdout is not None
        with _gateway(Path(folder), json.loads(simulator.stdout.readline())) as gateway:
            began = time.monotonic()
            size = asyncio.run(_fill(gateway.url, max(given.distinct, HOT)))
            print(f"{max(given.distinct, HOT):,} answers of {size:,} bytes kept in {time.monotonic() - began:.0f} s")
            with _beside(gateways_core, "--bare", str(port), str(size)) as bare:
                deadline = time.monotonic() + 10
                while not answers(port):
                    assert time.monotonic() < deadline, "the bare server does not run"
                    time.sleep(0.05)
                good = _measure(gateway, (f"http://127.0.0.1:{port}", bare.pid), given)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
