"""Equal requests at the same moment make one call, on one worker: whole and streamed, failing, left, and lost."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
import pytest_asyncio

from gateway.simulator import Scenario
from tests.flow.river import afresh, running
from tests.flow.world import MODELS, ROUTES

MANY = 40
SLOW = Scenario(ttft_ms=300, gap_ms=10, answer_tokens=30)
_ROUTE = f"policy: cheapest, candidates: [{', '.join(MODELS)}], baseline: openai/gpt-6-test"
MORE = f"""
  apart: {{{_ROUTE}, cache: {{ttl_s: 600, coalesce: false}}}}
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    async with running(tmp_path_factory.mktemp("river"), ROUTES + MORE) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def river(shared):
    one = await afresh(shared, SLOW)
    async with aiohttp.ClientSession(one.gateway.url, connector=aiohttp.TCPConnector(limit=0)) as session:
        yield one, session


async def ask(asked, text=None, **fields):
    river, session = asked
    body = {"model": "kept", "messages": [{"role": "user", "content": text or river.text}], **fields}
    async with session.post("/v1/chat/completions", json=body) as reply:
        return reply.status, reply.headers, await reply.read()


def text_of(events: bytes) -> str:
    chunks = [json.loads(line[6:]) for line in events.splitlines() if line.startswith(b"data: {")]
    return "".join(part["delta"].get("content") or "" for chunk in chunks for part in chunk["choices"])


async def test_equal_requests_make_one_call_and_each_has_its_row(river):
    one, _ = river
    answers = await asyncio.gather(*(ask(river) for _ in range(MANY)))
    rows = await one.rows(MANY)

    assert len(one.sim.bill) == 1
    assert {answer for _, _, answer in answers} == {answers[0][2]}
    words = sorted(headers["x-gateway-cache"] for _, headers, _ in answers)
    assert words == ["coalesced"] * (MANY - 1) + ["miss"]
    followers = [row for row in rows if row["cache"] == "coalesced"]
    assert len(followers) == MANY - 1
    (called,) = [row for row in rows if row["cache"] == "miss"]
    assert {(row["cost_nano"], row["baseline_nano"]) for row in followers} == {(0, called["baseline_nano"])}
    assert called["baseline_nano"] > 0
    assert sum(row["cost_nano"] for row in rows) == one.sim.total_nano()
    assert {
        headers["x-gateway-cost-usd"] for _, headers, _ in answers if headers["x-gateway-cache"] == "coalesced"
    } == {"0.000000000"}


async def test_whoever_joins_a_stream_gets_it_from_its_beginning(river):
    one, _ = river
    first = asyncio.create_task(ask(river, stream=True))
    await asyncio.sleep(0.45)  # some of it has been streamed
    others = await asyncio.gather(*(ask(river, stream=True) for _ in range(MANY)))
    called = await first

    assert len(one.sim.bill) == 1
    assert text_of(called[2])
    assert {text_of(events) for _, _, events in others} == {text_of(called[2])}
    assert all(events.endswith(b"data: [DONE]\n\n") for _, _, events in others)
    assert {headers["x-gateway-cache"] for _, headers, _ in others} == {"coalesced"}
    assert len(await one.rows(MANY + 1)) == MANY + 1


async def test_the_call_goes_on_when_the_client_leaves_that_it_was_made_for(river):
    one, _ = river
    first = asyncio.create_task(ask(river, stream=True))
    await asyncio.sleep(0.1)
    others = [asyncio.create_task(ask(river, stream=True)) for _ in range(5)]
    await asyncio.sleep(0.3)
    first.cancel()
    answers = await asyncio.gather(*others)

    assert len(one.sim.bill) == 1
    assert all(events.endswith(b"data: [DONE]\n\n") for _, _, events in answers)
    assert len({text_of(events) for _, _, events in answers}) == 1
    await asyncio.sleep(0.1)  # an answer is kept beside its reply
    after = await ask(river, stream=True)
    assert after[1]["x-gateway-cache"] == "hit"


