"""What answers teach: what counts, for how long, how far it moves a prior, and what a decision makes of it."""

import dataclasses
import random

import msgspec
import pytest

from gateway.core.budget import hold_amount, most_tokens
from gateway.core.candidate import Estimate, Signals
from gateway.core.estimates import Learned
from gateway.core.learning import DAY_US, KEPT_DAYS, Key, Tallies, bucket_of, grade_of, learn, merge, weighted
from gateway.core.market import Market
from gateway.core.pricing import PriceBook
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.core.route import FloorMeaning, Route, When
from gateway.core.routing import decide
from gateway.core.terms import NO_WORDS, Terms, under
from gateway.core.world import World
from gateway.policies import POLICIES
from tests.core.market import MARKET, MODELS, NOW, PRICES, PROVIDERS, chat
from tests.stores.samples import ONE

NOW_US = ONE.at_us
DAY = NOW_US // DAY_US
ANSWER = msgspec.structs.replace(
    ONE, route="auto", model="openai/big", provider="openai", stream=False, ttft_us=None, input_tokens=90,
    cached_input_tokens=10, output_tokens=300, reasoning_tokens=0, prompt_bytes=200, decision='{"config":"c"}',
)  # fmt: skip
ROUTE = Route(name="auto", policy=POLICIES["cheapest"], candidates=("openai/big", "openai/small"))
AVERAGE = dataclasses.replace(ROUTE, floors={"overall": 75.0}, floor_means=FloorMeaning.AVERAGE)


def answer(**changes) -> SpendRecord:
    return msgspec.structs.replace(ANSWER, **changes)


def world(*routes: Route, market: Market = MARKET) -> World:
    return World("v", market, {route.name: route for route in routes}, {})


def tallied(*records: SpendRecord, times: int = 1) -> Tallies:
    return learn(records * times)


def graded(score: float, times: int, model: str = "openai/big", expected: float | None = 80.0, **more) -> Tallies:
    found: Tallies = {}
    grade = grade_of(answer(model=model, **more), expected, score, None, NOW_US)
    for key in grade.places():
        found[key] = [times, times * grade.score, 0]
    return found


def estimates(*tallies: Tallies, route: Route = ROUTE, kind: str = "overall", more: tuple[Route, ...] = ()):
    learned = Learned()
    for one in tallies:
        learned.add(one)
    return learned.estimates(route, kind, world(route, *more))


def length(*tallies: Tallies, kind: str = "overall") -> int:
    return estimates(*tallies, kind=kind)["openai/big"].output_tokens


def test_nothing_learned_is_an_empty_answer():
    assert estimates() == {}


def test_a_model_of_which_something_was_learned_is_there_and_no_other():
    assert set(estimates(tallied(answer()))) == {"openai/big"}
    assert estimates(tallied(answer(model="google/new"))) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"outcome": "aborted"}, {"outcome": "cached", "usage_source": UsageSource.CACHE}, {"outcome": "timeout"},
        {"usage_source": UsageSource.ESTIMATED, "state": State.UNCERTAIN}, {"sign": -1},
    ],
)  # fmt: skip
def test_only_whole_answers_with_their_providers_usage_teach(other: dict[str, object]):
    assert tallied(answer(**other)) == {}


def test_tokens_per_byte_move_from_the_prior_to_what_was_billed():
    # The prior is 0.25, the answers say 0.5; 20 answers are as much as the prior.
    assert estimates(tallied(answer(), times=20))["openai/big"].tokens_per_byte == 0.375
    assert estimates(tallied(answer(), times=2_000))["openai/big"].tokens_per_byte == pytest.approx(0.5, abs=0.003)


@pytest.mark.parametrize(
    "other",
    [{"image_input_tokens": 5}, {"audio_input_tokens": 5}, {"prompt_bytes": 0}, {"decision": ""},
     {"decision": '{"config":"c","request":{"model":"auto","prompt_bytes":9,"images":1}}'}],
)  # fmt: skip
def test_prompts_that_are_not_text_alone_say_nothing_of_tokens_per_byte(other: dict[str, object]):
    assert estimates(tallied(answer(**other), times=50))["openai/big"].tokens_per_byte == 0.25


