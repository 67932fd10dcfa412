"""What seeds a budget's counter is, to the nano-dollar, what the book holds."""

from collections import defaultdict
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.money import Nano
from gateway.core.records import SpendRecord, State
from gateway.stores.ledger import SqlLedger, open_engine
from gateway.stores.spent import SCOPES, spent_since
from gateway.stores.table import HOUR_US
from tests.stores.samples import DAY_US, ONE, numbered, varied

FIRST = ONE.at_us


@pytest.fixture(scope="module")
def same_books(tmp_path_factory, postgres_cluster) -> Iterator[tuple[list[SpendRecord], list[SqlLedger]]]:
    records = varied(21, 500)
    urls = [f"sqlite:///{tmp_path_factory.mktemp('spent') / 'ledger.sqlite'}", postgres_cluster.new_database()]
    ledgers = [SqlLedger(open_engine(url)) for url in urls]
    for ledger in ledgers:
        ledger.append(records)
    yield records, ledgers
    for ledger in ledgers:
        ledger.close()


INSTANTS = st.integers(FIRST - DAY_US, FIRST + 7 * DAY_US) | st.integers(-24, 24 * 7).map(
    lambda hours: FIRST + hours * HOUR_US
)


@settings(max_examples=120, deadline=None)
@given(
    scope=st.fixed_dictionaries({}, optional={
        "organisation": st.sampled_from(["", "acme"]), "team": st.sampled_from(["search", "東京", "nobody"]),
        "key_id": st.just("key-1"), "route": st.sampled_from(["auto", "code"]), "provider": st.just("google"),
    }),
    since=INSTANTS, until=st.none() | INSTANTS, simulated=st.booleans(),
    bucket=st.sampled_from([None, DAY_US, 7 * DAY_US, HOUR_US, 6 * HOUR_US, HOUR_US // 4, 7 * 60_000_000]),
)  # fmt: skip
def test_it_is_what_adding_up_every_row_gives(same_books, scope, since, until, simulated, bucket):
    records, ledgers = same_books
    expected: dict[int, int] = defaultdict(int)
    for one in records:
        within = since <= one.at_us and (until is None or one.at_us < until) and one.simulated is simulated
        if within and all(getattr(one, name) == value for name, value in scope.items()):
            expected[0 if bucket is None else one.at_us // bucket * bucket] += one.cost_nano
    for ledger in ledgers:
        found = spent_since(ledger.engine, scope, since, simulated=simulated, until_us=until, bucket_us=bucket)
        assert found == (expected[0] if bucket is None else {at: cost for at, cost in expected.items() if cost})


def test_settled_and_uncertain_costs_count_and_simulated_ones_apart(ledger: SqlLedger):
    ledger.append([
        msgspec.structs.replace(ONE, attempt_id=str(number), cost_nano=Nano(10**number), state=state, simulated=kind)
        for number, (state, kind) in enumerate([
            (State.SETTLED, False), (State.UNCERTAIN, False), (State.SETTLED, True), (State.UNCERTAIN, True)
        ])
    ])  # fmt: skip
    for simulated, total in ((False, 11), (True, 1100)):
        assert spent_since(ledger.engine, {"team": "search"}, FIRST, simulated=simulated) == total
        assert spent_since(ledger.engine, {}, FIRST, simulated=simulated, bucket_us=DAY_US) == {FIRST: total}


def test_sums_past_what_a_float_holds_are_exact(ledger: SqlLedger):
    ledger.append(numbered(999, cost_nano=Nano(2**53 - 1)))
    assert spent_since(ledger.engine, {}, 0, simulated=False) == 999 * (2**53 - 1)


def test_what_is_no_scope_is_refused_with_those_that_are(ledger: SqlLedger):
    ledger.prepare()
    with pytest.raises(ValueError, match=f"no scope 'model'; choose from {', '.join(SCOPES)}"):
        spent_since(ledger.engine, {"team": "a", "model": "b"}, 0, simulated=False)
    with pytest.raises(ValueError, match="a bucket of 0"):
        spent_since(ledger.engine, {}, 0, simulated=False, bucket_us=0)
