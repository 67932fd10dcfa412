"""The command line: what it prints, its exit codes, and that a mistake never ends in a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from gateway.core.world import key_digest
from tests.running import ROOT


def run(*words: str, cwd=ROOT, input: str | None = None) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words], cwd=cwd, input=input, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_the_shipped_routes_file_is_good():
    done = run("check", "routes.yaml", "--strict")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "routes.yaml: good; 7 routes" in done.stdout


def test_check_names_all_mistakes_with_lines_and_exits_1(tmp_path):
    (tmp_path / "routes.yaml").write_text(
        "routes:\n  auto:\n    polcy: cheapest\n    candidates: [gpt-6-lunar]\n    quality_floor: 200\n"
    )
    done = run("check", cwd=tmp_path)

    assert done.returncode == 1
    places = re.findall(r"^routes\.yaml:(\d+):\d+: ", done.stderr, re.MULTILINE)
    assert {"3", "4", "5"} <= set(places)
    assert "did you mean 'policy'" in done.stderr


def test_a_missing_file_says_what_to_do(tmp_path):
    for words in (("check",), ("explain", "-"), ("serve",)):
        done = run(*words, cwd=tmp_path, input='{"model":"auto","messages":[{"role":"user","content":"x"}]}')
        assert done.returncode == 1
        assert "routes.yaml" in done.stderr
        assert "no such file" in done.stderr


REQUEST = '{"model":"auto","messages":[{"role":"user","content":"Explain a price war."}]}'


def test_explain_prints_every_candidate_and_every_drop(tmp_path):
    (tmp_path / "request.json").write_text(REQUEST)
    done = run("explain", str(tmp_path / "request.json"))

    assert done.returncode == 0
    assert "route auto, policy cheapest" in done.stdout
    assert "deepseek/deepseek-flash" in done.stdout


def test_explain_shows_the_price_of_any_instant():
    body = '{"model":"gemini-4-argon","messages":[{"role":"user","content":"x"}],"max_tokens":100}'
    costs = []
    for at in ("2026-11-30T23:59:59Z", "2026-12-01T00:00:00Z"):
        done = run("explain", "-", "--json", "--at", at, input=body)
        costs.append(json.loads(done.stdout)["candidates"][0]["expected_cost_usd"])

    assert float(costs[1]) == 2 * float(costs[0])


@pytest.mark.parametrize(
    ("words", "input", "code", "said"),
    [
        (("explain", "-"), "{", 1, "one JSON object"),
        (("explain", "nothing.json"), None, 1, "cannot be read"),
        (("explain", "-"), REQUEST.replace("auto", "nobody"), 1, "no route or model"),
        (("explain", "-", "--at", "soon"), REQUEST, 2, "ISO 8601"),
        (("spend", "--data-dir", "/nonexistent"), None, 1, "there is no ledger"),
        (("frobnicate",), None, 2, "invalid choice"),
        ((), None, 2, "command"),
    ],
)
def test_a_mistake_is_one_clear_message(words, input, code, said):
    done = run(*words, input=input)

    assert done.returncode == code
    assert said in done.stderr


def test_a_new_key_is_shown_with_the_line_that_lets_it_in():
    done = run("keys", "new", "--id", "shop")
    key = re.search(r"sk-gw-\S+", done.stdout)[0]

    assert len(key) > 43
    assert f'{{id: shop, sha256: "{key_digest(key)}"}}' in done.stdout


def test_the_schema_is_the_committed_one():
    assert json.loads(run("schema").stdout) == json.loads((ROOT / "routes.schema.json").read_text())
