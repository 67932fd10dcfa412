"""The bill, in numbers worked out by hand. Prices are in conftest.py: nano-dollars a token are 1,000 times those."""

import asyncio
import random
import re
from fractions import Fraction

import aiohttp
import pytest
from simclient import HELLO_TOKENS, MODELS, PRICES, TEN, Client

from gateway.simulator import PROVIDERS, Sale, Scenario, Simulator, Tokens
from gateway.simulator.bill import cost_nano


async def test_a_completed_answer_is_billed_whole(client, sim):
    await client.chat("openai", headers={"x-gateway-attempt": "01ATTEMPT"})
    await client.stream("deepseek")
    await client.stream("google")

    openai, deepseek, google = sim.bill
    assert openai.tokens == Tokens(input=8, output=10, reasoning=4)
    assert openai.cost_nano == 8 * 2_000 + 14 * 8_000
    assert deepseek.cost_nano == 8 * 1_000 + 14 * 4_000
    assert google.cost_nano == 8 * 3_000 + 14 * 6_000
    assert sim.total_nano() == openai.cost_nano + deepseek.cost_nano + google.cost_nano
    assert (openai.attempt, openai.status, openai.billed, openai.stream) == ("01ATTEMPT", 200, True, False)
    assert (deepseek.attempt, deepseek.stream, deepseek.why) == (None, True, "completed")
    assert openai.price == {"input": "2", "cached_input": "0.5", "cache_write": "2.5", "output": "8"}


async def test_cached_and_written_prompt_tokens_have_their_own_prices(client, sim):
    long = {"role": "system", "content": "rule " * 1500}
    await client.chat("openai", messages=[long])
    await client.chat("openai", messages=[long, {"role": "user", "content": "hi"}])

    first, second = sim.bill
    # 3 + 3 + 1500 tokens; OpenAI caches from 1024 on, in steps of 128, so 11 x 128 = 1408 are written, then read.
    assert first.tokens == Tokens(input=98, cache_write=1408, output=10, reasoning=4)
    assert first.cost_nano == 98 * 2_000 + 1408 * 2_500 + 14 * 8_000
    assert second.tokens == Tokens(input=102, cached_input=1408, output=10, reasoning=4)
    assert second.cost_nano == 102 * 2_000 + 1408 * 500 + 14 * 8_000


async def test_a_price_without_cache_write_does_not_charge_for_filling_the_cache(client, sim):
    await client.chat("openai", model="gpt-4o-mini", messages=[{"role": "system", "content": "rule " * 1500}])

    assert sim.bill[0].tokens == Tokens(input=1506, output=10)
    # 1506 x 150 + 10 x 600
    assert sim.bill[0].cost_nano == 231_900


async def test_another_beginning_is_not_cached(client, sim):
    sim.set_scenario("openai", Scenario(cache_min=1))
    await client.chat("openai")
    await client.chat("openai", messages=[{"role": "user", "content": "other words"}])
    await client.chat("openai")

    assert [line.tokens.cached_input for line in sim.bill] == [0, 0, 8]


def test_the_sum_is_rounded_up_once_per_attempt():
    # 3 x 0.1 + 7 x 0.1 tenths of a nano-dollar: rounding each class by itself would give 2.
    rates = {"input": "0.0001", "output": "0.0001"}
    assert cost_nano(Tokens(input=3, output=4, reasoning=3), rates) == 1
    assert cost_nano(Tokens(input=3, output=4, reasoning=4), rates) == 2
    assert cost_nano(Tokens(), rates) == 0
    assert cost_nano(Tokens(input=1), {"input": "1.000000001", "output": "1"}) == 1001


def test_no_float_ever_comes_near_the_sum():
    dice = random.Random(1)
    for _ in range(200):
        tokens = Tokens(*(dice.randrange(10**9) for _ in range(5)))
        rates = {name: f"{dice.randrange(10**6)}.{dice.randrange(10**6):06}" for name in
                 ("input", "cached_input", "cache_write", "output")}  # fmt: skip
        exact = 1000 * sum(
            Fraction(rates[name]) * count
            for name, count in [
                ("input", tokens.input),
                ("cached_input", tokens.cached_input),
                ("cache_write", tokens.cache_write),
                ("output", tokens.output + tokens.reasoning),
            ]
        )
        assert exact <= cost_nano(tokens, rates) < exact + 1


# The first chunk leaves at once and holds three tokens; the second would come after a minute.
FIRST_CHUNK_ONLY = {"answer_tokens": 50, "gap_ms": 60_000, "chunk_tokens": 3}


