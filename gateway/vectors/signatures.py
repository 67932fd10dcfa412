"""Sign random projections: on which side of each of 256 planes a vector lies.

Two vectors at the angle a lie on different sides of a share a/pi of all planes (Charikar 2002). So the number of bits
in which two signatures differ tells, within a few bits, how close the vectors are, and 32 bytes stand for some
thousands. The planes are drawn from a secret: without it a signature says nothing of the text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .small import Unit

BITS = 256
BYTES = BITS // 8
_SIGMAS = 4.0
_MOST_SIZES = 8
"""Sizes of vectors whose planes are remembered: as many as there are embedding models in use."""


class Signer:
    """secret: what the planes are drawn from."""

    def __init__(self, secret: bytes) -> None:
        self._seed = int.from_bytes(secret, "big")
        self._planes: dict[int, NDArray[np.float32]] = {}

    def sign(self, vector: Unit) -> bytes:
        """BYTES of it."""
        planes = self._planes.get(vector.size)
        if planes is None:
            if len(self._planes) >= _MOST_SIZES:
                self._planes.clear()
            dice = np.random.default_rng([self._seed, vector.size])
            planes = self._planes[vector.size] = dice.standard_normal((BITS, vector.size), dtype=np.float32)
        return np.packbits(planes @ vector > 0).tobytes()


def most_apart(cosine: float) -> int:
    """In how many bits two vectors of at least this cosine differ at most, but for one pair in 30,000."""
    share = math.acos(max(min(cosine, 1.0), -1.0)) / math.pi
    return math.ceil(BITS * share + _SIGMAS * math.sqrt(BITS * share * (1 - share)))


def nearest(signature: bytes, others: Iterable[bytes], *, most_bits: int, most: int) -> list[int]:
    """The places of those that differ in at most so many bits, the closest first."""
    own = int.from_bytes(signature, "big")
    apart = [(own ^ int.from_bytes(other, "big")).bit_count() for other in others]
    close = sorted((bits, place) for place, bits in enumerate(apart) if bits <= most_bits)
    return [place for _, place in close[:most]]
