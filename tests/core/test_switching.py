"""To move a conversation is priced: it happens when the cold start elsewhere costs less than going on, never else."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.candidate import Signals, Warm
from gateway.core.market import Market
from gateway.core.money import pico_from_usd_per_million
from gateway.core.pricing import PriceBook, PriceRow, Rates, Status
from gateway.core.route import Route
from gateway.core.routing import decide
from gateway.policies import POLICIES
from tests.core.market import MODELS, NOW, PROVIDERS, chat, model

HERE, THERE = model("openai/big"), model("deepseek/flash")
ROUTE = Route("auto", POLICIES["cheapest"], (HERE.id, THERE.id))
BYTES_A_TOKEN = 4

cents = st.integers(1, 1_000)  # hundredths of a dollar per million tokens
tokens = st.integers(0, 60_000)


@st.composite
def tariffs(draw: st.DrawFn) -> tuple[int, int, int]:
    """Input, cached input (never dearer), output."""
    into = draw(cents)
    return into, draw(st.integers(0, into)), draw(cents)


def market(*tariffs: tuple[int, int, int], outputs: tuple[int, int]) -> Market:
    rows, models = [], {}
    for one, (into, cached, out), output in zip((HERE, THERE), tariffs, outputs, strict=True):
        into_, cached_, out_ = (pico_from_usd_per_million(f"{rate / 100:.2f}") for rate in (into, cached, out))
        rates = Rates(into_, cached_, into_, out_, out_)
        rows.append(PriceRow(one.id, one.id, NOW.replace(year=2026, month=1), None, Status.ANNOUNCED, "t", rates))
        models[one.id] = replace(one, expected_output_tokens=output)
    return Market({**MODELS, **models}, PROVIDERS, PriceBook(rows))


def cost(tariff: tuple[int, int, int], prompt: int, cached: int, output: int) -> int:
    """Nano-dollars, rounded up, worked out apart from the gateway's arithmetic."""
    into, hit, out = tariff
    exact = Fraction((prompt - cached) * into + cached * hit + output * out) * 10
    return -(-exact.numerator // exact.denominator)


@given(
    here=tariffs(), there=tariffs(), prompt=st.integers(1, 60_000), warm=tokens,
    outputs=st.tuples(st.integers(1, 4_000), st.integers(1, 4_000)),
)  # fmt: skip
def test_a_conversation_moves_exactly_when_the_cold_start_costs_less_than_going_on(here, there, prompt, warm, outputs):
    request = msgspec.structs.replace(chat(), prompt_bytes=(prompt - 1) * BYTES_A_TOKEN)
    signals = Signals(now=NOW, warm=Warm(HERE.id, warm * BYTES_A_TOKEN))

    first = decide(ROUTE, request, market(here, there, outputs=outputs), signals).candidates[0]

    stay = cost(here, prompt, min(warm, prompt), outputs[0])
    move = cost(there, prompt, 0, outputs[1])
    assert (first.model.id == THERE.id) is (move < stay)
    assert first.expected_cost == min(stay, move)


@given(here=tariffs(), there=tariffs(), warm=tokens)
def test_a_tool_loop_stays_whatever_it_costs(here, there, warm):
    signals = Signals(now=NOW, warm=Warm(HERE.id, warm * BYTES_A_TOKEN, locked=True))

    decision = decide(ROUTE, chat(), market(here, there, outputs=(4_000, 1)), signals)

    assert decision.candidates[0].model.id == HERE.id


def test_a_tool_loop_stays_with_its_model_when_the_caller_asks_for_another_effort():
    shop = market((100, 10, 100), (1, 0, 1), outputs=(500, 500))
    low, high = (replace(HERE, id=f"{HERE.id}@{effort}", effort=effort) for effort in ("low", "high"))
    shop = replace(shop, models={**shop.models, low.id: low, high.id: high})
    asked = msgspec.structs.replace(chat(), effort="low")
    signals = Signals(now=NOW, warm=Warm(high.id, 0, locked=True))

    assert decide(ROUTE, asked, shop, signals).candidates[0].model.id == low.id
    assert decide(ROUTE, chat(), shop, signals).candidates[0].model.id == HERE.id


def test_a_locked_conversation_moves_when_its_model_cannot_serve():
    signals = Signals(now=NOW, warm=Warm(HERE.id, 9_000, locked=True), unhealthy={HERE.id: "down"})

    decision = decide(ROUTE, chat(), market((1, 0, 1), (100, 100, 100), outputs=(1, 1)), signals)

    assert [one.model.id for one in decision.candidates] == [THERE.id]


@given(here=tariffs(), there=tariffs(), prompt=st.integers(1, 60_000), more=st.integers(0, 4_000), warm=tokens)
def test_the_warmer_a_cache_is_the_less_a_conversation_moves(here, there, prompt, more, warm):
    request = msgspec.structs.replace(chat(), prompt_bytes=(prompt - 1) * BYTES_A_TOKEN)
    shop = market(here, there, outputs=(500, 500))

    def stays(tokens: int) -> bool:
        signals = Signals(now=NOW, warm=Warm(HERE.id, tokens * BYTES_A_TOKEN))
        return decide(ROUTE, request, shop, signals).candidates[0].model.id == HERE.id

    assert not stays(warm) or stays(warm + more)
