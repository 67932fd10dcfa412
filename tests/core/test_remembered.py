"""A decision comes out the same from its record, whatever it was made of; and it is told when it does not."""

import dataclasses
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.candidate import Estimate, Held, Signals, Warm
from gateway.core.catalog import EFFORTS, Capability
from gateway.core.decided import THE_SAME, Known, look_back, render_past
from gateway.core.errors import GatewayError
from gateway.core.market import Market
from gateway.core.money import Nano
from gateway.core.pricing import PriceBook
from gateway.core.question import Question, answer
from gateway.core.records import SpendRecord
from gateway.core.remembered import again, outline, recall, remember
from gateway.core.request import ChatRequest
from gateway.core.route import FloorMeaning, Route, StepDown, When
from gateway.core.terms import Terms, Words
from gateway.core.world import Caller, World
from gateway.policies import POLICIES
from tests.core.market import MODELS, NOW, PROVIDERS, price
from tests.stores.samples import ONE

KINDS = ("code", "chat", "maths")
NAMES = (*MODELS, "openai/big@high", "openai/big@low", "deepseek/flash@high")


def _market() -> Market:
    models = dict(MODELS)
    for name in NAMES[len(MODELS) :]:
        base, _, effort = name.partition("@")
        models[name] = dataclasses.replace(MODELS[base], id=name, effort=effort)
    rows = [price(name, f"0.{number + 1}", f"{number + 1}") for number, name in enumerate(MODELS)]
    rows += [price(name, "0.01", "0.02") for name in models if "@" in name]
    return Market(models, PROVIDERS, PriceBook(rows))


MARKET = _market()
START = datetime(2026, 2, 1, tzinfo=UTC)

share = st.floats(0, 1, allow_nan=False)
score = st.floats(0, 100, allow_nan=False)
kind_scores = st.dictionaries(st.sampled_from([*KINDS, "overall"]), score, max_size=3)
estimates = st.builds(
    Estimate, tokens_per_byte=st.floats(0.01, 2), output_tokens=st.integers(1, 9_000), cached_share=share,
    scores=kind_scores, bars=st.dictionaries(st.sampled_from(KINDS), score, max_size=1),
    ttft_ms=st.none() | st.integers(0, 60_000), tokens_per_s=st.none() | st.floats(0.1, 999),
    answers=st.integers(0, 99),
)  # fmt: skip
signals = st.builds(
    Signals, now=st.integers(0, 300 * 86_400 * 10**6).map(lambda us: START + timedelta(microseconds=us)),
    seed=st.integers(0, 2**48 - 1),
    unhealthy=st.dictionaries(st.sampled_from(tuple(MODELS)), st.text(max_size=9), max_size=2),
    used_percent=st.integers(0, 120), kinds=st.dictionaries(st.sampled_from(KINDS), st.floats(0.01, 1), max_size=3),
    estimates=st.dictionaries(st.sampled_from(NAMES), estimates, max_size=4),
    warm=st.none() | st.builds(
        Warm, model=st.sampled_from(NAMES), prompt_bytes=st.integers(0, 200_000), locked=st.booleans(),
        own_from=st.integers(0, 9), until_us=st.integers(0, 2**50),
        others=st.lists(
            st.builds(Held, st.sampled_from(NAMES), st.integers(0, 200_000), st.integers(0, 2**50)), max_size=2
        ).map(tuple),
    ),
)  # fmt: skip
needs = st.frozensets(st.sampled_from([Capability.VISION, Capability.TOOLS]), max_size=2)
requests = st.builds(
    ChatRequest, model=st.just("auto"), stream=st.booleans(), include_usage=st.booleans(), needs=needs,
    prompt_bytes=st.integers(0, 500_000), images=st.integers(0, 3),
    max_output_tokens=st.none() | st.integers(1, 20_000), n=st.integers(1, 3), fields=st.just({}),
    service_tier=st.none() | st.just("flex"), effort=st.none() | st.sampled_from(EFFORTS),
)  # fmt: skip
callers = st.builds(
    Caller, team=st.just("search"), key_id=st.just("k"), may_loosen=st.booleans(),
    jurisdictions=st.none() | st.frozensets(st.sampled_from(["US", "CN"]), min_size=1),
)  # fmt: skip
terms = st.builds(
    Terms, policy=st.none() | st.sampled_from(sorted(set(POLICIES) - {"split"})), floor=st.none() | score,
    max_cost_nano=st.none() | st.integers(1, 10**9).map(Nano), timeout_ms=st.none() | st.integers(10, 10_000),
    jurisdictions=st.none() | st.just(("US",)), kind=st.none() | st.sampled_from(KINDS),
)  # fmt: skip
tags = st.dictionaries(st.sampled_from(["tier", "project"]), st.sampled_from(["a", "b"]), max_size=2)


@st.composite
def worlds(draw) -> World:
    def route(name: str, **more) -> Route:
        candidates = tuple(draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=6, unique=True)))
        rest = [one for one in NAMES if one not in candidates]
        return Route(
            name, POLICIES[draw(st.sampled_from(sorted(POLICIES)))], candidates,
            fallbacks=tuple(rest[: draw(st.integers(0, 2))]),
            weights={one: draw(st.integers(0, 3)) for one in candidates},
            kind=draw(st.sampled_from(["auto", "overall", *KINDS])),
            floors=draw(st.dictionaries(st.sampled_from([*KINDS, "overall"]), score, max_size=2)),
            floor_means=draw(st.sampled_from(FloorMeaning)),
            max_cost_nano=draw(st.none() | st.integers(10**5, 10**9).map(Nano)),
            expected_output_tokens=draw(st.none() | st.integers(1, 4_000)),
            explore_percent=draw(st.sampled_from([0, 50])), **more,
        )  # fmt: skip

    when = When(
        to="other", kinds=draw(st.frozensets(st.sampled_from(KINDS), max_size=2)), needs=draw(needs),
        used_from_percent=draw(st.none() | st.integers(0, 100)), tags=draw(tags),
    )  # fmt: skip
    auto = route(
        "auto", when=draw(st.just(()) | st.just((when,))), step_down=draw(st.none() | st.just(StepDown(60, "other")))
    )
    routes = {"auto": auto, "other": route("other")}
    return World("v1", MARKET, routes, {}, words=Words(POLICIES, frozenset(KINDS), frozenset({"US", "CN"})))


