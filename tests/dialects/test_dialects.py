"""Each provider's wire: what is sent, how usage becomes disjoint classes, who is blamed for an error."""

from __future__ import annotations

import json

import pytest

from gateway.core.errors import Blame
from gateway.core.pricing import Usage
from gateway.dialects import DIALECTS
from tests.core.market import chat, model

OPENAI, DEEPSEEK, GOOGLE = DIALECTS["openai"], DIALECTS["deepseek"], DIALECTS["google"]


def sent(dialect, target="openai/gpt-6-luna", **fields) -> dict:
    body = json.dumps({"model": "auto", "messages": [{"role": "user", "content": "x"}], **fields}).encode()
    return json.loads(dialect.body(chat(body), model(target)))


def test_the_route_name_is_replaced_by_the_models_own():
    assert sent(OPENAI)["model"] == "gpt-6-luna"


@pytest.mark.parametrize("dialect", DIALECTS.values())
def test_a_stream_always_asks_for_usage_and_keeps_other_options(dialect):
    assert sent(dialect, stream=True)["stream_options"] == {"include_usage": True}
    assert sent(dialect, stream=True, stream_options={"include_obfuscation": False})["stream_options"] == {
        "include_obfuscation": False,
        "include_usage": True,
    }
    assert "stream_options" not in sent(dialect)


def test_each_provider_gets_the_output_limit_under_the_name_it_knows():
    assert sent(OPENAI, "openai/gpt-6-luna", max_tokens=5)["max_completion_tokens"] == 5
    assert sent(OPENAI, "openai/gpt-4o-mini", max_tokens=5)["max_tokens"] == 5
    assert sent(DEEPSEEK, "deepseek/deepseek-flash", max_completion_tokens=5)["max_tokens"] == 5
    assert "max_completion_tokens" not in sent(DEEPSEEK, "deepseek/deepseek-flash", max_completion_tokens=5)


def usage(dialect, **fields) -> Usage:
    return dialect.usage(json.dumps(fields).encode())


def test_openais_cached_written_and_reasoning_tokens_are_taken_out_of_their_wholes():
    found = usage(
        OPENAI, prompt_tokens=100, completion_tokens=50, total_tokens=150,
        prompt_tokens_details={"cached_tokens": 60, "cache_write_tokens": 10},
        completion_tokens_details={"reasoning_tokens": 40},
    )  # fmt: skip

    assert found == Usage(input=30, cached_input=60, cache_write=10, output=10, reasoning=40)


def test_deepseeks_cache_hits_are_priced_once():
    found = usage(
        DEEPSEEK, prompt_tokens=100, completion_tokens=5, prompt_cache_hit_tokens=64, prompt_cache_miss_tokens=36
    )

    assert found == Usage(input=36, cached_input=64, output=5)


def test_googles_thinking_that_shows_only_in_the_total_is_billed():
    found = usage(GOOGLE, prompt_tokens=10, completion_tokens=20, total_tokens=130)

    assert found == Usage(input=10, output=20, reasoning=100)


def test_an_explicit_zero_is_a_value_and_a_missing_count_is_not():
    assert usage(OPENAI, prompt_tokens=0, completion_tokens=0) == Usage()
    assert usage(OPENAI, prompt_tokens=5) is None
    assert OPENAI.usage(b'"free"') is None


@pytest.mark.parametrize(
    ("status", "blame", "retry", "trips"),
    [
        (400, Blame.CALLER, False, False),
        (422, Blame.CALLER, False, False),
        (401, Blame.OPERATOR, True, True),
        (402, Blame.OPERATOR, True, True),
        (403, Blame.OPERATOR, True, False),
        (404, Blame.OPERATOR, True, False),
        (408, Blame.UPSTREAM, True, False),
        (429, Blame.UPSTREAM, True, False),
        (500, Blame.UPSTREAM, True, False),
        (503, Blame.UPSTREAM, True, False),
    ],
)
def test_blame_and_retry_follow_the_status(status, blame, retry, trips):
    for dialect in DIALECTS.values():
        error = dialect.error(status, {}, b"<html>not json</html>")
        assert (error.blame, error.retryable, error.trips_provider) == (blame, retry, trips)


def test_the_callers_mistake_is_handed_through_in_the_providers_words():
    error = OPENAI.error(
        400, {}, b'{"error":{"message":"bad temperature","type":"invalid_request_error","param":"t","code":"c"}}'
    )

    assert json.loads(error.body())["error"] == {
        "message": "bad temperature", "type": "invalid_request_error", "param": "t", "code": "c",
    }  # fmt: skip


def test_googles_array_of_errors_becomes_openais_object():
    error = GOOGLE.error(400, {}, b'[{"error":{"code":400,"message":"no such field","status":"INVALID_ARGUMENT"}}]')

    assert json.loads(error.body())["error"] == {
        "message": "no such field", "type": "invalid_request_error", "param": None, "code": "400",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"retry-after": "20"}, 20.0), ({"retry-after-ms": "1500"}, 1.5), ({"retry-after": "soon"}, None), ({}, None),
     ({"retry-after": "-1"}, None), ({"retry-after": "inf"}, None)],
)  # fmt: skip
def test_retry_after_is_read_in_seconds(headers, seconds):
    assert OPENAI.error(429, headers, b"").retry_after_s == seconds


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        (OPENAI, {"message": "x", "code": "context_length_exceeded"}),
        (OPENAI, {"message": "This model's maximum context length is 8192 tokens. However, you requested 8213."}),
        (OPENAI, {"message": "prompt is too long: 200001 tokens > 200000 maximum"}),
        (DEEPSEEK, {"message": "This model's maximum context length is 65536 tokens. However, you requested 66343 "
                               "tokens", "code": "invalid_request_error"}),
        (GOOGLE, {"message": "The input token count (3475108) exceeds the maximum number of tokens allowed (104857)."}),
    ],
)  # fmt: skip
def test_each_provider_says_in_its_own_way_that_a_prompt_is_too_long(dialect, body):
    error = dialect.error(400, {}, json.dumps({"error": body}).encode())

    assert (error.too_long, error.retryable, error.told) == (True, False, body["message"])
    assert not dialect.error(400, {}, b'{"error":{"message":"bad temperature"}}').too_long


def test_a_quota_that_is_used_up_is_a_balance_and_no_rate():
    error = OPENAI.error(429, {}, b'{"error":{"message":"You exceeded your quota","code":"insufficient_quota"}}')

    assert (error.trips_provider, error.outcome) == (True, "http_402")


def test_googles_wish_to_wait_is_read_from_its_details():
    details = b'[{"error":{"code":429,"message":"x","details":[{"@type":"RetryInfo","retryDelay":"20.5s"}]}}]'

    assert GOOGLE.error(429, {}, details).retry_after_s == 20.5
    assert GOOGLE.error(429, {"retry-after": "3"}, details).retry_after_s == 3
    assert GOOGLE.error(400, {}, details).retry_after_s is None
