"""A reviewed file of price rows: how routes.yaml names it, what it may hold, and how a change comes into force."""

import asyncio
import contextlib
import logging
from datetime import UTC, datetime

import pytest
from conffiles import BOOK, MINIMAL, NOW

from gateway.config import ConfigError, PriceRefresher, load, with_reviewed

ROW = """\
prices:
  - id: reviewed@1
    model: openai/small
    effective_from: 2026-05-01T00:00:00Z
    status: announced
    source: a page
    read: 2026-05-01
    rates: {input: "7", output: "9"}
"""
CHEAPER = ROW.replace('"7"', '"5"')
ROUTES = MINIMAL + "prices:\n  refresh: {file: reviewed.yaml, every_s: 0.01}\n"
OWN_AND_REVIEWED = ROUTES + (
    "  rows:\n"
    "    - {id: own@1, model: openai/big, effective_from: 2026-05-01T00:00:00Z, status: measured, source: a bill,\n"
    "       read: 2026-05-01, rates: {input: 1, output: 2}}\n"
)


def read(tmp_path, routes=ROUTES, reviewed=ROW):
    (tmp_path / "routes.yaml").write_text(routes)
    (tmp_path / "reviewed.yaml").write_text(reviewed)
    return load(tmp_path / "routes.yaml", {}, now=NOW, pricebook=BOOK)


def refused(tmp_path, routes=ROUTES, reviewed=ROW) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, routes, reviewed)
    return [str(one).replace(f"{tmp_path}/", "") for one in caught.value.mistakes]


def price_ids(loaded, *models) -> list[str]:
    return [loaded.world.market.prices.at(model, NOW).id for model in models]


def test_rows_of_both_files_go_before_shipped_ones(tmp_path):
    loaded = read(tmp_path, OWN_AND_REVIEWED)

    assert price_ids(loaded, "openai/small", "openai/big") == ["reviewed@1", "own@1"]
    assert loaded.refresh.path == tmp_path / "reviewed.yaml"
    assert loaded.files[-1] == tmp_path / "reviewed.yaml"