async def test_a_follower_that_leaves_has_a_row_and_has_saved_nothing(river):
    one, _ = river
    first = asyncio.create_task(ask(river, stream=True))
    await asyncio.sleep(0.1)
    leaver = asyncio.create_task(ask(river, stream=True))
    await asyncio.sleep(0.35)
    leaver.cancel()
    await first
    rows = await one.rows(2)

    assert [
        (row["outcome"], row["cost_nano"], row["baseline_nano"]) for row in rows if row["cache"] == "coalesced"
    ] == [("aborted", 0, 0)]


@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_of_the_provider_is_the_answer_to_all_of_them(river, stream):
    one, _ = river
    fault = "sim:fault=http_400"
    answers = await asyncio.gather(*(ask(river, user=fault, stream=stream) for _ in range(MANY)))
    rows = await one.rows(MANY)

    assert {status for status, _, _ in answers} == {400}
    assert len({answer for _, _, answer in answers}) == 1
    assert len(rows) == MANY
    assert sum(row["cache"] == "miss" for row in rows) == 1
    assert {row["outcome"] for row in rows} == {"http_400"}
    assert sum(row["cost_nano"] + row["baseline_nano"] for row in rows) == 0


async def test_the_deadline_of_one_request_is_nobody_elses(river):
    one, session = river
    body = {"model": "kept", "messages": [{"role": "user", "content": one.text}]}

    async def hurried():
        async with session.post("/v1/chat/completions", json=body, headers={"x-gateway-timeout-ms": "150"}) as reply:
            return reply.status

    first = asyncio.create_task(hurried())
    await asyncio.sleep(0.05)
    patient = await ask(river)

    assert await first == 504
    assert patient[0] == 200


async def test_a_follower_is_told_not_to_retry_what_the_gateway_has_retried(river):
    answers = await asyncio.gather(*(ask(river, user="sim:fault=http_503") for _ in range(3)))

    assert {(status, headers.get("x-should-retry")) for status, headers, _ in answers} == {(502, "false")}


async def test_a_stream_that_breaks_off_breaks_off_for_all(river):
    one, _ = river
    answers = await asyncio.gather(*(ask(river, user="sim:fault=cut_after_5", stream=True) for _ in range(5)))

    assert all(b"[DONE]" not in events for _, _, events in answers)
    assert all(b'"error"' in events for _, _, events in answers)
    assert len(one.sim.bill) == 1
    await asyncio.sleep(0.1)  # whoever comes at the same moment shares the failure
    again = await ask(river, stream=True)
    assert again[1]["x-gateway-cache"] == "miss"


async def test_requests_that_differ_in_delivery_or_in_anything_else_make_their_own_calls(river):
    one, _ = river
    await asyncio.gather(
        ask(river), ask(river, stream=True), ask(river, "what else?"), ask(river, model="auto"),
        ask(river, max_tokens=400), ask(river, temperature=0.7), ask(river, temperature=0.7),
    )  # fmt: skip

    assert len(one.sim.bill) == 7


async def test_a_route_may_make_every_call_by_itself(river):
    one, _ = river
    await asyncio.gather(*(ask(river, model="apart") for _ in range(5)))
    await asyncio.sleep(0.1)  # an answer is kept beside its reply
    hit = await ask(river, model="apart")

    assert len(one.sim.bill) == 5
    assert hit[1]["x-gateway-cache"] == "hit"


async def test_calls_that_nobody_waits_for_are_finished_before_the_gateway_ends(river):
    one, _ = river
    first = asyncio.create_task(ask(river))
    await asyncio.sleep(0.15)
    first.cancel()
    await asyncio.sleep(0.05)
    await asyncio.to_thread(one.gateway.stop)
    try:
        rows = await one.rows(1)
    finally:
        await asyncio.to_thread(one.gateway.start)

    assert [(row["outcome"], row["cost_nano"]) for row in rows] == [("ok", one.sim.total_nano())]
