"""What answers teach a whole gateway: lengths and grades move its choices, in every worker, across restarts; and every
decision can be asked about afterwards, and comes out the same.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from gateway.core.world import key_digest
from gateway.simulator import Scenario, Simulator
from tests.flow.world import PRICES, ROUTES, env
from tests.running import ROOT, RunningGateway

LEARNED_S = 20.0
"""A worker tells what it has learned every five seconds, and hears what others have."""

KEY, OTHER = "sk-search-canary", "sk-other-canary"
OURS = {"authorization": f"Bearer {KEY}"}
ADMIN = {"authorization": "Bearer admin-canary"}


def _quality(score: int) -> str:
    return f"quality: {{overall: {{score: {score}, status: measured, source: the tests, read: 2026-11-23}}}}"


ROUTES_HERE = (
    ROUTES.replace("deepseek/chat-test: {", f"deepseek/chat-test: {{{_quality(72)}, ")
    .replace("google/gemini-test: {", f"google/gemini-test: {{{_quality(90)}, ")
    .replace("openai/gpt-6-test: {", f"openai/gpt-6-test: {{{_quality(95)}, ")
    + f"""
  duel:
    policy: cheapest
    candidates: [deepseek/chat-test, google/gemini-test]
  floored:
    policy: cheapest
    candidates: [deepseek/chat-test, google/gemini-test]
    quality_floor: {{overall: 70}}
teams:
  search: {{keys: [{{id: app, sha256: "{key_digest(KEY)}"}}]}}
  other: {{keys: [{{id: other-app, sha256: "{key_digest(OTHER)}"}}]}}
