"""Reads the ledger: sums for finance, rows for the admin.

Invariants: integers all the way. Real and simulated spend are never in one sum: every sum is asked for one of them.
attempts == requests + failed + aborted + background, and saved == baseline - settled - uncertain, in every line. The
answer is the same whether it comes from the sums that are kept or from the book; things are counted by summing `sign`,
so that a row that was taken back and said anew counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import add
from typing import Any

import msgspec
from sqlalchemy import Engine, func, select

from gateway.core.records import SpendRecord

from .ledger import reading, transaction
from .question import DIMENSIONS, TAG, TIMES, TOTALS, Question
from .spans import parts
from .table import DAY_H, EPOCH, RECORD_COLUMNS, SERIES, SUMS, TABLE, from_row, storable, to_us

ROWS_AT_MOST = 1000
LINES_AT_MOST = 100_000

_row = TABLE.c


class SpendLine(msgspec.Struct, frozen=True, kw_only=True):
    """The sum of some attempts. Money in nano-dollars.

    group: what they have in common, in the order it was asked for; empty text where there is none (no tag, no end
    user). requests: those answered whole, from a provider or from the cache. aborted: the client left, what had been
    answered was still paid. background: whole, and made by the response cache for itself. failed: everything else.
    uncertain_nano: estimated costs, apart from what providers reported. duration_us: their times, summed.
    """

    group: dict[str, str]
    simulated: bool
    requests: int
    attempts: int
    failed: int
    aborted: int
    background: int
    cache_hits: int
    input_tokens: int
    cached_input_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    audio_input_tokens: int
    image_input_tokens: int
    audio_output_tokens: int
    image_output_tokens: int
    settled_nano: int
    uncertain_nano: int
    baseline_nano: int
    saved_nano: int
    duration_us: int

    @property
    def tokens_in(self) -> int:
        plain = self.input_tokens + self.cached_input_tokens + self.cache_write_tokens
        return plain + self.audio_input_tokens + self.image_input_tokens

    @property
    def tokens_out(self) -> int:
        return self.output_tokens + self.reasoning_tokens + self.audio_output_tokens + self.image_output_tokens


def dimensions(names: Iterable[str]) -> tuple[str, ...]:
    """Names as dimensions, each once. Raises ValueError naming those that exist."""
    found = dict.fromkeys(names)
    for name in found:
        if name not in DIMENSIONS and not (name.startswith(TAG) and name != TAG):
            raise ValueError(f"cannot group by {name[:40]!r}; choose from {', '.join(DIMENSIONS)}, {TAG}NAME")
    return tuple(found)


def names_in(text: str) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def tags_wanted(texts: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE, several of them. Raises ValueError for what is not, and for a tag that is to have two values."""
    found: dict[str, str] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not name or not sign:
            raise ValueError(f"{text[:100]!r} is not NAME=VALUE")
        if found.setdefault(name, value) != value:
            raise ValueError(f"the tag {name[:100]!r} cannot be both {found[name][:100]!r} and {value[:100]!r}")
    return found


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
    key: str | None = None,
    organisation: str | None = None,
    end_user: str | None = None,
    tags: Mapping[str, str] | None = None,
    simulated: bool,
) -> list[SpendLine]:
    """One line for each combination of `by`; with none, one line of everything. No attempts, no lines.

    since is included, until is not. Days and hours come in order, everything else dearest first. Raises ValueError for
    an unknown dimension, a time without a zone or more than LINES_AT_MOST lines, LedgerUnavailable when the ledger
    cannot be read.
    """
    given = {
        "team": team, "provider": provider, "model": model, "route": route, "key": key, "organisation": organisation,
        "end_user": end_user, **{TAG + name: value for name, value in (tags or {}).items()},
    }  # fmt: skip
    wanted = {name: storable(value) for name, value in given.items() if value is not None}
    question = Question(dimensions(by), wanted, simulated, of_postgres=engine.dialect.name == "postgresql")
    first_us, end_us = (None if at is None else to_us(at) for at in (since, until))
    found: dict[tuple[Any, ...], tuple[int, ...]] = {}  # Any: texts, and numbers of days or hours
    with reading(engine) as connection:
        for part in parts(first_us, end_us, coarsest_h=question.coarsest_h):
            for row in connection.execute(question.select(part).limit(LINES_AT_MOST + 1)):
                group, sums = _split(row, len(question.by))
                have = found.get(group)
                found[group] = sums if have is None else tuple(map(add, have, sums))
    if len(found) > LINES_AT_MOST:
        raise ValueError(f"more than {LINES_AT_MOST:,} lines: ask for a shorter period, or group by less")
    lines = [_line(_texts(question.by, group), simulated, sums) for group, sums in found.items() if any(sums)]
    return sorted(lines, key=_in_time if TIMES.keys() & set(question.by) else _dearest_first)