def test_answers_of_several_choices_say_nothing_of_the_length_of_one():
    several = answer(decision='{"request":{"model":"auto","prompt_bytes":9,"n":4}}')
    assert estimates(tallied(several, times=50))["openai/big"].output_tokens == 500


def test_thinking_is_a_part_of_the_length():
    thinking, spoken = answer(output_tokens=100, reasoning_tokens=1_400), answer(output_tokens=1_500)
    assert length(tallied(thinking, times=20)) == length(tallied(spoken, times=20))


def test_a_length_moves_from_what_is_stated_to_what_was_seen():
    assert 500 < length(tallied(answer(output_tokens=1_500), times=2)) < 1_300
    assert length(tallied(answer(output_tokens=1_500), times=2_000)) == pytest.approx(1_500, rel=0.01)


def test_a_length_is_learned_from_other_routes_and_kinds_too_and_best_from_its_own():
    elsewhere = tallied(answer(route="elsewhere", output_tokens=900), times=20)
    chat = tallied(answer(kind="chat", output_tokens=900), times=20)
    code = tallied(answer(kind="code", output_tokens=2_000), times=20)

    assert 750 < length(elsewhere, kind="code") < 900
    assert 750 < length(chat, kind="code") < 900
    assert 1_800 < length(elsewhere, chat, code, kind="code") < 2_000
    assert estimates(elsewhere, chat, code, kind="code")["openai/big"].answers == 60


def test_the_routes_own_length_is_the_prior_where_it_states_one():
    stated = dataclasses.replace(ROUTE, expected_output_tokens=100)
    few = tallied(answer(output_tokens=100), times=1)
    assert estimates(few, route=stated)["openai/big"].output_tokens == 100


def test_a_week_old_answers_count_half():
    old = tallied(answer(at_us=NOW_US - 7 * DAY_US, output_tokens=1_100), times=40)
    new = tallied(answer(output_tokens=1_100), times=20)
    assert estimates(weighted(old, DAY))["openai/big"] == estimates(new)["openai/big"]
    assert weighted(old, DAY + KEPT_DAYS) == {}


def test_each_effort_of_a_model_has_a_length_of_its_own_and_its_prompts_in_common():
    high = dataclasses.replace(MODELS["openai/big"], id="openai/big@high", effort="high")
    market = Market({**MODELS, high.id: high}, PROVIDERS, PriceBook(PRICES))
    learned = Learned()
    learned.add(tallied(answer(effort="high", output_tokens=2_000), times=20))
    found = learned.estimates(ROUTE, "overall", world(ROUTE, market=market))

    assert found["openai/big@high"].output_tokens > 1_700
    assert found["openai/big"].output_tokens == pytest.approx(500, rel=0.1)
    assert found["openai/big@high"].tokens_per_byte == found["openai/big"].tokens_per_byte == 0.375
    assert (found["openai/big@high"].answers, found["openai/big"].answers) == (20, 0)


def test_an_effort_that_is_asked_of_a_plain_model_is_expected_to_take_what_it_took():
    thought = estimates(tallied(answer(effort="high", output_tokens=4_000), times=200), tallied(answer(), times=200))
    body = b'{"model":"auto","reasoning_effort":"high","messages":[{"role":"user","content":"hello"}]}'

    def output(body: bytes) -> int:
        route = dataclasses.replace(ROUTE, candidates=("openai/big",))
        return decide(route, chat(body), MARKET, Signals(now=NOW, estimates=thought)).candidates[0].expected.output

    assert output(body) > 3_500
    assert output(body.replace(b'"reasoning_effort":"high",', b"")) < 500


def test_the_cached_share_is_that_of_the_route_and_not_of_warm_conversations():
    found = tallied(answer(input_tokens=50, cached_input_tokens=50), times=20)
    warm = tallied(answer(input_tokens=0, cached_input_tokens=100, decision='{"warm":{"model":"m"}}'), times=500)
    elsewhere = tallied(answer(route="b", input_tokens=0, cached_input_tokens=100), times=500)
    assert estimates(found, warm, elsewhere)["openai/big"].cached_share == 0.25


