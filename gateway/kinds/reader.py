"""From text to a posterior over task kinds, by linear heads that come with a trained file.

Pure: the file's bytes come in. Which kinds there are is said by the file and by nothing else, so that a file trained
on other kinds needs no other code. A text that is unlike what the heads were taught says so (`known` is false), and
then the posterior is the file's priors: outside of its domain a classifier is confident and wrong.
"""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from .features import BUCKETS, SEEN_BITS, SHAPE, Features, Floats, read

FORMAT = 1


class KindFileError(ValueError):
    """The bytes are no file of kinds, or one of another version; the message says what to do."""


class Guard(msgspec.Struct, frozen=True):
    """What a text must keep to be known: the posterior of its kind at least, the share of never seen words at most."""

    least_posterior: float
    most_novel: float


class KindFile(msgspec.Struct, frozen=True):
    """A trained file. Arrays are little-endian float16, row by row: one row for each bucket or shape figure, one
    column for each kind, then one for each head. bias is per column, priors per kind.

    usual: quantiles, from lowest to highest, of the likeliest kind's posterior on usual texts; none when nobody knows
    what will be usual, and then every text is as typical as another.
    heads: names of further figures between 0 and 1, such as the chance that a model's answer is right.
    provenance: how the file was made, from what, when, and what it reached.
    """

    format: int
    kinds: tuple[str, ...]
    heads: tuple[str, ...]
    idf: bytes
    weights: bytes
    shape_mean: tuple[float, ...]
    shape_scale: tuple[float, ...]
    shape_weights: bytes
    bias: tuple[float, ...]
    priors: tuple[float, ...]
    temperature: float
    guard: Guard
    usual: tuple[float, ...]
    seen: bytes
    provenance: Mapping[str, str]


class _Format(msgspec.Struct):
    format: int


class Kinds(msgspec.Struct, frozen=True):
    """How likely each kind is.

    typical: the share of usual texts whose kind was less certain, 0 to 1; see watch.py. heads: the file's further
    figures for this text, in its order.
    """

    names: tuple[str, ...]
    posterior: tuple[float, ...]
    known: bool
    typical: float = 0.5
    heads: tuple[float, ...] = ()

    @property
    def top(self) -> str:
        """The likeliest kind; of an unknown text the commonest."""
        return self.names[self.posterior.index(max(self.posterior))]

    @property
    def shares(self) -> dict[str, float]:
        """The posterior by name."""
        return dict(zip(self.names, self.posterior, strict=True))

    def expected(self, scores: Sequence[float]) -> float:
        """The mean of a model's score per kind (in the order of `names`), weighted by how likely each kind is."""
        return sum(share * score for share, score in zip(self.posterior, scores, strict=True))


def decode(data: bytes) -> KindFile:
    """Raises KindFileError."""
    try:
        found = msgspec.msgpack.decode(data, type=_Format).format
    except msgspec.DecodeError as exc:
        raise KindFileError(f"this is no file of task kinds ({exc}); `make learn` writes one") from exc
    if found != FORMAT:
        raise KindFileError(
            f"this file of task kinds has format {found}, and format {FORMAT} is read here; train it anew: make learn"
        )
    try:
        file = msgspec.msgpack.decode(data, type=KindFile)
    except msgspec.DecodeError as exc:
        raise KindFileError(f"this file of task kinds is damaged ({exc}); train it anew: make learn") from exc
    columns = len(file.kinds) + len(file.heads)
    sizes = {
        "idf": (len(file.idf), BUCKETS * 2),
        "weights": (len(file.weights), BUCKETS * columns * 2),
        "shape_mean": (len(file.shape_mean), len(SHAPE)),
        "shape_scale": (len(file.shape_scale), len(SHAPE)),
        "shape_weights": (len(file.shape_weights), len(SHAPE) * columns * 2),
        "bias": (len(file.bias), columns),
        "priors": (len(file.priors), len(file.kinds)),
        "seen": (len(file.seen), SEEN_BITS // 8),
    }
    for name, (has, needs) in sizes.items():
        if has != needs:
            raise KindFileError(
                f"this file of task kinds is damaged ({name} has size {has}, not {needs}); train it anew: make learn"
            )
    if not file.kinds:
        raise KindFileError("this file of task kinds is empty; train it anew: make learn")
    return file


def encode(file: KindFile) -> bytes:
    return msgspec.msgpack.encode(file)


class KindReader:
    """Reads the kind of a text. Made once, used by many; holds some 2 MB for nine kinds."""

    def __init__(self, file: KindFile) -> None:
        columns = len(file.kinds) + len(file.heads)
        self.kinds = file.kinds
        self.heads = file.heads
        self.priors = file.priors
        self.provenance = file.provenance
        self._guard = file.guard
        self._usual = file.usual
        self._cold = 1 / file.temperature
        self._idf = _floats(file.idf)
        self._weights = _floats(file.weights).reshape(BUCKETS, columns)
        self._bias = np.array(file.bias, np.float32)
        self._mean = np.array(file.shape_mean, np.float32)
        self._per_scale = 1 / np.array(file.shape_scale, np.float32)
        self._shape_weights = _floats(file.shape_weights).reshape(len(SHAPE), columns)
        self._seen = np.unpackbits(np.frombuffer(file.seen, np.uint8)).astype(bool)

    @classmethod
    def of(cls, data: bytes) -> KindReader:
        """From a file's bytes. Raises KindFileError."""
        return cls(decode(data))

    def read(self, text: str) -> Kinds:
        """Never raises, whatever the text; only its first 3,000 and last 1,000 characters matter."""
        return self.judge(read(text))

    def judge(self, found: Features) -> Kinds:
        """Of a text whose features are known already."""
        logits = self._logits(found)
        count = len(self.kinds)
        posterior = _softmax([logit * self._cold for logit in logits[:count]])
        heads = tuple(_sigmoid(logit) for logit in logits[count:])
        most = max(posterior)
        typical = bisect(self._usual, most) / len(self._usual) if self._usual else 0.5
        known = most >= self._guard.least_posterior and self.novel(found) <= self._guard.most_novel
        return Kinds(self.kinds, posterior if known else self.priors, known, typical, heads)

    def novel(self, found: Features) -> float:
        """The share of words that were never seen in training; of no words at all: all of them."""
        if not len(found.words):
            return 1.0
        return 1.0 - float(np.count_nonzero(self._seen.take(found.words))) / len(found.words)

    def _logits(self, found: Features) -> list[float]:
        values = found.weights * self._idf.take(found.buckets)
        length = math.sqrt(float(values @ values)) or 1.0
        shape = (found.shape - self._mean) * self._per_scale
        scores = values @ self._weights.take(found.buckets, 0) / length + shape @ self._shape_weights + self._bias
        as_floats: list[float] = scores.tolist()
        return as_floats


def _floats(raw: bytes) -> Floats:
    return np.frombuffer(raw, "<f2").astype(np.float32)


def _softmax(logits: Sequence[float]) -> tuple[float, ...]:
    most = max(logits)
    shares = [math.exp(logit - most) for logit in logits]
    whole = sum(shares)
    return tuple(share / whole for share in shares)


def _sigmoid(logit: float) -> float:
    # tanh does not overflow.
    return 0.5 + 0.5 * math.tanh(logit / 2)
