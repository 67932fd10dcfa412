"""Which model of the catalogue a line of an invoice means: by its id, bare name, alias or upstream name.

A dated snapshot that the catalogue does not list is its undated model. A Google SKU is a sentence: the longest model
name that stands in it as whole words is meant. What could mean two models means none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from gateway.core.catalog import Model

_DATED = re.compile(r"[-@]\d{4}-?\d{2}-?\d{2}$")
_PREVIEW = "-preview"


class ModelNames:
    """provider: only its models can be meant; None for all."""

    def __init__(self, models: Iterable[Model], provider: str | None) -> None:
        self._by_name: dict[str, set[str]] = {}
        self._words: dict[str, set[str]] = {}
        self._found: dict[str, str | None] = {}
        for model in models:
            if provider is not None and model.provider != provider:
                continue
            bare = model.id.partition("/")[2]
            self._by_name[model.id.lower()] = {model.id}
            for name in {bare, model.upstream_name, *model.aliases}:
                self._by_name.setdefault(name.lower(), set()).add(model.id)
                for spoken in {name, name.removesuffix(_PREVIEW)}:
                    self._words.setdefault(_words(spoken), set()).add(model.id)

    def find(self, name: str) -> str | None:
        """The id of the model, or None."""
        if name not in self._found:
            self._found[name] = self._look(name)
        return self._found[name]

    def _look(self, name: str) -> str | None:
        lower = name.lower()
        for spelled in (lower, _DATED.sub("", lower)):
            if meant := self._by_name.get(spelled):
                return _only(meant)
        if " " not in name.strip():
            return None
        sentence = f" {_words(name)} "
        longest = max((words for words in self._words if f" {words} " in sentence), key=len, default=None)
        return None if longest is None else _only(self._words[longest])


def _only(ids: set[str]) -> str | None:
    return next(iter(ids)) if len(ids) == 1 else None


def _words(text: str) -> str:
    """Lower case, digits with their dots kept together: "Gemini 3.1-Flash_Lite" -> "gemini 3.1 flash lite"."""
    return " ".join(re.findall(r"[a-z0-9.]+", text.lower()))
