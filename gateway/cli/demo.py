"""`gateway demo`: simulated providers, steady traffic, and a price cut at a known instant.

The rumour this project began with - a DeepSeek R2 at $0.07 in and $0.27 out per million tokens - becomes a dated row
of the demo's own price book. Nothing is switched at that instant: the row comes into force by itself, and the next
request is routed by it. Spend before and after is read from the ledger.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import uvloop

from gateway.app import Gateway, started
from gateway.core.money import usd
from gateway.server import serve
from gateway.settings import Settings, StartError
from gateway.stores.spend import SpendLine, spend, total

from . import complain

R2 = "deepseek/deepseek-r2"
WARM_UP_S = 1.0
TRAFFIC_STOP_S = 15.0
REQUEST_DEADLINE_S = 10.0

ROUTES = """\
# Written by `gateway demo`, for this run only.
routes:
  auto:
    policy: cheapest
    candidates: [openai/gpt-6-luna, deepseek/deepseek-flash, google/gemini-3.8-flash, {r2}]
    baseline: openai/gpt-4o
    expected_output_tokens: 300     # one expectation for all, so that prices alone decide
models:
  {r2}:
    context_tokens: 128000
    max_output_tokens: 32000
    capabilities: [tools, json_object]
    expected_output_tokens: 300
prices:
  - id: deepseek-r2@demo
    model: {r2}
    effective_from: {cut}
    status: announced
    source: "this demo's script: the rumoured price, made real for this run"
    read: 2026-11-23
    rates: {{input: "0.07", cached_input: "0.007", output: "0.27"}}
