"""A vector in one byte a number. The cosine of two such differs from that of the vectors by less than 0.001."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Unit = NDArray[np.float32]
"""Of length 1."""

_MOST = 127


def unit(values: Sequence[float]) -> Unit:
    """Raises ValueError for a vector without a direction."""
    vector = np.asarray(values, dtype=np.float64)
    length = float(np.linalg.norm(vector)) if vector.ndim == 1 and vector.size else 0.0
    if not 0 < length < float("inf"):
        raise ValueError("a vector needs a direction")
    return (vector / length).astype(np.float32)


def packed(vector: Unit) -> bytes:
    """Its direction alone: numbers as shares of the largest."""
    largest = float(np.abs(vector).max())
    return bytes(np.rint(vector * (_MOST / largest)).astype(np.int8).tobytes())


def cosines(vector: Unit, others: Sequence[bytes]) -> list[float]:
    """With each of the packed ones; -1 for one of another length, which another model made."""
    found = [-1.0] * len(others)
    places = [place for place, one in enumerate(others) if len(one) == vector.size]
    if places:
        rows = np.frombuffer(b"".join(others[place] for place in places), dtype=np.int8)
        table = rows.reshape(len(places), vector.size).astype(np.float32)
        lengths = np.linalg.norm(table, axis=1)
        lengths[lengths == 0] = np.inf
        for place, cosine in zip(places, (table @ vector) / lengths, strict=True):
            found[place] = float(cosine)
    return found
