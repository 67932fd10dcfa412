"""Configurations by version, in both databases."""

from datetime import UTC, datetime

from gateway.stores.configurations import configuration, keep_configuration
from gateway.stores.ledger import SqlLedger


def test_a_configuration_is_kept_once_and_comes_back_as_it_was(ledger: SqlLedger):
    ledger.prepare()
    assert configuration(ledger.engine, "abc") is None
    keep_configuration(ledger.engine, "abc", b"\x00\xff", at_us=1_795_392_000_000_000)
    keep_configuration(ledger.engine, "abc", b"another", at_us=1_795_392_000_000_001)
    assert configuration(ledger.engine, "abc") == (b"\x00\xff", datetime(2026, 11, 23, tzinfo=UTC))
