"""Usage in disjoint classes: real replies as they were found, and whatever a provider might send.

The files of tests/wire hold the usage object, where it is from, and the classes that it means.
"""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.core.pricing import CLASSES, Usage
from gateway.dialects import DIALECTS
from gateway.dialects.shape import MOST_TOKENS
from tests.running import ROOT

OPENAI, DEEPSEEK, GOOGLE = DIALECTS["openai"], DIALECTS["deepseek"], DIALECTS["google"]
WIRE = sorted((ROOT / "tests" / "wire").glob("*/*.json"))


class Evidence(msgspec.Struct, forbid_unknown_fields=True):
    source: str
    usage: msgspec.Raw
    classes: Usage


@pytest.mark.parametrize("file", WIRE, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_what_a_provider_really_sent_is_read_like_that(file):
    evidence = msgspec.json.decode(file.read_bytes(), type=Evidence)

    assert DIALECTS[file.parent.name].usage(bytes(evidence.usage)) == evidence.classes
    assert evidence.classes.total == json.loads(bytes(evidence.usage))["total_tokens"]
    assert len(evidence.source) > 40


def test_there_is_evidence_of_every_provider():
    assert {file.parent.name for file in WIRE} == set(DIALECTS)
    assert len(WIRE) >= 10


def usage(dialect, **fields) -> Usage | None:
    return dialect.usage(json.dumps(fields).encode())


def test_cached_audio_is_counted_once_and_text_is_cached_first():
    def found(cached: int) -> tuple[int, int, int]:
        of = usage(
            OPENAI, prompt_tokens=100, completion_tokens=0,
            prompt_tokens_details={"cached_tokens": cached, "audio_tokens": 40},
        )  # fmt: skip
        return of.input, of.cached_input, of.audio_input

    assert found(0) == (60, 0, 40)
    assert found(50) == (10, 50, 40)  # may all be text, so the dearer audio stands
    assert found(70) == (0, 70, 30)  # ten of them can only be audio
    assert found(100) == (0, 100, 0)


def test_audio_and_images_are_parts_of_their_direction():
    found = usage(
        OPENAI, prompt_tokens=100, completion_tokens=50,
        prompt_tokens_details={"audio_tokens": 30, "image_tokens": 20, "text_tokens": 50},
        completion_tokens_details={"audio_tokens": 35, "reasoning_tokens": 5, "text_tokens": 10},
    )  # fmt: skip

    assert found == Usage(input=50, audio_input=30, image_input=20, output=10, reasoning=5, audio_output=35)


def test_googles_stated_thinking_is_the_hidden_one_and_more_than_it_is_inside_the_completion():
    def found(reasoning: int) -> tuple[int, int]:
        of = usage(
            GOOGLE, prompt_tokens=10, completion_tokens=20, total_tokens=130,
            completion_tokens_details={"reasoning_tokens": reasoning},
        )  # fmt: skip
        return of.output, of.reasoning

    assert found(0) == (20, 100)
    assert found(100) == (20, 100)
    assert found(105) == (15, 105)


@pytest.mark.parametrize(
    "details",
    ["many", 7, [], {"cached_tokens": "6"}, {"cached_tokens": 0.5}, {"cached_tokens": True}, {"cached_tokens": [6]}],
)
@pytest.mark.parametrize("dialect", DIALECTS.values())
def test_details_that_cannot_be_read_bring_no_discount_and_lose_no_total(dialect, details):
    found = usage(dialect, prompt_tokens=10, completion_tokens=2, total_tokens=12, prompt_tokens_details=details)

    assert found == Usage(input=10, output=2)


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"3", b'"free"', b"{", b'{"prompt_tokens":"5"}', b"\xff\xfe"])
@pytest.mark.parametrize("dialect", DIALECTS.values())
def test_what_is_no_usage_object_is_none(dialect, raw):
    assert dialect.usage(raw) is None


# Whatever comes -----------------------------------------------------------------------------------------------------

PARTS = ("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens", "text_tokens")
honest = st.integers(0, 5_000)
hostile = (
    st.none() | st.integers(-(10**6), 10**6) | st.integers() | st.just(2**63) | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(["", "5", "many"])
    | st.lists(st.integers(), max_size=1)
)  # fmt: skip


def usage_objects(counts) -> st.SearchStrategy[dict]:
    details = st.dictionaries(st.sampled_from(PARTS), counts, max_size=6)
    return st.fixed_dictionaries(
        {},
        optional={
            "prompt_tokens": counts, "completion_tokens": counts, "total_tokens": counts,
            "prompt_cache_hit_tokens": counts, "prompt_cache_miss_tokens": counts,
            "prompt_tokens_details": st.none() | details, "completion_tokens_details": st.none() | details,
        },
    )  # fmt: skip


def classes(found: Usage) -> list[int]:
    return [getattr(found, name) for name in CLASSES]


@given(usage_objects(honest | hostile) | usage_objects(honest), st.sampled_from(sorted(DIALECTS)))
@example({"prompt_tokens": 10**9, "completion_tokens": 10**9, "total_tokens": 10**9 + 1}, "google")
@example({"prompt_tokens": -5, "completion_tokens": -5, "total_tokens": -10}, "openai")
@settings(max_examples=600)
def test_no_class_is_ever_negative_and_none_is_unbelievable(sent, name):
    found = DIALECTS[name].usage(json.dumps(sent).encode())

    if found is not None:
        assert min(classes(found)) >= 0
        assert found.total <= 3 * MOST_TOKENS
        assert all(isinstance(count, int) for count in classes(found))


@given(usage_objects(honest).filter(lambda sent: {"prompt_tokens", "completion_tokens"} <= sent.keys()))
@settings(max_examples=600)
def test_the_classes_add_up_to_what_the_provider_counted(sent):
    stated = sent["prompt_tokens"] + sent["completion_tokens"]
    for name, dialect in DIALECTS.items():
        found = dialect.usage(json.dumps(sent).encode())
        # Google's total has thinking that stands nowhere else; the total of the others is the sum and no more.
        hidden = max(sent.get("total_tokens", 0) - stated, 0) if name == "google" else 0

        assert found.total == stated + hidden
        assert (found.prompt, found.completion) == (sent["prompt_tokens"], sent["completion_tokens"] + hidden)


@given(usage_objects(honest).filter(lambda sent: {"prompt_tokens", "completion_tokens"} <= sent.keys()))
def test_no_class_is_larger_than_what_was_stated_for_it(sent):
    prompt, completion = (sent.get(f"{side}_tokens_details") or {} for side in ("prompt", "completion"))
    found = OPENAI.usage(json.dumps(sent).encode())

    assert found.cached_input <= prompt.get("cached_tokens", 0)
    assert found.cache_write <= prompt.get("cache_write_tokens", 0)
    assert found.audio_input <= prompt.get("audio_tokens", 0)
    assert found.image_input <= prompt.get("image_tokens", 0)
    assert found.audio_output <= completion.get("audio_tokens", 0)
    assert found.reasoning <= completion.get("reasoning_tokens", 0)
