"""A comparison as people and programs read it; every amount exact."""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.core.money import usd

from .attempts import AttemptFinding, AttemptReport
from .reconcile import Finding, Report

_INDENT = "\n    "
_WORDS = {"prompt": "input", "input": "input without cached", "cached_input": "cached input", "output": "output"}


def render(title: str, report: Report | AttemptReport) -> str:
    """A head with the totals, a line for each difference, and how many there are."""
    if isinstance(report, Report):
        invoice, lines = report.invoice_nano, [_by_day(one) for one in report.findings]
        outside = f" ({report.lines_outside} more are outside the period)" if report.lines_outside else ""
    else:
        invoice, lines, outside = report.billed_nano, [_by_attempt(one) for one in report.findings], ""
    booked = report.settled_nano + report.uncertain_nano
    head = [
        f"{title}, {report.first} to {report.last}: {report.lines} lines{outside} against {report.attempts} attempts",
        f"{_against(invoice, booked)}; uncertain in the ledger ${usd(report.uncertain_nano)}",
    ]
    count = len(lines)
    end = "no difference" if not count else "1 difference" if count == 1 else f"{count} differences"
    return "\n".join([*head, *lines, end, ""])


def to_json(title: str, report: Report | AttemptReport) -> str:
    """The report's own fields; beside every amount in nano-dollars the same in dollars, as text."""
    plain = {"file": title, "agrees": not report.findings, **_dollars(msgspec.to_builtins(report))}
    plain.pop("known", None)
    return msgspec.json.format(msgspec.json.encode(plain)).decode()


def _dollars(plain: Any) -> Any:  # Any: JSON
    if isinstance(plain, list):
        return [_dollars(each) for each in plain]
    if not isinstance(plain, dict):
        return plain
    found: dict[str, Any] = {}
    for name, value in plain.items():
        found[name] = _dollars(value)
        if name.endswith("_nano"):
            found[f"{name.removesuffix('_nano')}_usd"] = None if value is None else usd(value)
    return found


def _against(invoice: int | None, booked: int) -> str:
    if invoice is None:
        return f"the file tells no money, ledger ${usd(booked)}"
    over = invoice - booked
    return f"invoice ${usd(invoice)}, ledger ${usd(booked)}, difference {'-' if over < 0 else '+'}${usd(abs(over))}"


def _by_day(found: Finding) -> str:
    days = str(found.first) if found.first == found.last else f"{found.first} to {found.last}"
    parts = [f"{days}  {found.model}  {found.what}", _against(found.invoice_nano, found.booked_nano)]
    if found.uncertain_attempts:
        can = "can" if found.explained else "cannot"
        unsure = f"${usd(found.uncertain_nano)} is uncertain ({found.uncertain_attempts} of the attempts)"
        parts.append(f"{unsure}, which {can} explain it")
    return _INDENT.join([*parts, *_tokens(found.tokens), *_lines(found.lines)])


def _by_attempt(found: AttemptFinding) -> str:
    billed = found.bill_nano if found.lines else 0
    parts = [f"{found.day}  {found.attempt_id}  {found.model}  {found.fault}", _against(billed, found.booked_nano)]
    return _INDENT.join([*parts, *_tokens(found.tokens), *_lines(found.lines)])


def _tokens(tokens: dict[str, tuple[int, int]]) -> list[str]:
    if not tokens:
        return []
    return [
        "tokens: " + ", ".join(f"{_WORDS[name]} {theirs} against {ours}" for name, (theirs, ours) in tokens.items())
    ]


def _lines(lines: tuple[int, ...]) -> list[str]:
    return [f"line{'' if len(lines) == 1 else 's'} {', '.join(map(str, lines))}"] if lines else []
