"""Keys that are made, rotated and revoked while the gateway runs."""

from __future__ import annotations

import json
import time

import pytest

from tests.running import RunningGateway

ROUTES = """\
organisation: acme
routes:
  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}
teams:
  search: {routes: [auto]}
"""
ADMIN = {"authorization": "Bearer admin-canary"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("keys"), ROUTES, {"GATEWAY_ADMIN_KEY": "admin-canary"}) as running:
        yield running


def within_a_second(claim) -> bool:
    ends = time.monotonic() + 1
    while time.monotonic() < ends:
        if claim():
            return True
        time.sleep(0.02)
    return False


def made(gateway, path="", **body) -> dict:
    status, _, answer = gateway.post(f"/admin/keys{path}", body, **ADMIN)
    assert status == 201, answer
    return json.loads(answer)


def test_a_team_without_keys_is_not_keyless(gateway):
    assert gateway.chat()[0] == 401
    assert gateway.get("/v1/models")[0] == 401
    assert gateway.chat(key="sk-gw-unknown")[0] == 401


def test_a_key_opens_within_a_second_of_its_making_and_until_it_is_revoked(gateway):
    key = made(gateway, team="search", id="app")["key"]

    assert within_a_second(lambda: gateway.chat(key=key)[0] == 200)
    assert gateway.chat(model="openai/gpt-6-luna", key=key)[0] == 403
    assert gateway.post("/admin/keys/app/revoke", {}, **ADMIN)[0] == 200
    assert within_a_second(lambda: gateway.chat(key=key)[0] == 401)
    assert key not in gateway.log


def test_what_is_spent_under_a_rotated_key_counts_for_the_first(gateway):
    old = made(gateway, team="search", id="shop")["key"]
    new = made(gateway, "/shop/rotate", grace_s=60)["key"]

    assert within_a_second(lambda: gateway.chat(key=new)[0] == 200)
    assert gateway.chat(key=old)[0] == 200
    rows = [row for row in gateway.rows() if row["key_id"].startswith("shop")]
    while len(rows) < 2:
        rows = [row for row in gateway.rows() if row["key_id"].startswith("shop")]
    assert {(row["key_id"], row["team"]) for row in rows} == {("shop", "search")}


def test_admin_keys_need_the_admin_key(gateway):
    for method, path in (("GET", ""), ("POST", ""), ("POST", "/app/revoke"), ("POST", "/app/rotate")):
        assert gateway.ask(method, f"/admin/keys{path}", b"{" if method == "POST" else None)[0] == 401
