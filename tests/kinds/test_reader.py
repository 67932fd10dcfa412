"""The posterior over kinds, its guard, and the file it comes from."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.kinds.features import HEAD_CHARS, TAIL_CHARS, read
from gateway.kinds.reader import FORMAT, Guard, KindFileError, KindReader, decode, encode
from gateway.kinds.shipped import SHIPPED
from tests.kinds.trained import SUBJECTS, file, prompts

TINY = KindReader(file())
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=400)


def test_the_kinds_are_those_of_the_file():
    assert TINY.kinds == tuple(sorted(SUBJECTS))


def test_texts_like_those_taught_are_recognised():
    read_as = [(TINY.read(text), kind) for text, kind in prompts(10, 3)]
    assert all(found.known and found.top == kind for found, kind in read_as)


@settings(deadline=None)
@given(ANY_TEXT)
def test_any_text_has_a_posterior_that_sums_to_one(text):
    found = TINY.read(text)
    assert sum(found.posterior) == pytest.approx(1)
    assert 0 <= found.typical <= 1
    assert all(0 <= head <= 1 for head in found.heads)


@settings(deadline=None)
@given(ANY_TEXT)
def test_the_same_text_is_read_the_same_each_time_and_by_each_reader(text):
    assert TINY.read(text) == TINY.read(text) == KindReader.of(encode(file())).read(text)


def test_only_the_first_3000_and_the_last_1000_characters_matter():
    head, tail = "cat dog " * (HEAD_CHARS // 8), "anchor s" * (TAIL_CHARS // 8)
    assert TINY.read(head + "oven " * 10 + tail) == TINY.read(head + "salt and pepper " * 100_000 + tail)
    assert TINY.read(head + tail) != TINY.read(head + tail[:-1] + "?")


@pytest.mark.parametrize("text", ["", " ", "\ud800", "\udfff" * 5_000, "\x00", "a" * 1_000_000, "😀" * 5_000, "é"])
def test_odd_texts_are_read_like_others(text):
    assert len(TINY.read(text).posterior) == 3


def test_a_text_of_unknown_words_gets_the_priors():
    found = TINY.read("quarterly revenue guidance disappointed investors")
    assert not found.known
    assert found.posterior == TINY.priors


def test_a_posterior_below_the_guards_gets_the_priors():
    strict = KindReader(replace(file(), guard=Guard(least_posterior=1.1, most_novel=1.0)))
    found = strict.read("anchor sail deck")
    assert (found.known, found.posterior) == (False, strict.priors)


def test_an_empty_text_is_unknown():
    assert not TINY.read("").known


def test_a_file_that_does_not_know_what_is_usual_finds_every_text_as_typical():
    reader = KindReader(replace(file(), usual=()))
    assert {reader.read(text).typical for text in ("", "anchor", "something else")} == {0.5}


def test_what_a_model_is_expected_to_score_is_weighed_by_kind():
    found = TINY.read("anchor sail deck crew port tide rope hull")
    by_kind = [found.shares[kind] * score for kind, score in {"animals": 10, "kitchens": 20, "ships": 90}.items()]
    assert found.expected([10, 20, 90]) == pytest.approx(sum(by_kind))


def test_a_head_learns_from_the_rows_that_know_and_leaves_out_the_others():
    ship, cat = TINY.read("anchor sail deck crew port tide"), TINY.read("cat dog horse elephant zoo fur")
    assert TINY.heads == ("some/model",)
    assert ship.heads[0] > 0.5 > cat.heads[0]


def test_a_file_of_another_format_says_so_and_what_to_do():
    other = msgspec.msgpack.encode({"format": FORMAT + 1, "anything": True})
    with pytest.raises(KindFileError, match=f"format {FORMAT + 1}, and format {FORMAT} is read here.*make learn"):
        KindReader.of(other)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\xc1" * 50, msgspec.msgpack.encode([1, 2])])
def test_bytes_that_are_no_file_say_so(data):
    with pytest.raises(KindFileError, match="no file of task kinds"):
        decode(data)


def test_a_file_cut_short_or_with_a_piece_missing_is_refused():
    whole = encode(file())
    with pytest.raises(KindFileError):
        decode(whole[: len(whole) // 2])
    with pytest.raises(KindFileError, match="weights"):
        decode(encode(replace(file(), weights=file().weights[:-2])))


def test_the_shipped_file_is_small_and_knows_its_origin():
    data = SHIPPED.read_bytes()
    reader = KindReader.of(data)
    assert len(data) < 1_500_000
    assert set(reader.kinds) == set(
        "code maths extraction translation summarisation knowledge reasoning writing chat".split()
    )
    assert {"origin", "trained_on", "figures", "recipe"} <= set(reader.provenance)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write a Python function that reverses a string.", "code"),
        ("Solve 3x + 7 = 22 for x.", "maths"),
        ("Translate to German: Where is the station?", "translation"),
        ("hey, how are you today?", "chat"),
        ("What is the capital of Australia?", "knowledge"),
        ("Write a short poem about the sea.", "writing"),
    ],
)
def test_the_shipped_file_knows_plain_prompts(text, kind):
    found = KindReader.of(SHIPPED.read_bytes()).read(text)
    assert (found.known, found.top) == (True, kind)


def test_features_of_one_text_are_the_same_arrays():
    first, second = read("some text"), read("some text")
    assert (first.buckets.tolist(), first.shape.tolist()) == (second.buckets.tolist(), second.shape.tolist())
