"""Whose text is read, out of the raw messages of a request."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.kinds.features import bounded
from gateway.kinds.messages import BYTES_PER_CHAR, last_user_text


def raw(*messages: object, ascii_only: bool = True) -> bytes:
    return json.dumps(messages, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_the_last_message_of_the_user_counts():
    body = raw({"role": "system", "content": "s"}, user("first"), user("second"), {"role": "assistant", "content": "a"})
    assert last_user_text(body) == "second"


def test_text_parts_are_joined_and_images_say_nothing():
    body = raw(user([IMAGE, {"type": "text", "text": "what is"}, {"type": "text", "text": "on it?"}]))
    assert last_user_text(body) == "what is\non it?"


@pytest.mark.parametrize("content", [None, "", [], [IMAGE], [{"type": "text", "text": None}], 7, {"text": "x"}])
def test_a_message_without_text_is_passed_over(content):
    assert last_user_text(raw(user("before"), user(content))) == "before"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"{}", b"[", b"[1]", b"[" * 100_000, b'[{"role":"user"}]', b'[{"role":"user","content":"\xff"}]'],
)
def test_what_is_no_chat_has_no_text(body):
    assert last_user_text(body) == ""


@pytest.mark.parametrize("ascii_only", [True, False])
@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=40).filter(bool), times=st.integers(1, 3_000))
def test_of_a_long_text_all_that_a_reader_looks_at_is_found(ascii_only, text, times):
    long = text * times
    assert bounded(last_user_text(raw(user(long), ascii_only=ascii_only))) == bounded(long)


def test_of_a_huge_text_only_its_ends_are_decoded():
    assert len(last_user_text(raw(user("x" * 5_000_000)))) < 5_000
    parts = [{"type": "text", "text": "x" * BYTES_PER_CHAR} for _ in range(50_000)]
    assert len(last_user_text(raw(user(parts)))) < 5_000
