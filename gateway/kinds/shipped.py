"""The trained file that ships, and the names of the kinds in a file: all that a configuration needs of it.

Without numpy, which only `reader` takes: a route may name kinds without any prompt being read.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

SHIPPED = Path(__file__).with_name("kinds.v1.bin")


class _Names(msgspec.Struct):
    kinds: tuple[str, ...]


_decode = msgspec.msgpack.Decoder(_Names).decode


def kind_names(data: bytes) -> tuple[str, ...]:
    """The kinds that a trained file tells apart. Raises ValueError for what is no such file."""
    try:
        return _decode(data).kinds
    except msgspec.DecodeError as exc:
        raise ValueError(f"this is no file of task kinds ({exc}); `make learn` writes one") from exc
