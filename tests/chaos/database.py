"""PostgreSQL away under load: requests go on, records wait, none is lost, no valid key is told that it is unknown."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sqlalchemy import create_engine, text

from tests.stores.services import start_postgres

from .rolling import steady
from .stage import Verdict, compare, load, routes, stage


async def run(folder: Path, *, seconds: float = 60.0) -> bool:
    print(f"ledger: PostgreSQL away for {seconds:g} s, 2 workers", flush=True)
    verdict = Verdict()
    cluster = await asyncio.to_thread(start_postgres)
    url = cluster.new_database()
    try:
        async with stage(folder, routes("100000"), workers=2, more={"DATABASE_URL": url}) as on:
            await load(on, seconds=3, at_once=10, make=steady)
            verdict.hold("before: all answered", set(on.seen.statuses) == {200}, dict(on.seen.statuses))
            on.afresh()
            await asyncio.to_thread(cluster.stop)
            await load(on, seconds=seconds, at_once=10, make=steady)
            seen = on.afresh()
            verdict.hold("away: all answered, none of them 401", set(seen.statuses) == {200}, dict(seen.statuses))
            await asyncio.to_thread(cluster.start)
            await load(on, seconds=5, at_once=10, make=steady)
            verdict.hold("back: all answered", set(on.seen.statuses) == {200}, dict(on.seen.statuses))
            verdict.hold("all is written", await on.at_rest(60), f"{on.store.xlen('gw:a1:{default}:stream')} wait")
            spent, held = on.spent("paying-month"), on.held()
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            rows = [dict(row) for row in connection.execute(text("SELECT * FROM spend_records")).mappings()]
        engine.dispose()
    finally:
        await asyncio.to_thread(cluster.remove)
    books = compare(folder, on.sim, rows)
    verdict.hold("lost, doubled, mispriced rows", books.good, books.faults)
    verdict.hold("held afterwards", held == 0, held)
    total = books.settled_nano + books.uncertain_nano
    verdict.hold("counter is the ledger", spent == total, f"{spent} = {total}")
    return verdict.kept
