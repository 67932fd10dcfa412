"""The command line: what it prints, its exit codes, and that a mistake never ends in a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from gateway.core.world import key_digest
from tests.running import ROOT


def run(*words: str, cwd=ROOT, input: str | None = None, env=()) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words], cwd=cwd, input=input, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **dict(env)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_the_shipped_routes_file_is_good():
    done = run("check", "routes.yaml", "--strict")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "routes.yaml: good; 10 routes" in done.stdout


def test_check_names_all_mistakes_with_lines_and_exits_1(tmp_path):
    (tmp_path / "routes.yaml").write_text(
        "routes:\n  auto:\n    polcy: cheapest\n    candidates: [gpt-6-lunar]\n    quality_floor: 200\n"
    )
    done = run("check", cwd=tmp_path)

    assert done.returncode == 1
    places = re.findall(r"^routes\.yaml:(\d+):\d+: ", done.stderr, re.MULTILINE)
    assert {"3", "4", "5"} <= set(places)
    assert "did you mean 'policy'" in done.stderr


def test_check_takes_its_file_by_any_of_three_ways_and_the_nearest_one_counts(tmp_path):
    wrong = "routes: {{{}: {{polcy: cheapest}}}}\n"
    for name in ("named", "given", "meant", "routes"):
        (tmp_path / f"{name}.yaml").write_text(wrong.format(name))

    for words, env, file in (
        (["named.yaml", "--routes", "given.yaml"], {"GATEWAY_ROUTES": "meant.yaml"}, "named"),
        (["--routes", "given.yaml"], {"GATEWAY_ROUTES": "meant.yaml"}, "given"),
        ([], {"GATEWAY_ROUTES": "meant.yaml"}, "meant"),
        ([], {}, "routes"),
    ):
        assert run("check", *words, cwd=tmp_path, env=env).stderr.startswith(f"{file}.yaml:1:")


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


def test_prices_lists_every_priced_model_with_its_row_and_what_comes_next():
    done = run("prices", "--at", "2026-11-24T12:00:00Z")

    assert done.returncode == 0
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if "/" in line.split("  ")[0]}
    assert len(lines) == 39
    argon = lines["google/gemini-4-argon"].split()
    assert argon[1:4] == ["2", "0.1", "2"]
    assert argon[-3:] == ["announced", "2026-12-01T00:00:00Z", "gemini-4-argon@2026-12-01"]


def test_prices_of_one_model_show_every_tier_and_json_says_the_same():
    done = run("prices", "gpt-5.5", "--at", "2026-11-24")
    plain = json.loads(run("prices", "gpt-5.5", "--at", "2026-11-24", "--json").stdout)

    assert re.search(r"flex +> 272000 +5 +0\.5 +5 +22\.5", done.stdout)
    (one,) = plain
    assert one["price"]["id"] == "gpt-5.5@2026-04-23"
    sizes = {(tier["service_tier"], tier["above_input_tokens"]): tier["rates"] for tier in one["price"][PER_MILLION]}
    assert sizes["flex", 272_000]["output"] == "22.5"
    assert one["next"] is None


PER_MILLION = "usd_per_million_tokens"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("gpt-55",), "no model is named 'gpt-55'"),
        (("import",), "say which catalogue is read: --from litellm or --from genai-prices"),
        (("--fail",), "--fail has no meaning in `gateway prices`"),
        (("drift", "--from", "litellm"), "--from has no meaning in `gateway prices drift`"),
        (("import", "openai/nonsense", "--from", "litellm"), "neither the price book nor litellm has a price"),
        (("drift", "--known", "/absent.yaml"), "/absent.yaml: no such file"),
    ],
)
def test_prices_refuses_what_it_cannot_do(words, says):
    done = run("prices", *words)

    assert (done.returncode, done.stdout) == (1, "")
    assert says in done.stderr


def test_a_model_without_a_price_then_says_when_it_has_one_and_exits_1():
    done = run("prices", "gpt-6-luna", "--at", "2026-09-01")

    assert done.returncode == 1
    assert done.stdout == (
        "openai/gpt-6-luna at 2026-09-01T00:00:00Z: no price; the next row, gpt-6-luna@2026-09-22, begins "
        "2026-09-22T00:00:00Z\n"
    )


def test_drift_fails_a_build_only_when_it_is_new(tmp_path):
    (tmp_path / "none.yaml").write_text("known: []\n")

    known, new = (
        run("prices", "drift", "--fail"),
        run("prices", "drift", "--fail", "--known", str(tmp_path / "none.yaml")),
    )

    assert (known.returncode, new.returncode) == (0, 1)
    assert "new: 0" in known.stdout
    assert "litellm alone; genai-prices does not say" in new.stdout


def test_import_writes_rows_to_review_and_touches_nothing_else(tmp_path):
    out = tmp_path / "rows.yaml"
    before = (ROOT / "gateway" / "pricebook" / "openai.yaml").read_bytes()

    done = run("prices", "import", "openai/gpt-audio", "--from", "genai-prices", "--out", str(out))

    assert done.returncode == 0
    assert 'audio_input: "32"' in out.read_text()
    assert f"1 rows proposed, in {out}" in done.stdout
    assert (ROOT / "gateway" / "pricebook" / "openai.yaml").read_bytes() == before
