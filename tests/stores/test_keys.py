"""Keys in both databases: one that is made opens, one that is revoked does not, and who did it stands beside it."""

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from sqlalchemy import Engine

from gateway.core.contracts import LedgerUnavailable
from gateway.stores.audit import audit_log
from gateway.stores.keys import (
    ApiKey,
    changed_since,
    create_key,
    key_table_version,
    list_keys,
    revoke_key,
    rotate_key,
)
from gateway.stores.ledger import SqlLedger, open_engine

NOW = 1_795_392_000_000_000
MINUTE_US = 60_000_000


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def engine(ledger: SqlLedger) -> Iterator[Engine]:
    ledger.prepare()
    return ledger.engine


def make(engine: Engine, id: str = "app", **given: object) -> ApiKey:
    standard = {"digest": digest(id), "team": "search", "organisation": "acme", "actor": "ops", "now_us": NOW}
    return create_key(engine, id=id, **(standard | given))


def test_a_key_that_is_made_is_listed_and_opens_until_its_end(engine: Engine):
    first = make(engine, note="東京", expires_at_us=NOW + MINUTE_US)
    second = make(engine, "batch")

    assert list_keys(engine) == [first, second]
    assert first.opens(NOW)
    assert not first.opens(NOW + MINUTE_US)
    assert second.opens(2 * NOW)
    assert (first.team, first.organisation, first.note, first.created_at_us) == ("search", "acme", "東京", NOW)


def test_a_revoked_key_opens_nothing_and_stays_in_the_list(engine: Engine):
    make(engine)
    revoked = revoke_key(engine, "app", actor="ops", now_us=NOW + 1)

    assert list_keys(engine) == [revoked]
    assert revoked.revoked_at_us == NOW + 1
    assert not revoked.opens(NOW + 2)


def test_a_rotated_key_and_its_successor_both_open_during_the_grace(engine: Engine):
    make(engine, note="web", expires_at_us=NOW + 10 * MINUTE_US)
    new = rotate_key(engine, "app", digest=digest("new"), grace_s=60, actor="ops", now_us=NOW + 5)
    old = next(key for key in list_keys(engine) if key.id == "app")

    assert (new.id, new.rotated_from, new.created_at_us) == ("app.2", "app", NOW + 5)
    assert (new.team, new.organisation, new.note, new.expires_at_us) == ("search", "acme", "web", NOW + 10 * MINUTE_US)
    assert new.opens(NOW + 5)
    assert old.opens(NOW + MINUTE_US + 4)
    assert not old.opens(NOW + MINUTE_US + 5)


def test_ids_of_a_family_count_up_whichever_is_rotated(engine: Engine):
    make(engine)
    make(engine, "app.x.7")
    ids = [
        rotate_key(engine, id, digest=digest(str(number)), grace_s=600, actor="ops", now_us=NOW).id
        for number, id in enumerate(["app", "app.2", "app.2", "app", "app.x.7"])
    ]
    assert ids == ["app.2", "app.3", "app.4", "app.5", "app.x.7.2"]


def test_a_grace_never_makes_the_old_key_live_longer(engine: Engine):
    make(engine, expires_at_us=NOW + 10)
    rotate_key(engine, "app", digest=digest("new"), grace_s=600, actor="ops", now_us=NOW)
    assert list_keys(engine)[0].expires_at_us == NOW + 10


def test_what_cannot_be_is_refused_by_name_and_leaves_no_trace(engine: Engine):
    make(engine)
    make(engine, "gone")
    revoke_key(engine, "gone", actor="ops", now_us=NOW)
    make(engine, "late", expires_at_us=NOW + 1)
    before = (list_keys(engine), audit_log(engine), key_table_version(engine))
    late = {"actor": "ops", "now_us": NOW + 1}

    for match, act in [
        ("the id 'app' is taken", lambda: make(engine, digest=digest("other"))),
        ("this very key is there already", lambda: make(engine, "other", digest=digest("app"))),
        ("needs an id", lambda: make(engine, "")),
        ("there is no key 'nobody'", lambda: revoke_key(engine, "nobody", **late)),
        ("'gone' is revoked already", lambda: revoke_key(engine, "gone", **late)),
        ("'gone' is revoked already", lambda: rotate_key(engine, "gone", digest=digest("n"), grace_s=1, **late)),
        ("'late' has expired", lambda: rotate_key(engine, "late", digest=digest("n"), grace_s=1, **late)),
        ("this very key", lambda: rotate_key(engine, "app", digest=digest("app"), grace_s=1, **late)),
        ("a grace of -1 s", lambda: rotate_key(engine, "app", digest=digest("n"), grace_s=-1, **late)),
    ]:
        with pytest.raises(ValueError, match=match):
            act()
    assert (list_keys(engine), audit_log(engine), key_table_version(engine)) == before


@pytest.mark.parametrize("given", ["sk-gw-s3cret", digest("x").upper(), digest("x")[:-1], ""])
def test_what_is_no_digest_is_refused_and_not_repeated(engine: Engine, given: str):
    with pytest.raises(ValueError, match="64 digits") as refused:
        make(engine, digest=given)
    assert not given or given not in str(refused.value)
    assert list_keys(engine) == []


def test_every_change_is_in_the_audit_with_its_actor(engine: Engine):
    make(engine)
    rotate_key(engine, "app", digest=digest("new"), grace_s=60, actor="mia", now_us=NOW + 1)
    revoke_key(engine, "app", actor="jan\0", now_us=NOW + 2)

    newest, middle, oldest = audit_log(engine)
    assert [entry.action for entry in (oldest, middle, newest)] == ["create", "rotate", "revoke"]
    assert [entry.actor for entry in (oldest, middle, newest)] == ["ops", "mia", "jan\ufffd"]
    assert json.loads(oldest.detail) == {"team": "search", "organisation": "acme"}
    assert json.loads(middle.detail) == {"to": "app.2", "grace_s": 60}
    assert (newest.at_us, newest.subject) == (NOW + 2, "app")
    assert audit_log(engine, limit=1) == [newest]
    assert audit_log(engine, subject="nobody") == []
    assert digest("app") not in str([msgspec.structs.asdict(entry) for entry in audit_log(engine)])


def test_a_change_is_seen_by_whoever_asks_with_the_version_they_know(engine: Engine):
    assert key_table_version(engine) == 0
    assert changed_since(engine, 0) is None
    first = make(engine)

    assert changed_since(engine, 0) == (1, [first])
    assert changed_since(engine, 1) is None
    revoke_key(engine, "app", actor="ops", now_us=NOW)
    changed = changed_since(engine, 1)
    assert changed is not None
    assert (changed[0], changed[1][0].revoked_at_us) == (2, NOW)


def test_one_of_many_that_take_an_id_at_once_gets_it(engine: Engine):
    def attempt(number: int) -> bool:
        try:
            make(engine, digest=digest(str(number)))
        except ValueError:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(attempt, range(16))) == 1
    assert (len(list_keys(engine)), len(audit_log(engine)), key_table_version(engine)) == (1, 1, 1)


def test_a_database_without_the_tables_is_unavailable(database_url: str):
    with pytest.raises(LedgerUnavailable):
        key_table_version(open_engine(database_url))
