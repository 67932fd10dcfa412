"""Reading the whole ledger: the same from both databases, one moment of it, in constant memory; files are whole."""

from __future__ import annotations

import csv
import io
import tracemalloc
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from arro3.io import read_parquet

from gateway.core.contracts import LedgerUnavailable
from gateway.core.money import Nano
from gateway.core.pricing import PriceRow, Rates, Status
from gateway.core.records import SpendRecord
from gateway.core.sheet import Column, Kind
from gateway.finance.focus import COLUMNS, GROUP, by_attempt, by_day
from gateway.finance.split import PricesById
from gateway.stores.export import LEDGER_COLUMNS, Selection, ledger_rows, records
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.parquet import write_parquet
from gateway.stores.sheets import whole_file, write_csv
from gateway.stores.table import COLUMNS as TABLE_COLUMNS
from tests.stores.samples import DAY_US, ONE, by_chance, numbered

RATES = Rates(150_000, 3_000, 150_000, 600_000, 600_000)
BOOK = PricesById(
    [PriceRow(ONE.price_id, ONE.model, datetime(2026, 1, 1, tzinfo=UTC), None, Status.ANNOUNCED, "test", RATES)]
)
REAL = Selection(simulated=False)
START = datetime(2026, 11, 23, tzinfo=UTC)


def varied(seed: int, count: int) -> list[SpendRecord]:
    """Records by chance, a part of them priced as the book says, some with tags and users that need quoting."""
    priced = {"tags": '{"a":"x, \\"y\\"\\n"}', "end_user": "=1+1", "cost_nano": Nano(1200 * 150 + 800 * 3 + 340 * 600)}
    kept = ("attempt_id", "at_us", "team", "simulated")
    return [
        one
        if number % 3
        else msgspec.structs.replace(
            ONE, organisation="acme" if number % 2 else "", **priced, **{name: getattr(one, name) for name in kept}
        )
        for number, one in enumerate(by_chance(seed, count))
    ]


def csv_of(columns, rows) -> str:
    out = io.StringIO()
    write_csv(out, columns, rows)
    return out.getvalue()