async def leave_after_the_first_content(client, provider: str) -> None:
    async with client.open(provider, stream=True) as response:
        seen = b""
        while not re.search(rb'"content":\s*"[^"]', seen):
            seen += await response.content.readany()
        response.close()
    await client.sim.idle()


@pytest.mark.parametrize(
    ("provider", "per_input", "per_output"), [("openai", 2_000, 8_000), ("deepseek", 1_000, 4_000)]
)
async def test_leaving_early_bills_what_was_generated_until_then(client, sim, provider, per_input, per_output):
    sim.set_scenario(provider, Scenario(**FIRST_CHUNK_ONLY, reasoning_tokens=0))
    await leave_after_the_first_content(client, provider)

    [line] = sim.bill
    assert line.why == "the client left early: billed as far as it was generated"
    assert line.tokens == Tokens(input=8, output=3)
    assert line.cost_nano == 8 * per_input + 3 * per_output


async def test_hidden_reasoning_is_billed_once_the_answer_has_begun(client, sim):
    sim.set_scenario("openai", Scenario(**FIRST_CHUNK_ONLY, reasoning_tokens=30))
    await leave_after_the_first_content(client, "openai")

    assert sim.bill[0].tokens == Tokens(input=8, output=3, reasoning=30)


async def test_leaving_google_early_bills_the_whole_answer(client, sim):
    sim.set_scenario("google", Scenario(**FIRST_CHUNK_ONLY, reasoning_tokens=6))
    await leave_after_the_first_content(client, "google")

    [line] = sim.bill
    assert line.why == "the client left early: this provider bills the whole answer"
    assert line.tokens == Tokens(input=8, output=50, reasoning=6)
    assert line.cost_nano == 8 * 3_000 + 56 * 6_000


@pytest.mark.parametrize("stream", [False, True])
async def test_leaving_before_the_first_token_bills_the_prompt_alone(client, sim, stream):
    sim.set_scenario("openai", Scenario(answer_tokens=50, ttft_ms=5_000))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1), client.open("openai", stream=stream) as response:
            await response.read()
    await sim.idle()

    [line] = sim.bill
    assert (line.tokens, line.status) == (Tokens(input=8), 0)
    assert line.cost_nano == 16_000


async def test_a_whole_answer_that_is_left_half_way_is_billed_half_way(client, sim):
    sim.set_scenario("openai", Scenario(answer_tokens=50, reasoning_tokens=0, gap_ms=30))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2), client.open("openai") as response:
            await response.read()
    await sim.idle()

    assert 0 < sim.bill[0].tokens.output < 50


async def test_an_answer_left_after_its_end_is_complete(client, sim):
    async with client.open("openai", stream=True) as response:
        await response.content.readany()
        await asyncio.sleep(0.05)
        response.close()
    await sim.idle()

    assert sim.bill[0].why == "completed"
    assert sim.bill[0].tokens.completion == 14


async def test_the_price_is_the_one_at_the_instant_of_receipt():
    now = 1_000.0
    prices = {("openai", "gpt-4o-mini"): [(0, {"input": "1", "output": "1"}), (2_000, {"input": "5", "output": "5"})]}
    async with Simulator(prices, scenarios={"openai": TEN}, clock=lambda: now) as sim, aiohttp.ClientSession() as http:
        client = Client(http, sim)
        async with client.open("openai", model="gpt-4o-mini", stream=True, user="sim:gap_ms=20") as late:
            now = 2_000.0  # the price rises while the first answer is still being made
            await client.chat("openai", model="gpt-4o-mini")
            await late.read()

        costs = {line.received_at: line.cost_nano for line in sim.bill}
        assert costs == {1_000.0: 18 * 1_000, 2_000.0: 18 * 5_000}


async def test_a_model_is_not_sold_before_its_first_price():
    prices = {("openai", "gpt-4o-mini"): [(2_000, {"input": "1", "output": "1"})]}
    async with Simulator(prices, clock=lambda: 1_999.0) as sim, aiohttp.ClientSession() as http:
        client = Client(http, sim)
        assert (await client.chat("openai", model="gpt-4o-mini")).json["error"]["code"] == "model_not_found"
        sim.set_price("openai", "gpt-4o-mini", 1_000, {"input": "3", "output": "3"})
        assert (await client.chat("openai", model="gpt-4o-mini")).status == 200


