"""Vectors of texts: made small, told apart by short signatures, and compared. Pure; with kinds the only numpy.

    small       a vector as one byte a number, and the cosine of one with many
    signatures  256 bits of a vector, which differ the less the closer two vectors are
"""

from .signatures import Signer, most_apart, nearest
from .small import cosines, packed, unit

__all__ = ["Signer", "cosines", "most_apart", "nearest", "packed", "unit"]
