"""Reloading: changed files come into force in every process, bad ones change nothing, and no request fails."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from gateway.core.world import key_digest
from gateway.simulator import Simulator
from tests.flow.test_workers import Load, until
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="worker processes are found in /proc")

ADMIN = {"authorization": "Bearer admin-canary"}
MANUAL = f"{ROUTES}\nserver: {{watch_s: 0}}\n"
WATCHED = f"{ROUTES}\nserver: {{watch_s: 0.2}}\n"
FRESH = "  fresh: {policy: cheapest, candidates: [openai/gpt-6-test]}\n"
WRONG = "candidates: [openai/gpt-6-tset]"

processes = pytest.mark.parametrize("workers", [None, 3], ids=["one process", "three workers"])


def with_route(text: str) -> str:
    return text.replace("  kept:\n", f"{FRESH}  kept:\n")


def with_mistake(text: str) -> tuple[str, str]:
    """A misspelt model, and the place that must be named."""
    lines = with_route(text).splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "  fresh:" in line)
    lines[at] = lines[at].replace("openai/gpt-6-test", "openai/gpt-6-tset")
    return "".join(lines), f"routes.yaml:{at + 1}:{lines[at].index('openai/') + 1}: unknown model 'openai/gpt-6-tset'"


def team(name: str, *, organisation: str) -> str:
    return f'  {name}: {{keys: [{{id: {name}-app, sha256: "{key_digest(name)}"}}], organisation: {organisation}}}\n'


@asynccontextmanager
async def gateway_with(tmp_path, text: str, workers: int | None) -> AsyncIterator[RunningGateway]:
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, text, env(sim) | {"GATEWAY_ADMIN_KEY": "admin-canary"}, workers=workers)
        await asyncio.to_thread(gateway.start)
        try:
            yield gateway
        finally:
            await asyncio.to_thread(gateway.stop)


def put(gateway: RunningGateway, text: str) -> None:
    new = gateway.routes.with_suffix(".new")
    new.write_text(text)
    new.replace(gateway.routes)


def reload(gateway: RunningGateway) -> tuple[int, dict]:
    status, _, body = gateway.post("/admin/reload", {}, **ADMIN)
    return status, json.loads(body)


def in_force(gateway: RunningGateway) -> dict:
    status, _, body = gateway.get("/admin/config", **ADMIN)
    assert status == 200, body
    return json.loads(body)


def versions(gateway: RunningGateway) -> set[str]:
    """Of all workers: a new connection goes to any of them."""
    return {json.loads(gateway.get("/readyz")[2])["config"] for _ in range(20)}


@processes
@pytest.mark.parametrize("trigger", ["signal", "watch", "admin"])
async def test_a_changed_file_comes_into_force_without_a_restart(tmp_path, trigger, workers):
    text = WATCHED if trigger == "watch" else MANUAL
    async with gateway_with(tmp_path, text, workers) as gateway:
        before, pids = await asyncio.to_thread(in_force, gateway), gateway.worker_pids()
        assert (await asyncio.to_thread(gateway.chat, "hello", "fresh"))[0] == 404

        put(gateway, with_route(text))
        if trigger == "signal":
            os.kill(gateway.pid, signal.SIGHUP)
        if trigger == "admin":
            status, told = await asyncio.to_thread(reload, gateway)
            assert (status, told["changed"], told["warnings"]) == (200, True, [])
            assert await asyncio.to_thread(versions, gateway) == {told["version"]}
        await until(lambda: before["version"] not in versions(gateway))

        after = await asyncio.to_thread(in_force, gateway)
        assert {(await asyncio.to_thread(gateway.chat, "hello", "fresh"))[0] for _ in range(10)} == {200}
        assert await asyncio.to_thread(versions, gateway) == {after["version"]}
        assert (before["trigger"], after["trigger"]) == ("start", trigger)
        assert after["since"] > before["since"]
        assert gateway.worker_pids() == pids


@processes
async def test_a_bad_file_changes_nothing_and_is_named_in_the_answer_and_in_the_log(tmp_path, workers):
    text, place = with_mistake(MANUAL)
    async with gateway_with(tmp_path, MANUAL, workers) as gateway:
        before = await asyncio.to_thread(in_force, gateway)
        put(gateway, text)
        status, told = await asyncio.to_thread(reload, gateway)
        assert status == 422
        assert place in told["error"]["message"]
        os.kill(gateway.pid, signal.SIGHUP)  # the same state of the file: refused again, and told once
        await until(lambda: in_force(gateway)["refused"]["trigger"] == "signal")

        after = await asyncio.to_thread(in_force, gateway)
        assert after["version"] == before["version"]
        assert place in after["refused"]["mistakes"][0]
        assert gateway.log.count(place) == 1
        assert await asyncio.to_thread(versions, gateway) == {before["version"]}
        assert {(await asyncio.to_thread(gateway.chat))[0] for _ in range(10)} == {200}

        page = (await asyncio.to_thread(gateway.get, "/metrics", **ADMIN))[2].decode()
        counted = dict(re.findall(r'^gateway_config_reloads_total\{result="(\w+)"\} (\d+)$', page, re.MULTILINE))
        assert counted == {"applied": "0", "refused": "2", "unchanged": "0"}


async def test_a_file_that_the_watch_refuses_is_told_once(tmp_path):
    text, place = with_mistake(WATCHED)
    async with gateway_with(tmp_path, WATCHED, None) as gateway:
        put(gateway, text)
        await until(lambda: place in gateway.log)
        await asyncio.sleep(1)  # five looks more
        put(gateway, WATCHED)
        await until(lambda: in_force(gateway)["refused"] is None)

        assert gateway.log.count(place) == 1


@processes
async def test_a_request_keeps_the_configuration_that_it_began_with(tmp_path, workers):
    """A stream that was begun, and a request whose provider is silent: it falls back to what is gone by then."""
    old = with_route(MANUAL).replace("[openai/gpt-6-test]", "[openai/gpt-6-test], fallbacks: [google/gemini-test]")
    new = with_route(MANUAL).replace('input: "1.10"', 'input: "9.90"')
    async with gateway_with(tmp_path, old, workers) as gateway, aiohttp.ClientSession(gateway.url) as session:
        body = {"model": "fresh", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        silent = body | {"user": "sim:fault@openai=stall"}
        falling_back = asyncio.create_task(_asked(session, silent))
        async with session.post("/v1/chat/completions", json=body | {"user": "sim:gap_ms=50"}) as stream:
            told = await stream.content.readany()
            put(gateway, new)
            status, answer = await asyncio.to_thread(reload, gateway)
            assert status == 200
            fresh = await _asked(session, body | {"stream": False})
            told += await stream.content.read()
        fallen_back = await falling_back
        rows = await asyncio.to_thread(gateway.rows, 4)

    assert answer["changed"]
    assert told.endswith(b"data: [DONE]\n\n")
    assert fallen_back["x-gateway-model"] == "google/gemini-test"
    assert fresh["x-gateway-model"] == "openai/gpt-6-test"
    prices = {row["attempt_id"]: row["cost_nano"] for row in rows if row["model"] == "openai/gpt-6-test"}
    assert len(prices) == 3
    by_request = {row["request_id"]: row for row in rows if row["outcome"] == "ok"}
    of_stream, of_fresh = by_request[stream.headers["x-request-id"]], by_request[fresh["x-request-id"]]
    assert _cost(of_stream, input_pico=1_100_000) == of_stream["cost_nano"]
    assert _cost(of_fresh, input_pico=9_900_000) == of_fresh["cost_nano"]


async def _asked(session: aiohttp.ClientSession, body: dict) -> dict[str, str]:
    async with session.post("/v1/chat/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()
        await reply.read()
        return {name.lower(): value for name, value in reply.headers.items()}


def _cost(row: dict, *, input_pico: int) -> int:
    """Of gpt-6-test, for a prompt of which nothing was cached."""
    assert row["cached_input_tokens"] == row["cache_write_tokens"] == 0
    output = row["output_tokens"] + row["reasoning_tokens"]
    return -(-(row["input_tokens"] * input_pico + output * 5_300_000) // 1_000)


@processes
async def test_a_new_organisation_with_a_budget_is_served_and_a_team_that_is_gone_is_not(tmp_path, workers):
    first = f"{MANUAL}teams:\n{team('search', organisation='acme')}"
    second = (
        f"{first}{team('guests', organisation='partner')}{team('poor', organisation='partner')}budgets:\n"
        '  guests-day: {team: guests, usd: "1", window: day}\n'
        '  poor-day: {team: poor, usd: "0.000000001", window: day}\n'
    )
    async with gateway_with(tmp_path, first, workers) as gateway:
        assert (await asyncio.to_thread(gateway.chat, key="guests"))[0] == 401

        put(gateway, second)
        assert (await asyncio.to_thread(reload, gateway))[0] == 200
        for _ in range(6):
            assert (await asyncio.to_thread(gateway.chat, key="guests"))[0] == 200
            assert (await asyncio.to_thread(gateway.chat, key="poor"))[0] == 402
            assert (await asyncio.to_thread(gateway.chat, key="search"))[0] == 200

        slow = asyncio.create_task(asyncio.to_thread(gateway.chat, key="guests", stream=True, user="sim:gap_ms=50"))
        await asyncio.sleep(0.3)
        put(gateway, first)
        os.kill(gateway.pid, signal.SIGHUP)
        seen: list[int] = []
        async with asyncio.timeout(1):
            while seen[-12:] != [401] * 12:
                seen.append((await asyncio.to_thread(gateway.chat, key="guests"))[0])
        status, _, told = await slow
        rows = await asyncio.to_thread(gateway.rows, 13 + seen.count(200))
        code = await asyncio.to_thread(gateway.stop)

    assert (status, told.endswith(b"data: [DONE]\n\n")) == (200, True)
    assert sum(row["organisation"] == "partner" and row["outcome"] == "ok" for row in rows) == 7 + seen.count(200)
    assert code == 0


@processes
async def test_a_model_that_appears_while_the_providers_are_simulated_is_simulated_too(tmp_path, workers):
    first = "server: {watch_s: 0}\nroutes:\n  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}\n"
    second = first + (
        "  fresh: {policy: cheapest, candidates: [google/brand-new]}\n"
        "models:\n  google/brand-new: {context_tokens: 9000, max_output_tokens: 900, capabilities: []}\n"
        "prices:\n  - {id: new, model: google/brand-new, effective_from: 2026-01-01T00:00:00Z, status: announced,\n"
        '     source: the tests, read: 2026-11-23, rates: {input: "3", output: "7"}}\n'
    )
    gateway = RunningGateway(tmp_path, first, {"GATEWAY_ADMIN_KEY": "admin-canary"}, workers=workers)
    await asyncio.to_thread(gateway.start)
    try:
        put(gateway, second)
        assert (await asyncio.to_thread(reload, gateway))[0] == 200
        answers = [await asyncio.to_thread(gateway.chat, "hello", "fresh") for _ in range(6)]
    finally:
        await asyncio.to_thread(gateway.stop)

    assert {(status, headers["x-gateway-simulated"]) for status, headers, _ in answers} == {(200, "true")}
    for row in gateway.rows(6):
        assert row["cost_nano"] == 3_000 * row["input_tokens"] + 7_000 * row["output_tokens"]


@processes
def test_what_is_refused_at_the_start_is_refused_by_a_reload(tmp_path, workers):
    open_to_all = "server: {watch_s: 0}\nroutes:\n  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}\n"
    keys = {"OPENAI_API_KEY": "canary", "GATEWAY_ADMIN_KEY": "admin-canary"}
    closed = f"{open_to_all}teams:\n{team('search', organisation='acme')}"
    with RunningGateway(tmp_path, closed, keys, host="0.0.0.0", workers=workers) as gateway:
        put(gateway, open_to_all)
        status, told = reload(gateway)

        assert status == 422
        assert "it has no teams" in told["error"]["message"]
        assert gateway.chat()[0] == 401


def test_a_reload_is_the_administrators_alone(tmp_path):
    with RunningGateway(tmp_path, env={"GATEWAY_ADMIN_KEY": "admin-canary"}) as gateway:
        assert gateway.post("/admin/reload", {})[0] == 401
        assert gateway.get("/admin/config")[0] == 401
        assert gateway.post("/admin/reload", {}, authorization="Bearer wrong")[0] == 401
        assert reload(gateway) == (200, {"version": in_force(gateway)["version"], "changed": False, "warnings": []})


def test_one_process_has_no_workers_to_replace_and_goes_on(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        os.kill(gateway.pid, signal.SIGUSR2)

        assert gateway.chat()[0] == 200
        assert "it is one process" in gateway.log


async def test_a_worker_that_starts_after_a_reload_serves_what_was_good_last(tmp_path):
    async with gateway_with(tmp_path, MANUAL, 2) as gateway:
        put(gateway, with_route(MANUAL))
        _, told = await asyncio.to_thread(reload, gateway)
        put(gateway, with_mistake(MANUAL)[0])
        assert (await asyncio.to_thread(reload, gateway))[0] == 422
        before = gateway.worker_pids()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await until(lambda: len(gateway.worker_pids()) == 2 and not set(gateway.worker_pids()) & set(before))
        await until(lambda: b"\ngateway_workers 2\n" in gateway.get("/metrics", **ADMIN)[2])

        now = await asyncio.to_thread(in_force, gateway)
        assert await asyncio.to_thread(versions, gateway) == {told["version"]} == {now["version"]}
        assert now["refused"]["trigger"] == "admin"


async def test_a_worker_that_does_not_take_a_configuration_in_time_is_replaced(tmp_path):
    text = MANUAL.replace("watch_s: 0", "watch_s: 0, drain_s: 1")
    async with gateway_with(tmp_path, text, 2) as gateway:
        frozen = gateway.worker_pids()[0]
        os.kill(frozen, signal.SIGSTOP)
        put(gateway, with_route(text))
        os.kill(gateway.pid, signal.SIGHUP)
        await until(lambda: f"worker {frozen} has not taken the configuration" in gateway.log, within_s=30)
        await until(lambda: f"serves in the place of {frozen}" in gateway.log)
        os.kill(frozen, signal.SIGKILL)
        await until(lambda: frozen not in gateway.worker_pids())

        assert {(await asyncio.to_thread(gateway.chat, "hello", "fresh"))[0] for _ in range(10)} == {200}


@processes
async def test_fifty_reloads_under_load_fail_no_request(tmp_path, workers):
    texts = [MANUAL, with_route(MANUAL), with_mistake(MANUAL)[0]]
    async with gateway_with(tmp_path, MANUAL, workers) as gateway:
        pids = gateway.worker_pids()
        statuses = []
        async with Load(gateway) as load:
            for number in range(1, 51):
                put(gateway, texts[number % 3])
                statuses.append((await asyncio.to_thread(reload, gateway))[0])
                await asyncio.sleep(0.02)
        rows = await asyncio.to_thread(gateway.rows, load.answered)

        assert gateway.worker_pids() == pids
    assert load.failed == {}
    assert load.answered > 100
    assert len(rows) == load.answered
    assert statuses == [422 if number % 3 == 2 else 200 for number in range(1, 51)]