"""

QUESTIONS = (
    "Summarise the plot of a novel about a price war between three merchants.",
    "Write a function that merges two sorted lists, and explain its cost.",
    "Translate into French: the cheapest answer that is good enough wins.",
    "What is the capital of Mongolia, and since when?",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=8080, help="default: 8080")
    parser.add_argument("--seconds", type=float, default=15.0, help="traffic before and after the cut (default: 15)")
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second (default: 40)")
    parser.add_argument("--exit", action="store_true", help="stop after the report instead of staying up")
    parser.set_defaults(run=demo)


def demo(arguments: argparse.Namespace) -> int:
    if arguments.seconds < 2 or not 1 <= arguments.rate <= 500:
        return complain("--seconds must be at least 2 and --rate between 1 and 500")
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    with tempfile.TemporaryDirectory(prefix="gateway-demo-") as folder:
        try:
            return uvloop.run(_demo(arguments, Path(folder)))
        except StartError as error:
            return complain(str(error))


async def _demo(arguments: argparse.Namespace, folder: Path) -> int:
    cut = datetime.now(UTC) + timedelta(seconds=WARM_UP_S + arguments.seconds)
    routes = folder / "routes.yaml"
    routes.write_text(ROUTES.format(r2=R2, cut=cut.isoformat()))
    # No provider key reaches the demo, so its three providers are simulated whatever the environment holds.
    settings = Settings(routes=routes, host="127.0.0.1", port=arguments.port, data_dir=folder / "data", env={})
    async with started(settings) as gateway, _serving(gateway, settings) as server:
        story = _Story(cut, arguments.seconds)
        print(f"\n{arguments.rate:g} requests a second to the route 'auto', a part of them streamed.")
        print(f"At {cut:%H:%M:%S} UTC the price row of {R2} comes into force.\n")
        async with aiohttp.ClientSession(f"http://127.0.0.1:{arguments.port}") as session:
            await _traffic(session, arguments.rate, story.until - datetime.now(UTC), server)
        await _settled(gateway)
        if not server.done():
            await _report(gateway, settings, story)
        if not arguments.exit and not server.done():
            print(f"\nThe gateway stays up on http://127.0.0.1:{arguments.port} (Ctrl-C ends it): try")
            print(f"  curl 'http://127.0.0.1:{arguments.port}/admin/spend?simulated=true&by=model'")
            print(f"  curl http://127.0.0.1:{arguments.port}/metrics")
            await server
    return 0


@dataclass(frozen=True, slots=True)
class _Story:
    """When the price changes, and the periods compared: as long before it as after the second it may take."""

    cut: datetime
    seconds: float

    @property
    def before(self) -> tuple[datetime, datetime]:
        return self.cut - timedelta(seconds=self.seconds), self.cut

    @property
    def after(self) -> tuple[datetime, datetime]:
        return self.cut + timedelta(seconds=1), self.until

    @property
    def until(self) -> datetime:
        return self.cut + timedelta(seconds=1 + self.seconds)


@contextlib.asynccontextmanager
async def _serving(gateway: Gateway, settings: Settings) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(serve(gateway, settings))
    try:
        async with asyncio.timeout(10):
            while not gateway.listening and not task.done():  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0.02)
        if task.done():
            task.result()
        yield task
    finally:
        gateway.stop()
        await task


async def _traffic(session: aiohttp.ClientSession, rate: float, lasts: timedelta, server: asyncio.Task[None]) -> None:
    """Requests at a steady rate for so long, or until the server stops."""
    loop = asyncio.get_running_loop()
    began, sent = loop.time(), 0
    dice = random.Random(1)  # noqa: S311 - the demo's traffic is the same every time
    async with asyncio.TaskGroup() as group:
        while (passed := loop.time() - began) < lasts.total_seconds() and not server.done():
            for _ in range(int(passed * rate) - sent):
                sent += 1
                group.create_task(_ask(session, dice.choice(QUESTIONS), sent, stream=sent % 3 == 0))
            await asyncio.sleep(0.02)


async def _ask(session: aiohttp.ClientSession, question: str, number: int, *, stream: bool) -> None:
    body = {
        "model": "auto",
        "stream": stream,
        "max_tokens": 300,
        "messages": [{"role": "user", "content": f"({number}) {question}"}],
    }
    try:
        async with asyncio.timeout(REQUEST_DEADLINE_S), session.post("/v1/chat/completions", json=body) as reply:
            await reply.read()
    except (aiohttp.ClientError, TimeoutError) as exc:
        print(f"a request failed: {type(exc).__name__}", file=sys.stderr)


async def _settled(gateway: Gateway) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TRAFFIC_STOP_S):
            while gateway.books.accounts.waiting or gateway.books.settler.pending:  # noqa: ASYNC110 - asked once, at the end of a demo
                await asyncio.sleep(0.05)


async def _report(gateway: Gateway, settings: Settings, story: _Story) -> None:
    engine = gateway.ledger.engine

    def lines(period: tuple[datetime, datetime]) -> list[SpendLine]:
        return spend(engine, by=["model"], since=period[0], until=period[1], simulated=True)

    before, after = await asyncio.to_thread(lines, story.before), await asyncio.to_thread(lines, story.after)
    moved = await asyncio.to_thread(lines, (story.cut, story.until))
    print(_table("before the cut", before))
    print(_table("after the cut", after))
    if not before or not after:
        print("Too little traffic to compare; give --seconds or --rate more.")
        return
    old, new = _per_thousand(before), _per_thousand(after)
    strays = sum(line.requests for line in moved if line.group["model"] != R2)
    print(f"Spend per 1,000 requests: ${usd(old)} before, ${usd(new)} after ({(new - old) / old:+.1%}).")
    print(f"Requests from the cut on that did not go to {R2}: {strays} of {sum(line.requests for line in moved)}.")


def _table(title: str, lines: Sequence[SpendLine]) -> str:
    count = sum(line.requests for line in lines) or 1
    rows = [
        f"  {line.group['model']:<28} {line.requests:>6} requests {line.requests / count:>7.1%}"
        f"   cost ${usd(line.settled_nano)}   saved ${usd(line.saved_nano)}"
        for line in lines
    ]
    return "\n".join([f"{title}:", *rows, ""])


def _per_thousand(lines: Sequence[SpendLine]) -> int:
    """Nano-dollars per 1,000 answered requests, rounded down: for reading, not for booking."""
    whole = total(lines)
    return whole.settled_nano * 1000 // max(whole.requests, 1)