@pytest.mark.parametrize(
    ("routes", "reviewed", "expected"),
    [
        (ROUTES, ROW.replace("openai/small", "openai/smal"),
         "reviewed.yaml:3:12: unknown model 'openai/smal'; did you mean 'openai/small'?"),
        (ROUTES, ROW.replace('"7"', '"-7"'),
         "reviewed.yaml:8:20: 'input' in 'rates' of price row 1 is no price: '-7' must be zero or more, with at most 6 "
         "decimals, in dollars per million tokens"),
        (ROUTES, "", "reviewed.yaml:1:1: the file is empty"),
        (ROUTES, ROW + "routes: {}\n",
         "reviewed.yaml:9:1: unknown key 'routes' in the file"),
        (ROUTES, ROW.replace("reviewed@1", "big@2026-01-01"),
         "reviewed.yaml:2:9: price row id 'big@2026-01-01' stands twice; the first is on line 23 of "
         "gateway/pricebook/openai.yaml"),
        (OWN_AND_REVIEWED, ROW.replace("openai/small", "openai/big"),
         "reviewed.yaml:4:21: price row 'reviewed@1' overlaps 'own@1': both begin at 2026-05-01T00:00:00Z"),
        (ROUTES.replace("reviewed.yaml", "absent.yaml"), ROW,
         "routes.yaml:6:19: absent.yaml cannot be read: No such file or directory"),
        (ROUTES.replace("every_s", "every"), ROW,
         "routes.yaml:6:34: unknown key 'every' in 'refresh' of 'prices'; did you mean 'every_s'?"),
        (ROUTES.replace("0.01", "0"), ROW,
         "routes.yaml:6:43: 'every_s' in 'refresh' of 'prices' is 0; it must be more than 0"),
        (ROUTES + "  row: []\n", ROW, "routes.yaml:7:3: unknown key 'row' in 'prices'; did you mean 'rows'?"),
        (OWN_AND_REVIEWED.replace("input: 1", "input: -1"), ROW,
         "routes.yaml:9:41: 'input' in 'rates' of price row 1 is no price: '-1' must be zero or more, with at most 6 "
         "decimals, in dollars per million tokens"),
        (OWN_AND_REVIEWED.replace("status: measured,", ""), ROW, "routes.yaml:8:7: price row 1 has no 'status'"),
        (MINIMAL + "prices: none\n", ROW, "routes.yaml:5:9: 'prices' is text, not a list"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_file_and_line(tmp_path, routes, reviewed, expected):
    assert refused(tmp_path, routes, reviewed) == [expected]


def test_the_pure_part_makes_a_new_world_and_reads_nothing(tmp_path):
    loaded = read(tmp_path)
    (tmp_path / "reviewed.yaml").unlink()
    (tmp_path / "routes.yaml").unlink()

    found = with_reviewed(loaded, CHEAPER.encode(), {}, now=NOW)

    before, after = (one.world.market.prices.at("openai/small", NOW).base.input for one in (loaded, found))
    assert (before, after) == (7_000_000, 5_000_000)
    assert found.world.version != loaded.world.version
    assert found.world.routes.keys() == loaded.world.routes.keys()


class Running:
    """A refresher on a real file, and what it has put in force."""

    def __init__(self, tmp_path) -> None:
        self.file = tmp_path / "reviewed.yaml"
        self.loaded = read(tmp_path)
        self.refresher = PriceRefresher(
            lambda: self.loaded, self.swap, {}, now=lambda: datetime(2026, 6, 1, tzinfo=UTC), still_s=0.0
        )

    def swap(self, loaded) -> None:
        self.loaded = loaded

    @property
    def input(self) -> int:
        return self.loaded.world.market.prices.at("openai/small", NOW).base.input

    def put(self, text: str) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(text)
        new.replace(self.file)

    async def until(self, claim) -> None:
        for _ in range(500):
            if claim():
                return
            await asyncio.sleep(0.01)
        pytest.fail("it never came true")


@pytest.fixture
async def running(tmp_path):
    found = Running(tmp_path)
    yield found
    await found.refresher.close()


async def test_a_changed_file_comes_into_force_while_running(running):
    running.refresher.start()
    assert running.input == 7_000_000

    running.put(CHEAPER)
    await running.until(lambda: running.refresher.refreshed == 1)

    assert running.input == 5_000_000


async def test_a_bad_file_is_logged_once_and_the_old_rows_stay(running, caplog):
    running.refresher.start()

    running.put(CHEAPER.replace("openai/small", "openai/smal"))
    with caplog.at_level(logging.ERROR, "gateway.prices"):
        await running.until(lambda: running.refresher.refused)
        await asyncio.sleep(0.1)  # ten looks more

    assert running.input == 7_000_000
    assert [record.getMessage().splitlines()[1:] for record in caplog.records] == [
        [f"{running.file}:3:12: unknown model 'openai/smal'; did you mean 'openai/small'?"]
    ]


async def test_a_file_that_is_mended_is_taken_and_one_that_is_gone_is_not_missed(running, caplog):
    running.put("prices: [")
    await running.refresher.look()
    running.put(CHEAPER)
    await running.refresher.look()
    running.file.unlink()
    await running.refresher.look()

    assert (running.input, running.refresher.refreshed, running.refresher.refused) == (5_000_000, 1, True)
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]


async def test_a_file_that_is_being_written_waits_for_the_next_look(running):
    running.refresher._still_s = 0.2
    running.put(ROW + "# half")
    look = asyncio.create_task(running.refresher.look())
    await asyncio.sleep(0.05)
    running.put(CHEAPER)
    await look
    assert running.refresher.refreshed == 0

    await running.refresher.look()
    assert running.input == 5_000_000


async def test_a_reload_that_came_first_is_not_undone(running, tmp_path):
    running.put(CHEAPER)
    look = asyncio.create_task(running.refresher.look())
    running.refresher._still_s = 0.1
    await asyncio.sleep(0.0)
    other = read(tmp_path, reviewed=CHEAPER.replace('"5"', '"4"'))
    running.loaded = other
    with contextlib.suppress(asyncio.CancelledError):
        await look

    assert running.loaded is other


async def test_without_a_file_there_is_nothing_to_look_at(tmp_path):
    (tmp_path / "routes.yaml").write_text(MINIMAL)
    loaded = load(tmp_path / "routes.yaml", {}, now=NOW, pricebook=BOOK)
    refresher = PriceRefresher(lambda: loaded, lambda found: pytest.fail("swapped"), {}, now=lambda: NOW)

    await refresher.look()

    assert (refresher.refreshed, refresher.refused) == (0, False)
    with pytest.raises(ValueError, match="no reviewed file"):
        with_reviewed(loaded, b"", {}, now=NOW)
