"""Answers to questions that mean the same, through a whole gateway: inside one team, only where everything else is
equal, never for a question that only looks alike, and every vector on the bill."""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import pytest
import pytest_asyncio

from gateway.core.world import key_digest
from gateway.simulator import Scenario, Simulator
from tests.flow.river import River, afresh, running
from tests.flow.world import PRICES, ROUTES, env
from tests.running import RunningGateway

EMBEDDER = "text-embedding-3-small"
ONE, TWO, NEAR = "sk-one-" + "1" * 40, "sk-two-" + "2" * 40, "sk-near-" + "3" * 40
MODELS = "[openai/gpt-6-test, deepseek/chat-test, google/gemini-test]"
_CACHE = f"ttl_s: 600, semantic: {{model: openai/{EMBEDDER}, threshold: 0.8}}"
ROUTE = f"""
  similar: {{policy: cheapest, candidates: {MODELS}, baseline: openai/gpt-6-test, cache: {{{_CACHE}}}}}
  unshared: {{policy: cheapest, candidates: {MODELS}, cache: {{{_CACHE}, coalesce: false}}}}
  exact: {{policy: cheapest, candidates: {MODELS}, cache: {{ttl_s: 600}}}}
teams:
  one: {{keys: [{{id: one, sha256: "{key_digest(ONE)}"}}]}}
  two: {{keys: [{{id: two, sha256: "{key_digest(TWO)}"}}]}}
  near: {{keys: [{{id: near, sha256: "{key_digest(NEAR)}"}}], jurisdictions: [CN]}}
"""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    async with running(tmp_path_factory.mktemp("river"), ROUTES + ROUTE) as one:
        one.sim.set_price("openai", EMBEDDER, 0.0, {"input": "0.02", "output": "0"})
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def river(shared):
    return await afresh(shared)


async def ask(river, text, key=ONE, model="similar", **fields):
    answer = await asyncio.to_thread(river.gateway.chat, text, model, key, **fields)
    await asyncio.sleep(0.1)  # an answer and its question are kept beside its reply
    return answer


def word() -> str:
    """One that no other test has said."""
    return "".join(chr(ord("a") + int(digit, 16)) for digit in uuid.uuid4().hex[:10])


def how(answer) -> tuple[str, str | None]:
    return answer[1]["x-gateway-cache"], answer[1].get("x-gateway-cache-reason")


def asked_of(river, model: str) -> int:
    return sum(line.model == model for line in river.sim.bill)


async def test_a_question_in_other_words_is_answered_from_the_cache(river):
    thing = word()
    first = await ask(river, f"How do I restart the {thing} service?")
    second = await ask(river, f"Hi, how can I restart the {thing} service, please?")
    rows = await river.rows(4)

    assert [how(one) for one in (first, second)] == [("miss", None), ("hit", "semantic")]
    assert second[2] == first[2]
    assert 0.8 <= float(second[1]["x-gateway-cache-similarity"]) < 1
    assert second[1]["x-gateway-cost-usd"] == "0.000000000"
    (hit,) = [row for row in rows if row["cache"] == "semantic"]
    assert (hit["outcome"], hit["cost_nano"]) == ("cached", 0)
    assert hit["baseline_nano"] > 0


@pytest.mark.parametrize(
    "other",
    ["How do I restart the {} service on Monday?", "How do I stop the {} service?", "How do I restart the {} server?",
     "How do I restart the {} service without root?", "Why do I restart the {} service?",
     "How do I restart the {} service 2 times?", "How do I restart the `{}` service?"],
)  # fmt: skip
async def test_a_question_that_only_looks_alike_is_not(river, other):
    thing = word()
    await ask(river, f"How do I restart the {thing} service?")
    answer = await ask(river, other.format(thing))

    assert how(answer) == ("miss", None)


async def test_another_team_never_gets_it(river):
    thing = word()
    await ask(river, f"How do I restart the {thing} service?")
    answer = await ask(river, f"How can I restart the {thing} service?", key=TWO)

    assert how(answer) == ("miss", None)


async def test_only_the_text_of_the_last_message_may_differ(river):
    thing = word()
    await ask(river, f"How do I restart the {thing} service?")
    question = {"role": "user", "content": f"How can I restart the {thing} service?"}
    others = [
        await ask(river, "", messages=[{"role": "system", "content": "Be brief."}, question]),
        await ask(river, "", messages=[question], top_p=0.5),
        await ask(river, "", messages=[{**question, "name": "anna"}]),
        await ask(river, "", messages=[{"role": "user", "content": [{"type": "text", "text": question["content"]}]}]),
        await ask(river, "", messages=[question], model="exact"),
    ]

    assert [how(one) for one in others] == [("miss", None)] * 5
    assert how(await ask(river, "", messages=[question])) == ("hit", "semantic")


async def test_a_stream_fills_it_and_is_answered_from_it(river):
    thing = word()
    first = await ask(river, f"How do I restart the {thing} service?", stream=True)
    second = await ask(river, f"How can I restart the {thing} service?", stream=True)
    third = await ask(river, f"How to restart the {thing} service?")

    assert [how(one) for one in (first, second, third)] == [("miss", None), ("hit", "semantic"), ("hit", "semantic")]
    chunks = [json.loads(event[6:]) for event in second[2].split(b"\n\n") if event.startswith(b"data: {")]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == json.loads(third[2])["choices"][0]["message"]["content"]
    assert second[2].endswith(b"data: [DONE]\n\n")


async def test_it_is_found_on_a_route_whose_calls_are_not_shared(river):
    thing = word()
    first = await ask(river, f"How do I restart the {thing} service?", model="unshared")
    second = await ask(river, f"How can I restart the {thing} service?", model="unshared")

    assert [how(one) for one in (first, second)] == [("miss", None), ("hit", "semantic")]


