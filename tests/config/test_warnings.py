"""What is said about a file that loads and will still surprise."""

from datetime import UTC, datetime

import pytest
from conffiles import MINIMAL, NOW, loaded, marked_lines

from gateway.config import render_warnings

BEST = "routes:\n  auto:\n    policy: best\n"
OPENAI_ONLY = {"OPENAI_API_KEY": "sk"}

CASES = {
    "nobody measured it": (
        BEST + "    quality_floor: 60\n    candidates:\n    - big\n    - small  # <-\n",
        "openai/small is not chosen here: nobody has measured its overall quality, and the floor is 60",
    ),
    "its score is too low": (
        BEST + "    kind: code\n    quality_floor: {code: 70}\n    candidates:\n    - big\n    - flash  # <-\n",
        "deepseek/flash is not chosen here: its code quality is 65.5, under the floor of 70",
    ),
    "its country is not allowed": (
        BEST + "    jurisdictions: [US]\n    candidates:\n    - big\n    - flash  # <-\n",
        "deepseek/flash can never be chosen here: prompts may not go to CN (allowed: US)",
    ),
    "a fallback that cannot be one": (
        BEST + "    jurisdictions: [US]\n    candidates: [big]\n    fallbacks: [flash]  # <-\n",
        "deepseek/flash can never be chosen here: prompts may not go to CN (allowed: US)",
    ),
    "it has no price": (
        BEST + "    candidates: [big, unpriced]  # <-\n",
        "deepseek/unpriced has no price now, so it is not chosen; add a row under 'prices'",
    ),
    "it is retired soon": (
        BEST + "    candidates: [big, old]  # <-\n",
        "openai/old is retired by its provider on 2026-06-20, in 19 days",
    ),
    "the baseline has no price": (
        BEST + "    candidates: [big]\n    baseline: unpriced  # <-\n",
        "the baseline deepseek/unpriced has no price now, so no savings are counted against it",
    ),
    "the default baseline has no price": (
        MINIMAL + "  other: {policy: best, candidates: [big]}\ndefaults:\n  baseline: unpriced  # <-\n",
        "the baseline deepseek/unpriced has no price now, so no savings are counted against it",
    ),
    "a floor without effect": (
        BEST + "    candidates: [big]\n    quality_floor: {code: 50}  # <-\n",
        "the floor for 'code' has no effect: the route's kind is 'overall'",
    ),
    "the meaning of no floor": (
        BEST + "    candidates: [big]\n    floor_means: average  # <-\n",
        "it has no effect: there is no 'quality_floor'",
    ),
    "only a rumour says how good it is": (
        BEST + "    kind: maths\n    quality_floor: {maths: 60}\n    candidates:\n    - big\n    - small  # <-\n"
        "models:\n  openai/small:\n"
        "    quality: {maths: {score: 99, status: rumoured, source: somebody, read: 2026-01-01}}\n",
        "openai/small is not chosen here: its maths quality is only rumoured, which counts as none, "
        "and the floor is 60",
    ),
    "a model at an effort whose model alone was measured": (
        BEST + "    quality_floor: 60\n    candidates:\n    - big\n    - big@high  # <-\n"
        "models: {openai/big: {capabilities: [reasoning], efforts: {high: {}}}}\n",
        "openai/big@high is not chosen here: nobody has measured its overall quality, and the floor is 60",
    ),
    "under the floor of every kind": (
        BEST + "    kind: auto\n    quality_floor: 70.1\n    candidates:\n    - big\n    - flash  # <-\n",
        "deepseek/flash is not chosen here: its quality is under the floor of every task kind",
    ),
    "a kind whose floor nobody reaches": (
        BEST + "    kind: auto\n    candidates: [big, flash]\n    quality_floor: {overall: 60, maths: 81}  # <-\n",
        "no candidate reaches the floor for 'maths', so such requests are refused",
    ),
    "a model at an effort is retired with its model": (
        BEST + "    candidates: [big, old@high]  # <-\n"
        "models: {openai/old: {capabilities: [reasoning], efforts: {high: {}}}}\n",
        "openai/old@high is retired by its provider on 2026-06-20, in 19 days",
    ),
    "the baseline is retired soon": (
        BEST + "    candidates: [big]\n    baseline: old  # <-\n",
        "the baseline openai/old is retired by its provider on 2026-06-20, in 19 days",
    ),
    "a step down without budgets": (
        BEST + "    candidates: [big]\n    step_down: {from_percent: 80, to: b}  # <-\n"
        "  b: {policy: best, candidates: [big]}\n",
        "it has no effect: there are no budgets",
    ),
    "a budget for a key that is not in the file": (
        MINIMAL + f"teams: {{t: {{keys: [{{id: app-1, sha256: {'0' * 64}}}]}}}}\n"
        'budgets:\n  b: {key: app-2, usd: "1", window: day}  # <-\n',
        "no key in this file has the id 'app-2', so it waits for one of `gateway keys create`; did you mean 'app-1'?",
    ),
    "a limit for a key that is not in the file": (
        MINIMAL + "teams: {t: {}}\nlimits:\n  l: {key: app, concurrency: 1}  # <-\n",
        "no key in this file has the id 'app', so it waits for one of `gateway keys create`",
    ),
    "everybody's answers": (
        BEST + "    candidates: [big]\n    cache:\n      ttl_s: 60\n      scope: global  # <-\nteams: {t: {}, u: {}}\n",
        "every team may be shown answers that were made for another one",
    ),
    "stale for much longer than fresh": (
        BEST + "    candidates: [big]\n    cache:\n      ttl_s: 60\n      stale_if_error_s: 601  # <-\n",
        "answers may be replayed for more than 10 times their ttl_s (60) after it",
    ),
    "a stale time inside another one": (
        BEST + "    candidates: [big]\n    cache:\n      ttl_s: 60\n      stale_while_revalidate_s: 60\n"
        "      stale_if_error_s: 60  # <-\n",
        "it has no effect: for stale_while_revalidate_s (60) answers are replayed in any case",
    ),
    "similar questions about code": (
        BEST + "    kind: code\n    candidates: [big]\n    cache:\n      ttl_s: 60\n"
        "      semantic: {model: vectors}  # <-\n",
        "the route's kind is 'code', where questions that look alike seldom have the same answer",
    ),
    "a short key": (
        MINIMAL + "teams:\n  t: {keys: [{id: a, env: SHORT}]}  # <-\n",
        "the key in SHORT is short enough to be guessed; use a long random one",
    ),
}


