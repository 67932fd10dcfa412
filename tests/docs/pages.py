"""The pages of documentation as values: their fenced blocks, sections, tables, code spans and links.

A block's info string says what the tests do with it: `sh run` is run as it stands, `sh server` is run against a gateway
of the test's own, `exit=1` is the exit code that is meant, and a `text exact` block that follows is what was printed.
A plain `sh` block is not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tests.running import ROOT

NAMES = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]

_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True)
class Block:
    """`printed` is the text block directly below, if there is one; `exact` says that it is the whole output."""

    page: str
    line: int
    language: str
    marks: tuple[str, ...]
    text: str
    printed: str = ""
    exact: bool = False

    @property
    def exit_code(self) -> int:
        return next((int(mark.removeprefix("exit=")) for mark in self.marks if mark.startswith("exit=")), 0)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Page:
    name: str
    text: str

    @property
    def folder(self) -> Path:
        return (ROOT / self.name).parent

    def blocks(self) -> list[Block]:
        found: list[Block] = []
        end = -1
        for fence in _FENCE.finditer(self.text):
            language, *marks = fence["info"].split() or [""]
            line = self.text.count("\n", 0, fence.start()) + 1
            if language == "text" and found and self.text[end : fence.start()] == "\n":
                last = found.pop()
                found.append(
                    Block(last.page, last.line, last.language, last.marks, last.text, fence["text"], "exact" in marks)
                )
            else:
                found.append(Block(self.name, line, language, tuple(marks), fence["text"]))
            end = fence.end()
        return found

    def code(self) -> list[str]:
        """What is written as code for somebody to type: the lines of shell blocks, and the spans of the prose."""
        shell = "".join(block.text for block in self.blocks() if block.language == "sh")
        lines = [line.partition("  # ")[0] for line in shell.splitlines()]
        return lines + _SPAN.findall(self.prose)

    @property
    def prose(self) -> str:
        return _FENCE.sub("", self.text)

    def says(self, sentence: str) -> bool:
        """Wherever the lines break."""
        return " ".join(sentence.split()) in " ".join(self.prose.split())

    def section(self, title: str) -> str:
        """The text under a heading, until the next heading of any level."""
        parts = _HEADING.split(self.prose)
        return parts[parts.index(title) + 1]

    def rows(self, title: str) -> dict[str, list[str]]:
        """A section's table by the code span in its first column."""
        lines = [line for line in self.section(title).splitlines() if line.startswith("| `")]
        cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
        return {row[0].strip("`| "): row[1:] for row in cells}

    def links(self) -> list[str]:
        return [link for link in _LINK.findall(self.prose) if "://" not in link]

    def anchors(self) -> set[str]:
        """As GitHub makes them of headings."""
        titles = (re.sub(r"[^\w\- ]", "", title.lower()) for title in _HEADING.findall(self.prose))
        return {title.replace(" ", "-") for title in titles}


def page(name: str) -> Page:
    return Page(name, (ROOT / name).read_text())


PAGES = {name: page(name) for name in NAMES}
CONFIGURATION, LIFE = PAGES["docs/configuration.md"], PAGES["docs/life-of-a-request.md"]
CACHING, ROUTING = PAGES["docs/caching.md"], PAGES["docs/routing.md"]
MONEY, OPERATIONS, README = PAGES["docs/money.md"], PAGES["docs/operations.md"], PAGES["README.md"]