@settings(max_examples=400, deadline=None)
@given(worlds(), requests, callers, signals, terms, tags)
def test_a_decision_comes_out_the_same_from_its_record(world, request, caller, signals, terms, tags):
    question = Question(world.routes["auto"], request, caller, signals, terms, tags)
    try:
        decision = answer(question, world)
    except GatewayError:
        return  # looser terms than this caller may have: nothing was decided

    text = remember(question, decision, world.version)
    replayed = again(recall(text), world, team=caller.team, tags=tags)

    assert replayed is not None
    assert outline(replayed) == outline(decision)
    assert (replayed.candidates, replayed.drops, replayed.kind) == (decision.candidates, decision.drops, decision.kind)
    assert replayed.route == decision.route


def past_of(question: Question, world: World, **changes) -> list[SpendRecord]:
    decision = answer(question, world)
    candidates, drops = outline(decision)
    row = msgspec.structs.replace(
        ONE, candidates=msgspec.json.encode(candidates).decode(), drops=msgspec.json.encode(drops).decode(),
        decision=remember(question, decision, world.version), **changes,
    )  # fmt: skip
    return [row]


ROUTE = Route("auto", POLICIES["cheapest"], ("openai/big", "deepseek/flash"))
WORLD = World("v1", MARKET, {"auto": ROUTE}, {})
QUESTION = Question(
    ROUTE, ChatRequest("auto", False, False, frozenset(), 4_000, 0, None, 1, {}), Caller("search", "k"),
    Signals(now=NOW, unhealthy={"openai/big": "5 faults in a row"}, warm=Warm("deepseek/flash", 500), used_percent=40,
            kinds={"code": 0.75, "chat": 0.25}, estimates={"deepseek/flash": Estimate(0.3, 120, answers=9)}),
)  # fmt: skip


def test_a_past_decision_is_told_with_the_moment_it_was_made_in():
    past = look_back(past_of(QUESTION, WORLD), WORLD, "", "then")

    assert past.replayed == THE_SAME
    assert past.moment is not None
    assert past.moment.warm == Warm("deepseek/flash", 500)
    assert past.moment.estimates["deepseek/flash"].answers == 9
    said = render_past(past)
    for told in ("the same", "openai/big was set aside: 5 faults in a row",
                 "500 bytes of it were warm at deepseek/flash", "it seemed to be: code 75%, chat 25%",
                 "deepseek/flash was known by 9 answers: 120 tokens of output",
                 "40 % of its fullest budget was used", "cost $0.000386400"):  # fmt: skip
        assert told in said


def test_what_was_known_of_a_model_is_told_by_name_and_all_of_it():
    assert Known.__struct_fields__ == Estimate.__struct_fields__


def test_what_differs_is_said_by_its_name():
    rows = past_of(QUESTION, WORLD)
    dearer = PriceBook([price("openai/big", "1", "2"), price("deepseek/flash", "1", "2")])
    other = dataclasses.replace(WORLD, market=Market(MARKET.models, PROVIDERS, dearer))
    assert look_back(rows, other, "", "then").replayed == "differs: deepseek/flash is now expected at $0.001441000"

    gone = dataclasses.replace(WORLD, market=Market(MARKET.models, PROVIDERS, PriceBook([])))
    told = look_back(rows, gone, "", "then").replayed
    assert told.startswith("differs: the order is now nobody; left out are now ")


def test_a_decision_that_cannot_be_made_again_says_why_and_is_told_from_its_rows():
    rows = past_of(QUESTION, WORLD)
    for world, why in ((None, "not possible: it is not kept"), (dataclasses.replace(WORLD, routes={}), "")):
        past = look_back(rows, world, why, "then")
        assert past.replayed.startswith("not possible: ")
        assert [one.model for one in past.candidates] == ["deepseek/flash"]
        assert "openai/big was left out [unhealthy]" in render_past(past)
    (old,) = past_of(QUESTION, WORLD)
    old = msgspec.structs.replace(old, decision="")
    assert look_back([old], None, "not possible: x", "then").moment is None
    assert look_back([ONE], None, "not possible: x", "then").candidates == []


def test_attempts_are_told_with_what_was_expected_and_what_they_cost():
    (row,) = past_of(QUESTION, WORLD, expected_nano=Nano(5), cost_nano=Nano(7), effort="high")
    back = msgspec.structs.replace(row, attempt_id="x~r", sign=-1, corrects=row.attempt_id, cost_nano=Nano(-7))
    past = look_back([row, back], WORLD, "", "then")
    first, second = past.attempts
    assert (first.expected_cost_usd, first.cost_usd, first.effort) == ("0.000000005", "0.000000007", "high")
    assert (second.takes_back, past.cost_usd) == (row.attempt_id, "0.000000000")
    assert f"takes back {row.attempt_id}" in render_past(past)
