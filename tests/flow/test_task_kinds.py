"""A route that asks what kind of task a request is: the kind chooses scores, floors and rules, and can be told."""

from __future__ import annotations

import json

import pytest

from tests.running import RunningGateway

SCORED = "status: measured, source: the tests, read: 2026-11-23"
ROUTES = f"""
models:
  openai/gpt-5.5: {{quality: {{code: {{score: 85, {SCORED}}}, overall: {{score: 60, {SCORED}}}}}}}
  deepseek/deepseek-flash: {{quality: {{code: {{score: 50, {SCORED}}}, overall: {{score: 55, {SCORED}}}}}}}
routes:
  smart:
    policy: cheapest
    kind: auto
    candidates: [openai/gpt-5.5, deepseek/deepseek-flash]
    quality_floor: {{code: 80, overall: 30}}
  by_kind:
    policy: cheapest
    candidates: [deepseek/deepseek-flash]
    when:
      - {{kind: [code, maths], use: strong}}
  strong: {{policy: ordered, candidates: [google/gemini-3-flash-preview]}}
"""
GOOD_AT_CODE, CHEAP, STRONG = "openai/gpt-5.5", "deepseek/deepseek-flash", "google/gemini-3-flash-preview"
CODE = "Write a Python function `merge(a: list[int], b: list[int]) -> list[int]` that merges sorted lists. Add tests."
CHAT = "hi there, how was your weekend? mine was lovely, tell me something nice"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("kinds"), ROUTES, {"GATEWAY_ADMIN_KEY": "admin"}) as running:
        yield running


def asked(gateway, route: str, text: str, **headers: str):
    body = {"model": route, "messages": [{"role": "user", "content": text}]}
    status, got, answer = gateway.post("/v1/chat/completions", body, **headers)
    assert status == 200, answer
    return got["x-gateway-model"]


def test_code_goes_to_the_model_that_is_good_enough_at_code_and_chat_to_the_cheapest(gateway):
    assert asked(gateway, "smart", CODE) == GOOD_AT_CODE
    assert asked(gateway, "smart", CHAT) == CHEAP


def test_the_callers_own_word_goes_before_what_the_text_looks_like(gateway):
    assert asked(gateway, "smart", CHAT, **{"x-gateway-kind": "code"}) == GOOD_AT_CODE
    assert asked(gateway, "smart", CHAT, **{"x-gateway-tags": "kind=code"}) == GOOD_AT_CODE


def test_a_condition_on_the_kind_lets_another_routes_rules_hold(gateway):
    assert asked(gateway, "by_kind", CODE) == STRONG
    assert asked(gateway, "by_kind", CHAT) == CHEAP


def test_an_unknown_kind_is_refused_with_those_there_are(gateway):
    body = {"model": "smart", "messages": [{"role": "user", "content": CHAT}]}
    status, _, answer = gateway.post("/v1/chat/completions", body, **{"x-gateway-kind": "coed"})

    error = json.loads(answer)["error"]
    assert (status, error["code"], error["param"]) == (400, "invalid_term", "x-gateway-kind")
    assert "translation" in error["message"]


def test_explain_tells_the_kind_as_a_request_would_get_it(gateway):
    body = {"model": "smart", "messages": [{"role": "user", "content": CODE}]}
    status, _, answer = gateway.post("/admin/explain", body, authorization="Bearer admin")

    explained = json.loads(answer)
    assert (status, explained["kind"], explained["quality_floor"]) == (200, "code", 80)
    assert [one["model"] for one in explained["candidates"]] == [GOOD_AT_CODE]
