"""Ledger, `spend`, /admin/spend, /metrics and the provider's bill agree to the nano-dollar, on both databases."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from decimal import Decimal

from prometheus_client.parser import text_string_to_metric_families

from gateway.simulator import Scenario, Simulator
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


def spend_json(gateway: RunningGateway, database: dict[str, str]) -> dict:
    command = [sys.executable, "-m", "gateway", "spend", "--json", "--by", "provider,model,team,day",
               "--data-dir", str(gateway.folder / "data")]  # fmt: skip
    done = subprocess.run(
        command, cwd=gateway.folder, capture_output=True, timeout=60, env={"PYTHONPATH": str(ROOT), **database}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_five_views_of_the_same_money_agree_with_the_embedded_stores(tmp_path):
    await five_views_agree(tmp_path, {})


async def test_five_views_of_the_same_money_agree_with_postgresql_and_an_outside_redis(
    tmp_path,
    postgres_url,  # noqa: F811
    valkey_url,  # noqa: F811
):
    await five_views_agree(tmp_path, {"DATABASE_URL": postgres_url, "REDIS_URL": valkey_url})


async def five_views_agree(tmp_path, outside: dict[str, str]) -> None:
    async with Simulator(PRICES) as sim:
        gateway = RunningGateway(tmp_path, ROUTES, {**env(sim), **outside})
        await asyncio.to_thread(gateway.start)
        try:
            await some_traffic(gateway, sim)
            await asyncio.sleep(1)
            page = (await asyncio.to_thread(gateway.get, "/metrics"))[2].decode()
            admin = json.loads((await asyncio.to_thread(gateway.get, "/admin/spend?by=route"))[2])["total"]
            printed = (await asyncio.to_thread(spend_json, gateway, outside))["total"]
        finally:
            await asyncio.to_thread(gateway.stop)

    names = ("settled_nano", "uncertain_nano", "baseline_nano", "saved_nano", "requests", "attempts", "cache_hits")
    assert {name: admin[name] for name in names} == {name: printed[name] for name in names}
    assert admin["settled_nano"] == sim.total_nano() == nano_of(page, "gateway_spend_usd_total") > 0
    assert admin["uncertain_nano"] == nano_of(page, "gateway_uncertain_usd_total")
    assert admin["baseline_nano"] == nano_of(page, "gateway_baseline_usd_total")
    assert admin["cache_hits"] > 0
    assert admin["attempts"] - admin["cache_hits"] == len(sim.bill)
    assert list(text_string_to_metric_families(page))
