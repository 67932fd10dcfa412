"""What a wrong value is called in a message: pydantic's finding in a platform engineer's words."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic_core import ErrorDetails

from .leaves import OWN, shown
from .shape_book import Keys
from .yaml_places import Path

_THINGS = {
    "routes": "route",
    "teams": "team",
    "providers": "provider",
    "models": "model",
    "holidays": "holiday list",
    "prices": "price row",
    "budgets": "budget",
    "limits": "limit",
}


def where(path: Path) -> str:
    """The thing a path lies in: ('routes', 'auto') -> "route 'auto'"."""
    if not path:
        return "the file"
    if path[:2] == ("prices", "rows") and len(path) > 2:
        path = ("prices", *path[2:])
    elif path[0] == "prices" and len(path) > 1 and isinstance(path[1], str):
        return f"'{path[-1]}' of 'prices'"
    thing = _THINGS.get(str(path[0]))
    if thing is None or len(path) == 1:
        return f"'{path[0]}'"
    whose = f"{thing} {path[1] + 1}" if isinstance(path[1], int) else f"{thing} {path[1]!r}"
    inner = [part for part in path[2:] if isinstance(part, str)]
    return f"'{inner[-1]}' of {whose}" if inner else whose


def named(path: Path) -> str:
    """A value as the subject of a sentence: "'max_attempts' in route 'auto'"."""
    if path[:2] == ("prices", "rows") and len(path) > 2:
        path = ("prices", *path[2:])
    last = path[-1] if path else None
    if isinstance(last, int):
        return f"entry {last + 1} of {named(path[:-1])}" if len(path) > 2 else where(path)
    if len(path) == 2 and path[0] in _THINGS:
        return where(path)
    return f"'{last}' in {where(path[:-1])}" if len(path) > 1 else where(path)


# Any: pydantic's own contexts are open dictionaries.
_FINDINGS: Mapping[str, Callable[[str, dict[str, Any]], str]] = {
    OWN: lambda value, ctx: str(ctx["why"]),
    "int_type": lambda value, ctx: f"is {value}, not a whole number",
    "bool_type": lambda value, ctx: f"is {value}, not true or false",
    "float_type": lambda value, ctx: f"is {value}, not a number",
    "string_type": lambda value, ctx: f"is {value}, not text; write it in quotes",
    "greater_than": lambda value, ctx: f"is {value}; it must be more than {ctx['gt']:g}",
    "greater_than_equal": lambda value, ctx: f"is {value}; it must be {ctx['ge']:g} or more",
    "less_than_equal": lambda value, ctx: f"is {value}; it must be {ctx['le']:g} or less",
    "too_short": lambda value, ctx: "is empty; write at least one entry",
    "string_too_short": lambda value, ctx: "is empty",
    "string_too_long": lambda value, ctx: f"is longer than {ctx['max_length']} characters",
}


# Where a mapping or a list belongs, somebody may have put an API key: the message does not repeat the value.
_STRUCTURES = {
    "list_type": "not a list",
    "dict_type": "not a mapping of keys to values",
    "model_type": "not a mapping of keys to values",
}


def finding(error: ErrorDetails) -> str:
    """What is wrong with a value, as a predicate."""
    if error["type"] in _STRUCTURES:
        return f"is {_kind(error['input'])}, {_STRUCTURES[error['type']]}"
    say = _FINDINGS.get(error["type"])
    if say is None:
        return f"is {shown(error['input'])}: {error['msg']}"
    return say(shown(error["input"]), error.get("ctx", {}))


def _kind(value: object) -> str:
    return "text" if isinstance(value, str) else shown(value)


def keys_at(shape: type[Keys], path: Path) -> type[Keys] | None:
    """The mapping that stands at a path of a file of this shape, if it is one with known keys."""
    current: Any = shape
    for part, inner in zip_longest(path, path[1:]):
        if isinstance(current, type) and issubclass(current, Keys):
            current = next((field.annotation for name, field in _fields(current) if name == part), None)
        elif get_origin(current) in (dict, list):
            current = get_args(current)[-1]
        else:
            return None
        current = _bare(current, inner)
    return current if isinstance(current, type) and issubclass(current, Keys) else None


def known_keys(shape: type[Keys]) -> list[str]:
    return [name for name, _ in _fields(shape)]


def _fields(shape: type[Keys]) -> list[tuple[str, Any]]:
    return [(field.alias or name, field) for name, field in shape.model_fields.items()]


def _bare(annotation: Any, inner: str | int | None) -> Any:
    """Without Annotated and without "or None"; of a list or a mapping, the one that has such a part inside."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            forms = [_bare(one, inner) for one in get_args(annotation) if one is not type(None)]
            lists = [one for one in forms if get_origin(one) is list]
            others = [one for one in forms if get_origin(one) is not list]
            annotation = next(iter(lists + others if isinstance(inner, int) else others + lists))
        else:
            return annotation
