"""To which requests answers are neither looked for nor kept, and which answers are served and not kept."""

import msgspec
import pytest

from gateway.core.cachekey import cache_key, not_kept_as, not_kept_for, rules_digest
from gateway.core.caching import CacheRule
from gateway.core.request import parse_chat
from gateway.core.route import Route
from gateway.core.world import Caller
from gateway.policies import POLICIES
from tests.core.market import ALL, MARKET

RULE = CacheRule(ttl_s=60, max_bytes=4_096)
SAMPLED = CacheRule(ttl_s=60, max_bytes=4_096, sampled=True)
SIGNED = '"thought_signature": "CvYBAVSoXO4xPZ0h"'


def asked(fields=""):
    return parse_chat(f'{{"model": "faq", "messages": [{{"role": "user", "content": "hi"}}]{fields}}}'.encode())


def completion(message='"role": "assistant", "content": "Paris."', finish='"stop"'):
    return (
        '{"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, '
        f'"message": {{{message}}}, "logprobs": null, "finish_reason": {finish}}}], "usage": {{"prompt_tokens": 1}}}}'
    ).encode()


# Requests -------------------------------------------------------------------------------------------------------------

TOOL = '{"type": "function", "function": {"name": "look_up", "parameters": {}}}'

LOOKED_FOR = {
    "nothing is said": "",
    "temperature 0": ', "temperature": 0',
    "temperature 0.0": ', "temperature": 0.0',
    "no temperature": ', "temperature": null',
    "a temperature that the provider will refuse": ', "temperature": "hot"',
    "one choice": ', "n": 1',
    "top_p alone": ', "top_p": 0.1',
    "effects that are off": ', "store": false, "web_search_options": null, "audio": null',
    "text": ', "modalities": ["text"]',
    "no modalities": ', "modalities": null',
    "modalities that the provider will refuse": ', "modalities": 5',
    "tools of the caller": f', "tools": [{TOOL}, {{"type": "custom", "custom": {{"name": "shell"}}}}]',
    "a tool that says no type": ', "tools": [{"function": {"name": "look_up"}}]',
    "no tools": ', "tools": null',
    "a seed": ', "seed": 7',
}


@pytest.mark.parametrize("fields", LOOKED_FOR.values(), ids=LOOKED_FOR)
def test_an_answer_is_looked_for_when_nothing_speaks_against_it(fields):
    assert not_kept_for(RULE, asked(fields)) == ""


@pytest.mark.parametrize("fields", [', "temperature": 0.7', ', "temperature": 1', ', "temperature": 1e-9', ', "n": 2'])
def test_answers_that_are_meant_to_vary_are_not_looked_for_unless_the_rule_says_so(fields):
    assert not_kept_for(RULE, asked(fields)) == "sampled"
    assert not_kept_for(SAMPLED, asked(fields)) == ""


NOT_REPEATABLE = {
    "it is stored at the provider": ', "store": true',
    "a search of the web": ', "web_search_options": {}',
    "a voice": ', "audio": {"voice": "alloy", "format": "wav"}',
    "spoken": ', "modalities": ["text", "audio"]',
    "a tool that the provider runs": f', "tools": [{TOOL}, {{"type": "web_search"}}]',
    "a search in Google's words": ', "tools": [{"googleSearch": {}}]',
    "a search by parameters": ', "search_parameters": {"mode": "auto"}',
    "tools of no known form": ', "tools": [{"type": 5}]',
}


@pytest.mark.parametrize("fields", NOT_REPEATABLE.values(), ids=NOT_REPEATABLE)
@pytest.mark.parametrize("rule", [RULE, SAMPLED])
def test_an_answer_with_an_effect_or_a_source_beside_the_prompt_is_not_looked_for(rule, fields):
    assert not_kept_for(rule, asked(fields)) == "not_repeatable"


# Answers --------------------------------------------------------------------------------------------------------------

CALL = '{"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": "{\\"q\\": \\"x\\"}"}}'

KEPT = {
    "text": completion(),
    "a tool call": completion(f'"role": "assistant", "content": null, "tool_calls": [{CALL}]', '"tool_calls"'),
    "a function call": completion(
        '"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}', '"function_call"'
    ),
    "a refusal": completion('"role": "assistant", "content": null, "refusal": "I cannot help with that."'),
    "its reasoning as text (DeepSeek)": completion(
        '"role": "assistant", "content": "Paris.", "reasoning_content": "France, so: Paris."'
    ),
    "fields that are there and empty (OpenAI)": completion(
        '"role": "assistant", "content": "Paris.", "refusal": null, "annotations": [], "audio": null'
    ),
    "fields of litellm without a signature": completion(
        '"role": "assistant", "content": "Paris.", "tool_calls": null, "function_call": null, '
        '"provider_specific_fields": {"refusal": null}, "thinking_blocks": null'
    ),
    "a tool call that speaks of signatures": completion(
        '"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": '
        '{"name": "sign", "arguments": "{\\"provider_specific_fields\\": {\\"signature\\": \\"__thought__\\"}}"}}]',
        '"tool_calls"',
    ),
}


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_a_whole_answer_is_kept(body):
    assert not_kept_as(RULE, asked(), body) == ""


