"""A text as numbers: hashed words, word pairs and character runs, and some figures of its shape.

Pure, and bounded: only the first 3,000 and the last 1,000 characters are looked at, so a pasted book costs what a page
costs. Training and serving call the same `read`: a feature computed in two ways would be learned in one and asked in
the other. Changing anything here changes what every trained file means: raise FORMAT in reader.py with it.
"""

from __future__ import annotations

import re
from zlib import crc32

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Buckets = npt.NDArray[np.uint16]

HEAD_CHARS, TAIL_CHARS = 3_000, 1_000

WORD_BUCKETS = 1 << 14
RUN_BUCKETS = 1 << 14
BUCKETS = WORD_BUCKETS + RUN_BUCKETS
"""Words and pairs share the lower half, runs of four bytes have the upper one. A bucket's number fits 16 bits."""

SEEN_BITS = 1 << 16
"""Which words were ever seen is kept apart from the buckets, which all fill up: one bit for each hash of 16 bits."""

# A number is as good as another, and a letter in Chinese or Japanese is a word of its own. All other bytes outside of
# ASCII are letters. Signs are words too: they tell code and formulas from prose.
_WORD = re.compile(rb"[\xe3-\xe9][\x80-\xbf]{2}|[a-z_\x80-\xe2\xea-\xff]+|0+|[^\sa-z_0\x80-\xff]")
_DIGITS_ALIKE = bytes(48 if 48 <= byte <= 57 else byte for byte in range(256))

_LETTER, _UPPER, _DIGIT, _SPACE, _LINE, _BRACKET, _OPERATOR, _QUOTE, _POINT, _WIDE = range(10)
_CLASSES = 10


def _class_of(byte: int) -> int:
    char = chr(byte)
    if byte >= 128:
        return _WIDE
    for members, number in (
        ("0123456789", _DIGIT), (" \t\r", _SPACE), ("\n", _LINE), ("()[]{}<>", _BRACKET), ("+-*/=^%|&\\~", _OPERATOR),
        ("\"'`", _QUOTE), (".,;:!?", _POINT),
    ):  # fmt: skip
        if char in members:
            return number
    return _UPPER if char.isupper() else _LETTER


_CLASS = bytes(_class_of(byte) for byte in range(256))

SHAPE = (
    "length", "upper", "digits", "lines", "brackets", "operators", "quotes", "points", "wide", "fences", "questions",
    "asks", "rows",
)  # fmt: skip
"""What the shape figures are, in order. Shares are of the bytes; length and lines are logarithms."""

END_WORDS = 12

_MIX, _FIRST, _LAST = np.uint32(0x9E3779B1), np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_LOG_COUNT = (1 + np.log(np.maximum(np.arange(8 * (HEAD_CHARS + TAIL_CHARS)), 1))).astype(np.float32)


class Features:
    """What `read` found: buckets with how often (as 1 + log), shape figures, share of words for which no bit is set."""

    __slots__ = ("buckets", "shape", "weights", "words")

    def __init__(self, buckets: Buckets, weights: Floats, shape: Floats, words: Buckets) -> None:
        self.buckets = buckets
        self.weights = weights
        self.shape = shape
        self.words = words


def bounded(text: str) -> str:
    """The part of a text that is looked at."""
    if len(text) <= HEAD_CHARS + TAIL_CHARS:
        return text
    return f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"


def read(text: str) -> Features:
    """Never raises: a lone surrogate is a character like others, an empty text has no buckets."""
    text = bounded(text)
    as_written = text.encode("utf-8", "surrogatepass")
    lowered = text.lower().encode("utf-8", "surrogatepass").translate(_DIGITS_ALIKE)
    words = np.fromiter(map(crc32, _WORD.findall(lowered)), np.uint32)
    pairs = (words[:-1] * _MIX + words[1:]) * _MIX
    # What is wanted is said at the beginning or at the end; what lies between is often what it is to be done to.
    ends = np.concatenate((words[:END_WORDS] * _FIRST, words[max(END_WORDS, len(words) - END_WORDS) :] * _LAST))
    # Every four bytes in a row as one number, without copying: each begins one byte after the one before.
    runs = np.ndarray((max(len(lowered) - 3, 0),), "<u4", lowered, 0, (1,)) * _MIX
    found = np.concatenate((
        (words & (WORD_BUCKETS - 1)).astype(np.uint16),
        (pairs >> 18).astype(np.uint16),
        (ends >> 18).astype(np.uint16),
        (runs >> 18).astype(np.uint16) | np.uint16(WORD_BUCKETS),
    ))  # fmt: skip
    found.sort(kind="stable")  # of 16-bit numbers that is a radix sort
    buckets, counts = _counted(found)
    return Features(buckets, _LOG_COUNT.take(counts), _shape(text, as_written), (words >> 16).astype(np.uint16))


def _counted(ordered: Buckets) -> tuple[Buckets, npt.NDArray[np.intp]]:
    """The distinct ones and how often each is there."""
    edges = np.ones(len(ordered) + 1, bool)
    np.not_equal(ordered[1:], ordered[:-1], out=edges[1:-1])
    at = np.flatnonzero(edges)
    return ordered.take(at[:-1]), at[1:] - at[:-1]


def _shape(text: str, as_written: bytes) -> Floats:
    counts = np.bincount(np.frombuffer(as_written.translate(_CLASS), np.uint8), minlength=_CLASSES).tolist()
    size = len(as_written) or 1
    lines = counts[_LINE] + 1
    return np.array((
        np.log1p(size), counts[_UPPER] / size, counts[_DIGIT] / size, np.log(lines), counts[_BRACKET] / size,
        counts[_OPERATOR] / size, counts[_QUOTE] / size, counts[_POINT] / size, counts[_WIDE] / size,
        min(text.count("```"), 2), min(text.count("?"), 3), text.rstrip()[-1:] in ("?", "？"), size / lines / 80,
    ), np.float32)  # fmt: skip