async def test_every_vector_is_a_row_of_the_ledger_and_the_rows_are_the_bill(river):
    thing = word()
    for begin in ("How do I", "How can I", "Why do I"):
        await ask(river, f"{begin} restart the {thing} service?")
    rows = await river.rows(6)

    vectors = [row for row in rows if row["cache"] == "embedding"]
    billed = {line.attempt: line.cost_nano for line in river.sim.bill if line.model == EMBEDDER}
    assert {row["attempt_id"]: row["cost_nano"] for row in vectors} == billed
    assert [(row["outcome"], row["state"], row["baseline_nano"]) for row in vectors] == [("embedded", "settled", 0)] * 3
    assert all(row["input_tokens"] > 0 and row["request_id"].endswith(".e") for row in vectors)
    assert sum(row["cost_nano"] for row in rows) == river.sim.total_nano()


async def test_an_equal_question_needs_no_vector(river):
    thing = word()
    answers = [await ask(river, f"How do I restart the {thing} service?") for _ in range(3)]

    assert [how(one)[0] for one in answers] == ["miss", "hit", "hit"]
    assert asked_of(river, EMBEDDER) == 1


async def test_no_cache_and_no_store_ask_for_no_vector(river):
    body = {"model": "similar", "messages": [{"role": "user", "content": f"What is {word()}?"}]}
    for control in ("no-cache", "no-store"):
        headers = {"authorization": f"Bearer {ONE}", "cache_control": control}
        await asyncio.to_thread(river.gateway.post, "/v1/chat/completions", body, **headers)

    assert asked_of(river, EMBEDDER) == 0


async def test_where_the_text_may_not_go_there_is_no_vector(river):
    answer = await ask(river, f"How do I restart the {word()} service?", key=NEAR)

    assert how(answer) == ("miss", None)
    assert answer[1]["x-gateway-provider"] == "deepseek"
    assert asked_of(river, EMBEDDER) == 0


async def test_a_provider_of_vectors_that_fails_is_a_miss_and_costs_nothing(river):
    river.sim.set_scenario("openai", Scenario(fault="http_503"), EMBEDDER)
    thing = word()
    answers = [await ask(river, f"{begin} I restart the {thing} service?") for begin in ("How do", "How can")]
    rows = await river.rows(4)

    assert [(one[0], *how(one)) for one in answers] == [(200, "miss", None)] * 2
    failed = [row for row in rows if row["cache"] == "embedding"]
    assert [(row["outcome"], row["state"], row["cost_nano"]) for row in failed] == [("http_503", "settled", 0)] * 2


async def test_a_provider_of_vectors_that_is_late_is_waited_for_two_seconds(river):
    river.sim.set_scenario("openai", Scenario(ttft_ms=30_000), EMBEDDER)
    began = time.monotonic()
    answer = await ask(river, f"How do I restart the {word()} service?")
    waited = time.monotonic() - began
    rows = await river.rows(2)

    assert how(answer) == ("miss", None)
    assert waited < 10
    (late,) = [row for row in rows if row["cache"] == "embedding"]
    assert (late["outcome"], late["state"], late["usage_source"]) == ("timeout", "uncertain", "estimated")
    assert late["cost_nano"] > 0


async def test_a_vector_that_no_budget_has_room_for_is_not_bought(tmp_path):
    budgets = 'budgets: {vectors: {provider: openai, usd: "0.000000001", window: month}}\n'
    async with running(tmp_path, ROUTES + ROUTE + budgets) as river:
        river.sim.set_price("openai", EMBEDDER, 0.0, {"input": "0.02", "output": "0"})
        answer = await ask(river, f"How do I restart the {word()} service?")
        rows = await river.rows(1)

    assert (answer[0], *how(answer)) == (200, "miss", None)
    assert [(row["cache"], row["provider"]) for row in rows] == [("miss", "deepseek")]
    assert asked_of(river, EMBEDDER) == 0


async def test_equal_questions_at_once_over_several_workers_are_answered_by_one_vector(tmp_path):
    async with Simulator(PRICES) as sim:
        sim.set_price("openai", EMBEDDER, 0.0, {"input": "0.02", "output": "0"})
        gateway = RunningGateway(tmp_path, ROUTES + ROUTE, env(sim), workers=2)
        await asyncio.to_thread(gateway.start)
        try:
            river, thing = River(gateway, sim, 0), word()
            for _ in range(8):  # a worker's first look at the store may take too long
                await ask(river, f"what is {word()}?", model="exact")
            first = await ask(river, f"How do I restart the {thing} service?")
            sim.set_scenario("openai", Scenario(ttft_ms=500), EMBEDDER)  # so that the others come meanwhile
            again = [ask(river, f"How can I restart the {thing} service?") for _ in range(5)]
            answers = await asyncio.gather(*again)
            rows = await river.rows(16)
        finally:
            await asyncio.to_thread(gateway.stop)

    assert {how(one) for one in answers} == {("hit", "semantic")}
    assert {one[2] for one in answers} == {first[2]}
    assert asked_of(river, EMBEDDER) == 2
    assert len(sim.bill) == 8 + 3
    assert sum(row["cache"] == "semantic" for row in rows) == 5


async def test_an_embedding_model_answers_no_chat_and_is_not_listed(river):
    refused = await ask(river, "hello", model=EMBEDDER)
    status, _, listed = await asyncio.to_thread(river.gateway.get, "/v1/models", authorization=f"Bearer {ONE}")

    assert refused[0] == 404
    assert "is an embedding model" in json.loads(refused[2])["error"]["message"]
    assert status == 200
    assert EMBEDDER.encode() not in listed
