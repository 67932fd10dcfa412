"""`gateway ledger` and `gateway spend` on ledgers of this version and of the first."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from gateway.stores.ledger import SqlLedger, open_engine, sqlite_url
from tests.running import ROOT
from tests.stores.samples import ONE, numbered

DDL = (ROOT / "tests" / "stores" / "ledger_0001.sql").read_text()


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *words, "--data-dir", "."], cwd=folder, capture_output=True, text=True,
        timeout=60, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with sqlite3.connect(tmp_path / "ledger.sqlite") as connection:
        connection.executescript(DDL)
    connection.close()
    return tmp_path


@pytest.fixture
def booked(tmp_path: Path) -> Path:
    ledger = SqlLedger(open_engine(sqlite_url(tmp_path / "ledger.sqlite")))
    ledger.append([
        *numbered(2, tags='{"project":"a","stage":"test"}', end_user="u1", organisation="acme"),
        *numbered(3, start=2, tags='{"project":"b"}', key_id="key-2"),
    ])  # fmt: skip
    ledger.close()
    return tmp_path


def test_an_old_ledger_is_named_upgraded_and_read(old: Path):
    refused = run(old, "spend")
    assert refused.returncode == 1
    assert "of version none, this program reads 0003: start the gateway, or run `gateway ledger" in refused.stderr

    before = run(old, "ledger", "version")
    assert (before.returncode, before.stdout) == (1, "the ledger's tables: no version; this program's: 0003\n")
    upgraded = run(old, "ledger", "upgrade")
    assert (upgraded.returncode, upgraded.stdout) == (0, "the ledger's tables: 0003; this program's: 0003\n")
    assert "are brought to 0003 now" in upgraded.stderr
    assert run(old, "spend").stdout == "nothing was spent in this period\n"


def test_sums_are_made_anew(booked: Path):
    with sqlite3.connect(booked / "ledger.sqlite") as connection:
        connection.execute("DELETE FROM spend_sums")
    connection.close()
    assert run(booked, "spend").stdout == "nothing was spent in this period\n"

    assert run(booked, "ledger", "recount").returncode == 0
    assert json.loads(run(booked, "spend", "--json").stdout)["total"]["attempts"] == 5


def test_spend_by_tag_and_by_hour(booked: Path):
    done = run(booked, "spend", "--by", "tag:project,hour", "--json")
    groups = {line["group"]["tag:project"]: line for line in json.loads(done.stdout)["lines"]}

    assert {name: line["attempts"] for name, line in groups.items()} == {"a": 2, "b": 3}
    assert groups["a"]["group"]["hour"] == "2026-11-23T00:00Z"


@pytest.mark.parametrize(
    ("words", "attempts"),
    [
        (("--tag", "project=a", "--tag", "stage=test"), 2),
        (("--tag", "project=b"), 3),
        (("--key", "key-2"), 3),
        (("--end-user", "u1"), 2),
        (("--organisation", "acme"), 2),
        (("--key", "key-2", "--from", "2026-11-01", "--to", "2027-01-01"), 3),
        (("--key", "key-2", "--since", "2026-11-01", "--until", "2027-01-01"), 3),
    ],
)
def test_spend_of_a_part(booked: Path, words: tuple[str, ...], attempts: int):
    (line,) = json.loads(run(booked, "spend", "--json", *words).stdout)["lines"]
    assert line["attempts"] == attempts
    assert line["settled_nano"] == attempts * msgspec.to_builtins(ONE)["cost_nano"]


def test_what_is_no_tag_and_no_ledger_is_said(tmp_path: Path):
    assert "'project' is not NAME=VALUE" in run(tmp_path, "spend", "--tag", "project").stderr
    assert "there is no ledger at ledger.sqlite yet" in run(tmp_path, "ledger", "upgrade").stderr
