"""A gateway without keys serves programs of its own machine, and no page in a browser."""

from __future__ import annotations

import json
import time

import pytest

from tests.running import RunningGateway


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("keyless")) as running:
        yield running


def test_the_shipped_routes_answer_simulated_and_say_so(gateway):
    for route in ("auto", "cheap", "best", "code", "private", "canary", "faq"):
        status, headers, _ = gateway.chat(model=route)
        assert (status, headers["x-gateway-simulated"]) == (200, "true"), route
        assert headers["x-gateway-route"] == route
    assert "SIMULATED" in gateway.log


def test_private_prompts_stay_where_the_route_says(gateway):
    for _ in range(20):
        assert gateway.chat(model="private")[1]["x-gateway-provider"] in ("google", "openai")


@pytest.mark.parametrize(
    "headers",
    [{"host": "evil.example"}, {"host": "evil.example:8080"}, {"origin": "https://evil.example"}, {"origin": "null"}],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/models", "/admin/spend", "/metrics"])
def test_a_page_of_another_origin_is_refused(gateway, path, headers):
    method = "POST" if path.endswith("completions") else "GET"
    body = b'{"model":"auto","messages":[{"role":"user","content":"x"}]}' if method == "POST" else None
    status, _, answer = gateway.ask(method, path, body, **headers)

    assert status == 403
    assert "programs on this machine" in json.loads(answer)["error"]["message"]


def test_simulated_records_are_marked_and_never_among_the_real(gateway):
    gateway.chat()
    assert all(row["simulated"] for row in gateway.rows(expected=1))

    real = json.loads(gateway.get("/admin/spend")[2])
    simulated = json.loads(gateway.get("/admin/spend?simulated=true")[2])
    assert real["lines"] == []
    assert simulated["total"]["requests"] > 0


def test_explain_sends_nothing_and_shows_every_candidate(gateway):
    time.sleep(0.3)  # whatever was answered before is booked by now
    before = len(gateway.rows())
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}]}
    explained = json.loads(gateway.post("/admin/explain", body)[2])

    models = {one["model"] for one in explained["candidates"]} | {drop["model"] for drop in explained["drops"]}
    assert models >= {"deepseek/deepseek-flash", "openai/gpt-5.5"}
    assert len(gateway.rows()) == before


def test_litellm_is_not_loaded_by_a_gateway_that_serves_the_three_providers(gateway):
    for model in ("openai/gpt-6-luna", "deepseek/deepseek-flash", "google/gemini-3.8-flash"):
        assert gateway.chat(model=model)[0] == 200
    with open(f"/proc/{gateway.process.pid}/maps") as maps:
        assert "litellm" not in maps.read()


def test_health_and_readiness_answer(gateway):
    assert gateway.get("/healthz")[0] == 200
    status, _, body = gateway.get("/readyz")
    assert (status, json.loads(body)["ready"]) == (200, True)
