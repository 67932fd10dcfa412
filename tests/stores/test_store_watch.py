"""The store's memory as the metrics tell it, against a real Valkey."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.stores.box import box_key
from gateway.stores.embedded import EmbeddedStore
from gateway.stores.kept import KeptAnswers
from gateway.stores.store_watch import StoreWatch

KEYS = [box_key(b"a secret of the tests")]


async def until_known(watch: StoreWatch) -> None:
    async with asyncio.timeout(10):
        while watch.memory is None:  # noqa: ASYNC110  (a scrape is told nothing either)
            await asyncio.sleep(0.01)


async def test_the_stores_memory_is_known_soon_and_stays_known_when_it_goes_away(tmp_path: Path):
    async with EmbeddedStore(tmp_path, max_memory_mb=64) as store:
        kept = KeptAnswers(store.url, KEYS)
        watch = StoreWatch(kept, every_s=0.02)
        assert watch.memory is None
        watch.start()
        await until_known(watch)
    await asyncio.sleep(0.1)

    evicted, used, most = watch.memory
    assert (evicted, most) == (0, 64 * 2**20)
    assert 0 < used < most
    await watch.close()
    await kept.close()
