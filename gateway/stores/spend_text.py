"""Spend as people and programs read it. Pure: lines in, text out; every amount exact."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from gateway.core.money import usd

from .spend import SpendLine, total

_MONEY = ("settled_nano", "uncertain_nano", "baseline_nano", "saved_nano")
_NANO_PER_MICRO = 1000

_COUNTS: dict[str, Callable[[SpendLine], int]] = {
    "requests": lambda line: line.requests,
    "attempts": lambda line: line.attempts,
    "failed": lambda line: line.failed,
    "aborted": lambda line: line.aborted,
    "cache hits": lambda line: line.cache_hits,
    "tokens in": lambda line: line.tokens_in,
    "tokens out": lambda line: line.tokens_out,
}
_AMOUNTS: dict[str, Callable[[SpendLine], int]] = {
    "cost $": lambda line: line.settled_nano,
    "uncertain $": lambda line: line.uncertain_nano,
    "baseline $": lambda line: line.baseline_nano,
    "saved $": lambda line: line.saved_nano,
}


def render_table(lines: Sequence[SpendLine], by: Sequence[str]) -> str:
    """An aligned table for a terminal, with a total line. Dollars show nine decimals, or six where nothing is lost."""
    if not lines:
        return "nothing was spent in this period\n"
    sum_line = total(lines)
    shown = [*lines, sum_line]
    columns = [_texts(name, [*(line.group[name] for line in lines), ""]) for name in by]
    if columns:
        columns[0] = _texts(by[0], [*(line.group[by[0]] for line in lines), "total"])
    columns += [_numbers(name, [f"{count(line):,}" for line in shown]) for name, count in _COUNTS.items()]
    columns += [_numbers(name, _dollars([amount(line) for line in shown])) for name, amount in _AMOUNTS.items()]
    rows = ["  ".join(cells).rstrip() for cells in zip(*columns, strict=True)]
    rule = "-" * max(len(row) for row in rows)
    title = ["simulated spend: no provider was asked and nothing was paid"] if sum_line.simulated else []
    body = rows[1:-1] if by else []
    return "\n".join([*title, rows[0], rule, *body, *([rule] if body else []), rows[-1], ""])


def to_json(lines: Sequence[SpendLine]) -> str:
    """{"lines": [...], "total": {...} or null}: counts and nano-dollars as integers, dollars beside them as strings."""
    whole = {"lines": [_plain(line) for line in lines], "total": _plain(total(lines)) if lines else None}
    return msgspec.json.format(msgspec.json.encode(whole)).decode()


def _plain(line: SpendLine) -> dict[str, object]:
    plain: dict[str, object] = {**msgspec.to_builtins(line)}
    return plain | {f"{name.removesuffix('_nano')}_usd": usd(getattr(line, name)) for name in _MONEY}


def _dollars(amounts: Sequence[int]) -> list[str]:
    shown = [usd(amount) for amount in amounts]
    return shown if any(amount % _NANO_PER_MICRO for amount in amounts) else [text[:-3] for text in shown]


def _texts(name: str, cells: Sequence[str]) -> list[str]:
    width = max(len(cell) for cell in (name, *cells))
    return [cell.ljust(width) for cell in (name, *cells)]


def _numbers(name: str, cells: Sequence[str]) -> list[str]:
    width = max(len(cell) for cell in (name, *cells))
    return [cell.rjust(width) for cell in (name, *cells)]
