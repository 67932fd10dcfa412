"""What is wrong in a configuration file, where, and what was probably meant.

Mistakes are collected, never raised one by one: whoever edits a file wants to see all of them at once.
A message may name keys, models and variables; it never holds the value of an environment variable.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake or warning. Lines and columns count from 1; line 0 means the file as a whole."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self._place()}: {self.message}"

    def as_warning(self) -> str:
        return f"{self._place()}: warning: {self.message}"

    def _place(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


class ConfigError(Exception):
    """The configuration cannot be used. `mistakes` holds every one that was found, in the order of the files."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes: tuple[Mistake, ...] = tuple(sorted(set(mistakes)))
        super().__init__(render_mistakes(self.mistakes))


def render_mistakes(mistakes: Sequence[Mistake]) -> str:
    """One line each, in the form that editors and compilers share: `routes.yaml:12:5: message`."""
    return "\n".join(map(str, mistakes))


def render_warnings(warnings: Sequence[Mistake]) -> str:
    """As `render_mistakes`, with the word "warning" in each line."""
    return "\n".join(warning.as_warning() for warning in warnings)


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A clause to append to a message: "; did you mean 'policy'?", or nothing when no choice is close."""
    close = closest(word, choices)
    return "" if close is None else f"; did you mean {close!r}?"


def closest(word: str, choices: Iterable[str]) -> str | None:
    by_folded = {choice.casefold(): choice for choice in choices}
    found = difflib.get_close_matches(word.casefold(), list(by_folded), n=1)
    return by_folded[found[0]] if found else None