@pytest.mark.parametrize(("text", "message"), CASES.values(), ids=CASES)
def test_a_warning(tmp_path, text, message):
    found = loaded(tmp_path, text, {"SHORT": "hunter2"}).warnings

    assert [(one.line, one.message) for one in found] == [(marked_lines(text)[0], message)]


def test_a_route_whose_providers_are_all_off(tmp_path):
    text = MINIMAL + "  china:  # <-\n    policy: best\n    candidates: [flash]\n"

    found = loaded(tmp_path, text, OPENAI_ONLY).warnings

    assert [(one.line, one.message) for one in found] == [
        (5, "route 'china' cannot serve: none of its providers has a key; set 'DEEPSEEK_API_KEY'")
    ]


def test_an_embedding_model_whose_provider_is_off(tmp_path):
    text = BEST + "    candidates: [flash]\n    cache: {ttl_s: 60, semantic: {model: vectors}}\n"

    found = loaded(tmp_path, text, {"DEEPSEEK_API_KEY": "k" * 40}).warnings

    assert [(one.line, one.message) for one in found] == [
        (5, "similar questions are not looked for: openai has no key; set OPENAI_API_KEY")
    ]


@pytest.mark.parametrize("teams", ["teams: {t: {}}\n", ""])
def test_answers_for_everybody_surprise_nobody_where_there_is_one_team(tmp_path, teams):
    text = BEST + "    candidates: [big]\n    cache: {ttl_s: 60, scope: global, stale_if_error_s: 600}\n"

    assert loaded(tmp_path, text + teams).warnings == ()


def test_a_retired_candidate(tmp_path):
    found = loaded(tmp_path, BEST + "    candidates: [big, old]\n", now=datetime(2026, 6, 20, tzinfo=UTC)).warnings

    assert [one.message for one in found] == [
        "openai/old can never be chosen here: its provider retired it on 2026-06-20"
    ]


def test_a_retired_baseline(tmp_path):
    text = BEST + "    candidates: [big]\n    baseline: old\n"

    assert [one.message for one in loaded(tmp_path, text, now=datetime(2026, 6, 20, tzinfo=UTC)).warnings] == [
        "the baseline openai/old was retired by its provider on 2026-06-20: nobody could call it now"
    ]


def test_a_floor_that_no_candidate_reaches_is_said_once_for_the_route(tmp_path):
    text = BEST + "    kind: code\n    candidates: [big, flash]\n    quality_floor: 90\n"

    assert [one.message for one in loaded(tmp_path, text).warnings] == [
        "openai/big is not chosen here: its code quality is 70.5, under the floor of 90",
        "deepseek/flash is not chosen here: its code quality is 65.5, under the floor of 90",
        "no candidate reaches the floor for 'code', so such requests are refused",
    ]


def test_a_price_that_begins_later(tmp_path):
    found = loaded(tmp_path, BEST + "    candidates: [big]\n", now=datetime(2025, 12, 31, tzinfo=UTC)).warnings

    assert [one.message for one in found] == [
        "openai/big has no price now, so it is not chosen; its next row begins on 2026-01-01"
    ]


@pytest.mark.parametrize(
    ("now", "count"), [(datetime(2026, 10, 31, tzinfo=UTC), 0), (datetime(2026, 11, 1, tzinfo=UTC), 1)]
)
def test_a_holiday_list_that_ends_within_60_days(tmp_path, now, count):
    # the list of the test book ends on 2026-12-31
    found = loaded(tmp_path, MINIMAL, now=now).warnings

    said = "holiday list 'cn-public' ends on 2026-12-31; after 2026-12-01 it is refused where a row needs it"
    assert [(one.file, one.line, one.message) for one in found] == [
        ("gateway/pricebook/deepseek.yaml", 3, said)
    ] * count


def test_a_good_file_brings_no_warning(tmp_path):
    assert loaded(tmp_path, MINIMAL).warnings == ()


def test_warnings_are_rendered_as_such(tmp_path):
    found = loaded(tmp_path, BEST + "    candidates: [big, unpriced]\n", now=NOW).warnings

    assert render_warnings(found) == (
        f"{tmp_path}/routes.yaml:4:23: warning: deepseek/unpriced has no price now, so it is not chosen; "
        "add a row under 'prices'"
    )
