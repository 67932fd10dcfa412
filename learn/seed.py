"""Make labelled prompts to train the shipped kinds on: templates, filled by a seeded draw, made untidy as people are.

    python -m learn.seed --out seed.jsonl --calibrating calibrating.jsonl

Nothing is downloaded and no data set is used: phrases stand in seed.yaml and payloads.yaml, whole prompts in
by_hand.jsonl, Python code is taken from the standard library that runs it. With one version of Python the output is
the same each time.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import yaml

HERE = Path(__file__).parent
PER_KIND = 1_500
VARIANTS = 12
"""Of each prompt that was written by hand: one of these is worth many that a template made."""
CALIBRATES = 3
"""Every third of them teaches nothing, but calibrates."""
SEED = 20_260_101

_SLOT = re.compile(r"\{(\w+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_LONGER_WORD = re.compile(r"[a-z]{4,}")
_LENGTHS: Mapping[str, tuple[int, ...]] = {"prose": (1, 2, 5), "long": (3, 5, 10, 40)}
_LANGUAGES = ("en", "en", "en", "en", "en", "en", "en", "en", "de", "fr", "es", "it", "pt", "zh", "ja", "ru")
_QUOTES = ("{}", "{}", "{}", "{}", '"{}"', '"{}"', "“{}”", "'{}'", "« {} »", "\n\n{}", "\n> {}")
_PAYLOADS = frozenset({"topic", "phrase", "record"})
_HARVESTED = (
    "argparse bisect calendar colorsys configparser copy csv difflib filecmp fnmatch fractions functools glob heapq "
    "inspect json.decoder json.encoder linecache mailbox numbers operator pprint queue random sched shlex shutil "
    "statistics string tempfile textwrap timeit tokenize trace uuid zipfile"
).split()

_PREAMBLES = (
    "Hi, ", "Hello! ", "Please ", "Hey, quick question: ", "I need your help. ", "Could you help me with this? ",
    "ok so ", "You are a helpful assistant. ", "Good morning, ", "Sorry to bother you, ", "Another one: ", "Next: ",
)  # fmt: skip
_ENDINGS = (
    " Thanks!", " thank you", " Please be brief.", " Answer in English.", " Keep it short.", " asap please",
    "\n\nThanks in advance",
    " Explain your answer.", "\n", " pls", " Be concise.", " It is for work.", " I have to hand it in tomorrow.",
)  # fmt: skip


class Seeder:
    """Draws prompts; everything random comes from the one generator it is given."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        seed = yaml.safe_load((HERE / "seed.yaml").read_text())
        payloads = yaml.safe_load((HERE / "payloads.yaml").read_text())
        self.kinds: Mapping[str, list[str]] = seed["kinds"]
        self._slots = {name: _listed(values) for name, values in {**seed["slots"], **payloads}.items()}
        self._python = list(_python_functions())
        self._words = _words(self._slots)
        parts = [part for text in topics.values() for part in text.split("\n\n")]
        self._passages = [part for part in parts if len(part) > 80 and part[0].isupper()]
        self._made: Mapping[str, Callable[[], str]] = {
            "number": lambda: str(dice.randint(11, 9_999)),
            "small": lambda: str(dice.randint(2, 30)),
            "code": self._code,
        }

    def prompt(self, kind: str, template: str) -> str:
        return self.varied(self._filled(template), kind)

    def varied(self, text: str, kind: str) -> str:
        """As somebody else might have typed it."""
        # A greeting before small talk is small talk; elsewhere it says nothing, which is to be learned too.
        if self._dice.random() < 0.12:
            text = self._dice.choice(_PREAMBLES) + text
        if kind != "chat" and self._dice.random() < 0.12:
            text += self._dice.choice(_ENDINGS)
        return self._untidy(text)

    def _filled(self, template: str) -> str:
        """Innermost choices first, then slots, whose values may hold both again."""
        while (choice := _CHOICE.search(template)) is not None:
            template = template[: choice.start()] + self._dice.choice(choice[1].split("|")) + template[choice.end() :]
        return _SLOT.sub(lambda slot: self._slot(slot[1], slot[0]), template)

    def _slot(self, name: str, as_written: str) -> str:
        if name in self._made:
            return self._made[name]()
        if name.startswith("quoted_"):
            return self._quoted(self._slot(name.removeprefix("quoted_"), as_written))
        if (length := name.partition("_")[0]) in _LENGTHS:
            return self._sentences(self._dice.choice(_LENGTHS[length]), name.partition("_")[2])
        if name not in self._slots:
            return as_written
        filled = self._filled(self._dice.choice(self._slots[name]))
        return self._reworded(filled) if name in _PAYLOADS else filled

    def _code(self) -> str:
        if self._dice.random() < 0.6:
            return self._dice.choice(self._python)
        # Code has brackets of its own, so that only its slots are filled.
        return _SLOT.sub(lambda slot: self._slot(slot[1], slot[0]), self._dice.choice(self._slots["code"]))

    def _sentences(self, most: int, language: str) -> str:
        """Up to so many sentences of a language, as they come or as the library's documentation has them."""
        if not language and self._dice.random() < 0.2:
            return self._dice.choice(self._passages)[: most * 120]
        language = language or self._dice.choice(_LANGUAGES)
        source = self._slots[f"sentence_{language}" if language != "en" else "sentence"]
        between = self._dice.choice((" ", " ", " ", "\n", "\n\n")) if language not in ("zh", "ja") else ""
        count = self._dice.randint(1 if most < 6 else 2, most)
        return self._quoted(self._reworded(between.join(self._filled(self._dice.choice(source)) for _ in range(count))))

    def _quoted(self, text: str) -> str:
        """Half of the time in quotes of some kind: they tell nothing of what is wanted."""
        return self._dice.choice(_QUOTES).format(text)

    def _reworded(self, text: str) -> str:
        """Some of its words are others, so that what a text is about teaches nothing of what is to be done with it."""
        share = self._dice.choice((0.0, 0.3, 0.6))
        return _LONGER_WORD.sub(
            lambda word: self._dice.choice(self._words) if self._dice.random() < share else word[0], text
        )

    def _untidy(self, text: str) -> str:
        dice = self._dice
        if dice.random() < 0.2:
            text = text.lower()
        if dice.random() < 0.1:
            text = text.rstrip(".?!")
        if dice.random() < 0.15:
            text = "".join(self._slipped(char) for char in text)
        return text

    def _slipped(self, char: str) -> str:
        """Now and then a letter is left out, doubled, or another."""
        if not char.isalpha() or self._dice.random() > 0.02:
            return char
        return self._dice.choice(("", char * 2, self._dice.choice("aeinrst")))


