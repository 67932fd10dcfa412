"""Versions of the tables: a fresh database is whole at once, an old one is brought up, a strange one is left alone."""

import logging
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, func, inspect, select, text

from gateway.core.contracts import LedgerUnavailable
from gateway.core.records import SpendRecord
from gateway.stores import migrations, schema
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.recount import recount
from gateway.stores.spend import attempts_of, spend
from gateway.stores.table import METADATA, SERIES, SUMS, TABLE, to_row
from tests.stores.samples import by_chance, varied

OLD_DDL = (Path(__file__).parent / "ledger_0001.sql").read_text()
OLD_COLUMNS = [field for field in SpendRecord.__struct_fields__ if f"    {field} " in OLD_DDL] + ["day"]
ROWS = by_chance(7, 400)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def old(engine: Engine) -> Engine:
    """A database of the first release, with rows."""
    names, marks = ", ".join(OLD_COLUMNS), ", ".join(f":{name}" for name in OLD_COLUMNS)
    with engine.begin() as connection:
        for statement in OLD_DDL.split(";")[:-1]:
            connection.execute(text(statement))
        rows = [dict(zip(TABLE.columns.keys(), to_row(record), strict=True)) for record in ROWS]
        connection.execute(text(f"INSERT INTO spend_records ({names}) VALUES ({marks})"), rows)
    return engine


def shape(engine: Engine) -> dict[str, Any]:
    """All that a database says about its tables, the order of columns apart."""
    found = inspect(engine)
    return {
        table: {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], column["default"])
                for column in found.get_columns(table)
            },
            "primary": found.get_pk_constraint(table),
            "foreign": found.get_foreign_keys(table),
            "unique": found.get_unique_constraints(table),
            "indexes": sorted(found.get_indexes(table), key=lambda index: str(index["name"])),
        }
        for table in found.get_table_names()
    }


def contents(engine: Engine) -> dict[str, list[Any]]:
    """The book and its sums, by what they say and not by the numbers of series."""
    named = [column for column in SERIES.columns if column.name != "id"]
    counted = [column for column in SUMS.columns if column.name != "series"]
    sums = select(*named, *counted).join(SUMS, SUMS.c.series == SERIES.c.id).order_by(*named, *counted[:2])
    with engine.connect() as connection:
        return {
            "book": [tuple(row) for row in connection.execute(select(TABLE).order_by(TABLE.c.attempt_id))],
            "sums": [tuple(row) for row in connection.execute(sums)],
        }


def stamp(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


def test_the_revisions_that_ship_are_those_that_are_known():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    shipped = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(shipped)) == schema.REVISIONS


def test_a_fresh_database_is_at_head_and_is_what_the_program_expects(engine: Engine):
    SqlLedger(engine).prepare()

    with engine.connect() as connection:
        assert schema.version(connection) == schema.HEAD
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []


def test_an_old_database_becomes_what_a_fresh_one_is_and_keeps_its_rows(
    old: Engine, request: pytest.FixtureRequest, tmp_path: Path
):
    fresh_url = (
        f"sqlite:///{tmp_path / 'fresh.sqlite'}"
        if old.dialect.name == "sqlite"
        else request.getfixturevalue("postgres_cluster").new_database()
    )
    fresh = SqlLedger(open_engine(fresh_url))
    fresh.append(ROWS)

    upgraded = SqlLedger(old)
    upgraded.prepare()

    assert shape(old) == shape(fresh.engine)
    assert contents(old) == contents(fresh.engine)
    assert len(contents(old)["book"]) == len(ROWS)
    for by in (("provider", "day"), ("team",)):
        assert spend(old, by=by, simulated=False) == spend(fresh.engine, by=by, simulated=False)
    upgraded.append(ROWS)
    upgraded.append(by_chance(8, 500)[400:])
    fresh.append(by_chance(8, 500)[400:])
    assert contents(old) == contents(fresh.engine)
    fresh.close()


def test_old_rows_have_the_defaults_of_new_fields(old: Engine):
    SqlLedger(old).prepare()
    (first, *_) = attempts_of(old, ROWS[0].request_id)
    assert first in ROWS
    assert (first.tags, first.sign, first.organisation, first.end_user, first.hold_nano) == ("{}", 1, "", None, 0)


def test_gateways_that_start_together_on_an_old_database_upgrade_it_once(old: Engine, database_url: str):
    ledgers = [SqlLedger(open_engine(database_url)) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(lambda ledger: ledger.prepare(), ledgers))

    with old.connect() as connection:
        assert schema.version(connection) == schema.HEAD
        attempts = connection.execute(select(func.sum(SUMS.c.sign)).where(SUMS.c.hours == 1)).scalar_one()
    assert attempts == len(ROWS)
    for ledger in ledgers:
        ledger.close()


def test_an_upgrade_that_fails_leaves_the_database_as_it_was(old: Engine):
    with old.begin() as connection:
        connection.execute(text("CREATE TABLE audit (mine TEXT)"))  # in the way
    before = shape(old)

    with pytest.raises(LedgerUnavailable, match="audit"):
        SqlLedger(old).prepare()

    assert shape(old) == before


def test_sums_that_something_else_bypassed_are_made_anew_from_the_rows(old: Engine):
    ledger = SqlLedger(old)
    ledger.append(varied(3, 300))
    right = contents(old)
    with old.begin() as connection:
        connection.execute(SUMS.update().where(SUMS.c.hours == 1).values(cost_nano=SUMS.c.cost_nano + 1))
        connection.execute(SUMS.delete().where(SUMS.c.hours == 24))

    recount(old)
    assert contents(old) == right
    ledger.append(by_chance(12, 800)[400:])
    recounted = contents(old)
    recount(old)
    assert contents(old) == recounted


def test_a_newer_database_is_refused_and_left_alone(engine: Engine):
    SqlLedger(engine).append(ROWS)
    stamp(engine, "9999")
    before = contents(engine)

    with pytest.raises(LedgerUnavailable, match=f"of version 9999, this gateway knows up to {schema.HEAD}.*newer"):
        SqlLedger(engine).append(by_chance(9, 3))

    assert contents(engine) == before


def test_a_book_that_no_release_made_is_refused_by_the_names_of_its_columns(old: Engine):
    with old.begin() as connection:
        connection.execute(text("ALTER TABLE spend_records ADD COLUMN mine TEXT"))
    with pytest.raises(LedgerUnavailable, match=r"not made by a released gateway .*: mine"):
        SqlLedger(old).prepare()


def test_an_upgrade_is_said_in_the_log(old: Engine, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "gateway.ledger")
    SqlLedger(old).prepare()
    assert f"of version 0001 and are brought to {schema.HEAD}" in caplog.text
    assert logging.getLogger("gateway.ledger").isEnabledFor(logging.ERROR)


def test_a_start_on_a_current_database_waits_for_nobody(sqlite_url: str):
    SqlLedger(open_engine(sqlite_url)).prepare()
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        SqlLedger(open_engine(sqlite_url)).prepare()
        assert time.monotonic() - began < 1
    other.close()


LIGHT = """
import sys
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.recount import recount
SqlLedger(open_engine(sys.argv[1])).prepare()
SqlLedger(open_engine(sys.argv[1])).prepare()
assert "alembic" not in sys.modules, "a start pays for Alembic"
"""


def test_a_start_on_a_fresh_or_current_database_does_not_load_alembic(sqlite_url: str):
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, sqlite_url], cwd=Path(__file__).parents[2], capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
