"""Every view of the same money agrees to the nano-dollar, on both databases.

The ledger, `spend`, /admin/spend, /metrics, the exports, the provider's bill, and `reconcile` about that bill.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from decimal import Decimal

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select

from gateway.simulator import Scenario, Simulator
from gateway.stores.ledger import open_engine, sqlite_url
from gateway.stores.table import TABLE
from tests.finance.bills import LAYOUTS, per_attempt, spoilt
from tests.flow.world import MODELS, PRICES, ROUTES, env
from tests.running import ROOT, RunningGateway
from tests.stores.services import postgres_cluster, postgres_url, valkey_store, valkey_url  # noqa: F401 - fixtures


def nano_of(page: str, name: str) -> int:
    """The sum of a counter in dollars, as nano-dollars: read as text, so that no float stands in between."""
    samples = [line for line in page.splitlines() if line.startswith(f"{name}{{")]
    return int(sum(Decimal(line.rsplit(" ", 1)[1]) for line in samples) * 10**9)


async def some_traffic(gateway: RunningGateway, sim: Simulator) -> None:
    sim.set_scenario("deepseek", Scenario(fault="http_503", p=0.3))
    for number in range(60):
        model = ("auto", "kept", *MODELS)[number % 5]
        text = f"question {number % 7}"
        status, _, _ = await asyncio.to_thread(gateway.chat, text, model, stream=number % 2 == 0)
        assert status in (200, 502)
    sim.set_scenario("deepseek", None)


def command(gateway: RunningGateway, outside: dict[str, str], *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words, "--data-dir", str(gateway.folder / "data")], cwd=gateway.folder,
        capture_output=True, text=True, timeout=60, env={"PYTHONPATH": str(ROOT), **outside},
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def exported(gateway: RunningGateway, outside: dict[str, str], *words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(command(gateway, outside, "export", *words))))


def nano_in(rows: list[dict[str, str]], column: str) -> int:
    return int(sum(Decimal(row[column]) for row in rows) * 10**9)


def of_state(rows: list[dict[str, str]], state: str) -> list[dict[str, str]]:
    return [row for row in rows if row["x_State"] == state]


def in_the_ledger(gateway: RunningGateway, outside: dict[str, str]) -> dict[str, int]:
    engine = open_engine(outside.get("DATABASE_URL") or sqlite_url(gateway.folder / "data" / "ledger.sqlite"))
    with engine.connect() as connection:
        sums = dict(
            connection.execute(select(TABLE.c.state, func.sum(TABLE.c.cost_nano)).group_by(TABLE.c.state)).all()
        )
        baseline = connection.execute(select(func.sum(TABLE.c.baseline_nano))).scalar_one()
    engine.dispose()
    return {
        "settled_nano": int(sums.get("settled", 0)),
        "uncertain_nano": int(sums.get("uncertain", 0)),
        "baseline_nano": int(baseline),
    }


async def test_all_views_of_the_same_money_agree_with_the_embedded_stores(tmp_path):
    await views_agree(tmp_path, {})


async def test_all_views_of_the_same_money_agree_with_postgresql_and_an_outside_redis(
    tmp_path,
    postgres_url,  # noqa: F811
    valkey_url,  # noqa: F811
):
    await views_agree(tmp_path, {"DATABASE_URL": postgres_url, "REDIS_URL": valkey_url})


async def views_agree(tmp_path, outside: dict[str, str]) -> None:
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, ROUTES, {**env(sim), **outside})
        await asyncio.to_thread(gateway.start)
        try:
            await some_traffic(gateway, sim)
            await asyncio.sleep(1)
            page = (await asyncio.to_thread(gateway.get, "/metrics"))[2].decode()
            admin = json.loads((await asyncio.to_thread(gateway.get, "/admin/spend?by=route"))[2])["total"]
            words = ("spend", "--json", "--by", "provider,model,team,day")
            printed = json.loads(await asyncio.to_thread(command, gateway, outside, *words))["total"]
        finally:
            await asyncio.to_thread(gateway.stop)
        bill = [line for line in sim.bill if line.billed]
        await asyncio.to_thread(exports_agree, gateway, {**env(sim), **outside}, admin)
        await asyncio.to_thread(the_bill_agrees, gateway, {**env(sim), **outside}, bill)

    names = ("settled_nano", "uncertain_nano", "baseline_nano", "saved_nano", "requests", "attempts", "cache_hits")
    assert {name: admin[name] for name in names} == {name: printed[name] for name in names}
    assert admin["settled_nano"] == sim.total_nano() == nano_of(page, "gateway_spend_usd_total") > 0
    assert admin["uncertain_nano"] == nano_of(page, "gateway_uncertain_usd_total")
    assert admin["baseline_nano"] == nano_of(page, "gateway_baseline_usd_total")
    assert admin["cache_hits"] > 0
    assert admin["attempts"] - admin["cache_hits"] == len(sim.bill)
    assert list(text_string_to_metric_families(page))


def exports_agree(gateway: RunningGateway, outside: dict[str, str], admin: dict[str, int]) -> None:
    sums = {name: admin[name] for name in ("settled_nano", "uncertain_nano", "baseline_nano")}
    assert in_the_ledger(gateway, outside) == sums
    own = exported(gateway, outside, "--format", "csv")
    assert len(own) == admin["attempts"]
    assert sum(int(row["cost_nano"]) for row in own) == nano_in(own, "cost_usd") == sum(list(sums.values())[:2])
    for granularity in ("day", "attempt"):
        focus = exported(gateway, outside, "--granularity", granularity)
        assert nano_in(of_state(focus, "settled"), "BilledCost") == sums["settled_nano"]
        assert nano_in(of_state(focus, "uncertain"), "BilledCost") == sums["uncertain_nano"]
        assert nano_in(focus, "x_BaselineCost") == sums["baseline_nano"]
        assert nano_in(focus, "x_SavedCost") == admin["saved_nano"]
        # Here the book is the one that priced them, so all that was billed shows its unit prices.
        assert all(row["ListUnitPrice"] for row in focus if Decimal(row["BilledCost"]))


def the_bill_agrees(gateway: RunningGateway, outside: dict[str, str], bill: list) -> None:
    """In every layout; and a bill with three mistakes is found out in one run, by model and by attempt."""
    file = gateway.folder / "bill.csv"

    def reconcile(*words: str, code: int = 0) -> dict:
        return json.loads(command(gateway, outside, "reconcile", "bill.csv", "--json", *words, code=code))

    exact = ("--tolerance-usd", "0")
    for write, provider in LAYOUTS.values():
        file.write_text(write([line for line in bill if line.provider == provider]))
        assert reconcile(*exact, "--provider", provider)["findings"] == []

    first = {provider: next(at for at, line in enumerate(bill) if line.provider == provider)
             for provider in ("openai", "deepseek", "google")}  # fmt: skip
    wrong = spoilt(bill, lost=first["openai"], doubled=first["deepseek"], mispriced=first["google"])
    file.write_text(LAYOUTS["generic"][0](wrong))
    assert {one["model"]: one["what"] for one in reconcile(*exact, code=1)["findings"]} == {
        "openai/gpt-6-test": "billed less than booked",
        "deepseek/chat-test": "billed more than booked",
        "google/gemini-test": "same tokens, another price",
    }
    file.write_text(per_attempt(wrong))
    assert {one["attempt_id"]: one["fault"] for one in reconcile("--per-attempt", code=1)["findings"]} == {
        bill[first["openai"]].attempt: "booked, not billed",
        bill[first["deepseek"]].attempt: "billed more than once",
        bill[first["google"]].attempt: "same tokens, another price",
    }
    file.write_text(per_attempt(bill))
    assert reconcile("--per-attempt")["agrees"] is True
