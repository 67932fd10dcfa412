"""How fast the ledger is written and asked: builds one of any size, then prints rows a second and times of questions.

    PYTHONPATH=$PWD .venv/bin/python bench/ledger.py --rows 1000000

SQLite in a temporary directory (--directory says where), removed at the end; with DATABASE_URL, that database, which
must hold no ledger yet. A month of traffic: 20 models, 5 teams, 40 keys that each use two of 8 routes of 4 models. Ten
million rows take about 7 GB. Figures are medians of --repeat questions, on a ledger that is not written meanwhile; the
time of this thread is SQLite's too, and says more on a machine that does other things.
"""

import argparse
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import msgspec

from gateway.core.money import Nano
from gateway.core.records import SpendRecord, State, UsageSource
from gateway.stores.ledger import SqlLedger, open_engine, sqlite_url
from gateway.stores.spend import both_kinds, spend
from gateway.stores.spent import spent_since
from gateway.stores.table import EPOCH, HOUR_US

FIRST_US = 1_793_491_200_000_000  # 2026-11-01T00:00:00Z
MONTH_US = 30 * 24 * HOUR_US
LOAD_BATCH = 10_000

MODELS = [f"{('openai', 'deepseek', 'google')[number % 3]}/model-{number:02}" for number in range(20)]
OUTCOMES = (["ok", "cached", "aborted", "http_503", "timeout"], [92, 3, 2, 2, 1])
CANDIDATES = msgspec.json.encode([{"model": model, "expected_nano": 400_000} for model in MODELS[:4]]).decode()
DECISION = msgspec.json.encode(
    {"config": "0123456789abcdef", "request": {"model": "route-0", "prompt_bytes": 4800, "needs": ["tools"]},
     "now": "2026-11-24T12:00:00.123456Z", "seed": 123456789012345,
     "estimates": {model: [0.2513, 417, 0.312, {"overall": 71.25, "code": 68.4}, {}, 412, 88.5, 1234]
                   for model in MODELS[:4]}}
).decode()  # fmt: skip

ONE = SpendRecord(
    attempt_id="", request_id="", attempt=1, at_us=0, route="", policy="cheapest", kind="overall", team="", key_id="",
    provider="", model="", simulated=False, stream=True, cache="off", state=State.SETTLED, outcome="ok", status=200,
    finish_reason="stop", usage_source=UsageSource.PROVIDER, input_tokens=1200, cached_input_tokens=800,
    cache_write_tokens=0, output_tokens=300, reasoning_tokens=40, service_tier=None, price_id="model@2026-09-10",
    expected_nano=Nano(400_000), cost_nano=Nano(386_400), baseline_model="openai/model-00",
    baseline_price_id="model-00@2026-07-30", baseline_nano=Nano(5_150_001), duration_us=1_234_567, ttft_us=321_000,
    candidates=CANDIDATES, drops="[]", organisation="acme",
    prompt_bytes=4800, decision=DECISION,
)  # fmt: skip


def traffic(rows: int) -> Iterator[SpendRecord]:
    """`rows` attempts, evenly over the month, the same each time."""
    dice = random.Random(20261101)
    routes = {f"route-{number}": dice.sample(MODELS, 4) for number in range(8)}
    keys = [(f"key-{number:02}", f"team-{number % 5}", dice.sample(list(routes), 2)) for number in range(40)]
    for number in range(rows):
        key_id, team, used = dice.choice(keys)
        route = used[dice.random() < 0.2]
        model = dice.choices(routes[route], (85, 8, 4, 3))[0]
        outcome = dice.choices(*OUTCOMES)[0]
        yield msgspec.structs.replace(
            ONE, attempt_id=f"01JXZ{number:020}.1", request_id=f"01JXZ{number:020}",
            at_us=FIRST_US + number * MONTH_US // rows, route=route, team=team, key_id=key_id, outcome=outcome,
            provider=model.partition("/")[0], model=model, cost_nano=Nano(dice.randrange(10**7)),
            state=State.SETTLED if outcome in ("ok", "cached") else State.UNCERTAIN,
            end_user=f"user-{dice.randrange(1000)}", tags=f'{{"project":"p{dice.randrange(20)}"}}',
        )  # fmt: skip


