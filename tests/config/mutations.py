"""A routes.yaml that somebody, or some program, has broken: seeded mutations of a good one."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

Mutation = Callable[[random.Random, str], str]

SCALARS = (
    "null", "~", "true", "no", "-1", "0", "1e999", "1" * 400, "9" * 60, "0.1", ".inf", ".nan", "-0", "0x10", "1_000",
    "2026-02-30", "2026-01-01", "2026-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", '""',
    "''", '"unclosed', "[]", "{}", "[[[]]]", "{a: {b: c}}", "*nobody", "&a x", "!!python/object:os.system x", "!!int x",
    "!!binary aGk=", "!own {a: 1}", "| \n", "> x", "@at", "`tick`", "%percent", "? x", "- - -", "<<: *x", "# gone",
    '"\\ud800"', '"\\0"', '"\\x41\\u00e9"', "\u202e\u200b", "\u00e9\u4e2d\U0001f600", "a" * 5_000, "'it''s'", "x: y: z",
    "$HOME", "../../etc/passwd", "/dev/null", "http://[", "https://user:secret@host/", "http://h:99999/", "23:59-24:60",
    "Europe/Pari", "../UTC", "Europe", "openai/", "/", "openai/gpt-5.5", "cheapest", "1.7976931348623157e+308",
    "5e-324", "+", ".", "0.0000000000001", "9000000.000000001", "-.5", "1e3", "1e-999", "12e999", "'9' * 10",
)  # fmt: skip
"""What may come to stand in the place of a value."""

KEYS = ("policy", "candidates", "<<", "null", "123", "true", "? [a, b]", '""', "prices", "rows", "refresh", "defaults",
        "sha256", "\u00fcber", "a" * 300, "*x", "!!str k", "[a]", "{a: b}", "-", "'", "from", "until", "[key]",
        "<rows>", "<mapping>", "0", "..", "__class__", "model_config", "stand_ins")  # fmt: skip
"""What may come to stand in the place of a key."""

BYTES = (b"\x00", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\x1b[31m", b"\x85", b"\xe2\x80\xa8", b"\xef\xbb\xbf",
         b"\t", b"\r", b"\x7f", b"\xf4\x90\x80\x80", b"\x0c")  # fmt: skip


def bomb(depth: int, width: int) -> str:
    """Aliases of aliases: `width` to the power of `depth` values in a few lines."""
    lines = [f"a0: &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"a{at}: &a{at} [{', '.join([f'*a{at - 1}'] * width)}]" for at in range(1, depth)]
    return "\n".join([*lines, ""])


def _at(dice: random.Random, lines: list[str]) -> int:
    return dice.randrange(len(lines)) if lines else 0


def _lines(change: Callable[[random.Random, list[str]], object]) -> Mutation:
    def mutate(dice: random.Random, text: str) -> str:
        lines = text.split("\n")
        change(dice, lines)
        return "\n".join(lines)

    return mutate


def _delete(dice: random.Random, lines: list[str]) -> None:
    at = _at(dice, lines)
    del lines[at : at + dice.choice((1, 1, 1, 2, 5))]


def _double(dice: random.Random, lines: list[str]) -> None:
    at, size = _at(dice, lines), dice.choice((1, 1, 3, 10))
    there = _at(dice, lines)
    lines[there:there] = lines[at : at + size]


def _swap(dice: random.Random, lines: list[str]) -> None:
    one, other = _at(dice, lines), _at(dice, lines)
    lines[one], lines[other] = lines[other], lines[one]


def _indent(dice: random.Random, lines: list[str]) -> None:
    at = _at(dice, lines)
    for number in range(at, min(at + dice.choice((1, 1, 4, 30)), len(lines))):
        lines[number] = dice.choice((" ", "   ", "\t", " \t")) + lines[number]


def _dedent(dice: random.Random, lines: list[str]) -> None:
    at = _at(dice, lines)
    lines[at] = lines[at][dice.choice((1, 2, 4)) :]


def _replaced(pattern: str, words: tuple[str, ...], times: int) -> Mutation:
    places = re.compile(pattern)

    def mutate(dice: random.Random, text: str) -> str:
        for _ in range(times):
            found = list(places.finditer(text))
            if found:
                start, end = dice.choice(found).span(1)
                text = text[:start] + dice.choice(words) + text[end:]
        return text

    return mutate


def _cut(dice: random.Random, text: str) -> str:
    return text[: dice.randrange(len(text) + 1)]


def _cut_out(dice: random.Random, text: str) -> str:
    start = dice.randrange(len(text) + 1)
    return text[:start] + text[start + dice.choice((1, 3, 40, 400)) :]


def _line_ends(dice: random.Random, text: str) -> str:
    return text.replace("\n", dice.choice(("\r\n", "\r", "\n\n", "\u2028", "\u0085")))


def _nest(dice: random.Random, text: str) -> str:
    depth = dice.choice((5, 40, 63, 64, 65, 500, 20_000))
    opened, closed = dice.choice((("[", "]"), ("{a: ", "}"), ("- ", ""), ("[", ""), ("{? ", "}")))
    nested = opened * depth + "x" + closed * depth
    if dice.random() < 0.3:
        return f"{nested}\n{text}"
    return f"{text}\n{dice.choice(('routes', 'deep', 'holidays', 'prices'))}: {nested}\n"


def _aliases(dice: random.Random, text: str) -> str:
    """An anchor on a value and aliases of it elsewhere; merge keys too."""
    found = list(re.finditer(r"^( *)([\w./-]+):(?= |$)", text, re.MULTILINE))
    if len(found) < 2:
        return text
    one, other = sorted(dice.sample(found, 2), key=lambda match: match.start())
    used = dice.choice((f" *here # {other[2]}", f"\n{other[1]}  <<: *here", f" [*here, *here, {'*here, ' * 50}]"))
    return text[: one.end()] + " &here" + text[one.end() : other.end()] + used + text[other.end() :]


def _bomb(dice: random.Random, text: str) -> str:
    text = bomb(dice.choice((2, 6, 9, 30)), dice.choice((2, 9, 50))) + text
    return text + dice.choice(("", "models: *a1\n", "prices: *a1\n"))


def _flow(dice: random.Random, text: str) -> str:
    lines = [line.split("#")[0].strip() for line in text.split("\n")]
    some = [line for line in lines if line][: dice.choice((3, 20, 500))]
    return dice.choice(("{" + ", ".join(some) + "}", "[" + ", ".join(some) + "]", "{" + ", ".join(some)))


def _marks(dice: random.Random, text: str) -> str:
    marks = ("---\n", "...\n", "--- !x\n", "%YAML 3.0\n---\n", "%TAG ! a:\n---\n", "&a ", "!!map ", "\ufeff")
    mark = dice.choice(marks)
    at = dice.choice((0, 0, text.find("\n", dice.randrange(len(text) + 1)) + 1))
    return text[:at] + mark + text[at:]


_VALUE = r"(?:: |- |[\[{,] ?)([^\s\[\]{},:#&*!][^\[\]{},:#\n]*)"
_KEY = r"(?m)^ *(?:- )?\{?([\w./-]+):"
_NUMBER = r"(?<![\w.-])([0-9][0-9.]*)(?![\w.])"

MUTATIONS: tuple[Mutation, ...] = (
    _lines(_delete), _lines(_double), _lines(_swap), _lines(_indent), _lines(_dedent),
    _replaced(_VALUE, SCALARS, 1), _replaced(_VALUE, SCALARS, 3), _replaced(_VALUE, SCALARS, 12),
    _replaced(_NUMBER, SCALARS, 2), _replaced(_KEY, KEYS, 1), _replaced(_KEY, KEYS, 4), _replaced(_KEY, SCALARS, 2),
    _cut, _cut_out, _line_ends, _nest, _aliases, _aliases, _bomb, _flow, _marks,
)  # fmt: skip


def mutated(dice: random.Random, text: str) -> bytes:
    """One to four mutations, and sometimes bytes that are no text."""
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        text = dice.choice(MUTATIONS)(dice, text)
    raw = text.encode("utf-8", "surrogatepass")
    if dice.random() < 0.1:
        at = dice.randrange(len(raw) + 1)
        raw = raw[:at] + dice.choice(BYTES) + raw[at:]
    if dice.random() < 0.02:
        raw = text.encode("utf-16", "surrogatepass")
    return raw
