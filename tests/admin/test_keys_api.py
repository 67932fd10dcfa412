"""/admin/keys over HTTP, on both databases."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from gateway.admin import keys as api
from gateway.admin.api import AdminParts, create_api
from gateway.config import Teams
from gateway.core.errors import Blame, GatewayError
from gateway.core.world import key_digest
from gateway.keyring import Keyring
from gateway.stores.audit import audit_log
from gateway.stores.keys import list_keys
from gateway.stores.ledger import SqlLedger, open_engine

TEAMS = Teams({"search": "acme", "research": "default"}, frozenset({"filed"}))
ADMIN = {"authorization": "Bearer admin"}


def authorise(scope) -> None:
    if (b"authorization", b"Bearer admin") not in scope["headers"]:
        raise GatewayError(Blame.CALLER, 401, told="no", code="invalid_api_key")


def application(engine) -> FastAPI:
    ring = Keyring(engine, lambda: TEAMS, actor="admin")

    def unused(*_: object):
        raise AssertionError

    parts = AdminParts(
        world=unused, authenticate=unused, authorise_admin=authorise, authorise_metrics=unused, explain=unused,
        spend=unused, metrics=unused, metrics_type="", readiness=unused,
        keys=api.KeyParts(ring.create, ring.listed, ring.revoke, ring.rotate), feedback=unused, decision=unused,
        configs=unused, cache=unused, audit=unused,
    )  # fmt: skip
    return create_api(parts, version="test")


@pytest.fixture
def engine(ledger: SqlLedger):
    ledger.prepare()
    return ledger.engine


@pytest.fixture
def client(engine):
    return TestClient(application(engine), headers=ADMIN)


def told(answer) -> str:
    return answer.json()["error"]["message"]


def test_a_key_that_is_made_is_shown_once_and_stored_by_its_digest(client, engine):
    answer = client.post("/admin/keys", json={"team": "search", "id": "app", "note": "web"})

    made = answer.json()
    key = made.pop("key")
    assert answer.status_code == 201
    assert re.fullmatch(r"sk-gw-[\w-]{43}", key)
    assert client.get("/admin/keys").json() == {"keys": [made]}
    assert key not in client.get("/admin/keys").text
    (stored,) = list_keys(engine)
    assert (stored.digest, stored.team, stored.organisation) == (key_digest(key), "search", "acme")
    assert (made["state"], made["expires_at"], made["note"]) == ("active", None, "web")


def test_without_an_id_one_is_made_of_the_teams_name(client):
    ids = {client.post("/admin/keys", json={"team": "search"}).json()["id"] for _ in range(3)}

    assert len(ids) == 3
    assert all(re.fullmatch(r"search-[0-9a-f]{8}", id) for id in ids)


def test_a_key_may_expire(client):
    made = client.post("/admin/keys", json={"team": "search", "expires_at": "2100-01-01T02:00:00+02:00"}).json()

    assert made["expires_at"] == "2100-01-01T00:00:00Z"


def test_a_revoked_key_stays_in_the_list(client):
    client.post("/admin/keys", json={"team": "search", "id": "app"})

    answer = client.post("/admin/keys/app/revoke")

    assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
    assert client.get("/admin/keys").json()["keys"] == [answer.json()]


def test_a_rotated_key_is_another_one_and_the_old_one_ends(client):
    client.post("/admin/keys", json={"team": "search", "id": "app"})

    first = client.post("/admin/keys/app/rotate", json={"grace_s": 0})
    second = client.post("/admin/keys/app.2/rotate")

    assert (first.status_code, first.json()["id"], first.json()["rotated_from"]) == (201, "app.2", "app")
    assert (second.json()["id"], second.json()["rotated_from"]) == ("app.3", "app.2")
    states = {key["id"]: key["state"] for key in client.get("/admin/keys").json()["keys"]}
    assert states == {"app": "expired", "app.2": "active", "app.3": "active"}
    ends = datetime.fromisoformat(client.get("/admin/keys").json()["keys"][1]["expires_at"])
    assert 86_000 < (ends - datetime.now(UTC)).total_seconds() <= 86_400


def test_every_change_is_audited_as_the_admins(client, engine):
    client.post("/admin/keys", json={"team": "search", "id": "app"})
    client.post("/admin/keys/app/rotate")
    client.post("/admin/keys/app/revoke")

    found = [(entry.actor, entry.action, entry.subject) for entry in audit_log(engine)]
    assert found == [("admin", action, "app") for action in ("revoke", "rotate", "create")]


BAD = {
    "an unknown team": ({"team": "serach"}, "no team is named 'serach' in the routes file; did you mean 'search'?"),
    "an id of the file": ({"team": "search", "id": "filed"}, "the id 'filed' is that of a key in the routes file"),
    "an id that is taken": ({"team": "search", "id": "taken"}, "the id 'taken' is taken"),
    "an id that is no name": (
        {"team": "search", "id": "a b"},
        "'a b' is no id: letters, digits, . _ - and at most 64 of them",
    ),
    "a past end": (
        {"team": "search", "expires_at": "2020-01-01T00:00:00Z"},
        "the key would have expired already, on 2020-01-01T00:00:00Z",
    ),
    "an end without a zone": ({"team": "search", "expires_at": "2100-01-01T00:00:00"}, "'expires_at': "),
    "a note of two lines": ({"team": "search", "note": "a\nb"}, "a note is one line of at most 200 characters"),
    "a note too long": ({"team": "search", "note": "x" * 201}, "a note is one line of at most 200 characters"),
    "no team": ({"id": "a"}, "'team': "),
    "an unknown field": ({"team": "search", "digest": "x"}, "'digest': "),
    "no object": ([], "'body': "),
}


@pytest.mark.parametrize(("body", "said"), BAD.values(), ids=BAD)
def test_what_cannot_be_made_is_refused_in_words(client, engine, body, said):
    client.post("/admin/keys", json={"team": "search", "id": "taken"})

    answer = client.post("/admin/keys", json=body)

    assert answer.status_code == 400
    assert told(answer).startswith(said)
    assert len(list_keys(engine)) == 1


@pytest.mark.parametrize("act", ["revoke", "rotate"])
def test_an_unknown_key_is_404_with_what_was_meant(client, act):
    client.post("/admin/keys", json={"team": "search", "id": "app"})

    for id, said in (
        ("apq", "there is no key 'apq'; did you mean 'app'?"),
        ("filed", "the key 'filed' stands in the routes file: change it there"),
    ):
        answer = client.post(f"/admin/keys/{id}/{act}")
        assert (answer.status_code, told(answer)) == (404, said)


def test_a_revoked_key_is_neither_revoked_nor_rotated_again(client):
    client.post("/admin/keys", json={"team": "search", "id": "app"})
    client.post("/admin/keys/app/revoke")

    for act in ("revoke", "rotate"):
        answer = client.post(f"/admin/keys/app/{act}")
        assert (answer.status_code, told(answer)) == (400, "the key 'app' is revoked already")


@pytest.mark.parametrize("grace", [-1, 366 * 86_400 + 1, 1.5, "soon"])
def test_a_time_of_grace_is_whole_seconds_up_to_a_year(client, grace):
    client.post("/admin/keys", json={"team": "search", "id": "app"})

    answer = client.post("/admin/keys/app/rotate", json={"grace_s": grace})

    assert answer.status_code == 400
    assert told(answer).startswith("'grace_s': ")


CALLS = [
    ("POST", "/admin/keys"),
    ("GET", "/admin/keys"),
    ("POST", "/admin/keys/a/revoke"),
    ("POST", "/admin/keys/a/rotate"),
]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_nothing_of_a_request_is_read_before_it_is_known_who_asks(engine, method, path):
    client = TestClient(application(engine))

    assert client.request(method, path, content=b"{ no json").status_code == 401


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_database_that_is_away_is_503(tmp_path, method, path):
    away = open_engine(f"sqlite:///{tmp_path / 'nowhere' / 'ledger.sqlite'}")
    client = TestClient(application(away), headers=ADMIN)

    answer = client.request(method, path, json={"team": "search"} if path == "/admin/keys" else None)

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "nowhere" not in answer.text


def test_a_database_that_does_not_answer_in_time_is_504(engine, monkeypatch):
    monkeypatch.setattr(api, "DEADLINE_S", 0.0)

    answer = TestClient(application(engine), headers=ADMIN).get("/admin/keys")

    assert answer.status_code == 504
    assert "list the keys" in told(answer)


def test_the_description_of_the_api_has_the_models(client):
    described = client.get("/openapi.json").json()

    assert set(described["paths"]) >= {"/admin/keys", "/admin/keys/{id}/revoke", "/admin/keys/{id}/rotate"}
    assert {"NewKey", "MadeKey", "Key", "KeyList", "Rotation"} <= set(described["components"]["schemas"])
    assert "key" not in described["components"]["schemas"]["Key"]["properties"]
