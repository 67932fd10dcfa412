"""A thousand broken routes.yaml files: each is taken, or refused with every mistake in its place. None is a crash."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from conffiles import BOOK, FULL, KEYS, NOW, ROOT, shipped_with_examples
from mutations import bomb, mutated

from gateway.config import PRICEBOOK, ConfigError, Mistake, load

SEED = 20261124
FILES = 1_000
SAMPLE = 20
AT_MOST_S = 20
"""No file may keep `check` longer, on a machine however busy; most take some 20 ms."""

LINE_ENDS = re.compile(b"\r\n|\n|\r|\xc2\x85|\xe2\x80[\xa8\xa9]")
"""What ends a line in YAML."""

REVIEWED = "prices: []\n"
EVERYTHING = FULL.replace("prices:\n", "prices:\n  refresh: {file: reviewed.yaml, every_s: 60}\n  rows:\n") + (
    "# every section, and the file of `refresh`\n"
)
ORIGINALS = {"the shipped file": (shipped_with_examples(), PRICEBOOK), "every section": (EVERYTHING, BOOK)}


def files() -> list[tuple[str, bytes]]:
    dice = random.Random(SEED)
    shipped, every_section = ORIGINALS  # the former takes four times as long
    names = [every_section if number % 4 else shipped for number in range(FILES)]
    return [(name, mutated(dice, ORIGINALS[name][0])) for name in names]


def placed(mistake: Mistake, raw: bytes, routes: Path) -> bool:
    """Its line and column are there in the file that it names."""
    if mistake.file != str(routes):
        return mistake.line >= 1
    lines = len(LINE_ENDS.split(raw))
    return 1 <= mistake.line <= lines + 1 and mistake.column >= 1  # the end of a file may be the line after its last


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("mutations")
    (found / "reviewed.yaml").write_text(REVIEWED)
    return found


def mistakes_of(routes: Path, book: Path) -> tuple[Mistake, ...]:
    """None of them when the file is good."""
    try:
        load(routes, KEYS, now=NOW, pricebook=book)
    except ConfigError as error:
        found = error.mistakes
    else:
        return ()
    assert found
    return found


def too_long(*_: object) -> None:
    raise AssertionError(f"one file took more than {AT_MOST_S} s")


def test_the_originals_are_good(folder):
    for text, book in ORIGINALS.values():
        (folder / "routes.yaml").write_text(text)
        load(folder / "routes.yaml", KEYS, now=NOW, pricebook=book)


def test_no_broken_file_is_a_crash_and_every_mistake_has_its_place(folder):
    routes = folder / "routes.yaml"
    tally: Counter[str] = Counter()
    before = signal.signal(signal.SIGALRM, too_long)
    try:
        for number, (original, raw) in enumerate(files()):
            routes.write_bytes(raw)
            signal.alarm(AT_MOST_S)
            try:
                mistakes = mistakes_of(routes, ORIGINALS[original][1])
            except Exception as exc:
                raise AssertionError(f"file {number} is a crash: {raw!r}") from exc
            assert [str(one) for one in mistakes if not placed(one, raw, routes)] == [], number
            tally[("taken", "refused for one mistake", "refused for several")[min(len(mistakes), 2)]] += 1
            tally["mistakes with line and column"] += len(mistakes)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    print(f"\n{FILES} mutated files: " + "; ".join(f"{what}: {count}" for what, count in sorted(tally.items())))
    assert tally["taken"] < FILES // 4


def test_the_command_says_the_same(folder):
    routes = folder / "routes.yaml"
    shipped = [raw for original, raw in files() if original == "the shipped file"]
    for raw in random.Random(SEED).sample(shipped, SAMPLE):
        routes.write_bytes(raw)
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "check", str(routes)], cwd=ROOT, capture_output=True, timeout=60
        )
        said = (done.stdout + done.stderr).decode()
        assert "Traceback" not in said, raw
        if done.returncode:
            assert all(line.startswith(f"{routes}:") for line in said.splitlines()[:-1]), said
            assert said.splitlines()[-1].split()[1] in ("mistake", "mistakes")
        else:
            assert f"{routes}: good" in said


@pytest.mark.parametrize(("depth", "width"), [(9, 9), (30, 2), (4, 500)])
def test_aliases_of_aliases_are_refused(folder, depth, width):
    routes = folder / "routes.yaml"
    routes.write_text(bomb(depth, width) + ORIGINALS["every section"][0])

    with pytest.raises(ConfigError, match=r"routes.yaml:\d+:\d+: more than 200000 values"):
        load(routes, KEYS, now=NOW, pricebook=BOOK)


BROKE_US = {
    "a key that is called like a mark of the checks": (
        "routes:\n  auto: {policy: best, candidates: [big]}\n<rows>: 1\n",
        "routes.yaml:3:1: unknown key '<rows>' in the file",
    ),
    "one word in the place of a list, and a wrong one": (
        'routes:\n  auto: {policy: best, candidates: [big], when: [{kind: "23:59"}]}\n',
        "routes.yaml:2:",
    ),
    "one word in the place of a list of conditions": (
        'routes:\n  auto:\n    policy: best\n    candidates: [big]\n    when: {kind: "23:59-24:60"}\n',
        "routes.yaml:5:",
    ),
}


@pytest.mark.parametrize(("text", "said"), BROKE_US.values(), ids=BROKE_US)
def test_what_was_a_crash_once_is_a_mistake_in_its_place(folder, text, said):
    routes = folder / "routes.yaml"
    routes.write_text(text)

    assert any(said in str(one) for one in mistakes_of(routes, BOOK))
