"""YAML -> plain values, with the line and column of every key and value.

Built from the parser's events with a stack of our own: composing nodes recurses in C, and a file of 100,000 open
brackets would end the process there. Scalars follow YAML 1.2, not 1.1: `NO` is Norway and not false, `09:30` is text.
A number with a point becomes a Decimal from its own digits, so that no price is ever a float; a date becomes a date,
a timestamp a datetime (UTC for `Z`; naive when it names no zone, for the caller to refuse).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeAlias

import yaml

from .mistakes import Mistake

Path: TypeAlias = tuple[str | int, ...]

_MAX_DEPTH = 64
_MAX_VALUES = 200_000
"""Aliases of aliases grow without end; no honest file comes near this."""

# The C parser is ten times as fast; PyYAML is built without it on some systems. Any: the two share no type.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Place(NamedTuple):
    """Counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Document:
    """A file's values. `values` and `keys` hold, by path, where a value and where its key begins."""

    data: object = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Place] = field(default_factory=dict)


def read_yaml(name: str, raw: bytes) -> tuple[Document | None, list[Mistake]]:
    """The document, or None when it is not YAML; and what is wrong with it as YAML (duplicate keys, foreign tags)."""
    mistakes: list[Mistake] = []

    def wrong(place: Place, message: str) -> None:
        mistakes.append(Mistake(name, place.line, place.column, message))

    try:
        root = _Tree(wrong).build(yaml.parse(_text(raw), Loader=_Loader))
        document = Document()
        document.data = _Placer(document).place(root, ())
    except _Unreadable as exc:
        wrong(exc.place, str(exc))
        return None, mistakes
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        place = Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)
        wrong(place, "not YAML: " + ", ".join(part for part in (exc.context, exc.problem) if part))
        return None, mistakes
    except yaml.reader.ReaderError as exc:
        wrong(_place_of_byte(raw, exc.position), f"not YAML: {exc.reason}")
        return None, mistakes
    return document, mistakes


class _Unreadable(Exception):
    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.place = place


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _Unreadable(_place_of_byte(raw, exc.start), "not UTF-8 text") from exc


def _place_of_byte(raw: bytes, at: int) -> Place:
    before = raw[:at]
    return Place(before.count(b"\n") + 1, at - before.rfind(b"\n"))


@dataclass(slots=True, eq=False)
class _Node:
    """A value without its path, since aliases share it. One of: entries (a mapping), items (a list), a scalar."""

    place: Place
    scalar: object = None
    text: str | None = None
    entries: dict[str, tuple[Place, _Node]] | None = None
    items: list[_Node] | None = None
    waiting: tuple[str, Place] | None = None
    """In a mapping that is being read: the key whose value comes next."""


class _Tree:
    """Events -> nodes, with a stack of the open ones."""

    def __init__(self, wrong: Callable[[Place, str], None]) -> None:
        self._wrong = wrong
        self._open: list[_Node] = []
        self._anchors: dict[str, _Node] = {}
        self._root: _Node | None = None

    def build(self, events: Iterable[Any]) -> _Node:
        # Any: the stubs leave out most of what events have.
        for event in events:
            place = Place(event.start_mark.line + 1, event.start_mark.column + 1)
            if isinstance(event, yaml.DocumentStartEvent) and self._root is not None:
                raise _Unreadable(place, "a second document begins here; a file holds one")
            if isinstance(event, yaml.CollectionEndEvent):
                self._open.pop()
            elif isinstance(event, yaml.AliasEvent):
                self._attach(self._aliased(str(event.anchor), place), place)
            elif isinstance(event, yaml.NodeEvent):
                self._begin(event, place)
        return self._root or _Node(Place(1, 1))

    def _begin(self, event: Any, place: Place) -> None:
        node = self._node(event, place)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        self._attach(node, place)
        if node.text is None:
            if len(self._open) == _MAX_DEPTH:
                raise _Unreadable(place, f"nested more than {_MAX_DEPTH} levels deep")
            self._open.append(node)

    def _node(self, event: Any, place: Place) -> _Node:
        tag = event.tag
        if tag not in _PLAIN_TAGS:
            self._wrong(place, f"the tag {tag.replace('tag:yaml.org,2002:', '!!')!r} means nothing here; delete it")
        if isinstance(event, yaml.MappingStartEvent):
            return _Node(place, entries={})
        if isinstance(event, yaml.SequenceStartEvent):
            return _Node(place, items=[])
        plain = event.implicit[0] and tag is None
        return _Node(place, scalar=_resolve(event.value) if plain else event.value, text=event.value)

    def _attach(self, node: _Node, place: Place) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if parent.items is not None:
            parent.items.append(node)
        elif parent.waiting is None:
            if node.text is None:
                raise _Unreadable(place, "a key must be a single word or text")
            parent.waiting = (node.text, place)
        else:
            key, at = parent.waiting
            parent.waiting = None
            self._enter(parent, key, at, node)

    def _enter(self, parent: _Node, key: str, place: Place, node: _Node) -> None:
        assert parent.entries is not None
        if key in parent.entries:
            first = parent.entries[key][0]
            self._wrong(place, f"the key {key!r} stands twice; the first is on line {first.line}")
        else:
            parent.entries[key] = (place, node)

    def _aliased(self, anchor: str, place: Place) -> _Node:
        node = self._anchors.get(anchor)
        if node is None:
            raise _Unreadable(place, f"no anchor &{anchor} stands before this *{anchor}")
        if node in self._open:
            raise _Unreadable(place, f"*{anchor} stands inside &{anchor}, so it would contain itself")
        return node


class _Placer:
    """Nodes -> plain values, noting the place of every path on the way."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def place(self, node: _Node, path: Path) -> object:
        values = self._document.values
        if len(values) == _MAX_VALUES or len(path) > _MAX_DEPTH:
            raise _Unreadable(node.place, f"more than {_MAX_VALUES} values, or too deep, once aliases are filled in")
        values[path] = node.place
        if node.items is not None:
            return [self.place(item, (*path, index)) for index, item in enumerate(node.items)]
        if node.entries is None:
            return node.scalar
        found: dict[str, object] = {}
        for key, (at, value) in node.entries.items():
            self._document.keys[(*path, key)] = at
            found[key] = self.place(value, (*path, key))
        return found


_PLAIN_TAGS = (None, "!", *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "map", "seq")))
_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIMESTAMP = re.compile(_DATE.pattern + r"[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?([Zz]|[-+][0-9:]{2,5})?")


def _resolve(text: str) -> object:
    """What an unquoted scalar stands for. What no rule reads (also 2026-02-30) stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if not text[0].isdigit() and text[0] not in "+-.":
        return text
    if len(text) > 40:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return Decimal(text)
    return as_moment(text) or text


def as_moment(text: str) -> date | datetime | None:
    """A date, or a timestamp in any form of ISO 8601 that names minutes; None for anything else."""
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
        if _TIMESTAMP.fullmatch(text):
            return datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    return None
