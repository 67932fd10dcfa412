"""Tallies in both databases: added by many, read by all, forgotten when they no longer count."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.core.contracts import LedgerUnavailable
from gateway.core.learning import DAY_US, HOUR_US, KEPT_DAYS, WEIGHTS, Key, Tallies, learn, weighted
from gateway.stores.learned import SqlTallies
from gateway.stores.ledger import SqlLedger, open_engine
from tests.stores.samples import ONE, by_chance, varied

DAY, HOUR = ONE.at_us // DAY_US, ONE.at_us // HOUR_US
KEY = Key("out", False, DAY, "auto", "overall", "deepseek/v4-flash", 47)


@pytest.fixture
def tallies(ledger: SqlLedger) -> SqlTallies:
    ledger.prepare()
    return SqlTallies(ledger.engine)


def test_what_is_told_is_read_as_it_was_and_adds_up(tallies: SqlTallies):
    told: Tallies = {KEY: [1, 300, 0], KEY._replace(bucket=-1): [2, 5, 7], KEY._replace(route="Zürich\0"): [1, 1, 1]}
    tallies.merge(told)
    tallies.merge({KEY: [2, 700, 3]})

    assert tallies.present(False, DAY, HOUR) == {
        KEY: [3, 1_000, 3], KEY._replace(bucket=-1): [2, 5, 7], KEY._replace(route="Zürich\ufffd"): [1, 1, 1],
    }  # fmt: skip
    assert tallies.present(True, DAY, HOUR) == {}


def test_days_past_and_the_present_are_read_apart_and_hours_only_while_they_are_recent(tallies: SqlTallies):
    pace = Key("ttft", False, HOUR, "", "", "m", 3)
    kept = [KEY, KEY._replace(span=DAY - 1), KEY._replace(span=DAY - KEPT_DAYS + 1)]
    old = [KEY._replace(span=DAY - KEPT_DAYS), pace._replace(span=HOUR - 2)]
    recent = [pace, pace._replace(span=HOUR - 1)]
    tallies.merge({key: [1, 1, 1] for key in (*kept, *old, *recent)})

    weight = WEIGHTS[1] + WEIGHTS[KEPT_DAYS - 1]
    assert tallies.past(False, DAY) == {KEY: pytest.approx([weight] * 3)}
    assert set(tallies.present(False, DAY, HOUR)) == {KEY, *recent}
    ((before, *_),) = tallies.past(False, DAY - 9).values()
    tallies.forget(DAY, HOUR)
    ((after, *_),) = tallies.past(False, DAY - 9).values()
    assert before - after == pytest.approx(WEIGHTS[KEPT_DAYS - 9])
    assert set(tallies.present(False, DAY, HOUR - 100)) == {KEY, *recent}


def test_days_past_count_for_what_they_weigh(tallies: SqlTallies):
    records = varied(11, 400)
    told = learn(records)
    tallies.merge(told)
    for simulated in (True, False):
        of_it = {key: tally for key, tally in told.items() if key.simulated == simulated}
        found = tallies.past(simulated, DAY + 20)
        assert found == {key: pytest.approx(tally) for key, tally in weighted(of_it, DAY + 20).items()}
        assert len(found) > 40


def test_workers_that_tell_at_the_same_time_lose_nothing(tallies: SqlTallies, database_url: str):
    records = by_chance(5, 400)
    parts = [learn(records[worker::8]) for worker in range(8)]
    stores = [SqlTallies(open_engine(database_url)) for _ in parts]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            list(threads.map(lambda pair: pair[0].merge(pair[1]), zip(stores, parts, strict=True)))

    expected = {key: [3 * n for n in tally] for key, tally in learn(records).items()}
    first, hour = min(key.span for key in expected), min(key.span for key in expected if key.what in ("ttft", "tps"))
    assert tallies.present(False, first, hour) | tallies.present(True, first, hour) == expected
    for store in stores:
        store._engine.dispose()


def test_a_database_that_is_not_there_is_said_to_be_away(sqlite_url: str):
    with pytest.raises(LedgerUnavailable):
        SqlTallies(open_engine(sqlite_url)).merge({KEY: [1, 1, 1]})
