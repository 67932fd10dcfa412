"""/admin/spend over HTTP: the filters of the command line, and a ledger that is away."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from gateway.admin.api import AdminParts, SpendQuestion, create_api
from gateway.core.contracts import LedgerUnavailable
from tests.running import RunningGateway

ADMIN = {"authorization": "Bearer admin-canary"}
ROUTES = """\
organisation: acme
routes:
  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}
teams:
  search: {keys: [{id: app, env: APP_KEY}, {id: shop, env: SHOP_KEY}]}
  research: {organisation: labs, keys: [{id: lab, env: LAB_KEY}]}
"""
KEYS = {name: f"sk-{name}-0123456789-0123456789" for name in ("APP_KEY", "SHOP_KEY", "LAB_KEY")}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    env = {**KEYS, "GATEWAY_ADMIN_KEY": "admin-canary"}
    with RunningGateway(tmp_path_factory.mktemp("spend"), ROUTES, env) as running:
        tags = {"project": "apollo", "stage": "test"}
        assert running.chat(key=KEYS["APP_KEY"], user="u-1", metadata=tags)[0] == 200
        assert running.chat(key=KEYS["APP_KEY"], metadata={"project": "apollo"})[0] == 200
        assert running.chat(key=KEYS["SHOP_KEY"], user="u-1")[0] == 200
        assert running.chat(key=KEYS["LAB_KEY"])[0] == 200
        running.rows(4)
        yield running


@pytest.mark.parametrize(
    ("query", "attempts"),
    [
        ("", 4),
        ("key=app", 2),
        ("key=nobody", 0),
        ("organisation=labs", 1),
        ("end_user=u-1", 2),
        ("tag=project=apollo", 2),
        ("tag=project=apollo&tag=stage=test", 1),
        ("end_user=u-1&key=shop&team=search&route=auto", 1),
    ],
)
def test_spend_of_a_part_over_http(gateway, query, attempts):
    answer = gateway.get(f"/admin/spend?by=key&simulated=true&{query}", **ADMIN)

    lines = json.loads(answer[2])["lines"]
    assert sum(line["attempts"] for line in lines) == attempts


def test_a_filter_that_is_not_known_is_refused_and_not_passed_over(gateway):
    status, _, body = gateway.get("/admin/spend?usr=u-1", **ADMIN)

    assert status == 400
    assert "usr" in json.loads(body)["error"]["message"]


def test_a_ledger_that_is_away_is_a_503():
    def away(asked: SpendQuestion) -> bytes:
        raise LedgerUnavailable("OperationalError: gone")

    def unused(*_: object):
        raise AssertionError

    parts = AdminParts(
        world=unused, authenticate=unused, authorise_admin=lambda scope: None, authorise_metrics=unused,
        explain=unused, spend=away, metrics=unused, metrics_type="", readiness=unused, keys=unused,
        feedback=unused, decision=unused, configs=unused, cache=unused, audit=unused,
    )  # fmt: skip
    answer = TestClient(create_api(parts, version="test")).get("/admin/spend")

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "gone" not in answer.text
