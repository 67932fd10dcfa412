"""What a budget has already used up: one number, exact, from the sums that are kept and the book's ragged ends.

Settled and uncertain costs count alike, corrections included. Real and simulated spend are never in one number.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, get_args, overload

from sqlalchemy import BigInteger, ColumnElement, Engine, Select, Table, func, literal_column, select

from .ledger import reading
from .spans import Rows, Span, parts
from .table import DAY_H, HOUR_US, SERIES, SUMS, TABLE, storable

Scope = Literal["organisation", "team", "key_id", "route", "provider"]
SCOPES: tuple[Scope, ...] = get_args(Scope)


@overload
def spent_since(
    engine: Engine, scope: Mapping[str, str], since_us: int, *, simulated: bool, until_us: int | None = None,
    bucket_us: None = None,
) -> int: ...  # fmt: skip


@overload
def spent_since(
    engine: Engine, scope: Mapping[str, str], since_us: int, *, simulated: bool, until_us: int | None = None,
    bucket_us: int,
) -> dict[int, int]: ...  # fmt: skip


def spent_since(
    engine: Engine,
    scope: Mapping[str, str],
    since_us: int,
    *,
    simulated: bool,
    until_us: int | None = None,
    bucket_us: int | None = None,
) -> int | dict[int, int]:
    """Nano-dollars of the attempts from `since_us` (included) to `until_us` (excluded) that match all of `scope`.

    With bucket_us, sums by the start of their bucket: buckets lie on whole multiples of bucket_us since the epoch, and
    those in which nothing was spent are left out. Buckets of whole hours are fast, others read every row of the
    period. An empty scope is everything. Raises ValueError for a scope that is none of SCOPES, LedgerUnavailable when
    the ledger cannot be read.
    """
    odd = sorted(scope.keys() - set(SCOPES))
    if odd:
        raise ValueError(f"no scope {odd[0][:40]!r}; choose from {', '.join(SCOPES)}")
    if bucket_us is not None and bucket_us < 1:
        raise ValueError(f"a bucket of {bucket_us} microseconds is none")
    wanted = {name: storable(value) for name, value in scope.items()}
    found: dict[int, int] = {}
    with reading(engine) as connection:
        for part in parts(since_us, until_us, coarsest_h=_coarsest(bucket_us)):
            for bucket, cost in connection.execute(_query(part, wanted, simulated, bucket_us)):
                found[bucket] = found.get(bucket, 0) + int(cost)
    if bucket_us is None:
        return sum(found.values())
    return {bucket * bucket_us: cost for bucket, cost in sorted(found.items()) if cost}


def _coarsest(bucket_us: int | None) -> int:
    if bucket_us is None or bucket_us % (DAY_H * HOUR_US) == 0:
        return DAY_H
    return 0 if bucket_us % HOUR_US else 1


def _query(part: Span | Rows, wanted: Mapping[str, str], simulated: bool, bucket_us: int | None) -> Select[int, int]:
    """Numbers of buckets (0 where there are none) and what was spent in each."""
    if isinstance(part, Rows):
        at = TABLE.c.at_us
        query = _by_bucket(func.sum(TABLE.c.cost_nano), None if bucket_us is None else at // _literal(bucket_us))
        query = query.where(*_matches(TABLE, wanted, simulated), at >= part.first_us)
        return query if part.end_us is None else query.where(at < part.end_us)
    start = SUMS.c.start
    # In the sum and not in WHERE, where PostgreSQL makes a join of it: one that it gets very wrong, going through the
    # period once for each series, until it has gathered statistics.
    series = select(SERIES.c.id).where(*_matches(SERIES, wanted, simulated))
    cost = func.sum(SUMS.c.cost_nano).filter(SUMS.c.series.in_(series))
    query = _by_bucket(cost, None if bucket_us is None else start // _literal(bucket_us // HOUR_US))
    return query.where(SUMS.c.hours == part.hours, start >= part.first, start < part.end)


def _by_bucket(cost: ColumnElement[int], bucket: ColumnElement[int] | None) -> Select[int, int]:
    exact = func.coalesce(cost, 0)
    return select(_literal(0), exact) if bucket is None else select(bucket, exact).group_by(bucket)


def _literal(number: int) -> ColumnElement[int]:
    """Not a parameter: PostgreSQL takes two equal expressions with parameters for two different ones."""
    return literal_column(str(number), BigInteger)


def _matches(table: Table, wanted: Mapping[str, str], simulated: bool) -> list[ColumnElement[bool]]:
    return [table.c.simulated == simulated, *(table.c[name] == value for name, value in wanted.items())]
