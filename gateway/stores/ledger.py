"""The book: one table in SQLite or PostgreSQL, to which rows are only ever added, and its sums (see `rollup`).

Invariants: appending twice is appending once (by attempt_id). A batch is one transaction: all of it or nothing. No
statement here changes or removes a row of the book. The one thing that a second record of an attempt may do: where the
first gave the attempt up as lost, the second is its true end, and is booked as a correction.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from gateway.core.contracts import LedgerUnavailable
from gateway.core.corrections import found_after_all
from gateway.core.records import LOST, SpendRecord

from . import schema
from .rollup import Row, SeriesKey, SeriesNumbers, by_hour, spans
from .table import RECORD_COLUMNS, TABLE, from_row, to_row
from .writing import PostgresWriting, SqliteWriting, Writing

log = logging.getLogger("gateway.ledger")

BUSY_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5
STATEMENT_TIMEOUT_S = 30

LEDGER_FILE = "ledger.sqlite"
"""The embedded ledger, in the data directory."""


def sqlite_url(file: Path) -> URL:
    """The address of a SQLite ledger, whatever signs its path has."""
    return URL.create("sqlite", database=str(file))


def open_engine(database_url: str | URL, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """An engine for sqlite:///path or postgresql://... ; nothing is opened yet.

    Raises ValueError for anything else; its text never repeats the address, which may hold a password.
    """
    try:
        url = make_url(database_url)
    except (ArgumentError, ValueError):
        raise ValueError("DATABASE_URL must look like sqlite:///path/to/file or postgresql://user@host/name") from None
    name = url.drivername.partition("+")[0]
    if name == "sqlite":
        return _sqlite(url, busy_timeout_s)
    if name in ("postgresql", "postgres"):
        return _postgresql(url)
    raise ValueError(f"DATABASE_URL: the ledger is kept in sqlite or postgresql, not in {name[:20]!r}")


def _sqlite(url: URL, busy_timeout_s: float) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise ValueError("DATABASE_URL: sqlite needs a file, as in sqlite:///data/ledger.db")
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": busy_timeout_s})

    def prepare(connection: sqlite3.Connection, _: object) -> None:
        # With the write-ahead log, NORMAL loses nothing when a process is killed; after a power cut the last
        # transactions may be missing, never half of one. FULL would wait for the disk at every batch.
        connection.execute("PRAGMA synchronous=NORMAL")

    event.listen(engine, "connect", prepare)
    return engine


def _postgresql(url: URL) -> Engine:
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=CONNECT_TIMEOUT_S,
        # Whatever the server's default: who waited for another writer's row has to see it afterwards.
        isolation_level="READ COMMITTED",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            # A peer that fell silent is given up after ten seconds (milliseconds here); the kernel's own patience
            # would be a quarter of an hour.
            "tcp_user_timeout": 10_000,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 2,
        },
    )


@contextmanager
def transaction(engine: Engine) -> Iterator[Connection]:
    """One transaction with a deadline. Whatever goes wrong in the database is LedgerUnavailable."""
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'")
            yield connection
    except SQLAlchemyError as exc:
        raise LedgerUnavailable(_cause(exc)) from exc


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees the database as it was at its first question, however many it asks."""
    with transaction(engine) as connection:
        snapshot = "BEGIN" if connection.dialect.name == "sqlite" else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
        connection.exec_driver_sql(snapshot)
        yield connection


def _cause(exc: SQLAlchemyError) -> str:
    cause: BaseException = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    first = str(cause).strip().partition("\n")[0]
    return f"{type(cause).__name__}: {first[:300]}"


class SqlLedger:
    """core.contracts.Ledger. May be used from any thread.

    refused: how many records were not booked, because a number in them is not whole or not believable. Each stands
    complete in the log, so that it can be booked by hand; left in the queue it would keep every later one out.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.refused = 0
        self._prepared = False
        self._writing: Writing = SqliteWriting() if engine.dialect.name == "sqlite" else PostgresWriting()
        self._series = SeriesNumbers(self._writing.mark)
        event.listen(engine, "connect", self._connected)

    def prepare(self) -> None:
        """Bring the tables to this program's version. Raises LedgerUnavailable. `append` does it when nobody has."""
        if self.engine.dialect.name == "sqlite":
            self._prepare_file()
        with transaction(self.engine) as connection:
            current = schema.is_current(connection)
        if not current:
            with transaction(self.engine) as connection:
                schema.lock(connection)
                schema.bring_up(connection)
        self._prepared = True

    def version(self) -> str | None:
        """The version of the database's tables; None for tables without one. Raises LedgerUnavailable."""
        with transaction(self.engine) as connection:
            return schema.version(connection)

    def append(self, records: Sequence[SpendRecord]) -> None:
        """Blocking. Raises LedgerUnavailable when nothing was written."""
        rows = self._rows(records)
        if not self._prepared:
            self.prepare()
        if not rows:
            return
        try:
            with transaction(self.engine) as connection:
                ids = self._write(connection, rows, records)
        except LedgerUnavailable:
            self._prepared = False  # what comes back may be an empty database
            self._series.forget()
            raise
        self._series.keep(ids)

    def _write(
        self, connection: Connection, rows: Sequence[Row], records: Sequence[SpendRecord]
    ) -> Mapping[SeriesKey, int]:
        new = self._writing.insert(connection, rows)
        if len(new) < len(rows):
            known = {row[0] for row in rows} - {row[0] for row in new}
            late = self._found_after_all(connection, [one for one in records if one.attempt_id in known])
            new = [*new, *self._writing.insert(connection, late)] if late else new
        sums = by_hour(new)
        ids = self._series.of(connection, {key for _, key in sums})
        if sums:
            self._writing.add(connection, spans(sums, ids))
        return ids

    def _found_after_all(self, connection: Connection, again: Sequence[SpendRecord]) -> list[Row]:
        """Corrections for rows that gave these attempts up as lost."""
        ends = {record.attempt_id: record for record in again if record.outcome != LOST}
        if not ends:
            return []
        asked = select(*RECORD_COLUMNS).where(TABLE.c.attempt_id.in_(ends), TABLE.c.outcome == LOST)
        given_up = [from_row(row) for row in connection.execute(asked)]
        return self._rows([row for lost in given_up for row in found_after_all(lost, ends[lost.attempt_id])])

    def _connected(self, *_: object) -> None:
        # A server that was restored from a backup under our feet has closed every connection.
        self._series.forget()

    def close(self) -> None:
        self.engine.dispose()

    def _rows(self, records: Sequence[SpendRecord]) -> list[Row]:
        """Fit for the database, each attempt once: the first that came, its true end before one that gave it up."""
        rows: dict[str, Row] = {}
        for record in sorted(records, key=lambda one: one.outcome == LOST):
            try:
                row = to_row(record)
                rows.setdefault(str(row[0]), row)
            except ValueError as exc:
                self.refused += 1
                log.error("not booked, %s: %s", exc, msgspec.json.encode(record).decode())
        return list(rows.values())

    def _prepare_file(self) -> None:
        file = Path(str(self.engine.url.database))
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise LedgerUnavailable(f"{file.parent}: {exc.strerror}") from exc
        # Outside a transaction, where SQLite changes it; the file remembers. Readers then never wait for the writer.
        try:
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        except SQLAlchemyError as exc:
            raise LedgerUnavailable(_cause(exc)) from exc
