"""A configuration as it is kept beside the ledger, so that an old decision can be made again under its own.

Kept are the texts of the files, which hold no secret (keys stand in them as digests and names of variables), and how
each provider was in use. The environment is not kept: base URLs and callers have no part in a decision.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import msgspec

from gateway.core.world import World

from .load import Loaded, Texts, rebuilt
from .modes import Mode
from .source import Text

LARGEST = 64 * 1024 * 1024
"""Bytes of texts that are unpacked at most."""


class _Kept(msgspec.Struct):
    """Files by name and text, in their order."""

    books: list[tuple[str, str]]
    routes: tuple[str, str]
    reviewed: tuple[str, str] | None
    modes: dict[str, Mode]
    kinds: tuple[str, ...]


_decode = msgspec.json.Decoder(_Kept).decode


def keep(loaded: Loaded) -> bytes:
    """What `restore` makes the same decisions of."""
    texts = loaded.texts
    kept = _Kept(
        books=[_written(text) for text in texts.books],
        routes=_written(texts.routes),
        reviewed=None if texts.reviewed is None else _written(texts.reviewed),
        modes=dict(loaded.modes),
        kinds=loaded.kinds,
    )
    return zlib.compress(msgspec.json.encode(kept), 9)


def restore(content: bytes, version: str, at: datetime) -> World:
    """The world of that version, without its callers. at: when it was put in force; aware.

    Raises ValueError for what is no kept configuration, ConfigError for one that this program no longer understands.
    """
    unpacking = zlib.decompressobj()
    try:
        kept = _decode(unpacking.decompress(content, LARGEST))
    except (zlib.error, msgspec.MsgspecError) as exc:
        raise ValueError(f"the configuration {version} was kept in a form that cannot be read: {exc}") from exc
    modes: Mapping[str, Mode] = kept.modes
    texts = Texts(
        books=tuple(_text(one) for one in kept.books),
        routes=_text(kept.routes),
        reviewed=None if kept.reviewed is None else _text(kept.reviewed),
    )
    return replace(rebuilt(texts, modes, at=at, kinds=kept.kinds), version=version)


def _written(text: Text) -> tuple[str, str]:
    return text.name, text.raw.decode()  # what is not UTF-8 was refused


def _text(one: tuple[str, str]) -> Text:
    return Text(one[0], one[1].encode())
