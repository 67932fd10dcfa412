"""The Lua scripts of the stores, by name, and how one is called."""

from __future__ import annotations

import hashlib
from importlib.resources import files

from .redis_link import Word, packed


class Script:
    """lua/<name>.lua, run by its SHA-1; a server that does not know it must be told its text (`load`)."""

    def __init__(self, name: str) -> None:
        text = (files("gateway.stores") / "lua" / f"{name}.lua").read_text()
        self._sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest().encode()
        self.load = packed("SCRIPT", "LOAD", text)

    def call(self, keys: tuple[Word, ...], *words: Word) -> bytes:
        return packed(b"EVALSHA", self._sha, b"%d" % len(keys), *keys, *words)