def test_the_pace_is_that_of_the_last_two_hours_of_streams():
    stream = answer(stream=True, ttft_us=400_000, duration_us=3_400_000, output_tokens=300)
    found = estimates(tallied(stream))["openai/big"]
    assert (found.ttft_ms, found.tokens_per_s) == (400, 100.0)
    assert found.seconds(300) == pytest.approx(3.4)
    assert estimates(tallied(answer()))["openai/big"].ttft_ms is None


def test_grades_move_a_score_from_its_prior_of_twenty_answers():
    found = estimates(graded(1.0, 20))["openai/big"]
    assert (found.scores, found.output_tokens, found.answers) == ({"overall": 90.0}, 500, 0)
    assert estimates(graded(0.0, 60))["openai/big"].scores == {"overall": 20.0}


def test_a_kind_without_a_prior_is_drawn_towards_the_other_kinds_and_overall_has_all():
    auto = dataclasses.replace(ROUTE, kind="auto")
    found = estimates(graded(0.0, 20, kind="code"), graded(1.0, 20, kind="chat"), route=auto)["openai/big"]
    # prior 80. code: 80 -> 90 by chat, -> 45 by its own. chat: 80 -> 40 by code, -> 70 by its own.
    assert found.scores == {"overall": 60.0, "code": 45.0, "chat": 70.0}


def test_a_model_that_nobody_measured_has_a_score_from_twenty_grades_on():
    route = dataclasses.replace(ROUTE, candidates=("google/new",))
    few, enough = (graded(0.9, n, "google/new") for n in (19, 20))
    assert estimates(few, route=route)["google/new"].scores == {}
    assert estimates(enough, route=route)["google/new"].scores == {"overall": 90.0}


def test_a_route_that_declares_its_kind_is_told_no_other_kinds():
    grades = [graded(1.0, 20, kind=kind) for kind in ("code", "chat", "maths")]
    assert set(estimates(*grades, kind="code")["openai/big"].scores) == {"code", "overall"}


def test_a_floor_on_average_has_a_bar_once_it_is_sure_and_a_floor_for_each_request_has_none():
    sure = graded(1.0, 60, "openai/small", 60.0)
    assert estimates(sure, route=AVERAGE)["openai/small"].bars == {"overall": 60.0}
    assert estimates(graded(1.0, 20, "openai/small", 60.0), route=AVERAGE)["openai/small"].bars == {}
    assert estimates(sure)["openai/small"].bars == {}


def test_a_floor_on_average_is_kept_by_graded_answers_where_the_score_alone_is_below_it():
    """Sixty of sixty right: 95 % is sure, while the score, which the prior of 60 holds back, is 90."""
    route = dataclasses.replace(AVERAGE, floors={"overall": 95.0})
    seen = estimates(graded(1.0, 60, "openai/small", 60.0), route=route)
    assert seen["openai/small"].scores == {"overall": 90.0}

    def able(route: Route) -> list[str]:
        return [one.model.id for one in decide(route, chat(), MARKET, Signals(now=NOW, estimates=seen)).candidates]

    assert able(route) == ["openai/small"]
    assert able(dataclasses.replace(route, floor_means=FloorMeaning.REQUEST)) == []
    assert able(under(route, Terms(floor=95.0), NO_WORDS, may_loosen=True)) == []


def test_answers_that_are_expected_below_the_bar_are_left_out_though_above_the_floor():
    grades: Tallies = {}
    merge(grades, graded(1.0, 100, expected=90.0))
    merge(grades, graded(0.5, 100, expected=77.0))
    (found,) = estimates(grades, route=AVERAGE).values()
    assert found.bars == {"overall": 90.0}
    told = msgspec.structs.replace(found, scores={"overall": 77.0})
    (drop, *_) = decide(AVERAGE, chat(), MARKET, Signals(now=NOW, estimates={"openai/big": told})).drops
    assert drop.reason == "overall quality 77; graded answers average 75 only where 90 is expected"


def test_the_strictest_floor_of_the_rules_that_may_hold_decides_a_bar():
    strict = dataclasses.replace(AVERAGE, name="strict", floors={"overall": 99.0})
    may_be = dataclasses.replace(AVERAGE, when=(When(to="strict", used_from_percent=50),))
    sure = graded(1.0, 60, "openai/small", 60.0)
    assert estimates(sure, route=may_be, more=(strict,))["openai/small"].bars == {}


