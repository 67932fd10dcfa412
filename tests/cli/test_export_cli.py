"""`gateway export` and `gateway reconcile` as they are typed: files, messages, exit codes."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from arro3.io import read_parquet

from gateway.config import load
from gateway.core.money import Nano
from gateway.core.pricing import Usage
from gateway.core.records import SpendRecord, State
from gateway.stores.ledger import SqlLedger, open_engine, sqlite_url
from tests.running import ROOT
from tests.stores.samples import DAY_US, ONE

MODEL, PROVIDER = "deepseek/deepseek-flash", "deepseek"
LINTER = Path(sys.executable).with_name("focus-toolkit")


def run(folder: Path, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "GATEWAY_ROUTES": str(ROOT / "routes.yaml")},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    return done


def records() -> list[SpendRecord]:
    """Ten attempts a day for three days, as the shipped price book prices them; the last is uncertain."""
    prices = load(ROOT / "routes.yaml", {}, now=datetime.now(UTC)).world.market.prices
    made = []
    for number in range(30):
        at_us = ONE.at_us + number * DAY_US // 10
        price = prices.at(MODEL, datetime.fromtimestamp(at_us // 10**6, UTC))
        usage = Usage(input=101 + number, cached_input=64 * (number % 2), output=33)
        made.append(
            msgspec.structs.replace(
                ONE, attempt_id=f"r{number:02d}.1", request_id=f"r{number:02d}", at_us=at_us, provider=PROVIDER,
                model=MODEL, price_id=price.id, cost_nano=price.cost(usage), input_tokens=usage.input,
                cached_input_tokens=usage.cached_input, output_tokens=usage.output, reasoning_tokens=0,
                state=State.UNCERTAIN if number == 29 else State.SETTLED,
            )
        )  # fmt: skip
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    ledger = SqlLedger(open_engine(sqlite_url(tmp_path / "data" / "ledger.sqlite")))
    ledger.append(records())
    ledger.append([msgspec.structs.replace(ONE, attempt_id="made-up.1", simulated=True, cost_nano=Nano(10**9))])
    ledger.close()
    return tmp_path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def nano(found: list[dict[str, str]], column: str) -> int:
    return int(sum(Decimal(one[column]) for one in found) * 10**9)


COST = sum(one.cost_nano for one in records())


@pytest.mark.parametrize("granularity", ["day", "attempt"])
def test_a_focus_file_passes_the_linter_and_sums_to_the_ledger(folder, granularity):
    run(folder, "export", "--granularity", granularity, "--out", "focus.csv")
    found = rows((folder / "focus.csv").read_text())

    assert nano(found, "BilledCost") == COST
    lint = [LINTER, "validate", "focus.csv", "--dataset", "cost-and-usage", "--supports", "SupportsUnitPricing",
            "--supports", "SupportsMultiplePricingCategories"]  # fmt: skip
    done = subprocess.run(lint, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    assert "SEMANTIC_VALID" in done.stdout


def test_parquet_holds_the_same_as_csv(folder):
    for words in (("--format", "focus"), ("--format", "focus", "--granularity", "attempt")):
        run(folder, "export", *words, "--out", "x.parquet")
        table = read_parquet(folder / "x.parquet").read_all()
        found = rows(run(folder, "export", *words).stdout)
        assert table.column_names == list(found[0])
        for name in table.column_names:
            assert [plain(cell) for cell in table[name].to_pylist()] == [parsed(one[name], name) for one in found]
    run(folder, "export", "--format", "parquet", "--out", "ledger.pq")
    assert sum(read_parquet(folder / "ledger.pq").read_all()["cost_nano"].to_pylist()) == COST


def plain(cell: object) -> object:
    if isinstance(cell, datetime):
        return f"{cell:%Y-%m-%dT%H:%M:%S}Z"
    return {True: "true", False: "false"}[cell] if isinstance(cell, bool) else cell


def parsed(text: str, column: str) -> object:
    if not text:
        return None
    return Decimal(text) if column.endswith(("Cost", "UnitPrice", "Quantity")) else text


def test_the_ledgers_own_columns_as_csv(folder):
    found = rows(run(folder, "export", "--format", "csv").stdout)

    assert len(found) == 30
    assert sum(int(one["cost_nano"]) for one in found) == nano(found, "cost_usd") == COST
    assert {one["simulated"] for one in found} == {"false"}
    assert nano(rows(run(folder, "export", "--simulated").stdout), "BilledCost") == 10**9
    first = rows(run(folder, "export", "--format", "csv", "--to", "2026-11-24").stdout)
    assert len(first) == 10
    assert run(folder, "export", "--format", "csv", "--team", "nobody").stdout.count("\n") == 1


def test_an_empty_period_is_a_header_and_a_word_about_it(folder):
    done = run(folder, "export", "--from", "2030-01-01")

    assert done.stdout.startswith("BillingAccountId,")
    assert done.stdout.count("\n") == 1
    assert "no records in this period; there are 1 simulated records" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--data-dir", "/nonexistent"), 1, "there is no ledger"),
        (("--routes", "none.yaml"), 1, "no such file"),
        (("--out", "missing/x.csv"), 1, "missing/x.csv cannot be written: No such file"),
        (("--from", "soon"), 1, "no ISO date"),
        (("--from", "2026-11-24", "--to", "2026-11-23"), 1, "ends (2026-11-23) before it begins"),
        (("--format", "csv", "--granularity", "day"), 2, "--granularity day is for --format focus"),
        (("--format", "parquet"), 2, "say --out FILE"),
        (("--parquet",), 2, "say --out FILE"),
        (("--format", "csv", "--out", "x.parquet"), 2, "say --format parquet"),
        (("--format", "xml"), 2, "invalid choice"),
    ],
)
def test_a_mistake_in_an_export_is_one_clear_message(folder, words, code, said):
    done = run(folder, "export", *words, code=code)

    assert said in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["data"]


def test_parquet_without_its_writer_says_how_to_come_by_it(folder):
    (folder / "arro3.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "export", "--out", "x.parquet"], cwd=folder, capture_output=True, text=True,
        env={"PYTHONPATH": f"{folder}:{ROOT}", "PATH": "/usr/bin:/bin", "GATEWAY_ROUTES": str(ROOT / "routes.yaml")},
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "make venv-dev" in done.stderr
    assert not (folder / "x.parquet").exists()


def test_a_reader_that_has_seen_enough_ends_the_export_quietly(folder):
    command = f"{sys.executable} -m gateway export --format csv | head -n 1"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        ["sh", "-c", command], cwd=folder, capture_output=True, text=True, env=environment, timeout=60
    )

    assert done.stdout.startswith("attempt_id,")
    assert done.stderr == ""


# Reconcile -----------------------------------------------------------------------------------------------------------


def invoice(folder: Path, made: list[SpendRecord], *, attempts: bool = False) -> None:
    with open(folder / "bill.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["date", "model", "cost_usd", *(["attempt_id"] if attempts else [])])
        for one in made:
            at = datetime.fromtimestamp(one.at_us // 10**6, UTC)
            cost = f"{Decimal(one.cost_nano) / 10**9:.9f}"
            writer.writerow([at.date(), "deepseek-flash", cost, *([one.attempt_id] if attempts else [])])


def test_a_bill_that_agrees_exits_0_and_one_that_does_not_exits_1(folder):
    invoice(folder, records())
    assert "no difference" in run(folder, "reconcile", "bill.csv").stdout
    invoice(folder, records()[1:])
    assert "no difference" in run(folder, "reconcile", "bill.csv").stdout  # within a cent
    said = run(folder, "reconcile", "bill.csv", "--tolerance-usd", "0", code=1).stdout
    assert f"2026-11-23  {MODEL}  billed less than booked" in said
    assert "1 difference\n" in said
    found = msgspec.json.decode(run(folder, "reconcile", "bill.csv", "--tolerance-usd", "0", "--json", code=1).stdout)
    (one,) = found["findings"]
    assert found["agrees"] is False
    assert one["booked_nano"] - one["invoice_nano"] == records()[0].cost_nano
    assert one["booked_usd"] == f"{Decimal(one['booked_nano']) / 10**9:.9f}"


def test_days_outside_the_period_are_left_out(folder):
    invoice(folder, records()[10:])
    words = ("reconcile", "bill.csv", "--tolerance-usd", "0")
    assert "no difference" in run(folder, *words).stdout
    assert "in the ledger, not in the invoice" in run(folder, *words, "--from", "2026-11-23", code=1).stdout
    said = run(folder, *words, "--from", "2026-11-24", "--to", "2026-11-25").stdout
    assert "10 lines (10 more are outside the period) against 10 attempts" in said


def test_what_an_uncertain_attempt_was_billed_is_booked_once_by_correcting_rows(folder):
    *_, last = made = records()
    billed = msgspec.structs.replace(last, cost_nano=Nano(last.cost_nano + 1000))
    invoice(folder, [*made[:-1], billed], attempts=True)
    said = run(folder, "reconcile", "bill.csv", "--per-attempt", code=1).stdout
    assert f"r29.1  {MODEL}  uncertain, and the bill knows better" in said

    done = run(folder, "reconcile", "bill.csv", "--per-attempt", "--apply")
    assert "uncertain attempts that are settled now: 1" in done.stderr
    assert "no difference" in run(folder, "reconcile", "bill.csv", "--per-attempt").stdout
    assert (
        "uncertain attempts that are settled now: 0"
        in run(folder, "reconcile", "bill.csv", "--per-attempt", "--apply").stderr
    )
    found = rows(run(folder, "export", "--format", "csv").stdout)
    assert sum(int(one["cost_nano"]) for one in found) == COST + 1000
    assert [one["attempt_id"] for one in found if one["corrects"]] == ["r29.1~c", "r29.1~r"]
    assert found[-2]["candidates"] == ONE.candidates
    focus = rows(run(folder, "export").stdout)
    assert nano(focus, "BilledCost") == COST + 1000
    assert sum(one["ChargeClass"] == "Correction" for one in focus) >= 2
    assert nano([one for one in focus if one["x_State"] == "uncertain"], "BilledCost") == 0


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        (None, (), "bill.csv cannot be read: No such file"),
        ("a,b\n1,2\n", (), "bill.csv: no known header"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,x\n", (), "bill.csv:2: 'x' is not a number"),
        ("date,model,cost_usd\n", (), "no lines in this period"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,1\n", ("--per-attempt",), "bill.csv:2: no attempt is named"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,1\n", ("--apply",), "--apply needs --per-attempt"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,1\n", ("--from", "soon"), "is not a day"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,1\n", ("--tolerance-usd", "-1"), "zero or more"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,1\n", ("--columns", "a=b"), "--columns takes"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,1\n", ("--data-dir", "none"), "there is no ledger"),
        ("date,model,cost_usd\n2026-11-23,deepseek-flash,1\n", ("--from", "2026-12-01", "--to", "2026-11-01"),
         "ends (2026-11-01) before"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_exits_2_with_one_clear_message(folder, text, words, said):
    if text is not None:
        (folder / "bill.csv").write_text(text)
    assert said in run(folder, "reconcile", "bill.csv", *words, code=2).stderr


def test_a_file_that_is_not_text_exits_2(folder):
    (folder / "bill.csv").write_bytes(b"\xff\xfe\x00PAR1" * 10)
    assert "not text in UTF-8" in run(folder, "reconcile", "bill.csv", code=2).stderr
