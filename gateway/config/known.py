"""Notes on disagreements with public catalogues: a reviewed file -> values, or every mistake at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import Field

from gateway.core.pricing import CLASSES
from gateway.pricebook.catalogue import CATALOGUES, STANDARD
from gateway.pricebook.drift import Known

from .leaves import Count, Day, Name, Rate, word
from .load import read
from .mistakes import ConfigError
from .recover import shaped
from .shape_book import Keys, SourceText
from .source import Source

KNOWN_DRIFT = Path(__file__).parent.parent / "pricebook" / "notes" / "known-drift.yaml"

ClassWord: TypeAlias = Annotated[str, *word(CLASSES)]
CatalogueWord: TypeAlias = Annotated[str, *word(CATALOGUES)]
Pattern: TypeAlias = Annotated[str, Field(min_length=1)]


class PairKeys(Keys):
    """Dollars per million tokens."""

    book: Rate
    theirs: Rate


class KnownKeys(Keys):
    """One note."""

    models: list[Pattern] = Field(min_length=1)
    source: CatalogueWord
    tier: Name = STANDARD
    above_input_tokens: Count | None = None
    differs: dict[ClassWord, PairKeys] = Field(min_length=1)
    reason: SourceText
    decided: Day


class KnownFile(Keys):
    """A file of notes."""

    known: list[KnownKeys]


def load_known(path: Path) -> tuple[Known, ...]:
    """Raises ConfigError with every mistake found."""
    source = Source(*read(path, str(path)))
    keys = shaped(source, KnownFile)
    if keys is None or source.mistakes:
        raise ConfigError(source.mistakes)
    return tuple(
        Known(
            models=tuple(note.models),
            source=note.source,
            tier=note.tier,
            above=note.above_input_tokens or 0,
            differs={name: (pair.book, pair.theirs) for name, pair in note.differs.items()},
            reason=note.reason,
            decided=note.decided,
        )
        for note in keys.known
    )
