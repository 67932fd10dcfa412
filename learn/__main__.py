"""Train a file of task kinds from labelled prompts, and say how good it is.

    make learn DATA=prompts.jsonl OUT=kinds.bin

Each line of DATA is {"text": "...", "kind": "..."}, and if known "right": {"<model>": 0 or 1}, from which the chance
that a model's answer is right is learned too. Rows that resemble one another should have the same "group": it stays
together. Of the rows 70 % teach, 15 % calibrate and 15 % give the figures. Where DATA is not what will be asked, other
files are better: CALIBRATE=real.jsonl sets how sure the kinds may be and when they are unknown, TEST=other.jsonl gives
the figures. What a file does DATA need not do, and more of it teaches.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from gateway.kinds.features import read
from gateway.kinds.reader import KindReader, encode

from .rows import Row, RowsError, divided, read_rows
from .train import Recipe, fit

SHARE = 0.15
"""Of the rows, to calibrate and to test on."""

LEAST_ROWS = 20
"""Of each kind: fewer leave nothing to calibrate and to test on."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="make learn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--test", type=Path, help="rows to test on, made otherwise")
    parser.add_argument("--calibrate", type=Path, help="rows to calibrate on")
    parser.add_argument("--strength", type=float, default=10.0, help="less of it trusts the rows less (default: 10)")
    parser.add_argument("--least-posterior", type=float, default=0.4, help="below it a text is unknown (default: 0.4)")
    parser.add_argument("--no-watch", action="store_true", help="the rows are not what will be asked: no alarm by them")
    parser.add_argument("--seed", type=int, default=0, help="of the draw that divides the rows (default: 0)")
    parser.add_argument("--from", dest="origin", default="", help="what the rows are, for the file's provenance")
    parser.add_argument("--on", default=f"{datetime.now(UTC):%Y-%m-%d}", help="the date in the provenance")
    asked = parser.parse_args()
    try:
        rows = read_rows(asked.data)
        others = read_rows(asked.test) if asked.test else []
        real = read_rows(asked.calibrate) if asked.calibrate else []
        _check(rows, asked.data)
    except RowsError as exc:
        print(exc, file=sys.stderr)
        return 2
    kept, tested = (0.0 if real else SHARE), (0.0 if others else SHARE)
    taught, calibrating, testing = divided(rows, (1 - kept - tested, kept, tested), asked.seed)
    calibrating, testing = calibrating or real, testing or others
    recipe = Recipe(strength=asked.strength, least_posterior=asked.least_posterior, watch=not asked.no_watch)
    models = sorted({model for row in taught for model in row.right})
    # What the rows are is for the reader of the file; how they were divided is for whoever repeats it.
    provenance = {
        "rows": f"{len(taught)} taught, {len(calibrating)} calibrated",
        "origin": asked.origin or asked.data.name,
        "trained_on": asked.on,
        "recipe": str(recipe),
        "seed": str(asked.seed),
    }
    file = fit(
        [read(row.text) for row in taught],
        [row.kind for row in taught],
        [read(row.text) for row in calibrating],
        [row.kind for row in calibrating],
        heads={model: [row.right.get(model) for row in taught] for model in models},
        recipe=recipe,
        provenance=provenance,
    )
    reader = KindReader(file)
    print(f"kinds: {', '.join(file.kinds)}" + (f"; heads: {', '.join(models)}" if models else ""))
    guard = file.guard
    print(f"temperature {file.temperature:.2f}; known: posterior at least {guard.least_posterior:.2f},", end=" ")
    print(f"new words at most {guard.most_novel:.0%}")
    title = f"rows of {asked.test.name}" if others else "rows kept apart"
    figures = {"figures": f"{title}: {report(title, reader, testing)}"}
    data = encode(replace(file, provenance={**provenance, **figures}))
    asked.out.write_bytes(data)
    print(f"{asked.out}: {len(data):,} bytes")
    return 0


def _check(rows: Sequence[Row], path: Path) -> None:
    counts = Counter(row.kind for row in rows)
    if len(counts) < 2:
        raise RowsError(f"{path}: all rows are of the kind {rows[0].kind!r}; at least two kinds are needed")
    for kind, count in sorted(counts.items()):
        if count < LEAST_ROWS:
            raise RowsError(f"{path}: only {count} rows of the kind {kind!r}; add some, {LEAST_ROWS} are the least")


def report(title: str, reader: KindReader, rows: Sequence[Row]) -> str:
    """Print how often the kind is right, and what is taken for what; return the figure as one line."""
    read_as = [(row.kind, reader.read(row.text)) for row in rows]
    known = [(kind, found) for kind, found in read_as if found.known]
    right = sum(found.top == kind for kind, found in known)
    share = right / max(len(known), 1)
    figure = f"{share:.1%} right of the {len(known)} known, {len(known) / len(rows):.1%} of {len(rows)}"
    print(f"\n{title}: {figure}")
    unknown = Counter(kind for kind, found in read_as if not found.known)
    taken = Counter((kind, found.top) for kind, found in known)
    print(f"  {'kind':<16}{'rows':>6}{'known':>7}{'right':>7}   taken for")
    for kind in sorted({kind for kind, _ in read_as}):
        count = sum(one == kind for one, _ in read_as)
        wrong = [f"{other} {times}" for (one, other), times in taken.most_common() if one == kind != other]
        print(f"  {kind:<16}{count:>6}{count - unknown[kind]:>7}{taken[kind, kind]:>7}   {', '.join(wrong)}")
    return figure


if __name__ == "__main__":
    raise SystemExit(main())
