"""One configuration file while it is checked: its values, their places, and the mistakes found so far."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .mistakes import Mistake
from .yaml_places import Document, Path, Place, read_yaml


class Text(NamedTuple):
    """A file as it was read. `name` is what messages call it."""

    name: str
    raw: bytes


class Source:
    """A file that was read. `name` is what messages call it, `raw` are its bytes.

    `data` is what of it could be understood: recover.py takes wrong values out and gives misspelt keys their name.
    Paths are those of `data`; where they stood in the file is kept here.
    """

    def __init__(self, name: str, raw: bytes) -> None:
        self.name = name
        self.raw = raw
        document, self.mistakes = read_yaml(name, raw)
        self.readable = document is not None
        self._document = document or Document()
        # Any: values as YAML gives them, of every type.
        self.data: Any = copy.deepcopy(self._document.data)
        self._broken: set[Path] = set()
        self._left: dict[Path, list[int]] = {}
        self._renamed: dict[Path, str] = {}

    def place(self, path: Path, *, key: bool = False) -> Place:
        """Where the value of a path (or its key) stands; the nearest enclosing one when it is absent."""
        path = self._written(path)
        at = (self._document.keys if key else self._document.values).get(path)
        while at is None and path:
            path = path[:-1]
            at = self._document.keys.get(path) or self._document.values.get(path)
        return at or Place(1, 1)

    def mistake(self, path: Path, message: str, *, key: bool = False) -> Mistake:
        place = self.place(path, key=key)
        return Mistake(self.name, place.line, place.column, message)

    def wrong(self, path: Path, message: str, *, key: bool = False) -> None:
        """Note a mistake, unless something in that place is already known to be wrong and this only follows from it."""
        if not self.broken(path):
            self.mistakes.append(self.mistake(path, message, key=key))

    def broken(self, path: Path) -> bool:
        """Something at this path, or inside it, was wrong and has been taken out."""
        written = self._written(path)
        return any(broken[: len(written)] == written for broken in self._broken)

    def names(self, section: str) -> tuple[str, ...]:
        """The keys of a top-level section as they are written, also those whose value is wrong."""
        data = self._document.data
        entries = data.get(section) if isinstance(data, dict) else None
        return tuple(entries) if isinstance(entries, dict) else ()

    def value(self, path: Path) -> Any:
        """The value at a path of `data`. Raises KeyError when there is none."""
        found = self.data
        for part in path:
            if isinstance(found, str):  # which would give its letters by their number
                raise KeyError(path)
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                raise KeyError(path) from None
        return found

    def mark(self, path: Path) -> None:
        """What follows from this mistake is no mistake of its own."""
        self._broken.add(self._written(path))

    def take_out(self, paths: Sequence[Path]) -> None:
        """Remove values from `data`; the last entries of a list first, so that the others keep their index."""
        for path in sorted(set(paths), reverse=True):
            try:
                parent = self.value(path[:-1])
                self.value(path)
            except KeyError:
                continue
            if isinstance(parent, list):
                written = self._written(path[:-1])
                self._left.setdefault(written, list(range(len(parent)))).pop(int(path[-1]))
            del parent[path[-1]]

    def rename(self, path: Path, name: str) -> None:
        """Give a misspelt key the name that was meant; its place stays where it was written."""
        parent = self.value(path[:-1])
        self._renamed[(*self._written(path[:-1]), name)] = str(path[-1])
        parent[name] = parent.pop(path[-1])

    def _written(self, path: Path) -> Path:
        """A path of `data` as it stands in the file."""
        written: Path = ()
        for part in path:
            if isinstance(part, int):
                left = self._left.get(written)
                # Past the end: a path that names no entry, such as that of one just taken out.
                part = left[part] if left is not None and part < len(left) else part
            else:
                part = self._renamed.get((*written, part), part)
            written = (*written, part)
        return written


@dataclass(frozen=True, slots=True)
class Spot:
    """A path of a file, to say something about it: about its value, or (`key`) about the key itself."""

    source: Source
    path: Path = ()
    on_key: bool = False

    def at(self, *parts: str | int) -> Spot:
        return Spot(self.source, (*self.path, *parts))

    @property
    def key(self) -> Spot:
        return Spot(self.source, self.path, on_key=True)

    @property
    def broken(self) -> bool:
        return self.source.broken(self.path)

    def holds_list(self, name: str) -> bool:
        """Whether a list was written under this name, where one word alone may stand too."""
        try:
            return isinstance(self.source.value((*self.path, name)), list)
        except KeyError:
            return False

    @property
    def place(self) -> Place:
        return self.source.place(self.path, key=self.on_key)

    def wrong(self, message: str) -> None:
        """Note a mistake here, as `Source.wrong` does."""
        self.source.wrong(self.path, message, key=self.on_key)

    def mistake(self, message: str) -> Mistake:
        """The same as a value, for warnings."""
        return self.source.mistake(self.path, message, key=self.on_key)
