"""The table of keys in a process: it follows the database within a second, and stays while that is away."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import Engine, event

from gateway.stores import key_table
from gateway.stores.key_table import KeyTable
from gateway.stores.keys import create_key, revoke_key, rotate_key
from gateway.stores.ledger import SqlLedger, open_engine
from tests.stores.services import start_postgres

NOW = 1_795_392_000_000_000
MINUTE_US = 60_000_000


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make(engine: Engine, id: str = "app", **given: object):
    standard = {"digest": digest(id), "team": "search", "organisation": "acme", "actor": "ops", "now_us": NOW}
    return create_key(engine, id=id, **(standard | given))


@asynccontextmanager
async def table(engine: Engine, now_us=lambda: NOW) -> AsyncIterator[KeyTable]:
    keys = KeyTable(engine, now_us)
    await keys.start()
    try:
        yield keys
    finally:
        await keys.close()


async def until(claim, seconds=10.0) -> float:
    """How long it took until the claim held."""
    began = time.monotonic()
    while not claim():
        assert time.monotonic() - began < seconds
        await asyncio.sleep(0.01)
    return time.monotonic() - began


@pytest.fixture
def engine(ledger: SqlLedger) -> Engine:
    ledger.prepare()
    return ledger.engine


@pytest.fixture
def other(engine: Engine, database_url: str):
    """Another process's connections to the same database."""
    opened = open_engine(database_url)
    yield opened
    opened.dispose()


async def test_keys_that_were_there_are_known_at_the_start(engine):
    made = make(engine)

    async with table(engine) as keys:
        assert keys.lookup(digest("app")) == made
        assert keys.lookup(digest("other")) is None
        assert (keys.loaded, keys.away) == (True, False)


async def test_an_empty_table_is_loaded_too(engine):
    async with table(engine) as keys:
        assert (keys.loaded, keys.away, keys.lookup(digest("app"))) == (True, False, None)


async def test_what_one_process_changes_every_process_knows_within_a_second(engine, other):
    async with table(engine) as mine, table(other) as theirs:
        tables = (mine, theirs)

        await asyncio.to_thread(make, engine)
        assert await until(lambda: all(keys.lookup(digest("app")) for keys in tables)) < 1

        await asyncio.to_thread(revoke_key, other, "app", actor="ops", now_us=NOW)
        assert await until(lambda: not any(keys.lookup(digest("app")) for keys in tables)) < 1


async def test_expiry_is_judged_at_each_lookup(engine):
    make(engine, expires_at_us=NOW + MINUTE_US)
    now = NOW

    async with table(engine, lambda: now) as keys:
        assert keys.lookup(digest("app")) is not None
        now += MINUTE_US
        assert keys.lookup(digest("app")) is None


async def test_both_keys_of_a_rotation_open_during_the_grace_and_are_one_family(engine):
    make(engine)
    make(engine, "lone.2")
    for number in range(2, 12):  # past app.10, which sorts before app.2
        old = "app" if number == 2 else f"app.{number - 1}"
        rotate_key(engine, old, digest=digest(f"app.{number}"), grace_s=60, actor="ops", now_us=NOW + number)

    async with table(engine, lambda: NOW + 20) as keys:
        owners = [keys.owner(digest(id)) for id in ("app", "app.2", "app.11", "lone.2", "none")]
        assert owners == [("search", "app"), ("search", "app"), ("search", "app"), ("search", "lone.2"), None]


async def test_a_look_without_a_change_reads_one_number(engine):
    statements: list[str] = []
    async with table(engine):
        event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
        await asyncio.sleep(key_table.PAUSE_S * 2.5)

    assert len([text for text in statements if "api_keys_version" in text]) in (2, 3)
    assert [text for text in statements if "digest" in text] == []


async def test_a_database_that_is_away_at_the_start_is_found_when_it_comes(tmp_path, caplog):
    file = tmp_path / "later" / "ledger.sqlite"
    engine = open_engine(f"sqlite:///{file}")

    async with table(engine) as keys:
        assert (keys.loaded, keys.away, keys.lookup(digest("app"))) == (False, True, None)
        ledger = SqlLedger(engine)
        await asyncio.to_thread(ledger.prepare)
        await asyncio.to_thread(make, engine)
        await until(lambda: keys.lookup(digest("app")))
        assert (keys.loaded, keys.away) == (True, False)
    engine.dispose()

    assert [record.levelname for record in caplog.records if record.name == "gateway.keys"] == ["ERROR", "WARNING"]


async def test_keys_that_are_known_stay_in_use_while_the_database_is_away():
    mortal = await asyncio.to_thread(start_postgres)
    engine = open_engine(mortal.new_database())
    try:
        SqlLedger(engine).prepare()
        make(engine)
        async with table(engine) as keys:
            await asyncio.to_thread(mortal.stop)
            await until(lambda: keys.away)
            assert keys.lookup(digest("app")) is not None
            assert keys.loaded

            await asyncio.to_thread(mortal.start)
            await until(lambda: not keys.away)
            await asyncio.to_thread(revoke_key, engine, "app", actor="ops", now_us=NOW)
            assert await until(lambda: keys.lookup(digest("app")) is None) < 1
    finally:
        engine.dispose()
        mortal.remove()


async def test_a_database_that_does_not_answer_is_away_and_holds_nobody_up(engine, monkeypatch):
    monkeypatch.setattr(key_table, "DEADLINE_S", 0.2)
    slow = 0.0
    event.listen(engine, "before_cursor_execute", lambda *given: time.sleep(slow))

    async with table(engine) as keys:
        slow = 1.0
        await until(lambda: keys.away)
        began = time.monotonic()
        assert keys.lookup(digest("app")) is None
        assert time.monotonic() - began < 0.05
        slow = 0.0
        await until(lambda: not keys.away)
