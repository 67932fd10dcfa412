"""`gateway keys` with a database: made, listed, rotated and revoked, also while a gateway runs on the same file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from gateway.core.world import key_digest
from gateway.stores.audit import audit_log
from gateway.stores.keys import list_keys
from gateway.stores.ledger import open_engine, sqlite_url
from tests.running import ROOT, RunningGateway
from tests.stores.services import postgres_cluster, postgres_url

__all__ = ["postgres_cluster", "postgres_url"]

ROUTES = """\
routes:
  auto: {policy: cheapest, candidates: [openai/gpt-6-luna]}
teams:
  search: {organisation: acme, keys: [{id: filed, env: A_KEY_THAT_ONLY_THE_GATEWAY_HAS}]}
  research: {}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return tmp_path


@pytest.fixture(params=["sqlite", "postgres"])
def env(request, folder):
    """The environment that leads the command to an empty database of each kind."""
    return {} if request.param == "sqlite" else {"DATABASE_URL": request.getfixturevalue("postgres_url")}


def keys(folder, *words: str, env=()) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "keys", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", **dict(env)},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def secret(done) -> str:
    return re.search(r"sk-gw-[\w-]{43}", done.stdout)[0]


def database(folder, env):
    return open_engine(env.get("DATABASE_URL") or sqlite_url(folder / "data" / "ledger.sqlite"))


def test_a_key_is_made_listed_rotated_and_revoked(folder, env):
    made = keys(folder, "create", "--team", "search", "--id", "app", "--note", "the web shop", env=env)
    assert made.returncode == 0, made.stderr
    assert "id app, team search, organisation acme, does not expire" in made.stdout
    rotated = keys(folder, "rotate", "app", "--grace", "30m", env=env)
    assert "id app.2, team search" in rotated.stdout
    assert "It takes the place of app." in rotated.stdout
    revoked = keys(folder, "revoke", "app", env=env)
    assert revoked.stdout == "app of team search is revoked; every process refuses it within a second\n"

    listed = keys(folder, "list", env=env).stdout
    assert re.search(r"^app +search +revoked .* the web shop$", listed, re.MULTILINE)
    assert re.search(r"^app\.2 +search +active .* app +the web shop$", listed, re.MULTILINE)
    engine = database(folder, env)
    assert [key.digest for key in list_keys(engine)] == [key_digest(secret(made)), key_digest(secret(rotated))]
    assert [(one.actor, one.action) for one in audit_log(engine)] == [
        ("command line", action) for action in ("revoke", "rotate", "create")
    ]
    engine.dispose()


def test_the_list_as_json_has_every_fact_and_no_key(folder):
    made = keys(folder, "create", "--team", "research", "--expires", "2100-01-01")

    (listed,) = json.loads(keys(folder, "list", "--json").stdout)

    assert listed["id"].startswith("research-")
    assert (listed["team"], listed["organisation"], listed["state"]) == ("research", "default", "active")
    assert listed["expires_at"] == "2100-01-01T00:00:00Z"
    assert secret(made) not in json.dumps(listed)
    age = datetime.now(UTC) - datetime.fromisoformat(listed["created_at"])
    assert age.total_seconds() < 60


REFUSED = {
    "an unknown team": (("create", "--team", "serach"), 1, "did you mean 'search'?"),
    "an id of the file": (("create", "--team", "search", "--id", "filed"), 1, "that of a key in the routes file"),
    "a past end": (("create", "--team", "search", "--expires", "2020-01-01"), 1, "expired already"),
    "no team": (("create",), 2, "--team"),
    "an end that is none": (("create", "--team", "search", "--expires", "soon"), 2, "no ISO date or instant"),
    "no database to list": (("list",), 1, "there is no ledger at data/ledger.sqlite"),
    "no database to revoke in": (("revoke", "app"), 1, "there is no ledger"),
    "a grace that is none": (("rotate", "app", "--grace", "long"), 2, "'long' is no time"),
    "no routes file": (("create", "--team", "t", "--routes", "none.yaml"), 1, "none.yaml: no such file"),
}


@pytest.mark.parametrize(("words", "code", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_said_in_a_line(folder, words, code, said):
    done = keys(folder, *words)

    assert done.returncode == code
    assert said in done.stderr


def test_a_broken_routes_file_is_told_with_its_lines(folder):
    (folder / "routes.yaml").write_text(ROUTES + "  sales: {orgnisation: acme}\n")

    done = keys(folder, "create", "--team", "search")

    assert done.returncode == 1
    assert "routes.yaml:6:11: unknown key 'orgnisation' in team 'sales'; did you mean 'organisation'?" in done.stderr


def test_no_key_is_unknown_without_what_was_meant(folder):
    keys(folder, "create", "--team", "search", "--id", "app")

    assert keys(folder, "revoke", "apq").stderr == "there is no key 'apq'; did you mean 'app'?\n"
    assert "change it there" in keys(folder, "rotate", "filed").stderr


def test_a_database_that_is_away_is_told_in_a_line(folder):
    done = keys(folder, "list", env={"DATABASE_URL": "postgresql://me:s3cret@127.0.0.1:9/none"})

    assert done.returncode == 1
    assert "OperationalError" in done.stderr
    assert "s3cret" not in done.stderr


def test_keys_are_made_while_a_gateway_runs_on_the_same_file(folder):
    with RunningGateway(folder, ROUTES.replace("A_KEY_THAT_ONLY_THE_GATEWAY_HAS", "K"), {"K": "k" * 40}) as gateway:
        made = [keys(folder, "create", "--team", "research") for _ in range(2)]
        assert [gateway.chat(key="k" * 40)[0] for _ in range(3)] == [200, 200, 200]
        listed = json.loads(keys(folder, "list", "--json").stdout)

    assert [done.returncode for done in made] == [0, 0]
    assert len(listed) == 2
    assert len(gateway.rows()) == 3
