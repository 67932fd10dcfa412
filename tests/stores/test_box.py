"""What is sealed: it opens with its keys and in its place only."""

import hashlib
import os

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.stores import box as boxes
from gateway.stores.box import HEAD, ZSTD, Box, Unreadable, box_key

OLD, NEW = box_key(b"the old text"), box_key(b"the new text")
PLACE = b"gw:c3:somewhere"
CONTENTS = [b"", b"short", b"to be made small " * 1_000, os.urandom(5_000)]


@pytest.mark.parametrize("content", CONTENTS, ids=["empty", "short", "long", "noise"])
def test_what_was_sealed_opens_as_it_was(content: bytes):
    sealed = Box([OLD]).seal(content, PLACE)

    assert Box([OLD]).open(sealed, PLACE) == content
    assert len(content) < 100 or content[:50] not in sealed


def test_what_repeats_itself_is_made_small_and_noise_does_not_grow_much():
    box = Box([OLD])
    assert len(box.seal(CONTENTS[2], PLACE)) < len(CONTENTS[2]) / 50
    assert len(box.seal(CONTENTS[3], PLACE)) < len(CONTENTS[3]) + 60


def test_the_same_content_is_sealed_differently_each_time():
    box = Box([OLD])
    assert len({box.seal(b"the same", PLACE)[:HEAD] for _ in range(1_000)}) == 1_000


def test_every_changed_byte_and_every_cut_is_unreadable():
    box = Box([OLD])
    for content in (b"short", b"long enough to be made small" * 20):
        sealed = box.seal(content, PLACE)
        for at in range(len(sealed)):
            with pytest.raises(Unreadable):
                box.open(sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :], PLACE)
            with pytest.raises(Unreadable):
                box.open(sealed[:at], PLACE)
        with pytest.raises(Unreadable):
            box.open(sealed + b"x", PLACE)


def test_a_value_that_was_moved_to_another_place_is_unreadable():
    box = Box([OLD])
    with pytest.raises(Unreadable):
        box.open(box.seal(b"mine", PLACE), PLACE + b"2")


def test_a_foreign_key_is_unreadable_also_under_the_same_name():
    sealed = Box([OLD]).seal(b"mine", PLACE)
    with pytest.raises(Unreadable):
        Box([NEW]).open(sealed, PLACE)
    own_name = sealed[:1] + Box([NEW]).seal(b"", PLACE)[1:5] + sealed[5:]
    with pytest.raises(Unreadable):
        Box([NEW]).open(own_name, PLACE)


def test_keys_are_changed_without_losing_what_is_kept():
    before = Box([OLD]).seal(b"from before", PLACE)
    added, moved, dropped = Box([OLD, NEW]), Box([NEW, OLD]), Box([NEW])

    assert added.open(before, PLACE) == moved.open(before, PLACE) == b"from before"
    after = moved.seal(b"from after", PLACE)
    assert added.open(after, PLACE) == dropped.open(after, PLACE) == b"from after"
    with pytest.raises(Unreadable):
        dropped.open(before, PLACE)


def _sealed_as_packed(packed: bytes) -> bytes:
    nonce = os.urandom(12)
    head = ZSTD + hashlib.sha256(OLD).digest()[:4] + nonce
    return head + AESGCM(OLD).encrypt(nonce, packed, ZSTD + PLACE)


@pytest.mark.parametrize(
    "packed",
    [
        zstandard.ZstdCompressor().compress(bytes(boxes.LARGEST_BYTES + 1)),
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(boxes.LARGEST_BYTES + 1)),
        zstandard.ZstdCompressor().compress(b"cut" * 100)[:-3],
        b"no zstd at all",
        b"",
    ],
    ids=["too large", "of unknown size", "cut", "something else", "empty"],
)
def test_what_would_not_unpack_within_bounds_is_unreadable(packed: bytes):
    with pytest.raises(Unreadable):
        Box([OLD]).open(_sealed_as_packed(packed), PLACE)


def test_what_is_too_large_is_not_sealed():
    with pytest.raises(ValueError, match="too large"):
        Box([OLD]).seal(bytes(boxes.LARGEST_BYTES + 1), PLACE)


def test_a_key_is_made_of_any_text_and_tells_nothing_of_it():
    assert len(OLD) == 32
    assert OLD != NEW
    assert b"the old text" not in OLD
    with pytest.raises(ValueError, match="needs a key"):
        Box([])
