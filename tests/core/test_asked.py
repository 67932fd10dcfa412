"""The context of a question: equal exactly when everything but the text of the last message is."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core.asked import asked
from gateway.core.nearmiss import MOST_CHARS
from gateway.core.request import parse_chat
from gateway.core.world import KEYLESS

USER = {"role": "user", "content": "what is it?"}
BODY = {"model": "auto", "messages": [{"role": "system", "content": "be brief"}, USER]}


def question(body, *, scope="team:a", rules=b"r", caller=KEYLESS, by="openai/vectors"):
    request = parse_chat(msgspec.json.encode(body))
    return asked(b"secret", scope=scope, rules=rules, caller=caller, request=request, embedded_by=by)


def test_only_the_text_of_the_last_message_is_no_part_of_the_context():
    one = question(BODY)
    other = question({**BODY, "messages": [BODY["messages"][0], {**USER, "content": "how is it?"}]})

    assert (one.text, other.text) == ("what is it?", "how is it?")
    assert one.context == other.context


@pytest.mark.parametrize(
    "changed",
    [
        {"scope": "team:b"}, {"rules": b"s"}, {"by": "google/vectors"},
        {"body": {**BODY, "temperature": 0}},
        {"body": {**BODY, "model": "other"}},
        {"body": {**BODY, "tools": []}},
        {"body": {**BODY, "messages": [USER]}},
        {"body": {**BODY, "messages": [{"role": "system", "content": "be long"}, USER]}},
        {"body": {**BODY, "messages": [*BODY["messages"], {"role": "assistant", "content": "what?"}, USER]}},
        {"body": {**BODY, "messages": [BODY["messages"][0], {**USER, "name": "anna"}]}},
    ],
)  # fmt: skip
def test_everything_else_is(changed):
    assert question(**{"body": BODY, **changed}).context != question(BODY).context


@pytest.mark.parametrize(
    "last",
    [
        {"role": "user", "content": [{"type": "text", "text": "what is it?"}]},
        {"role": "user", "content": None},
        {"role": "user"},
        {"role": "user", "content": " \n"},
        {"role": "user", "content": "a" * (MOST_CHARS + 1)},
        {"role": "tool", "content": "what is it?", "tool_call_id": "1"},
        {"role": "assistant", "content": "what is it?"},
        {"role": "system", "content": "what is it?"},
    ],
)
def test_what_is_no_plain_question_of_a_user_has_none(last):
    assert question({**BODY, "messages": [last]}) is None


def test_a_field_of_the_callers_own_cannot_stand_for_the_models():
    named = {**BODY, "\0embedded_by": "google/vectors"}

    assert question(named).context == question(BODY).context
    assert question(named, by="google/vectors").context != question(BODY).context