"""
)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(PRICES) as running:
        yield running


def gateway_of(tmp_path, sim: Simulator, **more) -> RunningGateway:
    return RunningGateway(tmp_path, ROUTES_HERE, {**env(sim), "GATEWAY_ADMIN_KEY": "admin-canary"}, **more)


async def running(gateway: RunningGateway) -> None:
    await asyncio.to_thread(gateway.start)


async def stopped(gateway: RunningGateway) -> None:
    await asyncio.to_thread(gateway.stop)


async def ask(gateway: RunningGateway, model: str = "duel", key: str = KEY, **fields: object) -> dict[str, str]:
    """The headers of an answer."""
    status, headers, body = await asyncio.to_thread(gateway.chat, "hello", model, key, **fields)
    assert status == 200, body
    return headers


async def post(gateway: RunningGateway, path: str, body: object, **headers: str) -> tuple[int, dict]:
    status, _, raw = await asyncio.to_thread(gateway.post, path, body, **headers)
    return status, json.loads(raw)


async def decision(gateway: RunningGateway, id: str) -> tuple[int, dict]:
    status, _, raw = await asyncio.to_thread(lambda: gateway.get(f"/admin/decisions/{id}", **ADMIN))
    return status, json.loads(raw)


async def explained(gateway: RunningGateway, model: str = "duel") -> dict:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    return (await post(gateway, "/admin/explain", body, **ADMIN))[1]


async def until(true: Callable[[], object], within_s: float = LEARNED_S) -> None:
    deadline = time.monotonic() + within_s
    while not await true():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.1)


async def first_of(gateway: RunningGateway, model: str = "duel") -> str:
    return (await explained(gateway, model))["candidates"][0]["model"]


async def test_a_verbose_model_with_the_lower_price_loses_in_every_worker_and_after_a_restart(tmp_path, sim):
    """deepseek/chat-test writes 400 tokens at $1.10 a million; google/gemini-test 20 at $2.50."""
    sim.set_scenario("deepseek", Scenario(answer_tokens=400))
    sim.set_scenario("google", Scenario(answer_tokens=20))
    gateway = gateway_of(tmp_path, sim, workers=2)
    await running(gateway)
    before = await asyncio.gather(*(ask(gateway) for _ in range(40)))
    assert Counter(one["x-gateway-model"] for one in before) == {"deepseek/chat-test": 40}

    async def in_every_worker() -> bool:
        # Which worker answers is the kernel's choice, and may be the same one many times in a row.
        for _ in range(5):
            told = [one["candidates"] for one in await asyncio.gather(*(explained(gateway) for _ in range(12)))]
            if {(two[0]["model"], two[1]["answers"]) for two in told} != {("google/gemini-test", 40)}:
                return False
            await asyncio.sleep(1.0)
        return True

    await until(in_every_worker, 2 * LEARNED_S)
    after = [await ask(gateway) for _ in range(10)]
    assert {one["x-gateway-model"] for one in after} == {"google/gemini-test"}

    told = await explained(gateway)
    verbose = next(one for one in told["candidates"] if one["model"] == "deepseek/chat-test")
    rows = [row for row in await asyncio.to_thread(gateway.rows) if row["provider"] == "deepseek"]
    written = sum(row["output_tokens"] + row["reasoning_tokens"] for row in rows)
    assert verbose["expected_output_tokens"] == pytest.approx(written / 40, rel=0.05)  # 60 were stated
    assert verbose["output_p50"] == pytest.approx(written / 40, rel=0.1)

    await stopped(gateway)
    await running(gateway)
    assert (await ask(gateway))["x-gateway-model"] == "google/gemini-test"
    await stopped(gateway)


async def test_feedback_moves_a_score_and_with_it_who_reaches_the_floor(tmp_path, sim):
    gateway = gateway_of(tmp_path, sim)
    await running(gateway)
    made = [(await ask(gateway, "floored"))["x-gateway-decision"] for _ in range(10)]
    await asyncio.to_thread(gateway.rows, 10)
    for id in made:
        status, taken = await post(gateway, "/v1/feedback", {"decision": id, "score": 0}, **OURS)
        assert (status, taken["model"], taken["replaced"]) == (200, "deepseek/chat-test", False)

    async def is_left_out() -> bool:
        drops = (await explained(gateway, "floored"))["drops"]
        # 20 answers' worth of the measured 72, and 10 of 0: 48.
        return [(drop["model"], drop["reason"]) for drop in drops] == [
            ("deepseek/chat-test", "overall quality 48 is under the floor of 70")
        ]

    await until(is_left_out)
    assert (await ask(gateway, "floored"))["x-gateway-model"] == "google/gemini-test"

    for id in made:
        status, taken = await post(gateway, "/v1/feedback", {"decision": id, "score": 1.0}, **OURS)
        assert (status, taken["replaced"]) == (200, True)

    async def is_back() -> bool:
        return await first_of(gateway, "floored") == "deepseek/chat-test"

    await until(is_back)
    assert (await explained(gateway, "floored"))["candidates"][0]["quality"] == 81.33
    await stopped(gateway)


async def test_feedback_is_taken_only_for_an_answer_of_ones_own_and_says_what_is_wrong(tmp_path, sim):
    gateway = gateway_of(tmp_path, sim)
    await running(gateway)
    mine = (await ask(gateway))["x-gateway-decision"]
    others = (await ask(gateway, key=OTHER))["x-gateway-decision"]
    sim.set_scenario(None, Scenario(fault="http_503"))
    failed = (await asyncio.to_thread(gateway.chat, "hello", "duel", KEY))[1]["x-gateway-decision"]
    await asyncio.to_thread(gateway.rows, 4)

    async def give(body: object, **headers: str) -> tuple[int, dict]:
        status, answer = await post(gateway, "/v1/feedback", body, **(headers or OURS))
        return status, answer.get("error", answer)

    never = f"{mine[:12]}{'0' * 16}"
    status, told = await give({"decision": others, "score": 1})
    assert (status, told["code"]) == (404, "decision_not_found")
    assert told["message"].replace(others, never) == (await give({"decision": never, "score": 1}))[1]["message"]
    assert told["message"].endswith("try again in a moment")
    status, told = await give({"decision": "0" * 28, "score": 1})
    assert (status, told["message"]) == (404, f"there is no decision '{'0' * 28}' of this team")

    status, told = await give({"decision": failed, "score": 1})
    assert (status, told["code"]) == (409, "not_answered")
    assert "http_503" in told["message"]
    for body, says in (
        (b"{", "truncated"), (b'{"decision": "x"}', "missing required field `score`"),
        ({"decision": mine, "score": 1.5}, "<= 1"), ({"decision": mine, "score": "good"}, "got `str`"),
        ({"decision": mine, "score": 1, "stars": 5}, "unknown field `stars`"), (b"\xff", "invalid"),
        ({"decision": mine, "score": 1, "kind": "nonsense"}, "'kind' is 'nonsense'; it takes one of"),
    ):  # fmt: skip
        status, told = await give(body)
        assert status == 400, told
        assert says in told["message"]
    assert (await give(b'{"decision": "' + b"x" * 20_000 + b'"}'))[0] == 413
    assert (await give({"decision": mine, "score": 1}, authorization="Bearer wrong"))[0] == 401
    assert (await give({"decision": mine, "score": 0.5}))[0] == 200
    await stopped(gateway)


async def test_a_decision_is_shown_with_what_became_of_it_and_is_the_same_when_made_again(tmp_path, sim):
    gateway = gateway_of(tmp_path, sim)
    await running(gateway)
    sim.set_scenario("deepseek", Scenario(fault="http_503"))
    made = (await ask(gateway, "auto", metadata={"project": "x"}))["x-gateway-decision"]
    await asyncio.to_thread(gateway.rows, 2)

    status, told = await decision(gateway, made)
    assert status == 200
    assert told["replayed"] == "the same"
    assert [one["outcome"] for one in told["attempts"]] == ["http_503", "ok"]
    assert [one["model"] for one in told["candidates"]] == [one["model"] for one in told["explanation"]["candidates"]]
    assert (told["team"], told["route"], told["moment"]["prompt_bytes"] > 0) == ("search", "auto", True)

    assert (await decision(gateway, "nobody"))[0] == 404
    await stopped(gateway)


async def test_an_old_configuration_still_explains_an_old_decision(tmp_path, sim):
    gateway = gateway_of(tmp_path, sim)
    await running(gateway)
    made = (await ask(gateway))["x-gateway-decision"]
    await asyncio.to_thread(gateway.rows, 1)
    await stopped(gateway)
    old = (await asyncio.to_thread(gateway.rows))[0]

    # Dearer, other candidates, and no such route under this name.
    gateway.routes.write_text(ROUTES_HERE.replace("1.10", "9.90").replace("  duel:", "  duet:"))
    await running(gateway)
    status, told = await decision(gateway, made)
    assert (status, told["replayed"]) == (200, "the same")
    assert told["explanation"]["candidates"][0]["output_rate"] == "1.1"
    await stopped(gateway)

    done = await asyncio.to_thread(explain_in_shell, gateway, made)
    assert done.returncode == 0, done.stderr
    assert f"made again under configuration {told['config']}: the same" in done.stdout
    assert f"cost ${told['cost_usd']}" in done.stdout
    assert str(old["team"]) in done.stdout
    as_json = await asyncio.to_thread(explain_in_shell, gateway, made, "--json")
    assert json.loads(as_json.stdout) == told
    unknown = await asyncio.to_thread(explain_in_shell, gateway, "0" * 28)
    assert (unknown.returncode, "the ledger has no decision" in unknown.stderr) == (1, True)


def explain_in_shell(gateway: RunningGateway, id: str, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gateway", "explain", "--decision", id, *more]
    return subprocess.run(
        [*command, "--data-dir", str(gateway.folder / "data")],
        cwd=gateway.folder, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
