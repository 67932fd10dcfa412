"""Budgets, limits, steps down and tags through a whole gateway, with the simulator's bill beside it."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator

import aiohttp
import pytest
from redis import Redis

from gateway.core.money import usd
from gateway.core.world import key_digest
from gateway.simulator import Simulator
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway

TEAMS = ("small", "soft", "slow", "wordy", "narrow", "stepping", "tagged", "thin")
KEYS = {team: f"sk-{team}-canary" for team in TEAMS}
RULES = """
budgets:
  small-day: {team: small, usd: "0.002", window: day}
  thin-day: {team: thin, usd: "0.004", window: day}
  soft-day: {team: soft, usd: "0.000001", window: day, mode: soft}
  stepping-day: {team: stepping, usd: "0.00001", window: hour, rolling: true, mode: soft}
  google-day: {provider: google, usd: "0.000001", window: day}
limits:
  slow: {team: slow, requests_per_minute: 3}
  wordy: {team: wordy, tokens_per_minute: 300}
  narrow: {each: key, concurrency: 200}
  narrow-two: {team: narrow, concurrency: 2}
"""
ROUTES_HERE = (
    ROUTES
    + """
  stepping:
    policy: split
    candidates: [openai/gpt-6-test]
    weights: {openai/gpt-6-test: 1}
    step_down: {from_percent: 50, to: thrifty}
  thrifty:
    policy: cheapest
    candidates: [deepseek/chat-test]
  googly:
    policy: cheapest
    candidates: [google/gemini-test]
    fallbacks: [deepseek/chat-test]