def _listed(values: Any) -> list[str]:
    """A list as it stands, or one text whose entries are divided by semicolons."""
    if isinstance(values, str):
        return [value.strip() for value in values.split(";") if value.strip()]
    return [str(value) for value in values]


def _python_functions() -> Iterator[str]:
    """Functions of the standard library that fit on a screen."""
    for name in _HARVESTED:
        source = inspect.getsource(importlib.import_module(name))
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno and 3 <= node.end_lineno - node.lineno <= 30:
                yield inspect.cleandoc("\n" + (ast.get_source_segment(source, node, padded=True) or ""))


def _words(slots: Mapping[str, list[str]]) -> list[str]:
    """Plain words of many subjects: the documentation of Python's language, and all that the slots hold."""
    texts = [*topics.values(), *(value for values in slots.values() for value in values)]
    return sorted({word for text in texts for word in _LONGER_WORD.findall(text)})


def rows(per_kind: int = PER_KIND, seed: int = SEED) -> Iterator[dict[str, str]]:
    """Distinct prompts, kind by kind; fewer where the templates do not yield as many. Group: the template."""
    dice = random.Random(seed)
    seeder = Seeder(dice)
    for kind, templates in seeder.kinds.items():
        found: dict[str, str] = {}
        for _ in range(per_kind * 2):
            if len(found) == per_kind:
                break
            number = dice.randrange(len(templates))
            found.setdefault(seeder.prompt(kind, templates[number]), f"{kind} {number}")
        yield from ({"text": text, "kind": kind, "group": group} for text, group in found.items())
    for number, row in enumerate(_by_hand()):
        if number % CALIBRATES:
            texts = dict.fromkeys([row["text"], *(seeder.varied(row["text"], row["kind"]) for _ in range(VARIANTS))])
            yield from ({"text": text, "kind": row["kind"], "group": f"by hand {number}"} for text in texts)


def calibrating() -> list[dict[str, str]]:
    """Prompts as people write them, of which nothing is taught: how sure the kinds may be is set by them."""
    return [row for number, row in enumerate(_by_hand()) if number % CALIBRATES == 0]


def _by_hand() -> list[dict[str, str]]:
    return [json.loads(line) for line in (HERE / "by_hand.jsonl").read_text(encoding="utf-8").splitlines()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the JSON lines file to write")
    parser.add_argument("--calibrating", type=Path, required=True, help="where prompts go that are not to be taught")
    parser.add_argument("--per-kind", type=int, default=PER_KIND, help=f"prompts of each kind (default: {PER_KIND})")
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    for path, made in ((asked.out, rows(asked.per_kind, asked.seed)), (asked.calibrating, calibrating())):
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in made]
        path.write_text("".join(lines), encoding="utf-8")
        print(f"{len(lines)} prompts in {path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
