"""Reads the ledger: sums for finance, rows for the admin.

Invariants: integers all the way. Real and simulated spend are never in one sum: every sum is asked for one of them.
attempts == requests + failed + aborted, and saved == baseline - settled - uncertain, in every line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import msgspec
from sqlalchemy import ColumnElement, Engine, func, select

from gateway.core.records import SpendRecord, State

from .ledger import transaction
from .table import FIELDS, TABLE, storable, to_us

Dimension = Literal["provider", "model", "route", "team", "day", "key", "policy", "outcome"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
ROWS_AT_MOST = 1000

_ANSWERED = ("ok", "cached")
_ABORTED = "aborted"
_row = TABLE.c
_RECORD = [_row[field.name] for field in FIELDS]


class SpendLine(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of some attempts. Money in nano-dollars.

    group: what they have in common, in the order it was asked for. requests: those answered whole, from a provider or
    from the cache. aborted: the client left, what had been answered was still paid. failed: everything else.
    uncertain_nano: estimated costs, apart from what providers reported.
    """

    group: dict[str, str]
    simulated: bool
    requests: int
    attempts: int
    failed: int
    aborted: int
    cache_hits: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    settled_nano: int
    uncertain_nano: int
    baseline_nano: int
    saved_nano: int


def _count_of(*outcomes: str) -> ColumnElement[int]:
    return func.count().filter(_row.outcome.in_(outcomes))


def _sum_of(column: ColumnElement[int], *conditions: ColumnElement[bool]) -> ColumnElement[Any]:  # Any: int or Decimal
    total = func.sum(column)
    return func.coalesce(total.filter(*conditions) if conditions else total, 0)


_SUMS: dict[str, ColumnElement[Any]] = {
    "requests": _count_of(*_ANSWERED),
    "attempts": func.count(),
    "aborted": _count_of(_ABORTED),
    "cache_hits": _count_of("cached"),
    "input_tokens": _sum_of(_row.input_tokens),
    "cached_input_tokens": _sum_of(_row.cached_input_tokens),
    "cache_write_tokens": _sum_of(_row.cache_write_tokens),
    "output_tokens": _sum_of(_row.output_tokens),
    "reasoning_tokens": _sum_of(_row.reasoning_tokens),
    "settled_nano": _sum_of(_row.cost_nano, _row.state != State.UNCERTAIN.value),
    "uncertain_nano": _sum_of(_row.cost_nano, _row.state == State.UNCERTAIN.value),
    "baseline_nano": _sum_of(_row.baseline_nano),
}


def dimensions(names: Iterable[str]) -> tuple[Dimension, ...]:
    """Names as dimensions, each once. Raises ValueError naming those that exist."""
    found: dict[Dimension, None] = {}
    for name in names:
        known = next((dimension for dimension in DIMENSIONS if dimension == name), None)
        if known is None:
            raise ValueError(f"cannot group by {name[:40]!r}; choose from {', '.join(DIMENSIONS)}")
        found[known] = None
    return tuple(found)


