"""What a request's Cache-Control asks, how long a kept answer holds, and what it is purged by."""

import pytest

from gateway.core.caching import AS_EVER, LONGEST_S, CachedAnswer, CacheRule, Control, Freshness, purged, read_control
from gateway.core.errors import Blame, GatewayError
from gateway.core.pricing import Usage

S = 1_000_000


def kept(**changed):
    values = {
        "scope": "team:search", "route": "faq", "team": "search", "tags": {}, "model": "openai/gpt-6-luna",
        "body": b"{}", "usage": Usage(), "service_tier": None, "finish_reason": "stop", "epoch": 7,
        "kept_at_us": 1_000 * S, "fresh_until_us": 1_060 * S, "revalidate_until_us": 1_070 * S,
        "fallback_until_us": 1_090 * S,
    }  # fmt: skip
    return CachedAnswer(**{**values, **changed})


CONTROLS = {
    "": AS_EVER,
    "no-store": Control(no_store=True),
    "no-cache": Control(no_cache=True),
    "only-if-cached": Control(only_if_cached=True),
    "max-age=60": Control(max_age_s=60),
    "max-age=0": Control(max_age_s=0),
    "No-Store, MAX-AGE=5": Control(no_store=True, max_age_s=5),
    "no-cache,no-store,only-if-cached": Control(no_store=True, no_cache=True, only_if_cached=True),
    "  no-cache  ,\tmax-age=1 ": Control(no_cache=True, max_age_s=1),
    ",, ,no-cache,": Control(no_cache=True),
    'max-age="60"': Control(max_age_s=60),
    "max-age = 60": Control(max_age_s=60),
    "max-age=0060": Control(max_age_s=60),
    "max-age=00000000000000000060": Control(max_age_s=60),
    "max-age=10, max-age=20": Control(max_age_s=10),
}


@pytest.mark.parametrize(("header", "control"), CONTROLS.items(), ids=CONTROLS)
def test_directives_are_read_in_any_case_with_and_without_quotes(header, control):
    assert read_control(header) == control


@pytest.mark.parametrize(
    "header",
    [
        "min-fresh=10", "max-stale", "max-stale=5", "no-transform", "stale-if-error=60", "private", "max-ages=x",
        "nocache", "no_cache", "x-no-store", "no-store-ever", "=", '"', '""', "=5", '"no-store"', "s-maxage=x",
        "\x00", "é",
    ],
)  # fmt: skip
def test_unknown_directives_are_ignored(header):
    assert read_control(header) == AS_EVER


def test_what_stands_in_quotes_is_a_value_and_no_directive():
    header = 'community="uci, no-store, max-age=never", only-if-cached'

    assert read_control(header) == Control(only_if_cached=True)


@pytest.mark.parametrize(
    "age", ["", "x", "-1", "+5", "1.5", "1e3", "5s", "5 s", "0x10", "1_000", "٣", "²", '"', "=5", "NaN", "  "]
)
def test_a_max_age_that_is_no_number_of_seconds_is_refused_with_what_it_takes(age):
    with pytest.raises(GatewayError) as found:
        read_control(f"no-cache, max-age={age}")

    error = found.value
    assert (error.blame, error.status, error.code, error.outcome) == (Blame.CALLER, 400, "invalid_term", "invalid")
    assert error.param == "cache-control"
    assert error.told.startswith("'cache-control: max-age' is ")
    assert error.told.endswith("; it takes whole seconds, such as max-age=60")


def test_a_max_age_without_a_value_is_refused():
    with pytest.raises(GatewayError, match="max-age' is ''"):
        read_control("max-age")


def test_no_more_than_the_beginning_of_a_wrong_max_age_is_repeated():
    with pytest.raises(GatewayError) as found:
        read_control("max-age=" + "x" * 8_000)

    assert len(found.value.told) < 200


@pytest.mark.parametrize("age", ["31536001", "9999999999", "9" * 30, "9" * 8_000])
def test_a_max_age_of_more_than_a_year_is_a_year(age):
    assert read_control(f"max-age={age}").max_age_s == LONGEST_S


