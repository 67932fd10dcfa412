"""Changed files while the gateway runs: what is taken, what is refused and how it is told. And the reviewed file of
price rows: how routes.yaml names it, what it may hold.
"""

import asyncio
import logging
from dataclasses import replace
from functools import partial

import pytest
from conffiles import BOOK, MINIMAL, NOW

from gateway.config import ConfigError, Reloader, Standing, Text, build, load, read_texts

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
         "reviewed.yaml:2:9: price row id 'big@2026-01-01' stands twice; the first is on line 33 of "
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


def test_building_makes_a_new_world_of_texts_and_reads_nothing(tmp_path):
    loaded = read(tmp_path)
    (tmp_path / "reviewed.yaml").unlink()
    (tmp_path / "routes.yaml").unlink()

    found = build(replace(loaded.texts, reviewed=Text("reviewed.yaml", CHEAPER.encode())), {}, now=NOW)

    before, after = (one.world.market.prices.at("openai/small", NOW).base.input for one in (loaded, found))
    assert (before, after) == (7_000_000, 5_000_000)
    assert found.world.version != loaded.world.version
    assert found.world.routes.keys() == loaded.world.routes.keys()


UNWATCHED = ROUTES + "server: {watch_s: 0}\n"
WATCHED = MINIMAL + "server: {watch_s: 0.01}\n"
OTHER = WATCHED.replace("[big, flash]", "[big]")
WRONG = WATCHED.replace("[big, flash]", "[big, flish]")
MISTAKE = "routes.yaml:4:23: unknown model 'flish'; did you mean 'flash'?"


class Running:
    """A reloader on real files, and what it has put in force."""

    def __init__(self, folder, routes: str) -> None:
        self.routes, self.reviewed = folder / "routes.yaml", folder / "reviewed.yaml"
        loaded = read(folder, routes)
        self.taken: list[str] = []
        self.told: list[Standing] = []
        self.reloader = Reloader(
            loaded, partial(read_texts, self.routes, pricebook=BOOK), partial(build, env={}, now=NOW), self.take,
            standing=Standing(loaded.world.version, NOW), now=lambda: NOW, told=self.told.append, still_s=0.0,
        )  # fmt: skip

    async def take(self, loaded, standing) -> int:
        assert standing.version == loaded.world.version
        self.taken.append(standing.version)
        return 0

    @property
    def input(self) -> int:
        return self.reloader.loaded.world.market.prices.at("openai/small", NOW).base.input

    @property
    def refusal(self):
        return self.reloader.standing.refusal

    def put(self, text: str, file=None) -> None:
        file = file or self.routes
        new = file.with_suffix(".new")
        new.write_text(text)
        new.replace(file)

    async def until(self, claim) -> None:
        for _ in range(500):
            if claim():
                return
            await asyncio.sleep(0.01)
        pytest.fail("it never came true")


@pytest.fixture
async def running(tmp_path):
    found = Running(tmp_path, WATCHED)
    yield found
    await found.reloader.close()


@pytest.fixture
async def priced(tmp_path):
    found = Running(tmp_path, UNWATCHED)
    yield found
    await found.reloader.close()


async def test_a_changed_file_comes_into_force_while_running(running):
    running.reloader.start()

    running.put(OTHER)
    await running.until(lambda: running.taken)

    assert running.taken == [running.reloader.loaded.world.version]
    assert running.reloader.standing.trigger == "watch"
    assert dict(running.reloader.standing.reloads) == {"applied": 1, "refused": 0, "unchanged": 0}


async def test_a_bad_file_is_told_once_with_its_line_and_the_last_good_one_stays(running, caplog):
    good = running.reloader.loaded
    running.reloader.start()

    running.put(WRONG)
    with caplog.at_level(logging.ERROR, "gateway.reload"):
        await running.until(lambda: running.refusal)
        await asyncio.sleep(0.1)  # ten looks more

    assert running.reloader.loaded is good
    assert running.taken == []
    assert [one.replace(f"{running.routes.parent}/", "") for one in running.refusal.mistakes] == [MISTAKE]
    assert [record.getMessage().count(MISTAKE) for record in caplog.records] == [1]
    assert running.reloader.standing.reloads["refused"] == 1


