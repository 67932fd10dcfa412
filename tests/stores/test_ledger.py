"""The book, in both databases: every row once, whole batches or nothing, never a row changed."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psycopg
import pytest
from sqlalchemy import event, func, inspect, select, text

from gateway.core.contracts import LedgerUnavailable
from gateway.core.money import Nano
from gateway.core.records import LOST, SpendRecord, State
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.spend import attempts_of, both_kinds, recent, spend
from gateway.stores.table import COLUMNS, METADATA, TABLE, day_of
from tests.stores.samples import DAY_US, ONE, by_chance, numbered
from tests.stores.services import PostgresCluster, start_postgres


def booked(ledger: SqlLedger) -> int:
    with ledger.engine.connect() as connection:
        return int(connection.execute(select(func.count()).select_from(TABLE)).scalar_one())


def test_each_field_of_a_record_has_a_column_and_nothing_lists_them_twice():
    assert list(COLUMNS) == [*SpendRecord.__struct_fields__, "day"]
    whole = {name for name in COLUMNS if name.endswith(("_nano", "_tokens", "_us", "_bytes"))}
    assert {name for name in COLUMNS if str(TABLE.c[name].type) == "BIGINT"} == whole | {"attempt", "status", "sign"}
    assert [column.name for column in TABLE.primary_key] == ["attempt_id"]


def test_a_record_comes_back_as_it_was_booked(ledger: SqlLedger):
    bare = msgspec.structs.replace(
        ONE, attempt_id="b", attempt=2, finish_reason=None, price_id=None, baseline_model=None, baseline_price_id=None,
        ttft_us=None, simulated=True, service_tier="flex", team="東京 🗼", cost_nano=Nano(0),
        baseline_nano=Nano(2**53 - 1),
    )  # fmt: skip
    ledger.append([bare, ONE])

    assert attempts_of(ledger.engine, ONE.request_id) == [ONE, bare]
    assert recent(ledger.engine, 10, simulated=False) == [ONE]


def test_the_true_end_of_an_attempt_that_was_given_up_takes_the_place_of_its_row(ledger: SqlLedger):
    lost = msgspec.structs.replace(
        ONE, outcome=LOST, state=State.UNCERTAIN, cost_nano=Nano(9_000_000), baseline_nano=Nano(0)
    )
    ledger.append([lost])
    for _ in range(2):
        ledger.append([lost, ONE, *numbered(2)])

    (line,) = spend(ledger.engine, by=["team"], simulated=False)
    assert (line.settled_nano, line.uncertain_nano) == (3 * ONE.cost_nano, 0)
    assert (line.attempts, line.requests) == (3, 3)
    assert [row.sign for row in attempts_of(ledger.engine, ONE.request_id)] == [1, 1, -1]


def test_an_attempt_that_is_given_up_after_its_end_was_booked_stays_as_it_was(ledger: SqlLedger):
    ledger.append([ONE])
    ledger.append([msgspec.structs.replace(ONE, outcome=LOST, state=State.UNCERTAIN, cost_nano=Nano(9_000_000))])

    assert attempts_of(ledger.engine, ONE.request_id) == [ONE]


def test_appending_twice_is_appending_once_and_the_first_stays(ledger: SqlLedger):
    ledger.append([ONE])
    ledger.append([msgspec.structs.replace(ONE, cost_nano=Nano(1)), *numbered(3), *numbered(2)])
    ledger.append(numbered(3))
    ledger.append([])

    assert booked(ledger) == 4
    assert attempts_of(ledger.engine, ONE.request_id) == [ONE]


def test_the_day_is_the_date_in_utc(ledger: SqlLedger):
    midnight = ONE.at_us
    ledger.append([
        msgspec.structs.replace(ONE, attempt_id=str(number), at_us=at_us)
        for number, at_us in enumerate([midnight - 1, midnight, midnight + DAY_US - 1, midnight + DAY_US, 0])
    ])  # fmt: skip
    with ledger.engine.connect() as connection:
        days = connection.execute(select(TABLE.c.day).order_by(TABLE.c.attempt_id)).scalars().all()
    assert days == ["2026-11-22", "2026-11-23", "2026-11-23", "2026-11-24", "1970-01-01"]
    assert day_of(-1) == "1969-12-31"


def test_text_that_no_database_takes_is_booked_with_its_bad_characters_replaced(ledger: SqlLedger):
    ledger.append([msgspec.structs.replace(ONE, finish_reason="st\0op", service_tier="\ud800x", team="é")])
    (kept,) = attempts_of(ledger.engine, ONE.request_id)
    assert (kept.finish_reason, kept.service_tier, kept.team) == ("st\ufffdop", "?x", "é")


@pytest.mark.parametrize(
    "odd", [{"output_tokens": 10**30}, {"cost_nano": 2**53}, {"cost_nano": -(2**63)}, {"cost_nano": 0.5}]
)
def test_an_unbelievable_record_is_logged_whole_and_keeps_no_other_out(
    ledger: SqlLedger, caplog: pytest.LogCaptureFixture, odd: dict[str, int]
):
    ledger.append([*numbered(2), msgspec.structs.replace(ONE, **odd), *numbered(2, start=2)])

    assert booked(ledger) == 4
    assert ledger.refused == 1
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert ONE.attempt_id in record.getMessage()
    assert f'"{next(iter(odd))}":' in record.getMessage()


def test_nothing_is_ever_said_to_the_database_that_changes_a_row(ledger: SqlLedger):
    said: list[str] = []

    @event.listens_for(ledger.engine, "before_cursor_execute")
    def listen(connection: object, cursor: object, statement: str, *rest: object) -> None:
        said.append(statement.split()[0].upper())

    ledger.append(numbered(3))
    ledger.append(numbered(3))
    recent(ledger.engine, 3, simulated=False)
    attempts_of(ledger.engine, "x")
    both_kinds(ledger.engine)

    assert set(said) <= {"SELECT", "INSERT", "CREATE", "SET", "BEGIN", "PRAGMA"}


def test_gateways_that_start_together_make_one_table(database_url: str):
    ledgers = [SqlLedger(open_engine(database_url)) for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda ledger: ledger.append(numbered(20)), ledgers))

    assert booked(ledgers[0]) == 20
    names = {index["name"] for index in inspect(ledgers[0].engine).get_indexes(TABLE.name)}
    assert names == {index.name for index in TABLE.indexes}
    for ledger in ledgers:
        ledger.close()


def test_numbers_of_series_may_be_forgotten_at_any_moment(ledger: SqlLedger):
    batches = [by_chance(seed, 60) for seed in range(6)]
    batches = [
        [msgspec.structs.replace(one, attempt_id=f"{seed}-{one.attempt_id}") for one in batch]
        for seed, batch in enumerate(batches)
    ]
    ledger.prepare()
    stop = threading.Event()

    def forget() -> None:
        while not stop.wait(0.0002):  # a loop without a pause starves the writers of a turn
            ledger._connected()  # as when the pool makes a new connection

    forgetting = threading.Thread(target=forget)
    forgetting.start()
    try:
        with ThreadPoolExecutor(3) as threads:
            list(threads.map(ledger.append, batches * 2))
    finally:
        stop.set()
        forgetting.join()

    assert booked(ledger) == sum(both_kinds(ledger.engine)) == 360


def test_a_table_with_other_columns_is_found_before_anything_is_written(database_url: str):
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE spend_records (attempt_id TEXT PRIMARY KEY)"))
    with pytest.raises(LedgerUnavailable, match="column"):
        SqlLedger(engine).prepare()
    engine.dispose()


@pytest.mark.parametrize(
    "url", ["", "nonsense", "mysql://u:s3cret@h/d", "sqlite://", "sqlite:///:memory:", "redis://:s3cret@h"]
)
def test_an_address_that_is_none_is_refused_without_repeating_it(url: str):
    with pytest.raises(ValueError, match="DATABASE_URL") as refused:
        open_engine(url)
    assert "s3cret" not in str(refused.value)


# A dead database: nothing half-written, and everything taken later.


def test_an_unreachable_database_is_unavailable_and_its_password_is_not_told():
    ledger = SqlLedger(open_engine("postgres://gateway:s3cret@127.0.0.1:1/ledger"))
    with pytest.raises(LedgerUnavailable) as unavailable:
        ledger.append([ONE])
    assert "s3cret" not in str(unavailable.value)
    assert "OperationalError" in str(unavailable.value)


@pytest.fixture
def mortal() -> Iterator[PostgresCluster]:
    """A cluster that a test may kill."""
    cluster = start_postgres()
    yield cluster
    cluster.remove()


def test_a_postgres_that_dies_and_returns_gets_everything_once(mortal: PostgresCluster):
    ledger = SqlLedger(open_engine(mortal.new_database()))
    ledger.append(numbered(500))

    mortal.stop()
    for _ in range(3):
        with pytest.raises(LedgerUnavailable):
            ledger.append(numbered(500, start=500))
        with pytest.raises(LedgerUnavailable):
            recent(ledger.engine, 1, simulated=False)
    mortal.start()

    assert booked(ledger) == 500
    ledger.append(numbered(500, start=500))
    assert booked(ledger) == 1000
    ledger.close()


def test_a_database_that_returns_empty_gets_its_table_again(ledger: SqlLedger):
    ledger.append(numbered(1))
    with ledger.engine.begin() as connection:
        METADATA.drop_all(connection)
    with pytest.raises(LedgerUnavailable):
        ledger.append(numbered(5))

    ledger.append(numbered(5))
    assert booked(ledger) == 5


def test_a_connection_cut_within_a_batch_leaves_nothing_of_it(postgres_url: str):
    ledger = SqlLedger(open_engine(postgres_url))
    ledger.append(numbered(1))
    with psycopg.connect(postgres_url, autocommit=True) as other, psycopg.connect(postgres_url) as blocker:
        # Row 300 of the batch waits for this one, which is not committed yet.
        blocker.execute(
            'INSERT INTO spend_records SELECT (jsonb_populate_record(s, \'{"attempt_id":"a000000000300.1"}\')).*'
            " FROM spend_records s LIMIT 1"
        )
        failed = threading.Thread(target=_expect_unavailable, args=(ledger, numbered(500)))
        failed.start()
        _kill_whoever_waits(other)
        failed.join(10)
        assert not failed.is_alive()
        blocker.rollback()

    assert booked(ledger) == 1
    ledger.append(numbered(500))
    assert booked(ledger) == 500
    ledger.close()


def _expect_unavailable(ledger: SqlLedger, records: list[SpendRecord]) -> None:
    with pytest.raises(LedgerUnavailable):
        ledger.append(records)


def _kill_whoever_waits(connection: psycopg.Connection) -> None:
    deadline = time.monotonic() + 10
    waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    while not connection.execute(waiting).fetchall():
        assert time.monotonic() < deadline, "the batch never came to the row that is held"
        time.sleep(0.02)


def test_a_locked_file_is_unavailable_after_the_deadline_and_then_takes_everything(sqlite_url: str):
    ledger = SqlLedger(open_engine(sqlite_url, busy_timeout_s=0.2))
    ledger.append(numbered(1))
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.append(numbered(500))
        assert 0.15 < time.monotonic() - began < 2
        assert len(recent(ledger.engine, 10, simulated=False)) == 1  # readers do not wait for the writer
        other.execute("ROLLBACK")
    other.close()

    assert booked(ledger) == 1
    ledger.append(numbered(500))
    assert booked(ledger) == 500


def test_what_is_no_database_is_unavailable(tmp_path: Path):
    (tmp_path / "text").write_text("this is no database, it is a text that is longer than a header would be" * 10)
    (tmp_path / "directory").mkdir()
    for name in ("text", "directory", "text/below"):
        with pytest.raises(LedgerUnavailable):
            SqlLedger(open_engine(f"sqlite:///{tmp_path / name}")).append([ONE])


def test_a_batch_that_fails_in_the_middle_leaves_nothing_of_it(ledger: SqlLedger):
    ledger.prepare()
    with ledger.engine.begin() as connection:
        connection.execute(text("CREATE UNIQUE INDEX once ON spend_records (request_id)"))
    batch = numbered(500)
    batch[250] = msgspec.structs.replace(batch[250], request_id=batch[10].request_id)  # not the key that may repeat

    with pytest.raises(LedgerUnavailable):
        ledger.append(batch)

    assert booked(ledger) == 0


WRITER = """
import sys
from gateway.stores.ledger import SqlLedger, open_engine
from tests.stores.samples import numbered
ledger = SqlLedger(open_engine(sys.argv[1]))
for start in range(0, 10**7, 100):
    ledger.append(numbered(100, start=start))
    print(start + 100, flush=True)
"""


def test_what_append_returned_from_survives_the_death_of_the_process(database_url: str):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", WRITER, database_url]
    writer = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 2000:
            break
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = max([int(line), *(int(more) for more in writer.stdout if more.endswith("\n"))])
    writer.wait(10)

    ledger = SqlLedger(open_engine(database_url))
    deadline = time.monotonic() + 5
    while booked(ledger) % 100 and time.monotonic() < deadline:
        time.sleep(0.05)  # PostgreSQL may still be finishing the last one
    assert booked(ledger) >= acknowledged
    assert booked(ledger) % 100 == 0
    ledger.close()


def test_the_file_is_read_while_the_gateway_writes(sqlite_url: str):
    ledger = SqlLedger(open_engine(sqlite_url))
    ledger.append(numbered(100))
    reader = open_engine(sqlite_url)
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the writer is at work
        assert both_kinds(reader) == (100, 0)
        connection.rollback()
    reader.dispose()