def test_a_long_header_is_read_in_one_pass():
    # each of these would take minutes if a part were read again for each of its characters
    assert read_control(" " * 60_000) == AS_EVER
    assert read_control("a=" * 30_000) == AS_EVER
    assert read_control('"' * 60_000) == AS_EVER
    assert read_control("a" + " " * 60_000 + ",no-store") == Control(no_store=True)


FRESHNESS = [
    (999, Freshness.FRESH),  # a clock that went back
    (1_000, Freshness.FRESH),
    (1_059.999999, Freshness.FRESH),
    (1_060, Freshness.REVALIDATE),
    (1_069.999999, Freshness.REVALIDATE),
    (1_070, Freshness.FALLBACK),
    (1_089.999999, Freshness.FALLBACK),
    (1_090, Freshness.OVER),
    (9_999, Freshness.OVER),
]


@pytest.mark.parametrize(("at_s", "freshness"), FRESHNESS)
def test_an_answer_is_fresh_then_revalidated_then_a_fallback_then_over(at_s, freshness):
    assert kept().freshness(round(at_s * S)) is freshness


def test_without_stale_times_an_answer_is_over_when_it_is_no_longer_fresh():
    answer = kept(revalidate_until_us=1_060 * S, fallback_until_us=1_060 * S)

    assert answer.freshness(1_060 * S) is Freshness.OVER
    assert answer.ends_us == 1_060 * S


def test_an_answer_that_is_only_a_fallback_is_not_revalidated():
    answer = kept(revalidate_until_us=1_060 * S)

    assert answer.freshness(1_060 * S) is Freshness.FALLBACK


@pytest.mark.parametrize("last", ["fresh_until_us", "revalidate_until_us", "fallback_until_us"])
def test_an_answer_ends_with_the_last_of_its_times(last):
    assert kept(**{last: 2_000 * S}).ends_us == 2_000 * S


@pytest.mark.parametrize(("revalidate_s", "error_s", "stale_s"), [(0, 0, 0), (10, 0, 10), (0, 20, 20), (30, 20, 30)])
def test_an_answer_is_kept_past_its_end_for_the_longer_stale_time(revalidate_s, error_s, stale_s):
    rule = CacheRule(60, 1_024, stale_while_revalidate_s=revalidate_s, stale_if_error_s=error_s)

    assert rule.stale_s == stale_s


@pytest.mark.parametrize(("at_s", "age_s"), [(1_000, 0), (1_000.999999, 0), (1_001, 1), (1_061, 61), (0, 0)])
def test_an_age_is_whole_seconds_and_never_negative(at_s, age_s):
    assert kept().age_s(round(at_s * S)) == age_s


def test_an_answer_is_purged_by_its_route_team_model_and_tags():
    assert kept(tags={"app": "desk", "a=b": "c"}).labels == (
        "all", "route:faq", "team:search", "model:openai/gpt-6-luna", "tag:app=desk", "tag:a=b=c",
    )  # fmt: skip


def test_an_answer_at_an_effort_is_purged_with_its_model_too():
    answer = kept(model="openai/gpt-5.5@high")

    assert purged(answer, {"model:openai/gpt-5.5": 8})
    assert purged(answer, {"model:openai/gpt-5.5@high": 8})
    assert not purged(answer, {"model:openai/gpt-5.5@low": 8})
    assert not purged(kept(model="local/llama@4bit"), {"model:local/llama": 8})


@pytest.mark.parametrize("label", ["all", "route:faq", "team:search", "model:openai/gpt-6-luna", "tag:app=desk"])
def test_what_was_asked_for_before_a_purge_is_gone_and_what_came_after_is_not(label):
    answer = kept(tags={"app": "desk"})

    assert purged(answer, {label: 8})
    assert not purged(answer, {label: 7})
    assert not purged(answer, {label: 6})


@pytest.mark.parametrize("label", ["route:fa", "team:other", "model:openai", "tag:app=des", "tag:app", "faq", ""])
def test_a_purge_of_something_else_leaves_an_answer(label):
    assert not purged(kept(tags={"app": "desk"}), {label: 1_000})
