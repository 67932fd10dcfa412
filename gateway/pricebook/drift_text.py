"""A drift report as a person and a program read it. Dollars per million tokens, as decimal text."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from gateway.core.money import usd_per_million

from .drift import Disagreement, Report, label


def render(report: Report) -> str:
    """New disagreements first, each with who says what and why it is held back; then the known ones by their reason."""
    lines = [f"{report.cells} cells compared with {' and '.join(report.catalogues)} at {report.at:%Y-%m-%dT%H:%M:%SZ}"]
    lines += ["", f"new: {len(report.new)}" + (" (quarantined: nothing is applied)" if report.new else "")]
    for one in report.new:
        says = ", ".join(f"{name} {usd_per_million(pico)}" for name, pico in one.says.items())
        lines.append(f"  {one.model}  {label(one.cell)}  book {usd_per_million(one.book)}, {says}")
        lines.append(f"    {one.why(report.catalogues)}; first at {one.first:%Y-%m-%dT%H:%MZ}")
    lines += ["", f"known, and why the book is right: {len(report.known)}"]
    for reason, found in _by_reason(report).items():
        cells = [label(one.cell) for one in found]
        whose = dict.fromkeys(one.model for one in found)
        lines += [f"  {', '.join(whose)}  {', '.join(dict.fromkeys(cells))}", f"    {reason}"]
    for note in report.unused:
        lines.append(f"  unused  the note of {note.decided} on {', '.join(note.models)} explains nothing any more")
    for name, models in report.unlisted.items():
        if models:
            lines += ["", f"not in {name}: {', '.join(models)}"]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> str:
    plain = {
        "at": f"{report.at:%Y-%m-%dT%H:%M:%SZ}",
        "cells": report.cells,
        "new": [_plain(one, report.catalogues) for one in report.new],
        "known": [_plain(one, report.catalogues) for one in report.known],
        "unused_notes": [
            {"models": note.models, "source": note.source, "decided": note.decided, "reason": note.reason}
            for note in report.unused
        ],
        "not_listed": report.unlisted,
    }
    return msgspec.json.format(msgspec.json.encode(plain)).decode() + "\n"


def _plain(one: Disagreement, catalogues: Sequence[str]) -> dict[str, object]:
    return {
        "model": one.model,
        "service_tier": one.cell.tier,
        "above_input_tokens": one.cell.above,
        "class": one.cell.token_class,
        "book": usd_per_million(one.book),
        "says": {name: usd_per_million(pico) for name, pico in one.says.items()},
        "first_at": f"{one.first:%Y-%m-%dT%H:%M:%SZ}",
        "instants": one.instants,
        "why": one.why(catalogues),
    }


def _by_reason(report: Report) -> dict[str, list[Disagreement]]:
    found: dict[str, list[Disagreement]] = {}
    for one in report.known:
        found.setdefault(one.why(report.catalogues), []).append(one)
    return found