def focus_csvs(ledger: SqlLedger, selection: Selection) -> list[str]:
    return [
        csv_of(COLUMNS, by_day(records(ledger.engine, selection, sorted_by=GROUP), BOOK)),
        csv_of(COLUMNS, by_attempt(records(ledger.engine, selection), BOOK)),
        csv_of(LEDGER_COLUMNS, ledger_rows(ledger.engine, selection)),
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_both_databases_give_the_same_files_whose_sums_are_the_ledgers(sqlite_url: str, postgres_url: str, seed: int):
    booked = varied(seed, 1500)
    small, large = SqlLedger(open_engine(sqlite_url)), SqlLedger(open_engine(postgres_url))
    small.append(booked)
    large.append(booked[::-1])

    for selection in (REAL, Selection(simulated=True), Selection(simulated=False, team="Zürich")):
        files = focus_csvs(small, selection)
        assert files == focus_csvs(large, selection)
        chosen = [one for one in booked if one.simulated is selection.simulated and selection.team in (None, one.team)]
        cost, baseline = sum(one.cost_nano for one in chosen), sum(one.baseline_nano for one in chosen)
        for text in files[:2]:
            rows = list(csv.DictReader(io.StringIO(text)))
            assert sum(int(Decimal(one["BilledCost"]) * 10**9) for one in rows) == cost
            assert sum(int(Decimal(one["x_BaselineCost"]) * 10**9) for one in rows) == baseline
            assert {one["x_Simulated"] for one in rows} == {"true" if selection.simulated else "false"}
            assert {one["SkuMeter"] for one in rows} > {"", "Input Tokens"}
        rows = list(csv.DictReader(io.StringIO(files[2])))
        assert sum(int(one["cost_nano"]) for one in rows) == cost
        assert sum(int(Decimal(one["cost_usd"]) * 10**9) for one in rows) == cost
        assert len(rows) == len(chosen)
    small.close()
    large.close()


def test_every_column_of_the_ledger_is_exported_as_it_stands(ledger: SqlLedger):
    ledger.append([msgspec.structs.replace(ONE, end_user="=1+1", cost_nano=Nano(-1500))])
    (row,) = csv.DictReader(io.StringIO(csv_of(LEDGER_COLUMNS, ledger_rows(ledger.engine, REAL))))

    assert [name for name in row if not name.endswith("_usd")] == list(TABLE_COLUMNS)
    assert (row["cost_nano"], row["cost_usd"], row["end_user"]) == ("-1500", "-0.000001500", "=1+1")
    assert (row["stream"], row["simulated"], row["service_tier"]) == ("true", "false", "")
    assert row["candidates"] == ONE.candidates


def test_the_period_and_the_providers_leave_the_rest_out(ledger: SqlLedger):
    booked = by_chance(3, 600)
    ledger.append(booked)
    since, until = START + timedelta(hours=7), START + timedelta(days=2, hours=1)
    found = list(
        records(ledger.engine, Selection(simulated=False, since=since, until=until, providers=("openai", "x")))
    )

    first, last = ONE.at_us + 7 * 3_600_000_000, ONE.at_us + 2 * DAY_US + 3_600_000_000
    expected = [one for one in booked if not one.simulated and one.provider == "openai" and first <= one.at_us < last]
    assert [one.attempt_id for one in found] == [
        one.attempt_id for one in sorted(expected, key=lambda one: (one.at_us, one.attempt_id))
    ]
    assert {(one.candidates, one.drops) for one in found} == {("", "")}
    assert list(records(ledger.engine, Selection(simulated=False, since=START + timedelta(days=400)))) == []


def test_a_reading_is_of_one_moment(ledger: SqlLedger):
    ledger.append([*numbered(3000), *numbered(10, start=5000, at_us=ONE.at_us + DAY_US)])
    reading = records(ledger.engine, REAL)
    next(reading)
    ledger.append(numbered(50, start=9000, at_us=ONE.at_us + DAY_US))

    assert sum(1 for _ in reading) == 3009
    assert sum(1 for _ in records(ledger.engine, REAL)) == 3060


def test_a_ledger_that_cannot_be_read_says_so(sqlite_url: str):
    with pytest.raises(LedgerUnavailable):
        list(records(open_engine(sqlite_url), REAL))


def peak_of_an_export(ledger: SqlLedger) -> int:
    class Nowhere(io.StringIO):
        def write(self, text: str) -> int:
            return len(text)

    tracemalloc.start()
    for columns, rows in (
        (LEDGER_COLUMNS, ledger_rows(ledger.engine, REAL)),
        (COLUMNS, by_attempt(records(ledger.engine, REAL), BOOK)),
        (COLUMNS, by_day(records(ledger.engine, REAL, sorted_by=GROUP), BOOK)),
    ):
        write_csv(Nowhere(), columns, rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_ledger(ledger: SqlLedger):
    # Each attempt a group of its own, all on one day: the worst for the daily rows.
    def fill(start: int, count: int) -> None:
        some = numbered(count, start=start)
        ledger.append([msgspec.structs.replace(one, tags=f'{{"session":"{one.attempt_id}"}}') for one in some])

    fill(0, 1_200)
    peak_of_an_export(ledger)  # what is made once and kept
    small = peak_of_an_export(ledger)
    fill(1_200, 3_600)

    assert peak_of_an_export(ledger) < small * 1.3


# Files ---------------------------------------------------------------------------------------------------------------

SHEET = (
    Column("text"), Column("number", Kind.INTEGER), Column("money", Kind.DECIMAL), Column("at", Kind.INSTANT),
    Column("true", Kind.BOOLEAN),
)  # fmt: skip
ROWS = [("a,\"b\"", 2**53 - 1, "-0.000000000001", "2026-11-23T00:00:00Z", "true"), (None, None, None, None, None),
        ("Zürich", 0, "99999999999999999999999999.000000000000", "2026-11-23T23:59:59Z", "false")]  # fmt: skip


def test_parquet_holds_what_csv_holds_in_types_of_its_own(tmp_path):
    assert write_parquet(tmp_path / "x.parquet", SHEET, iter(ROWS)) == 3
    table = read_parquet(tmp_path / "x.parquet").read_all()

    assert [str(field.type).split("<")[-1].rstrip(">\n ") for field in table.schema] == [
        "Utf8", "Int64", "Decimal128(38, 12)", 'Timestamp(µs, "UTC")', "Boolean",
    ]  # fmt: skip
    columns = {name: table[name].to_pylist() for name in table.column_names}
    assert columns["text"] == ['a,"b"', None, "Zürich"]
    assert columns["number"] == [2**53 - 1, None, 0]
    assert columns["money"] == [Decimal("-0.000000000001"), None, Decimal("99999999999999999999999999")]
    assert columns["at"] == [START, None, START + timedelta(days=1, seconds=-1)]
    assert columns["true"] == [True, None, False]


def test_parquet_without_rows_still_has_its_columns(tmp_path):
    assert write_parquet(tmp_path / "x.parquet", SHEET, []) == 0
    assert read_parquet(tmp_path / "x.parquet").read_all().column_names == [column.name for column in SHEET]


def failing():
    yield from ROWS * 5_000
    raise LedgerUnavailable("the ledger went away")


@pytest.mark.parametrize("write", [write_parquet, lambda path, *rest: csv_file(path, *rest)])
def test_a_file_is_whole_or_as_it_was(tmp_path, write):
    target = tmp_path / "out"
    target.write_text("before")
    with pytest.raises(LedgerUnavailable, match="went away"), whole_file(target) as draft:
        write(draft, SHEET, failing())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert target.read_text() == "before"

    with whole_file(target) as draft:
        write(draft, SHEET, ROWS)
        assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert target.read_bytes() != b"before"


def csv_file(path, columns, rows) -> None:
    with open(path, "w") as out:
        write_csv(out, columns, rows)
