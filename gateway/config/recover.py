"""The shape of a whole file, checked in rounds.

What is wrong is reported and taken out (or its stand-in put in its place), then the rest is validated again, until a
value comes of it. So one misspelt key does not hide a misspelt model elsewhere, and the checks that follow (does this
model exist?) see everything that could be understood.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .leaves import MAY_BE_NULL
from .mistakes import closest, did_you_mean
from .shape_book import FORMS, Keys
from .source import Source
from .wording import finding, keys_at, known_keys, named, where
from .yaml_places import Path

Shape = TypeVar("Shape", bound=Keys)

_MAX_ROUNDS = 200


def shaped(source: Source, shape: type[Shape]) -> Shape | None:
    """The file as this shape, without what was wrong in it (noted in the source); None when nothing is left."""
    if not isinstance(source.data, dict):
        if source.readable:
            what = "is empty" if source.data is None else "is not a mapping of keys to values"
            source.wrong((), f"the file {what}")
        return None
    _take_out_nulls(source)
    for _ in range(_MAX_ROUNDS):
        try:
            return shape.model_validate(source.data)
        except ValidationError as exc:
            errors = exc.errors(include_url=False)
        for error in errors:
            error["loc"] = _without_form(error["loc"])
        if not _recover(source, shape, errors):
            return None
    return None


def _without_form(path: Path) -> Path:
    """Without what pydantic put there to say which form of `prices` it took; a key may be called the same elsewhere."""
    return (path[0], *path[2:]) if path[:1] == ("prices",) and path[1:2] and path[1] in FORMS else path


def _take_out_nulls(source: Source) -> None:
    empty = [path for path in _nulls(source.data, ()) if path[-1] not in MAY_BE_NULL]
    for path in empty:
        source.wrong(path, f"{named(path)} is empty; write a value, or delete it", key=isinstance(path[-1], str))
    for path in empty:
        source.mark(path)
    source.take_out(empty)


# Any: values as YAML gives them, of every type.
def _nulls(value: Any, path: Path) -> Iterator[Path]:
    if value is None:
        yield path
    elif isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _nulls(inner, (*path, key))


def _recover(source: Source, shape: type[Keys], errors: list[ErrorDetails]) -> bool:
    """Report one round's errors and mend the data. False when the file as a whole has to be given up."""
    missing = {error["loc"] for error in errors if error["type"] == "missing"}
    wrong: list[Path] = []
    for error in errors:
        path = error["loc"]
        if error["type"] == "extra_forbidden":
            meant = _report_unknown(source, shape, path)
            if meant is not None and (*path[:-1], meant) in missing:
                missing.discard((*path[:-1], meant))
                source.rename(path, meant)
            else:
                wrong.append(path)
        elif error["type"] != "missing":
            path = _existing(source, path)
            on_key = len(path) < len(error["loc"]) and error["loc"][-1] == "[key]"
            subject = f"a key of {where(path[:-1])}" if on_key else named(path)
            source.wrong(path, f"{subject} {finding(error)}", key=on_key)
            wrong.append(path)
    for path in missing:
        keys = keys_at(shape, path[:-1]) or Keys
        _report_missing(source, path, keys)
        stand_ins = keys.stand_ins
        if path[-1] in stand_ins:
            source.value(path[:-1])[path[-1]] = copy.copy(stand_ins[path[-1]])
        else:
            wrong.append(path[:-1])
    for path in (*wrong, *missing):
        source.mark(path)
    source.take_out([path for path in wrong if path])
    return () not in wrong


def _existing(source: Source, path: Path) -> Path:
    """The path, cut where the file stops: a floor may be written as one number and is checked as a mapping.

    So is what pydantic appends to a path to say that the key itself is wrong: "[key]".
    """
    while path:
        try:
            source.value(path)
        except KeyError:
            path = path[:-1]
        else:
            break
    return path


def _report_unknown(source: Source, shape: type[Keys], path: Path) -> str | None:
    """What the key was meant to be, if that can be guessed."""
    key = str(path[-1])
    keys = keys_at(shape, path[:-1])
    present = source.value(path[:-1])
    known = [] if keys is None else [name for name in known_keys(keys) if name not in present]
    source.wrong(path, f"unknown key {key!r} in {where(path[:-1])}{did_you_mean(key, known)}", key=True)
    return closest(key, known)


def _report_missing(source: Source, path: Path, keys: type[Keys]) -> None:
    name = str(path[-1])
    why = f"; {keys.why[name]}" if name in keys.why else ""
    source.wrong(path, f"{where(path[:-1])} has no {name!r}{why}", key=True)