async def test_a_rule_prices_what_dated_rows_cannot():
    seen: list[Sale] = []

    def rule(sale: Sale):
        seen.append(sale)
        return {"input": "0.5", "output": "0.5"} if sale.service_tier == "flex" else None

    async with Simulator(PRICES, price_rule=rule, scenarios={"openai": TEN}) as sim, aiohttp.ClientSession() as http:
        client = Client(http, sim)
        await client.chat("openai", service_tier="flex")
        await client.chat("openai")

        assert [line.cost_nano for line in sim.bill] == [22 * 500, 8 * 2_000 + 14 * 8_000]
        assert (seen[0].provider, seen[0].model, seen[0].prompt_tokens) == ("openai", "gpt-6-luna", 8)


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"input": "1"}, "'output'"),
        ({"input": "1", "output": "1", "inptu": "1"}, "unknown class"),
        ({"input": 1.5, "output": "1"}, "must be a decimal string"),
        ({"input": "-1", "output": "1"}, "not negative"),
    ],
)
def test_a_wrong_price_is_refused_with_its_name(rates, said):
    with pytest.raises(ValueError, match=said) as caught:
        Simulator({("openai", "gpt-x"): [(0, rates)]})
    assert "openai/gpt-x" in str(caught.value)


async def test_every_attempt_leaves_exactly_one_line(client, sim):
    await client.chat("openai")
    await client.chat("openai", key="bad-key")
    await client.chat("openai", model="gpt-99")
    await client.chat("openai", max_tokens=3)
    async with client.session.post(sim.base_url("openai") + "/chat/completions", data=b"{nonsense",
                                   headers={"authorization": "Bearer x"}) as response:  # fmt: skip
        assert response.status == 400

    assert [line.status for line in sim.bill] == [200, 401, 404, 400, 400]
    assert [line.billed for line in sim.bill] == [True, False, False, False, False]
    totals = sim.totals()
    assert totals["openai", "gpt-6-luna"].attempts == 2
    assert totals["openai", "(unpriced)"].attempts == 3


async def test_totals_go_on_when_old_lines_are_forgotten():
    async with Simulator(PRICES, scenarios={"openai": TEN}, keep_lines=5) as sim, aiohttp.ClientSession() as http:
        client = Client(http, sim)
        for _ in range(12):
            await client.chat("openai")

        assert len(sim.bill) == 5
        total = sim.totals()["openai", "gpt-6-luna"]
        assert (total.attempts, total.billed, total.tokens["output"]) == (12, 12, 120)
        assert sim.total_nano() == total.cost_nano == 12 * (8 * 2_000 + 14 * 8_000)


async def test_what_is_told_is_what_is_billed_over_many_mixed_requests(client, sim):
    for provider in PROVIDERS:
        sim.set_scenario(provider, Scenario(cache_min=1))
    dice = random.Random(5)
    told = dict.fromkeys(PROVIDERS, 0)

    async def one(number: int) -> None:
        provider = dice.choice(PROVIDERS)
        words = " ".join(dice.choice(["red", "green", "blue"]) for _ in range(dice.randint(1, 60)))
        body = {"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": words}]}
        fault = dice.choice(["", "fault=http_503", "fault=cut_after_2", "fault=eof", "fault=zero_usage"])
        call = client.stream if number % 2 else client.chat
        try:
            reply = await call(provider, **body, user=f"sim:{fault}")
        except aiohttp.ClientError:
            return
        if reply.status != 200 or (number % 2 and reply.events[-1:] != ["[DONE]"]) or fault == "fault=eof":
            return
        told[provider] += priced(provider, (reply.chunks[-1] if number % 2 else reply.json)["usage"])

    await asyncio.gather(*(one(number) for number in range(300)))
    await sim.idle()

    for provider in PROVIDERS:
        billed = sum(line.cost_nano for line in sim.bill if line.provider == provider)
        assert billed == told[provider] > 0
    assert len(sim.bill) == 300


def priced(provider: str, usage: dict) -> int:
    """The cost that a careful reader works out of `usage` alone, in whole nano-dollars (the prices here are round)."""
    per = {name: Fraction(text) * 1000 for name, text in PRICES[provider, MODELS[provider]][0][1].items()}
    details = usage.get("prompt_tokens_details", {})
    cached, written = details.get("cached_tokens", 0), details.get("cache_write_tokens", 0)
    fresh = usage["prompt_tokens"] - cached - written
    output = usage["total_tokens"] - usage["prompt_tokens"]
    cost = fresh * per["input"] + cached * per["cached_input"] + output * per["output"]
    return int(cost + written * per.get("cache_write", 0))


def test_hello_is_counted_as_the_tests_say():
    from gateway.simulator.ask import read_ask

    ask = read_ask(b'{"model":"m","messages":[{"role":"user","content":"hello there"}]}')
    assert ask.prefixes()[-1][1] == HELLO_TOKENS
