"""What the documentation tells people to type: it runs as it stands, and prints what is printed there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from gateway.config import load
from gateway.core.pricing import Usage
from gateway.core.records import SpendRecord, State
from gateway.stores.ledger import SqlLedger, open_engine, sqlite_url
from gateway.stores.table import to_us
from tests.docs.pages import NAMES, PAGES, Block
from tests.running import ROOT, RunningGateway
from tests.stores.samples import ONE, numbered

BLOCKS = [block for page in PAGES.values() for block in page.blocks()]
LIVE = [block for block in BLOCKS if "server" in block.marks]
ROUTES = """\
routes:
  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}
  cheap: {policy: cheapest, candidates: [openai/gpt-6-luna]}
"""

VARYING = ("date", "content-length", "x-request-id", "x-gateway-decision", "x-gateway-cost-usd", "x-gateway-saved-usd")


@pytest.fixture
def checkout(tmp_path):
    """A folder that looks like a checkout after `make run`: the programs, routes.yaml, a ledger with records."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, command in (("gateway", f"{sys.executable} -m gateway"), ("python", sys.executable)):
        (programs / name).write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {command} "$@"\n')
        (programs / name).chmod(0o755)
    shutil.copy(ROOT / "routes.yaml", tmp_path)
    (tmp_path / "data").mkdir()
    ledger = SqlLedger(open_engine(sqlite_url(tmp_path / "data" / "ledger.sqlite")))
    ledger.append(numbered(20, simulated=True))
    ledger.append(real_ones())
    ledger.close()
    return tmp_path


def real_ones() -> list[SpendRecord]:
    """Four attempts at the shipped prices: one in DeepSeek's peak hours, one that was cut off and is uncertain."""
    prices = load(ROOT / "routes.yaml", {}, now=datetime.now(UTC)).world.market.prices
    made = []
    for number, (hour, state) in enumerate([(2, "settled"), (12, "settled"), (13, "settled"), (14, "uncertain")], 1):
        at = datetime(2026, 11, 24, hour, 30, tzinfo=UTC)
        price = prices.at("deepseek/deepseek-flash", at)
        usage = Usage(input=1200, cached_input=800, output=300, reasoning=40 * number)
        made.append(
            msgspec.structs.replace(
                ONE, attempt_id=f"01a20af4c2ec{number}.1", request_id=f"01a20af4c2ec{number}", at_us=to_us(at),
                model="deepseek/deepseek-flash", price_id=price.id, cost_nano=price.cost(usage), state=State(state),
                reasoning_tokens=usage.reasoning, tags='{"cost_centre":"4711"}', baseline_model="openai/gpt-5.5",
            )
        )  # fmt: skip
    return made


def shell(text: str, cwd) -> subprocess.CompletedProcess[str]:
    # No provider key of whoever runs the tests decides what is printed.
    return subprocess.run(
        ["sh", "-eu", "-c", text], cwd=cwd, text=True, timeout=60, env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in NAMES if any("run" in b.marks for b in PAGES[name].blocks())])
def test_what_a_page_says_to_type_runs_and_prints_what_it_says(name, checkout):
    for block in (block for block in PAGES[name].blocks() if "run" in block.marks):
        done = shell(block.text, checkout)
        assert done.returncode == block.exit_code, f"{block}\n{done.stdout}"
        assert not block.exact or done.stdout == block.printed, f"{block} prints now:\n{done.stdout}"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("docs")) as running:
        yield running


def here(block: Block, gateway: RunningGateway) -> str:
    text = block.text.replace("127.0.0.1:8080", f"127.0.0.1:{gateway.port}")
    assert text != block.text, f"{block} does not ask the gateway"
    return text


def telling(output: str) -> set[str]:
    """What of a reply is the same each time: its status, its headers, the names in a stream's trailer, its end."""
    found = set()
    for line in output.splitlines():
        name, _, value = line.partition(": ")
        if re.fullmatch(r"x-[a-z-]+|date|content-length|content-type", name):
            found.add(name if name in VARYING else f"{name}: {value}")
        elif line.startswith(": gateway {"):
            found |= set(re.findall(r'"\w+":', line))
        elif line.startswith("HTTP/") or line == "data: [DONE]":
            found.add(line)
    return found


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples use curl, which is not installed")
@pytest.mark.parametrize("block", LIVE, ids=map(str, LIVE))
def test_what_a_page_says_to_ask_a_running_gateway_is_answered_like_that(block, gateway):
    done = shell(here(block, gateway), gateway.folder)

    assert done.returncode == 0, done.stdout
    assert telling(block.printed)
    assert telling(block.printed) <= telling(done.stdout)


PROGRAMS = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("block", PROGRAMS, ids=map(str, PROGRAMS))
def test_every_program_runs(block, gateway):
    done = subprocess.run(
        [sys.executable, "-c", here(block, gateway)], cwd=gateway.folder, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "deepseek/deepseek-flash 0.0000" in done.stdout


EXCERPTS = [block for block in BLOCKS if block.language == "yaml"]


@pytest.mark.parametrize("block", EXCERPTS, ids=map(str, EXCERPTS))
def test_every_piece_of_configuration_is_good(block, tmp_path):
    text = block.text if "routes:" in block.text.splitlines() else block.text + ROUTES
    (tmp_path / "routes.yaml").write_text(text)
    (tmp_path / "reviewed-prices.yaml").write_text("prices: []\n")

    assert load(tmp_path / "routes.yaml", {}, now=datetime(2026, 11, 24, tzinfo=UTC)).warnings == ()


def test_there_is_something_to_try():
    assert len([block for block in BLOCKS if "run" in block.marks]) >= 10
    assert (len(LIVE), len(PROGRAMS)) >= (3, 1)
    assert len(EXCERPTS) >= 3
