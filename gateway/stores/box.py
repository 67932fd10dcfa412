"""What lies in the response cache is made small and sealed: zstd, then AES-256-GCM.

A sealed value is one byte (how it was packed), four that name its key, a nonce of twelve, and the ciphertext. The place
where it is kept is sealed with it, so that a value moved to another place does not open. The first key seals and all
open, which is how a key is changed without losing what is kept.

No key, no place and no content is ever logged.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

LARGEST_BYTES = 65 * 2**20
"""Of what is sealed, before it is packed: nothing larger is made of a value that opens, whatever it says."""

PLAIN, ZSTD = b"\x01", b"\x02"

_LEVEL = 3
_WORTH_PACKING = 200
"""Bytes; below it zstd saves nothing."""

_ID, _NONCE = 4, 12
HEAD = 1 + _ID + _NONCE
"""Bytes before the ciphertext. They tell any two sealed values apart: the nonce is drawn anew for each."""

_TAG = 16


class Unreadable(Exception):
    """Sealed with a key that is not known, for another place, damaged, too short or too large."""


def box_key(text: bytes) -> bytes:
    """The key that an operator's text stands for: HKDF-SHA-256, 32 bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"gateway response cache, sealing, v1").derive(text)


class Box:
    """Of one thread: what compresses and decompresses is used again and again."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        """keys: as `box_key` makes them, the one that seals first. Raises ValueError when there is none."""
        if not keys:
            raise ValueError("a box needs a key")
        self._openers: dict[bytes, AESGCM] = {}
        for key in keys:
            self._openers.setdefault(hashlib.sha256(key).digest()[:_ID], AESGCM(key))
        self._id, self._sealer = next(iter(self._openers.items()))
        self._packer = zstandard.ZstdCompressor(level=_LEVEL)
        self._unpacker = zstandard.ZstdDecompressor()

    def seal(self, content: bytes, place: bytes) -> bytes:
        """Raises ValueError when the content is larger than LARGEST_BYTES."""
        if len(content) > LARGEST_BYTES:
            raise ValueError("too large to be sealed")
        how = PLAIN
        if len(content) >= _WORTH_PACKING:
            how, content = ZSTD, self._packer.compress(content)
        nonce = os.urandom(_NONCE)
        return b"".join((how, self._id, nonce, self._sealer.encrypt(nonce, content, how + place)))

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """Raises Unreadable."""
        how = sealed[:1]
        opener = self._openers.get(sealed[1 : 1 + _ID])
        if opener is None or len(sealed) < HEAD + _TAG:
            raise Unreadable
        try:
            content = opener.decrypt(sealed[1 + _ID : HEAD], sealed[HEAD:], how + place)
        except InvalidTag:
            raise Unreadable from None
        return content if how == PLAIN else self._unpacked(content)

    def _unpacked(self, packed: bytes) -> bytes:
        try:
            if not 0 <= zstandard.frame_content_size(packed) <= LARGEST_BYTES:
                raise Unreadable  # said before anything is made of it
            return self._unpacker.decompress(packed)
        except zstandard.ZstdError:
            raise Unreadable from None
