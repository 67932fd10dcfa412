"""A file whose shape is known, and the small words that several checks share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .shape_book import Keys
from .source import Source, Spot

Shape = TypeVar("Shape", bound=Keys)


@dataclass(frozen=True, slots=True)
class File(Generic[Shape]):
    """`source` takes further mistakes; `keys` is what could be understood."""

    source: Source
    keys: Shape

    @property
    def spot(self) -> Spot:
        return Spot(self.source)


def merged(known: Shape | None, given: Shape) -> Shape:
    """What is known, with every key that was given in its place."""
    if known is None:
        return given
    # Any: the fields of one model; each was checked when its file was read.
    fields: dict[str, Any] = {name: getattr(known, name) for name in known.model_fields_set}
    fields.update((name, getattr(given, name)) for name in given.model_fields_set)
    return type(given).model_construct(**fields)


def listed(words: Iterable[str]) -> str:
    """Words as a sentence has them: 'a', 'b' and 'c'."""
    quoted = [repr(str(word)) for word in words]
    return " and ".join(filter(None, (", ".join(quoted[:-1]), *quoted[-1:])))
