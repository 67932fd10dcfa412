"""Run the simulator by itself: `python -m gateway.simulator --port 9100`."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gateway.simulator.prices import SAMPLE_PRICES, PriceData, off_peak_deepseek
from gateway.simulator.scenario import DEFAULT, PROVIDERS, Scenario, apply_rule
from gateway.simulator.server import Simulator


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m gateway.simulator", description="Simulated LLM providers.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9100, help="0 takes any free port (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="for faults that are only probable")
    parser.add_argument("--rule", default="", help='for every request, such as "ttft_ms=200;fault@openai=http_503"')
    parser.add_argument(
        "--prices", type=Path, help='JSON: {"provider/model": [[from_epoch_s, {"input": "0.10", "output": "0.50"}]]}'
    )
    given = parser.parse_args()
    try:
        scenarios = {provider: apply_rule(DEFAULT, given.rule, provider) for provider in PROVIDERS}
        prices = read_prices(given.prices.read_text()) if given.prices else SAMPLE_PRICES
        with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=_quickest_loop()) as runner:
            runner.run(_run(given, prices, scenarios))
    except (ValueError, OSError) as exc:
        sys.exit(f"simulator: {exc}")


def read_prices(text: str) -> PriceData:
    """Raises ValueError when this is not the shape that --prices describes."""
    try:
        rows = json.loads(text).items()
        return {tuple(name.split("/", 1)): [(float(since), rates) for since, rates in dated] for name, dated in rows}
    except (AttributeError, TypeError, ValueError) as exc:
        raise ValueError(f'--prices: not {{"provider/model": [[from_epoch_s, {{...}}]]}}: {exc}') from exc


def _quickest_loop() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop  # not on every system
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _run(given: argparse.Namespace, prices: PriceData, scenarios: dict[str, Scenario]) -> None:
    rule = None if given.prices else off_peak_deepseek
    sim = Simulator(prices, price_rule=rule, scenarios=scenarios, host=given.host, port=given.port, seed=given.seed)
    async with sim:
        lines = [f"{provider:9} {sim.base_url(provider)}" for provider in PROVIDERS]
        sys.stdout.write("\n".join([*lines, f"{'bill':9} {sim.url}/_sim/bill", ""]))
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