BOUND = {
    "a thought's signature beside a tool call (Gemini)": completion(
        '"role": "assistant", "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", '
        f'"arguments": "{{}}"}}, "extra_content": {{"google": {{{SIGNED}}}}}}}]',
        '"tool_calls"',
    ),
    "a thought's signature beside text (Gemini)": completion(
        f'"role": "assistant", "content": "Paris.", "extra_content": {{"google": {{{SIGNED}}}}}'
    ),
    "a voice": completion(
        '"role": "assistant", "content": null, "audio": {"id": "audio_1", "expires_at": 9, "data": "UklG", '
        '"transcript": "Paris."}'
    ),
    "blocks of thought (litellm)": completion(
        '"role": "assistant", "content": "Paris.", "thinking_blocks": [{"type": "thinking", "thinking": "hm", '
        '"signature": "CvYBAV"}]'
    ),
    "items of thought (litellm)": completion(
        '"role": "assistant", "content": "Paris.", "reasoning_items": [{"type": "reasoning", "id": "rs_1", '
        '"encrypted_content": "gAAAA"}]'
    ),
    "details of thought": completion(
        '"role": "assistant", "content": "x", "reasoning_details": [{"type": "reasoning.encrypted", "data": "gAAA"}]'
    ),
    "signatures of a message (litellm)": completion(
        '"role": "assistant", "content": "Paris.", "provider_specific_fields": {"thought_signatures": ["CvYBAV"]}'
    ),
    "a signature of a tool call (litellm)": completion(
        '"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": '
        f'{{"name": "f", "arguments": "{{}}"}}, "provider_specific_fields": {{{SIGNED}}}}}]',
        '"tool_calls"',
    ),
    "a signature of a function (litellm)": completion(
        '"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", "function": '
        f'{{"name": "f", "arguments": "{{}}", "provider_specific_fields": {{{SIGNED}}}}}}}]',
        '"tool_calls"',
    ),
    "a signature in the id of a second tool call (litellm)": completion(
        f'"role": "assistant", "content": null, "tool_calls": [{CALL}, {{"id": "call_2__thought__CvYBAV", "type": '
        '"function", "function": {"name": "f", "arguments": "{}"}}]',
        '"tool_calls"',
    ),
}


@pytest.mark.parametrize("body", BOUND.values(), ids=BOUND)
def test_an_answer_that_only_its_maker_can_read_again_is_not_kept(body):
    assert not_kept_as(RULE, asked(), body) == "bound"


NOT_WHOLE = {
    "cut off by its limit": (completion(finish='"length"'), "truncated"),
    "cut off and without a word": (completion('"role": "assistant", "content": ""', '"length"'), "truncated"),
    "filtered": (completion('"role": "assistant", "content": null', '"content_filter"'), "filtered"),
    "without a finish reason": (completion(finish="null"), "unfinished"),
    "with a finish reason that nobody knows": (completion(finish='"insufficient_system_resource"'), "unfinished"),
    "an error": (b'{"error": {"message": "overloaded"}}', "unfinished"),
    "without choices": (b'{"choices": []}', "unfinished"),
    "without a message": (b'{"choices": [{"finish_reason": "stop"}]}', "unfinished"),
    "without a word": (completion('"role": "assistant", "content": ""'), "unfinished"),
    "with nothing": (completion('"role": "assistant", "content": null, "tool_calls": []'), "unfinished"),
    "with thoughts and no word": (
        completion('"role": "assistant", "content": null, "reasoning_content": "Hm."'), "unfinished",
    ),
    "half of its bytes": (completion()[:80], "unfinished"),
    "no bytes": (b"", "unfinished"),
    "no object": (b"[]", "unfinished"),
    "tool calls that are none": (completion('"content": "x", "tool_calls": 5'), "unfinished"),
    "a function that is none": (completion('"content": "x", "tool_calls": [{"function": 5}]'), "unfinished"),
    "no text": (completion().replace(b"Paris", b"\xff"), "unfinished"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_an_answer_that_is_not_whole_is_not_kept(body, reason):
    assert not_kept_as(RULE, asked(), body) == reason


def choices(*finish_reasons):
    made = [
        {"index": index, "message": {"role": "assistant", "content": "x"}, "finish_reason": reason}
        for index, reason in enumerate(finish_reasons)
    ]
    return msgspec.json.encode({"choices": made})


def test_of_several_choices_all_must_be_there_and_whole():
    two = asked(', "n": 2')

    assert not_kept_as(SAMPLED, two, choices("stop", "tool_calls")) == ""
    assert not_kept_as(SAMPLED, two, choices("stop")) == "unfinished"
    assert not_kept_as(SAMPLED, two, choices("stop", "stop", "stop")) == "unfinished"
    assert not_kept_as(SAMPLED, two, choices("stop", "length")) == "truncated"
    assert not_kept_as(SAMPLED, two, choices("stop", "content_filter")) == "filtered"
    assert not_kept_as(SAMPLED, two, choices("stop", None)) == "unfinished"


def test_an_answer_of_more_than_the_most_bytes_is_not_kept():
    body = completion()

    assert not_kept_as(CacheRule(ttl_s=60, max_bytes=len(body)), asked(), body) == ""
    assert not_kept_as(CacheRule(ttl_s=60, max_bytes=len(body) - 1), asked(), body) == "oversized"


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_body_nested_as_deep_as_can_be_read_has_a_key_however_deep_the_asking_code_is():
    request = asked(f', "x": {"[" * 900}{"]" * 900}')

    def under(calls):
        if calls:
            return under(calls - 1)
        return cache_key(b"s", scope="team:t", rules=b"r", caller=Caller("t", "k"), request=request)

    assert len(under(0)) == len(under(400)) == 64


def test_a_route_whose_answers_hold_for_another_time_begins_anew():
    def digest(**rule):
        route = Route("faq", POLICIES["best"], ALL, cache=CacheRule(**{"ttl_s": 60, "max_bytes": 1, **rule}))
        return rules_digest(route, MARKET)

    assert digest() == digest(max_bytes=2) == digest(coalesce=False)
    assert len({digest(), digest(ttl_s=59), digest(stale_while_revalidate_s=1), digest(stale_if_error_s=1)}) == 4
