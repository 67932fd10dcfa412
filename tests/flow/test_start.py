"""Starting: what is refused, with which words and exit code; what goes on without a part."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.world import key_digest
from gateway.settings import Settings, StartError
from gateway.shared import cache_keys
from gateway.stores.box import box_key
from tests.running import ROOT, RunningGateway, free_port

ROUTES = "routes:\n  auto: {policy: cheapest, candidates: [openai/gpt-6-luna], cache: {ttl_s: 60, max_kib: 64}}\n"
TEAM = f"""teams:
  one: {{keys: [{{id: one, sha256: "{key_digest("k" * 43)}"}}]}}
"""


def refused(folder, routes=ROUTES, env=None, host="127.0.0.1") -> str:
    """The text of a start that must fail; no traceback and no secret in it."""
    gateway = RunningGateway(folder, routes, env, host)
    with pytest.raises(RuntimeError, match="the gateway ended with 1"):
        gateway.start()
    assert "Traceback" not in gateway.log
    assert "canary" not in gateway.log
    return gateway.log


def cache_keys_of(given: str) -> list[bytes]:
    env = {"GATEWAY_CACHE_KEYS": given}
    settings = Settings.from_env(env, routes=Path("routes.yaml"), host="127.0.0.1", port=0, data_dir=Path("data"))
    return cache_keys(settings, b"the secret")


def test_keys_of_the_cache_are_made_of_each_text_and_of_the_secret_without_any():
    one, other = "1" * 32, "2" * 32
    assert cache_keys_of(one) == [box_key(one.encode())]
    assert cache_keys_of(f" {one} , {other} ") == [box_key(one.encode()), box_key(other.encode())]
    assert cache_keys_of(" ") == [box_key(b"the secret")]


@pytest.mark.parametrize("given", ["canary", f"{'1' * 32},canary", f"{'1' * 32},", ","])
def test_a_key_of_the_cache_that_is_too_short_is_refused_without_repeating_it(given: str):
    with pytest.raises(StartError, match=r"32 are the least.*openssl rand -hex 32") as refusal:
        cache_keys_of(given)
    assert "canary" not in str(refusal.value)


def test_a_gateway_with_a_bad_key_of_the_cache_does_not_start(tmp_path):
    said = refused(tmp_path, env={"OPENAI_API_KEY": "canary", "GATEWAY_CACHE_KEYS": f"{'1' * 32},canary"})
    assert "GATEWAY_CACHE_KEYS: text 2 of 2 has 6 characters" in said


def test_without_teams_only_loopback_is_served(tmp_path):
    said = refused(tmp_path, env={"OPENAI_API_KEY": "canary"}, host="0.0.0.0")

    assert "has no teams" in said
    assert "gateway keys new" in said


def test_simulated_answers_are_served_on_loopback_only(tmp_path):
    assert "set OPENAI_API_KEY, DEEPSEEK_API_KEY or GEMINI_API_KEY" in refused(tmp_path, ROUTES + TEAM, host="0.0.0.0")


def test_with_keys_and_a_provider_another_address_is_served(tmp_path):
    with RunningGateway(tmp_path, ROUTES + TEAM, {"OPENAI_API_KEY": "canary"}, host="0.0.0.0") as gateway:
        assert gateway.chat()[0] == 401


def test_a_provider_without_its_key_is_off_as_soon_as_one_is_real(tmp_path):
    routes = ROUTES.replace("openai/gpt-6-luna", "deepseek/deepseek-flash")
    with RunningGateway(tmp_path, routes, {"OPENAI_API_KEY": "canary", "DEEPSEEK_API_KEY": ""}) as gateway:
        status, _, body = gateway.chat()

    assert status == 503
    assert "no key: set DEEPSEEK_API_KEY" in json.loads(body)["error"]["message"]
    assert "off, no key: deepseek, google" in gateway.log
    assert "SIMULATED" not in gateway.log


def test_a_broken_routes_file_names_every_mistake_with_its_line(tmp_path):
    said = refused(tmp_path, "routes:\n  auto: {polcy: cheapest, candidates: [openai/gpt-6-lun]}\n")

    assert "routes.yaml:2:" in said
    assert "did you mean 'policy'" in said
    assert "did you mean 'openai/gpt-6-luna'" in said


def test_a_ledger_that_cannot_be_opened_stops_the_start(tmp_path):
    env = {"DATABASE_URL": "postgresql://user:canary@127.0.0.1:1/none"}

    assert "the ledger cannot be opened" in refused(tmp_path, env=env)
    assert "DATABASE_URL" in refused(tmp_path, env={"DATABASE_URL": "mysql://canary"})


def test_a_taken_port_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        gateway = RunningGateway(tmp_path, ROUTES)
        gateway.port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match="ended with 1"):
            gateway.start()
    assert f"cannot listen on 127.0.0.1:{gateway.port}" in gateway.log


def test_a_second_gateway_on_the_same_data_is_refused(tmp_path):
    with RunningGateway(tmp_path, ROUTES):
        assert "data" in refused(tmp_path)


def test_an_unreachable_redis_costs_the_cache_and_nothing_else(tmp_path):
    with RunningGateway(tmp_path, ROUTES, {"REDIS_URL": f"redis://127.0.0.1:{free_port()}"}) as gateway:
        answers = [gateway.chat() for _ in range(3)]
        rows = gateway.rows(expected=3)

    assert [status for status, _, _ in answers] == [200, 200, 200]
    assert {headers["x-gateway-cache"] for _, headers, _ in answers} == {"miss"}
    assert len(rows) == 3
    assert "does not answer" in gateway.log


def test_a_stop_writes_what_was_answered_and_exits_with_0(tmp_path):
    gateway = RunningGateway(tmp_path, ROUTES).start()
    asked = [gateway.chat(f"question {number}")[0] for number in range(50)]
    code = gateway.stop()

    assert (code, asked) == (0, [200] * 50)
    assert len(gateway.rows()) == 50


def test_the_gateway_never_imports_litellm_by_itself():
    code = (
        "import sys, gateway.server, gateway.workers.supervisor, gateway.cli.serve;"
        "sys.exit(any(name.startswith('litellm') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0
