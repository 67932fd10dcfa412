"""python -m tests.chaos [scenario] [--times N] [--requests N]: all scenarios, or one."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from . import budget, cached, coalesce, database, kill, mixed, outage, reload, rolling, store

SCENARIOS = {
    "budget": budget.run,
    "kill": kill.run,
    "rolling": rolling.run,
    "reload": reload.run,
    "mixed": mixed.run,
    "store": store.run,
    "ledger": database.run,
    "outage": outage.run,
    "coalesce": coalesce.run,
    "cached": cached.run,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[*SCENARIOS, []], help="default: all")
    parser.add_argument("--times", type=int, help="how often a worker is killed or restarted, or all reload")
    parser.add_argument("--requests", type=int, help="how many requests are sent (budget, mixed)")
    parser.add_argument("--seconds", type=float, help="how long the store or the ledger is away (store, ledger)")
    parser.add_argument("--minutes", type=float, help="how long a provider fails (outage)")
    given = parser.parse_args()
    failed = []
    for name in given.scenario or SCENARIOS:
        run = SCENARIOS[name]
        takes = run.__kwdefaults__
        wanted = {key: value for key, value in vars(given).items() if value is not None and key in takes}
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gateway-chaos-") as folder:
            if not asyncio.run(run(Path(folder), **wanted)):
                failed.append(name)
        print(f"  ({time.monotonic() - began:.0f} s)\n", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all promises held")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