async def test_a_file_that_is_mended_is_taken_and_one_that_is_gone_is_not_missed(running, caplog):
    running.put("routes: [")
    await running.reloader.look()
    running.put(OTHER)
    await running.reloader.look()
    assert running.refusal is None
    running.routes.unlink()
    await running.reloader.look()
    await running.reloader.look()

    assert len(running.taken) == 1
    assert "no such file" in running.refusal.mistakes[0]
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == ["ERROR", "ERROR"]


async def test_a_file_that_is_put_back_is_no_longer_refused_and_the_same_mistake_is_told_again(running, caplog):
    for text in (WRONG, WATCHED, WRONG):
        running.put(text)
        await running.reloader.look()

    assert running.refusal is not None
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert [one.refusal is None for one in running.told] == [False, True, False]


async def test_a_file_that_is_being_written_waits_for_the_next_look(running):
    running.reloader._still_s = 0.2
    running.put(OTHER + "# half")
    look = asyncio.create_task(running.reloader.look())
    await asyncio.sleep(0.05)
    running.put(OTHER)
    await look
    assert running.taken == []

    await running.reloader.look()
    assert len(running.taken) == 1


async def test_a_reload_answers_what_came_of_it(running):
    unchanged = await running.reloader.reload("admin")
    running.put(WRONG)
    refused = await running.reloader.reload("admin")
    running.put(OTHER)
    applied = await running.reloader.reload("admin")

    assert [one.result for one in (unchanged, refused, applied)] == ["unchanged", "refused", "applied"]
    assert unchanged.version == refused.version != applied.version == running.taken[-1]
    assert [one.replace(f"{running.routes.parent}/", "") for one in refused.mistakes] == [MISTAKE]
    assert dict(running.reloader.standing.reloads) == {"applied": 1, "refused": 1, "unchanged": 1}


async def test_signals_that_come_together_are_one_reload(running):
    running.put(WATCHED.replace("watch_s: 0.01", "watch_s: 0"))
    running.reloader.start()
    for _ in range(3):
        running.reloader.ask()
    await running.until(lambda: running.taken)
    await asyncio.sleep(0.05)

    assert running.reloader.standing.trigger == "signal"
    assert sum(running.reloader.standing.reloads.values()) == 1


async def test_a_watch_that_is_switched_off_looks_at_nothing_and_one_that_is_switched_on_does(running):
    running.reloader.start()
    running.put(WATCHED.replace("0.01", "0"))
    await running.until(lambda: len(running.taken) == 1)
    running.put(OTHER)
    await asyncio.sleep(0.1)
    assert len(running.taken) == 1

    await running.reloader.reload("admin")
    running.put(WATCHED)
    await running.until(lambda: len(running.taken) == 3)


async def test_reviewed_prices_come_into_force_without_the_watch_and_take_no_other_file_along(priced):
    priced.put(WRONG)
    priced.reloader.start()
    assert priced.input == 7_000_000

    priced.put(CHEAPER, priced.reviewed)
    await priced.until(lambda: priced.taken)

    assert priced.input == 5_000_000
    assert priced.reloader.loaded.texts.routes.raw.decode() == UNWATCHED


async def test_bad_reviewed_prices_are_told_once_and_the_old_rows_stay(priced, caplog):
    priced.reloader.start()

    priced.put(CHEAPER.replace("openai/small", "openai/smal"), priced.reviewed)
    with caplog.at_level(logging.ERROR, "gateway.reload"):
        await priced.until(lambda: priced.refusal)
        await asyncio.sleep(0.1)

    assert priced.input == 7_000_000
    assert [record.getMessage().splitlines()[1:] for record in caplog.records] == [
        [f"{priced.reviewed}:3:12: unknown model 'openai/smal'; did you mean 'openai/small'?"]
    ]


async def test_a_reload_that_came_first_is_not_undone(running):
    running.reloader._still_s = 0.1
    running.put(OTHER)
    look = asyncio.create_task(running.reloader.look())
    await asyncio.sleep(0.05)
    outcome = await running.reloader.reload("admin")
    await look

    assert running.taken == [outcome.version]


async def test_a_configuration_that_cannot_be_put_in_force_leaves_the_old_one(running):
    good = running.reloader.loaded

    async def fails(loaded, standing) -> int:
        raise OSError("no simulator")

    running.reloader._take = fails
    running.put(OTHER)
    with pytest.raises(OSError, match="no simulator"):
        await running.reloader.reload("admin")

    assert running.reloader.loaded is good
    assert running.reloader.standing.version == good.world.version