def load(ledger: SqlLedger, rows: int) -> None:
    records = traffic(rows)
    began, appending = time.perf_counter(), 0.0
    while batch := list(islice(records, LOAD_BATCH)):
        start = time.perf_counter()
        ledger.append(batch)
        appending += time.perf_counter() - start
    took = time.perf_counter() - began
    print(f"{rows:,} rows in {took:.0f} s; append of {LOAD_BATCH:,} at a time: {rows / appending:,.0f} rows/s")


def append_speed(ledger: SqlLedger, size: int, rows: int) -> None:
    """Appends further rows, of another month, as the gateway's writer does."""
    records = [
        msgspec.structs.replace(record, attempt_id=f"{size}-{record.attempt_id}", at_us=record.at_us + 2 * MONTH_US)
        for record in traffic(rows)
    ]
    began, cpu = time.perf_counter(), time.thread_time()
    for start in range(0, rows, size):
        ledger.append(records[start : start + size])
    took, cpu = time.perf_counter() - began, time.thread_time() - cpu
    print(f"append of {size} at a time: {rows / took:,.0f} rows/s, {cpu / rows * 1e6:.1f} us of this process a row")


def timed(repeat: int, name: str, ask: Callable[[], object]) -> None:
    took, worked = [], []
    for _ in range(repeat):
        began, cpu = time.perf_counter(), time.thread_time()
        ask()
        took.append((time.perf_counter() - began) * 1000)
        worked.append((time.thread_time() - cpu) * 1000)
    print(f"{statistics.median(took):9.1f} ms   {statistics.median(worked):9.1f} ms of this thread   {name}")


def ask_for_spend(ledger: SqlLedger, repeat: int) -> None:
    first, last = (EPOCH + timedelta(microseconds=at) for at in (FIRST_US, FIRST_US + MONTH_US))
    month = {"since": first, "until": last}
    ragged = {"since": first + timedelta(days=3, minutes=17), "until": last - timedelta(hours=5, minutes=40)}
    day = {"since": last - timedelta(days=1), "until": last}

    def ask(name: str, by: str, period: dict[str, datetime]) -> None:
        names = by.split(",")
        timed(repeat, f"{name} by {by}", lambda: spend(ledger.engine, by=names, simulated=False, **period))

    for by in ("provider", "model", "route", "team", "key", "organisation", "policy", "outcome", "day", "hour"):
        ask("the month", by, month)
    for by in ("team,model", "key,day", "provider,model,route,team,key,outcome"):
        ask("everything", by, {})
    ask("a ragged period", "model", ragged)
    ask("one day", "hour", day)
    for by in ("team,tag:project", "end_user"):
        ask("one day, from the book,", by, day)
    timed(repeat, "how many there are of each kind", lambda: both_kinds(ledger.engine))


def ask_for_budgets(ledger: SqlLedger, repeat: int) -> None:
    def ask(name: str, scope: dict[str, str], since_us: int, **more: int) -> None:
        timed(repeat, name, lambda: spent_since(ledger.engine, scope, since_us, simulated=False, **more))

    for scope in ({"team": "team-1"}, {"key_id": "key-07"}, {"organisation": "acme"}):
        (name,) = scope
        ask(f"spent since the month began, one {name}", scope, FIRST_US)
        ask(f"spent in a rolling month, one {name}", scope, FIRST_US + 17 * HOUR_US // 60)
    team = {"team": "team-1"}
    ask("spent in the month by the hour, one team", team, FIRST_US, bucket_us=HOUR_US)
    ask("spent in an hour by the minute, one team", team, FIRST_US + MONTH_US - HOUR_US, bucket_us=HOUR_US // 60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--append-rows", type=int, default=50_000, help="rows of each measure of append")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--directory", type=Path, help="where the temporary SQLite file is made")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.directory) as directory:
        ledger = SqlLedger(open_engine(os.environ.get("DATABASE_URL") or sqlite_url(Path(directory) / "ledger.sqlite")))
        began = time.perf_counter()
        ledger.prepare()
        print(f"{ledger.engine.dialect.name}: tables made in {(time.perf_counter() - began) * 1000:.0f} ms")
        if both_kinds(ledger.engine) != (0, 0):
            raise SystemExit("this database holds a ledger: give an empty one")
        load(ledger, arguments.rows)
        ask_for_spend(ledger, arguments.repeat)
        ask_for_budgets(ledger, arguments.repeat)
        for size in (100, 500):
            append_speed(ledger, size, arguments.append_rows)
        ledger.close()


if __name__ == "__main__":
    main()