def period(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """Both ends as instants, UTC where no zone is given. Raises ValueError that says what an instant looks like."""
    first, last = _instant(since), _instant(until)
    if first is not None and last is not None and last <= first:
        raise ValueError(f"the period ends ({until}) before it begins ({since})")
    return first, last


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        such = "2026-11-23 or 2026-11-23T08:00:00Z"
        raise ValueError(f"{text[:40]!r} is no ISO date or instant, such as {such}") from None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def spend(
    engine: Engine,
    *,
    by: Sequence[str],
    since: datetime | None = None,
    until: datetime | None = None,
    team: str | None = None,
    provider: str | None = None,
    model: str | None = None,
    route: str | None = None,
    simulated: bool,
) -> list[SpendLine]:
    """One line for each combination of `by`; with none, one line of everything. No attempts, no lines.

    since is included, until is not. Days come in order, everything else dearest first. Raises ValueError for an
    unknown dimension or a time without a zone, LedgerUnavailable when the ledger cannot be read.
    """
    names = dimensions(by)
    groups = [_dimension(name) for name in names]
    sums = [total.label(name) for name, total in _SUMS.items()]
    query = select(*groups, *sums).where(_row.simulated == simulated).group_by(*groups)
    if since is not None:
        query = query.where(_row.at_us >= to_us(since))
    if until is not None:
        query = query.where(_row.at_us < to_us(until))
    for column, wanted in ((_row.team, team), (_row.provider, provider), (_row.model, model), (_row.route, route)):
        if wanted is not None:
            query = query.where(column == storable(wanted))
    with transaction(engine) as connection:
        rows = connection.execute(query).all()
    lines = [_line(dict(zip(names, row, strict=False)), simulated, row[len(names) :]) for row in rows]
    found = [line for line in lines if line.attempts]
    return sorted(found, key=_by_day) if "day" in names else sorted(found, key=_dearest_first)


def total(lines: Sequence[SpendLine]) -> SpendLine:
    """The sum of lines of one kind. Raises ValueError when there are none, or real ones among simulated ones."""
    if len({line.simulated for line in lines}) != 1:
        raise ValueError("real and simulated spend are never summed together, and nothing has no sum")
    sums = {name: sum(getattr(line, name) for line in lines) for name in (*_SUMS, "failed", "saved_nano")}
    return SpendLine(group={}, simulated=lines[0].simulated, **sums)


def recent(engine: Engine, limit: int, *, simulated: bool, team: str | None = None) -> list[SpendRecord]:
    """The newest records, newest first, at most ROWS_AT_MOST of them."""
    query = select(*_RECORD).where(_row.simulated == simulated)
    if team is not None:
        query = query.where(_row.team == storable(team))
    newest = query.order_by(_row.at_us.desc(), _row.attempt_id.desc()).limit(max(0, min(limit, ROWS_AT_MOST)))
    with transaction(engine) as connection:
        return [_record(row) for row in connection.execute(newest)]


def attempts_of(engine: Engine, request_id: str) -> list[SpendRecord]:
    """The attempts of one request, in the order they were made."""
    query = select(*_RECORD).where(_row.request_id == storable(request_id)).order_by(_row.attempt, _row.attempt_id)
    with transaction(engine) as connection:
        return [_record(row) for row in connection.execute(query)]


def both_kinds(engine: Engine) -> tuple[int, int]:
    """How many real and how many simulated records there are."""
    counts = [func.count().filter(_row.simulated == simulated) for simulated in (False, True)]
    with transaction(engine) as connection:
        row = connection.execute(select(*counts).select_from(TABLE)).one()
    return int(row[0]), int(row[1])


def _dimension(name: Dimension) -> ColumnElement[str]:
    return _row.key_id if name == "key" else _row[name]


def _line(group: dict[str, str], simulated: bool, sums: Sequence[Any]) -> SpendLine:  # Any: int, or Decimal
    # PostgreSQL sums 64-bit integers as NUMERIC, which arrives as Decimal: whole numbers, so int() is exact.
    found = {name: int(value) for name, value in zip(_SUMS, sums, strict=True)}
    return SpendLine(
        group=group,
        simulated=simulated,
        failed=found["attempts"] - found["requests"] - found["aborted"],
        saved_nano=found["baseline_nano"] - found["settled_nano"] - found["uncertain_nano"],
        **found,
    )


def _record(row: Sequence[Any]) -> SpendRecord:  # Any: the values of one row
    return msgspec.convert(dict(zip((field.name for field in FIELDS), row, strict=True)), SpendRecord)


def _by_day(line: SpendLine) -> tuple[str, list[str]]:
    return line.group["day"], list(line.group.values())


def _dearest_first(line: SpendLine) -> tuple[int, list[str]]:
    return -line.settled_nano - line.uncertain_nano, list(line.group.values())


def spent_since(
    engine: Engine, scope: Any, since_us: int, *, bucket_us: int | None = None, simulated: bool
) -> int | dict[int, int]:
    query = select(_sum_of(_row.cost_nano)).where(_row.simulated == simulated, _row.at_us >= since_us)
    for name, value in scope.items():
        query = query.where(_row[name] == value)
    with transaction(engine) as connection:
        return int(connection.execute(query).scalar_one())