def total(lines: Sequence[SpendLine]) -> SpendLine:
    """The sum of lines of one kind. Raises ValueError when there are none, or real ones among simulated ones."""
    if len({line.simulated for line in lines}) != 1:
        raise ValueError("real and simulated spend are never summed together, and nothing has no sum")
    sums = {name: sum(getattr(line, name) for line in lines) for name in (*TOTALS, "failed", "saved_nano")}
    return SpendLine(group={}, simulated=lines[0].simulated, **sums)


def recent(engine: Engine, limit: int, *, simulated: bool, team: str | None = None) -> list[SpendRecord]:
    """The newest records, newest first, at most ROWS_AT_MOST of them."""
    query = select(*RECORD_COLUMNS).where(_row.simulated == simulated)
    if team is not None:
        query = query.where(_row.team == storable(team))
    newest = query.order_by(_row.at_us.desc(), _row.attempt_id.desc()).limit(max(0, min(limit, ROWS_AT_MOST)))
    with transaction(engine) as connection:
        return [from_row(row) for row in connection.execute(newest)]


def attempts_of(engine: Engine, request_id: str) -> list[SpendRecord]:
    """The attempts of one request, in the order they were made."""
    of_request = _row.request_id == storable(request_id)
    query = select(*RECORD_COLUMNS).where(of_request).order_by(_row.attempt, _row.attempt_id)
    with transaction(engine) as connection:
        return [from_row(row) for row in connection.execute(query)]


def both_kinds(engine: Engine) -> tuple[int, int]:
    """How many real and how many simulated attempts there are."""
    kinds = [func.coalesce(func.sum(SUMS.c.sign).filter(SERIES.c.simulated == kind), 0) for kind in (False, True)]
    query = select(*kinds).join_from(SUMS, SERIES, SERIES.c.id == SUMS.c.series).where(SUMS.c.hours == DAY_H)
    with transaction(engine) as connection:
        row = connection.execute(query).one()
    return int(row[0]), int(row[1])


def _split(row: Sequence[Any], groups: int) -> tuple[tuple[Any, ...], tuple[int, ...]]:  # Any: what a database gives
    # PostgreSQL sums 64-bit integers as NUMERIC, which arrives as Decimal: whole numbers, so int() is exact.
    return tuple(row[:groups]), tuple(map(int, row[groups:]))


def _texts(by: Sequence[str], group: Sequence[Any]) -> dict[str, str]:  # Any: texts, and numbers of days or hours
    return {name: _time(name, value) if name in TIMES else value for name, value in zip(by, group, strict=True)}


def _time(name: str, number: int) -> str:
    at = EPOCH + timedelta(hours=number * TIMES[name])
    return f"{at:%Y-%m-%d}" if name == "day" else f"{at:%Y-%m-%dT%H:%MZ}"


def _line(group: dict[str, str], simulated: bool, sums: Sequence[int]) -> SpendLine:
    found = dict(zip(TOTALS, sums, strict=True))
    return SpendLine(
        group=group,
        simulated=simulated,
        failed=found["attempts"] - found["requests"] - found["aborted"] - found["background"],
        saved_nano=found["baseline_nano"] - found["settled_nano"] - found["uncertain_nano"],
        **found,
    )


def _in_time(line: SpendLine) -> tuple[list[str], list[str]]:
    return [line.group[name] for name in TIMES if name in line.group], list(line.group.values())


def _dearest_first(line: SpendLine) -> tuple[int, list[str]]:
    return -line.settled_nano - line.uncertain_nano, list(line.group.values())