def test_what_may_come_to_hold_is_told_too():
    other = dataclasses.replace(ROUTE, name="other", candidates=("google/new",))
    route = dataclasses.replace(ROUTE, when=(When(to="other"),))
    assert set(estimates(tallied(answer(model="google/new")), route=route, more=(other,))) == {"google/new"}


def test_simulated_and_real_answers_are_never_added_up():
    assert {key.simulated for key in tallied(answer(simulated=True), answer())} == {True, False}
    assert all(tally[0] == 1 for tally in tallied(answer(simulated=True), answer()).values())


def test_quantiles_are_those_of_the_answers_within_a_bucket():
    dice = random.Random(3)
    lengths = [int(dice.lognormvariate(6, 0.8)) + 1 for _ in range(5_000)]
    learned = Learned()
    learned.add(tallied(*(answer(output_tokens=length) for length in lengths)))
    found = learned.lengths(ROUTE, "overall", world(ROUTE))["openai/big"]
    lengths.sort()
    assert found.answers == 5_000
    assert found.p50 == pytest.approx(lengths[2_500], rel=0.07)
    assert found.p95 == pytest.approx(lengths[4_750], rel=0.07)


def test_buckets_never_overlap_and_grow_by_an_eighth_of_e():
    numbers = [bucket_of(value) for value in range(200_000)]
    assert numbers == sorted(numbers)
    assert bucket_of(1_000 * 2.718281829) == bucket_of(1_000) + 8


def test_tallies_of_workers_add_up_to_those_of_one():
    records = [answer(output_tokens=100 + n % 7 * 90, kind=("a", "b")[n % 2]) for n in range(60)]
    shared: Tallies = {}
    for part in (records[::3], records[1::3], records[2::3]):
        merge(shared, tallied(*part))
    assert shared == tallied(*records)


def test_a_verbose_model_with_the_lower_list_price_loses_once_its_answers_are_seen():
    """openai/small costs a tenth of openai/big a token, and thinks fifty times as long."""
    seen = estimates(
        tallied(answer(model="openai/small", output_tokens=100, reasoning_tokens=7_900), times=100),
        tallied(answer(output_tokens=150), times=100),
    )

    def order(signals: Signals) -> list[str]:
        return [one.model.id for one in decide(ROUTE, chat(), MARKET, signals).candidates]

    assert order(Signals(now=NOW)) == ["openai/small", "openai/big"]
    assert order(Signals(now=NOW, estimates=seen)) == ["openai/big", "openai/small"]


def test_what_is_held_is_the_most_an_answer_may_take_whatever_was_learned():
    """The ranking goes by what is expected, the hold by what is possible."""
    terse = estimates(tallied(answer(output_tokens=5), times=500))
    held, expected = [], []
    for signals in (Signals(now=NOW), Signals(now=NOW, estimates=terse)):
        first = decide(dataclasses.replace(ROUTE, candidates=("openai/big",)), chat(), MARKET, signals).candidates[0]
        expected.append(first.expected_cost)
        held.append(hold_amount(chat(), first.price, most_tokens(chat(), first.model, 4_000)))
    assert expected[1] < expected[0] / 50
    assert held[0] == held[1] > 4_000 * first.price.base.output // 1_000


def test_estimates_are_rounded_so_that_one_more_answer_rarely_changes_a_decision():
    many = tallied(answer(), times=5_000)
    before = estimates(many)["openai/big"]
    merge(many, tallied(answer(output_tokens=320)))
    after = estimates(many)["openai/big"]
    assert msgspec.structs.replace(after, answers=before.answers) == before


def test_learned_numbers_are_values_that_a_record_can_hold():
    stream = answer(stream=True, ttft_us=400_000, duration_us=3_400_000)
    (found,) = estimates(tallied(stream), graded(1.0, 3)).values()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Estimate) == found


def test_a_key_has_the_fields_of_the_table():
    assert Key._fields == ("what", "simulated", "span", "route", "kind", "model", "bucket")