"""
    + "teams:\n"
    + "".join(f'  {t}: {{keys: [{{id: {t}-app, sha256: "{key_digest(KEYS[t])}"}}]}}\n' for t in TEAMS)
    + RULES
)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[tuple[RunningGateway, Simulator, asyncio.Runner]]:
    with asyncio.Runner() as runner:
        sim = Simulator(PRICES)
        runner.run(sim.start())
        folder = tmp_path_factory.mktemp("budgets")
        with RunningGateway(folder, ROUTES_HERE, env(sim)) as gateway:
            yield gateway, sim, runner
        runner.run(sim.stop())


async def ask(gateway: RunningGateway, team: str, **fields: object) -> tuple[int, dict, dict]:
    """Status, headers, and the body when it is JSON."""
    headers = {"authorization": f"Bearer {KEYS[team]}"}
    if tags := fields.pop("tags", None):
        headers["x-gateway-tags"] = str(tags)
    body = {"model": "auto", "messages": [{"role": "user", "content": "hello"}], **fields}
    async with (
        aiohttp.ClientSession(gateway.url, headers=headers) as session,
        session.post("/v1/chat/completions", json=body) as reply,
    ):
        raw = await reply.read()
    whole = reply.content_type == "application/json"
    return reply.status, reply.headers.copy(), json.loads(raw) if whole else {}


def rows_of(gateway: RunningGateway, wanted: Callable[[dict], bool], expected: int) -> list[dict]:
    """Such rows of the ledger, once there are as many as expected."""
    deadline = time.monotonic() + 5
    while True:
        found = [row for row in gateway.rows() if wanted(row)]
        if len(found) >= expected or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def test_a_hard_budget_is_never_passed_and_says_what_is_left(world):
    gateway, _, runner = world

    async def crowd() -> list[tuple[int, dict, dict]]:
        asks = (ask(gateway, "small", stream=number % 2 == 0, max_tokens=300) for number in range(60))
        return await asyncio.gather(*asks)

    answers = runner.run(crowd())
    statuses = Counter(status for status, _, _ in answers)
    refused = next(body["error"] for status, _, body in answers if status == 402)
    headers = next(headers for status, headers, _ in answers if status == 402)

    assert set(statuses) == {200, 402}
    assert set(refused) == {"message", "type", "param", "code"}
    assert refused["code"] == "budget_exceeded"
    assert "budget 'small-day' of team 'small' has $" in refused["message"]
    assert "of $0.002000000 per day" in refused["message"]
    assert headers["x-should-retry"] == "false"
    spent = sum(row["cost_nano"] for row in rows_of(gateway, lambda row: row["team"] == "small", statuses[200]))
    assert 0 < spent <= 2_000_000, usd(spent)


def test_a_request_under_a_hard_budget_is_given_an_output_limit_and_a_wild_one_is_brought_down(world):
    gateway, sim, runner = world
    wanted = "sim:answer_tokens=1000000;chunk_tokens=1000"
    _, _, small = runner.run(ask(gateway, "small", user=wanted, model="deepseek/chat-test", max_tokens=9_999_999))

    # The hold of the model's whole 8,000 tokens does not fit in what is left: refused, not let through unbounded.
    assert small["error"]["code"] == "budget_exceeded"
    # Without a budget nothing is added to what the caller sent.
    before = len(sim.bill)
    status, _, body = runner.run(ask(gateway, "tagged", model="openai/gpt-6-test", max_tokens=7))
    assert (status, len(sim.bill)) == (200, before + 1)
    assert body["usage"]["completion_tokens"] <= 7


def test_a_soft_budget_refuses_nobody(world):
    gateway, _, runner = world
    assert [runner.run(ask(gateway, "soft"))[0] for _ in range(3)] == [200, 200, 200]


def test_a_rate_limit_tells_when_to_come_back(world):
    gateway, _, runner = world

    async def five() -> list[tuple[int, dict, dict]]:
        return [await ask(gateway, "slow") for _ in range(5)]

    answers = runner.run(five())
    status, headers, body = answers[-1]
    assert [one[0] for one in answers] == [200, 200, 200, 429, 429]
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert 1 <= int(headers["retry-after"]) <= 20
    assert headers["x-ratelimit-limit-requests"] == "3"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-reset-requests"].endswith("ms")
    assert status == 429


def test_a_token_limit_takes_what_was_used_and_not_what_was_feared(world):
    gateway, _, runner = world
    quick = {"user": "sim:answer_tokens=5", "model": "deepseek/chat-test"}

    async def until_refused() -> int:
        for number in range(30):
            if (await ask(gateway, "wordy", **quick))[0] == 429:
                return number
        return 30

    answered = runner.run(until_refused())
    status, _, body = runner.run(
        ask(gateway, "wordy", messages=[{"role": "user", "content": "words " * 1_000}], model="deepseek/chat-test")
    )

    # Each is expected to take some 70 tokens (four fit in 300) and takes about a dozen.
    assert answered > 300 // 70 + 1
    assert (status, body["error"]["code"]) == (400, "over_token_limit")


def test_a_concurrency_limit_counts_what_is_in_progress_and_lets_go(world):
    gateway, _, runner = world
    slow = {"user": "sim:ttft_ms=400", "model": "deepseek/chat-test"}

    async def crowd() -> list[int]:
        return [status for status, _, _ in await asyncio.gather(*(ask(gateway, "narrow", **slow) for _ in range(6)))]

    assert Counter(runner.run(crowd())) == {200: 2, 429: 4}
    assert runner.run(ask(gateway, "narrow"))[0] == 200


def test_a_route_steps_down_when_a_budget_runs_low(world):
    gateway, _, runner = world
    first, later = runner.run(ask(gateway, "stepping", model="stepping")), None
    for _ in range(2):
        later = runner.run(ask(gateway, "stepping", model="stepping"))

    assert first[1]["x-gateway-model"] == "openai/gpt-6-test"
    assert later[1]["x-gateway-model"] == "deepseek/chat-test"
    assert (later[1]["x-gateway-route"], later[1]["x-gateway-policy"]) == ("stepping", "cheapest")


def test_what_does_not_fit_at_one_candidate_is_tried_at_the_next_and_then_down_the_step(world):
    gateway, _, runner = world
    # 2,000 tokens are held at 0.0106 dollars at OpenAI's rates and at 0.0022 at DeepSeek's; the budget has 0.004.
    status, headers, _ = runner.run(ask(gateway, "thin", model="best", max_tokens=2_000))
    assert (status, headers["x-gateway-model"]) == (200, "deepseek/chat-test")
    status, headers, _ = runner.run(ask(gateway, "thin", model="stepping", max_tokens=1_000))
    assert (status, headers["x-gateway-model"]) == (200, "deepseek/chat-test")
    status, _, body = runner.run(ask(gateway, "thin", model="best", max_tokens=8_000))
    assert (status, body["error"]["code"]) == (402, "budget_exceeded")


def test_a_providers_own_budget_sends_requests_to_the_next_candidate(world):
    gateway, _, runner = world
    status, headers, _ = runner.run(ask(gateway, "tagged", model="googly"))

    assert (status, headers["x-gateway-model"]) == (200, "deepseek/chat-test")
    alone, _, body = runner.run(ask(gateway, "tagged", model="google/gemini-test"))
    assert (alone, body["error"]["code"]) == (402, "budget_exceeded")


def test_tags_and_end_user_stand_on_the_row_and_a_wrong_tag_is_refused(world):
    gateway, _, runner = world
    fields = {"metadata": {"project": "apollo", "stage": "test"}, "user": "user-17", "model": "deepseek/chat-test"}
    status, headers, _ = runner.run(ask(gateway, "tagged", tags="stage=live,cost-centre=4711", **fields))
    (row,) = rows_of(gateway, lambda row: row["request_id"] == headers["x-request-id"], 1)

    assert status == 200
    assert json.loads(row["tags"]) == {"cost-centre": "4711", "project": "apollo", "stage": "live"}
    assert (row["end_user"], row["organisation"], row["key_id"]) == ("user-17", "default", "tagged-app")
    assert row["hold_nano"] >= row["cost_nano"] > 0
    bad, _, body = runner.run(ask(gateway, "tagged", tags="no sign of a value"))
    assert (bad, body["error"]["param"]) == (400, "x-gateway-tags")


def test_nothing_is_held_when_nothing_is_in_progress(world):
    gateway, _, _ = world
    store = Redis(unix_socket_path=str(gateway.folder / "data" / "valkey" / "valkey.sock"))
    books = store.hgetall("gw:a1:{default}:books")
    rates = store.hgetall("gw:a1:{default}:rates")

    assert {value for name, value in books.items() if name.startswith(b"h|")} == {b"0"}
    assert {value for name, value in rates.items() if name.startswith(b"c|")} == {b"0"}
    assert store.hlen("gw:a1:{default}:holds") == 0
