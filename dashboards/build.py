"""Write the Grafana dashboards: `python dashboards/build.py`. With `--check`, only say whether the JSON is current.

Change a dashboard in finance.py or operators.py, never in the JSON. Every expression is executed against a real
Prometheus in tests/dashboards.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from finance import finance
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from operators import operators

DASHBOARDS = {"finance.json": finance, "operators.json": operators}


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the Grafana dashboards, or check that they are current.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is stale")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent, help="of the JSON (default: beside this)")
    wanted = parser.parse_args()
    stale = []
    for name, build in DASHBOARDS.items():
        path = wanted.folder / name
        fresh = json.dumps(build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"
        if not wanted.check:
            path.write_text(fresh)
        elif not path.exists() or path.read_text() != fresh:
            stale.append(name)
    if stale:
        print(f"stale: {', '.join(stale)}; run python dashboards/build.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
