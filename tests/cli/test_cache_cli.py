"""`gateway cache`, /admin/cache and /admin/audit beside a gateway that serves, on the store that is embedded in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT, RunningGateway

KEYS = {"search": "search-" + "k" * 33, "sales": "sales-" + "k" * 34}
ADMIN = "admin-" + "k" * 34
ROUTES = """\
routes:
  faq:
    policy: cheapest
    candidates: [openai/gpt-6-luna]
    baseline: openai/gpt-5.5
    cache: {ttl_s: 600, jitter_percent: 0, stale_if_error_s: 600}
  mine: {policy: cheapest, candidates: [openai/gpt-6-luna], cache: {ttl_s: 600, scope: key}}
  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}
teams:
  search: {keys: [{id: app, env: SEARCH_KEY}]}
  sales: {keys: [{id: shop, env: SALES_KEY}]}
"""
ENV = {"SEARCH_KEY": KEYS["search"], "SALES_KEY": KEYS["sales"], "GATEWAY_ADMIN_KEY": ADMIN}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("cache"), ROUTES, ENV) as running:
        yield running


@pytest.fixture
def empty(gateway):
    """The same, with nothing kept."""
    admin(gateway, "POST", "/admin/cache/purge", {"all": True})
    return gateway


def cache(folder: Path, *words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "cache", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **ENV, **env}, input=stdin,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def facts(gateway, *words: str, stdin: str = ""):
    done = cache(gateway.folder, *words, "--json", stdin=stdin)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def admin(gateway, method: str, path: str, body: object = None, *, status: int = 200):
    raw = None if body is None else json.dumps(body).encode()
    code, _, reply = gateway.ask(method, path, raw, authorization=f"Bearer {ADMIN}", content_type="application/json")
    assert code == status, reply
    return json.loads(reply)


def ask(gateway, text: str, team: str = "search", model: str = "faq") -> str:
    status, headers, _ = gateway.chat(text, model=model, key=KEYS[team])
    assert status == 200
    return headers["x-gateway-cache"]


def request(text: str, model: str = "faq", **fields: object) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}


def test_what_is_kept_is_told_by_the_command_and_over_http_alike(empty):
    for text, team in (("one", "search"), ("two", "search"), ("one", "sales")):
        assert ask(empty, text, team) == "miss"

    told = facts(empty, "stats", "--by", "team")

    assert {one["team"]: one["entries"] for one in told["groups"]} == {"search": 2, "sales": 1}
    over_http = admin(empty, "GET", "/admin/cache?by=team")
    assert [(one["team"], one["entries"], one["stored_bytes"]) for one in over_http["groups"]] == [
        (one["team"], one["entries"], one["stored_bytes"]) for one in told["groups"]
    ]
    table = cache(empty.folder, "stats").stdout.splitlines()
    assert table[0].split() == ["route", "entries", "stored", "stale", "newest", "oldest"]
    assert table[1].split()[:2] == ["faq", "3"]
    assert "volatile-lru" in table[4]


def test_a_purge_holds_in_every_worker_once_the_command_ends_and_is_in_the_audit(tmp_path):
    with RunningGateway(tmp_path, ROUTES, ENV, workers=2) as many:
        for text in ("one", "two"):
            for _ in range(8):
                ask(many, text)

        done = cache(tmp_path, "purge", "--route", "faq")

        assert done.stdout.splitlines()[0] == "purged: route:faq"
        assert done.stdout.splitlines()[1].startswith("2 entries removed, ")
        assert done.stdout.endswith("no worker replays them any more\n")
        assert ask(many, "one") == "miss"
        (line,) = admin(many, "GET", "/admin/audit?limit=1")["audit"]
    assert (line["actor"], line["action"], line["subject"]) == ("command line", "purge", "route:faq")
    assert line["detail"]["entries"] == 2


def test_a_purge_over_http_is_the_admins_and_takes_several_at_once(empty):
    ask(empty, "one")
    ask(empty, "one", "sales")

    told = admin(empty, "POST", "/admin/cache/purge", {"team": ["search", "sales"], "tag": "a=b"})

    assert (told["purged"], told["entries"], told["complete"]) == (["team:search", "team:sales", "tag:a=b"], 2, True)
    assert ask(empty, "one") == "miss"
    newest = admin(empty, "GET", "/admin/audit")["audit"][0]
    assert (newest["actor"], newest["subject"]) == ("admin", "team:search, team:sales, tag:a=b")


def test_a_kept_answer_is_told_by_its_size_and_times_and_never_by_what_it_says(empty):
    ask(empty, "a secret question")
    body = json.dumps(request("a secret question"))

    told = facts(empty, "inspect", "-", "--team", "search", stdin=body)

    kept = told["kept"]
    assert (told["looks"], told["keeps"], told["shares"], told["reason"]) == (True, True, True, None)
    assert told["scope"].endswith("team:search")
    assert (kept["model"], kept["freshness"], kept["replayed"]) == ("openai/gpt-6-luna", "fresh", True)
    assert 580 <= kept["fresh_for_s"] <= 600
    assert 1_180 <= kept["ends_in_s"] <= 1_200
    assert float(kept["saved_usd_a_hit"]) > 0
    over_http = admin(empty, "POST", "/admin/cache/inspect?team=search", request("a secret question"))
    passing = {"age_s", "fresh_for_s", "ends_in_s"}
    assert {k: v for k, v in over_http["kept"].items() if k not in passing} == {
        k: v for k, v in kept.items() if k not in passing
    }
    assert over_http["name"] == told["name"]
    words = cache(empty.folder, "inspect", "-", "--team", "search", stdin=body).stdout
    assert "kept: openai/gpt-6-luna" in words
    assert "secret" not in words + json.dumps(told) + json.dumps(over_http)


def test_another_team_finds_nothing_of_it(empty):
    ask(empty, "one")

    assert admin(empty, "POST", "/admin/cache/inspect?team=sales", request("one"))["kept"] is None


def test_a_key_with_answers_of_its_own_finds_its_own_only(empty):
    ask(empty, "one", model="mine")
    body = json.dumps(request("one", "mine"))

    assert facts(empty, "inspect", "-", "--team", "search", "--key", "app", stdin=body)["kept"] is not None
    assert facts(empty, "inspect", "-", "--team", "search", "--key", "other", stdin=body)["kept"] is None


def test_why_a_request_goes_past_the_cache_is_said(empty):
    ask(empty, "one")
    path = "/admin/cache/inspect?team=search"

    varied = admin(empty, "POST", path, request("one", temperature=1))
    off = admin(empty, "POST", path, request("one", "auto"))
    body = json.dumps(request("one"))
    asked = facts(empty, "inspect", "-", "--team", "search", "--cache-control", "no-cache", stdin=body)

    assert (varied["looks"], varied["keeps"], varied["reason"]) == (False, False, "sampled")
    assert (off["cache"], off["reason"]) == (None, "the route keeps no answers")
    assert (asked["looks"], asked["keeps"], asked["reason"]) == (False, True, "no-cache")
    assert (asked["kept"]["replayed"], asked["kept"]["why_not"]) == (False, "no-cache")


def test_an_inspection_removes_nothing_and_leaves_no_row(empty):
    assert ask(empty, "one", "sales", "mine") == "miss"
    for _ in range(3):
        admin(empty, "POST", "/admin/cache/inspect?team=sales&key=shop", request("one", "mine"))
    assert ask(empty, "one", "sales", "mine") == "hit"

    empty.stop()
    try:
        rows = [row for row in empty.rows() if (row["team"], row["route"]) == ("sales", "mine")]
    finally:
        empty.start()
    assert [row["cache"] for row in rows] == ["miss", "hit"]


REFUSED = {
    "an unknown route": (("purge", "--route", "fqa"), 1, "did you mean 'faq'?"),
    "nothing to purge": (("purge",), 1, "nothing is named to be purged"),
    "a tag that is none": (("purge", "--tag", "apollo"), 1, "'apollo' is not NAME=VALUE"),
    "no action": ((), 2, "required: action"),
    "a count that is none": (("stats", "--most", "0"), 2, "'0' is no count"),
    "no such body": (("inspect", "none.json", "--team", "search"), 1, "none.json cannot be read: No such file"),
    "nobody asks": (("inspect", "-"), 1, "name the team that asks, one of: search, sales"),
    "an unknown team": (("inspect", "-", "--team", "sale"), 1, "did you mean 'sales'?"),
}


@pytest.mark.parametrize(("words", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_said_in_a_line(gateway, words, code, said):
    done = cache(gateway.folder, *words, stdin=json.dumps(request("one")))

    assert done.returncode == code
    assert said in done.stderr


def test_without_a_gateway_there_is_no_embedded_store_to_ask(tmp_path):
    (tmp_path / "routes.yaml").write_text(ROUTES)

    done = cache(tmp_path, "stats")

    assert done.returncode == 1
    assert "no gateway runs on data" in done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "routes.yaml"]  # and none is made


def test_a_store_of_ones_own_needs_the_secret_that_its_gateways_have(tmp_path):
    done = cache(tmp_path, "stats", REDIS_URL="redis://:s3cret@127.0.0.1:9")
    away = cache(tmp_path, "stats", REDIS_URL="redis://:s3cret@127.0.0.1:9", GATEWAY_CACHE_SECRET="s" * 32)

    assert (done.returncode, away.returncode) == (1, 1)
    assert "set GATEWAY_CACHE_SECRET" in done.stderr
    assert "cannot be reached" in away.stderr
    assert "s3cret" not in done.stderr + away.stderr


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/admin/cache"),
        ("POST", "/admin/cache/purge"),
        ("POST", "/admin/cache/inspect"),
        ("GET", "/admin/audit"),
    ],
)
def test_nobody_but_the_admin_is_let_in_and_no_body_is_read_before(gateway, method, path):
    for key in (None, KEYS["search"]):
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        assert gateway.ask(method, path, b"no json" if method == "POST" else None, **headers)[0] == 401


def test_what_is_asked_wrongly_over_http_is_refused_by_name(gateway):
    for body, said in (
        ({"route": "fqa"}, "did you mean 'faq'"),
        ({"rout": "faq"}, "'rout'"),
        ({}, "nothing is named"),
    ):
        told = admin(gateway, "POST", "/admin/cache/purge", body, status=400)
        assert said in told["error"]["message"]
    assert "'by'" in admin(gateway, "GET", "/admin/cache?by=colour", status=400)["error"]["message"]
    assert "'limit'" in admin(gateway, "GET", "/admin/audit?limit=0", status=400)["error"]["message"]
    admin(gateway, "POST", "/admin/cache/inspect?team=nobody", request("one"), status=400)
