"""A worker's learner: it tells the others, reads what they know, survives a restart and a database that is away."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from gateway.core.candidate import Estimate
from gateway.core.learning import DAY_US, HOUR_US
from gateway.core.records import SpendRecord
from gateway.core.route import Route
from gateway.core.world import World
from gateway.policies import POLICIES
from gateway.proxy.learner import Learner
from gateway.stores.learned import SqlTallies
from gateway.stores.ledger import SqlLedger, open_engine, sqlite_url
from tests.core.market import MARKET
from tests.stores.samples import ONE

ROUTE = Route(name="auto", policy=POLICIES["cheapest"], candidates=("openai/big", "openai/small"))
WORLD = World("v", MARKET, {"auto": ROUTE}, {})
ANSWER = msgspec.structs.replace(
    ONE, model="openai/big", prompt_bytes=200, input_tokens=100, cached_input_tokens=0, output_tokens=1_500,
    reasoning_tokens=0, decision="{}", stream=False, ttft_us=None,
)  # fmt: skip
PAUSE_S = 0.02
LEARNED = 1_492
"""What is expected after 20 answers of 1,500 tokens, where 500 were stated."""


class Now:
    us = ONE.at_us

    def __call__(self) -> int:
        return self.us


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def make(file: Path, now: Now, world: Callable[[], World] = lambda: WORLD, *, simulated: bool = False) -> Learner:
    store = SqlTallies(open_engine(sqlite_url(file)))
    return Learner(store, world, lambda: simulated, now, pause_s=PAUSE_S)


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not done():  # noqa: ASYNC110 - what is waited for happens in a thread
            await asyncio.sleep(PAUSE_S)


def see(learner: Learner, times: int, record: SpendRecord = ANSWER) -> None:
    for _ in range(times):
        learner.observe(record)


def told(learner: Learner) -> Mapping[str, Estimate]:
    return learner.estimates(ROUTE, "overall")


async def test_what_one_worker_sees_every_worker_expects(file: Path, now: Now):
    SqlLedger(open_engine(sqlite_url(file))).prepare()
    one, other = make(file, now), make(file, now)
    await one.start()
    await other.start()
    assert told(other) == {}

    see(one, 20)
    await until(lambda: told(one) and told(other))

    assert told(one) == told(other)
    assert (told(other)["openai/big"].output_tokens, told(other)["openai/big"].answers) == (LEARNED, 20)
    assert one.pending == 0
    await one.close()
    await other.close()


async def test_what_was_learned_survives_a_restart_to_the_last_answer(file: Path, now: Now):
    SqlLedger(open_engine(sqlite_url(file))).prepare()
    before = make(file, now)
    await before.start()
    see(before, 20)
    await before.close()

    after = make(file, now)
    await after.start()
    assert told(after)["openai/big"].output_tokens == LEARNED
    now.us += 7 * DAY_US
    await until(lambda: told(after)["openai/big"].answers == 10)
    await after.close()


async def test_while_the_database_is_away_a_worker_learns_from_itself_and_tells_later(
    file: Path, now: Now, caplog: pytest.LogCaptureFixture
):
    worker = make(file, now)  # no table was made, so nothing can be told
    await worker.start()
    see(worker, 20)
    await until(lambda: told(worker))
    assert told(worker)["openai/big"].output_tokens == LEARNED
    assert worker.pending
    assert worker.failures

    SqlLedger(open_engine(sqlite_url(file))).prepare()
    await until(lambda: len(caplog.records) == 2)
    assert not worker.pending
    assert told(worker)["openai/big"].output_tokens == LEARNED
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    await worker.close()

    other = make(file, now)
    await other.start()
    assert told(other)["openai/big"].answers == 20
    await other.close()


async def test_simulated_answers_teach_nothing_about_real_ones(file: Path, now: Now):
    SqlLedger(open_engine(sqlite_url(file))).prepare()
    real, demo = make(file, now), make(file, now, simulated=True)
    await real.start()
    await demo.start()
    see(demo, 20, msgspec.structs.replace(ANSWER, simulated=True))
    await until(lambda: told(demo))
    await asyncio.sleep(3 * PAUSE_S)
    assert told(real) == {}
    await real.close()
    await demo.close()


async def test_a_new_configuration_is_answered_by_its_own_priors_at_once(file: Path, now: Now):
    SqlLedger(open_engine(sqlite_url(file))).prepare()
    in_force = [WORLD]
    worker = make(file, now, lambda: in_force[0])
    await worker.start()
    see(worker, 20)
    await until(lambda: told(worker))

    route = Route(name="auto", policy=ROUTE.policy, candidates=ROUTE.candidates, expected_output_tokens=100)
    in_force[0] = World("w", MARKET, {"auto": route}, {})
    assert worker.estimates(route, "overall")["openai/big"].output_tokens == 1_488
    await worker.close()


async def test_what_is_asked_for_again_is_looked_up_and_not_worked_out(file: Path, now: Now):
    SqlLedger(open_engine(sqlite_url(file))).prepare()
    worker = make(file, now)
    await worker.start()
    see(worker, 1)
    await until(lambda: told(worker))
    await worker.close()
    assert told(worker) is told(worker)


async def test_the_pace_of_streams_is_forgotten_after_two_hours(file: Path, now: Now):
    SqlLedger(open_engine(sqlite_url(file))).prepare()
    worker = make(file, now)
    await worker.start()
    see(worker, 5, msgspec.structs.replace(ANSWER, stream=True, ttft_us=400_000, duration_us=2_000_000))
    await until(lambda: told(worker))
    assert told(worker)["openai/big"].ttft_ms == 400
    now.us += 2 * HOUR_US
    await until(lambda: told(worker)["openai/big"].ttft_ms is None)
    await worker.close()


async def test_memory_is_bounded_while_nothing_can_be_told(file: Path, now: Now):
    store = SqlTallies(open_engine(sqlite_url(file)))
    worker = Learner(store, lambda: WORLD, lambda: False, now, pause_s=PAUSE_S, most_tallies=10)
    await worker.start()
    for route in range(20):
        see(worker, 1, msgspec.structs.replace(ANSWER, route=f"r{route}"))
        failures = worker.failures
        await until(lambda before=failures: worker.failures > before)
    assert worker.pending < 20
    await worker.close()
