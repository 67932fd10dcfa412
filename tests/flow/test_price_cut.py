"""A price row that comes into force moves traffic by itself, to the request."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

from tests.running import ROOT, RunningGateway, free_port

ROUTES = """
routes:
  auto: {{policy: cheapest, candidates: [openai/gpt-6-luna, deepseek/rumour], expected_output_tokens: 300}}
models:
  deepseek/rumour:
    {{context_tokens: 128000, max_output_tokens: 8000, capabilities: [tools], expected_output_tokens: 300}}
prices:
  - id: cut
    model: deepseek/rumour
    effective_from: {cut}
    status: announced
    source: this test
    read: 2026-11-23
    rates: {{input: "0.07", output: "0.27"}}
"""


def test_every_request_from_the_cut_on_goes_to_the_cheaper_model(tmp_path):
    cut = datetime.now(UTC) + timedelta(seconds=4)
    with RunningGateway(tmp_path, ROUTES.format(cut=cut.isoformat())) as gateway:
        while datetime.now(UTC) < cut + timedelta(seconds=1):
            assert gateway.chat("x")[0] == 200
            time.sleep(0.01)
        rows = gateway.rows()

    cut_us = int(cut.timestamp() * 1e6)
    before = {row["model"] for row in rows if row["at_us"] < cut_us}
    after = [row["model"] for row in rows if row["at_us"] > cut_us + 5_000]  # an attempt begins after its decision
    assert before == {"openai/gpt-6-luna"}
    assert set(after) == {"deepseek/rumour"}
    assert len(after) > 10


def test_the_demo_tells_the_story_and_ends(tmp_path):
    command = [sys.executable, "-m", "gateway", "demo", "--exit", "--seconds", "3", "--port", str(free_port())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    change = re.search(r"Spend per 1,000 requests: .* \((-\d+\.\d)%\)", done.stdout)
    assert change is not None, done.stdout
    assert float(change[1]) < -5
    assert "did not go to deepseek/deepseek-r2: 0 of" in done.stdout
