"""The record of who changed what, on both databases."""

from __future__ import annotations

import msgspec
import pytest

from gateway.core.contracts import LedgerUnavailable
from gateway.stores.audit import audit_log, audited
from gateway.stores.ledger import SqlLedger, open_engine


@pytest.fixture
def engine(ledger: SqlLedger):
    ledger.prepare()
    return ledger.engine


def test_the_newest_line_comes_first_and_says_who_did_what_to_what(engine):
    audited(engine, 1_000_000, "admin", "purge", "route:faq, tag:p=\0x", epoch=7, complete=True)
    audited(engine, 2_000_000, "command line", "purge", "all", entries=2**40)

    newest, oldest = audit_log(engine)

    assert (newest.at_us, newest.actor, newest.subject) == (2_000_000, "command line", "all")
    assert msgspec.json.decode(newest.detail) == {"entries": 2**40}
    assert (oldest.action, oldest.subject) == ("purge", "route:faq, tag:p=\ufffdx")
    assert msgspec.json.decode(oldest.detail) == {"epoch": 7, "complete": True}
    assert audit_log(engine, limit=1) == [newest]
    assert audit_log(engine, subject="all") == [newest]


def test_a_database_that_is_away_is_said_and_not_passed_over(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path / 'none' / 'ledger.sqlite'}")

    with pytest.raises(LedgerUnavailable):
        audited(engine, 0, "admin", "purge", "all")
