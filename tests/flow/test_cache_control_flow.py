"""HTTP's own words for caches, asked of a whole gateway: no-store, no-cache, max-age, only-if-cached, Age; and stale
answers, by the route's policy."""

from __future__ import annotations

import asyncio
import json

import pytest
import pytest_asyncio

from gateway.core.world import key_digest
from gateway.simulator import Scenario
from tests.flow.river import afresh, running
from tests.flow.world import MODELS, ROUTES

ONE, HELD, MATE = "sk-one-" + "1" * 40, "sk-held-" + "2" * 40, "sk-mate-" + "3" * 40
ADMIN = "admin-canary"
_ROUTE = f"policy: cheapest, candidates: [{', '.join(MODELS)}], baseline: openai/gpt-6-test"
MORE = f"""
  own:       {{{_ROUTE}, cache: {{ttl_s: 600, scope: key}}}}
  shared:    {{{_ROUTE}, cache: {{ttl_s: 600, scope: organisation}}}}
  sampled:   {{{_ROUTE}, cache: {{ttl_s: 600, sampled: true}}}}
  renewed:   {{{_ROUTE}, cache: {{ttl_s: 1, jitter_percent: 0, stale_while_revalidate_s: 600}}}}
  alone:     {{{_ROUTE}, cache: {{ttl_s: 1, jitter_percent: 0, stale_while_revalidate_s: 600, coalesce: false}}}}
  forgiving: {{{_ROUTE}, cache: {{ttl_s: 1, jitter_percent: 0, stale_if_error_s: 600}}, max_attempts: 1}}
teams:
  one: {{keys: [{{id: one, sha256: "{key_digest(ONE)}"}}, {{id: mate, sha256: "{key_digest(MATE)}"}}]}}
  held: {{keys: [{{id: held, sha256: "{key_digest(HELD)}"}}], cache_bypass: none}}
"""


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory):
    async with running(tmp_path_factory.mktemp("river"), ROUTES + MORE, {"GATEWAY_ADMIN_KEY": ADMIN}) as one:
        yield one


@pytest_asyncio.fixture(loop_scope="module")
async def river(shared):
    return await afresh(shared)


async def ask(river, control=None, *, key=ONE, model="kept", text=None, **fields):
    body = {"model": model, "messages": [{"role": "user", "content": text or river.text}], **fields}
    asked = {"authorization": f"Bearer {key}"} | ({} if control is None else {"cache_control": control})
    answer = await asyncio.to_thread(river.gateway.post, "/v1/chat/completions", body, **asked)
    await asyncio.sleep(0.1)  # an answer is kept beside its reply
    return answer


def told(answer):
    return answer[1]["x-gateway-cache"], answer[1].get("x-gateway-cache-reason", "")


async def test_no_store_is_neither_kept_nor_shared(river):
    first = await ask(river, "no-store")
    second = await ask(river)

    assert told(first) == ("bypass", "no-store")
    assert first[1]["cache-control"] == "no-store"
    assert told(second) == ("miss", "")
    assert len(river.sim.bill) == 2


async def test_no_cache_asks_anew_and_what_it_gets_is_kept(river):
    await ask(river)
    anew = await ask(river, "no-cache")
    again = await ask(river)

    assert told(anew) == ("bypass", "no-cache")
    assert told(again) == ("hit", "")
    assert json.loads(again[2])["id"] == json.loads(anew[2])["id"]
    assert len(river.sim.bill) == 2


async def test_an_answer_older_than_max_age_is_not_taken(river):
    await ask(river)
    await asyncio.sleep(2.0)
    young = await ask(river, "max-age=1")
    old = await ask(river, "max-age=60")

    assert told(young) == ("miss", "too_old")
    assert told(old) == ("hit", "")
    assert int(old[1]["age"]) <= 1
    assert 0 < int(old[1]["cache-control"].removeprefix("private, max-age=")) <= 600
    assert len(river.sim.bill) == 2


async def test_only_if_cached_never_asks_a_provider(river):
    status, _, body = await ask(river, "only-if-cached")
    await ask(river)
    hit = await ask(river, "only-if-cached")

    assert status == 504
    assert json.loads(body)["error"]["code"] == "not_cached"
    assert told(hit) == ("hit", "")
    assert len(river.sim.bill) == 1


async def test_a_max_age_that_is_no_number_is_refused(river):
    status, _, body = await ask(river, "max-age=soon")

    assert status == 400
    assert json.loads(body)["error"]["param"] == "cache-control"


async def test_a_key_without_leave_cannot_go_past_the_cache(river):
    await ask(river, key=HELD)
    held = await ask(river, "no-cache", key=HELD)

    assert told(held) == ("hit", "bypass_not_permitted")
    assert len(river.sim.bill) == 1


async def test_a_scope_is_shared_within_and_never_beyond(river):
    await ask(river, model="kept")
    await ask(river, model="own")
    await ask(river, model="shared")
    mates = [await ask(river, key=MATE, model=model) for model in ("kept", "own", "shared")]
    others = [await ask(river, key=HELD, model=model) for model in ("kept", "own", "shared")]

    assert [told(one)[0] for one in mates] == ["hit", "miss", "hit"]
    assert [told(one)[0] for one in others] == ["miss", "miss", "hit"]
    assert len(river.sim.bill) == 3 + 1 + 2


@pytest.mark.parametrize(("fields", "reason"), [({"temperature": 0.7}, "sampled"), ({"n": 2}, "sampled"),
                                                ({"store": True}, "not_repeatable")])  # fmt: skip
async def test_what_is_meant_to_vary_goes_past_the_cache(river, fields, reason):
    answers = [await ask(river, **fields) for _ in range(2)]

    assert [told(one) for one in answers] == [("bypass", reason)] * 2
    assert len(river.sim.bill) == 2


async def test_a_route_may_keep_what_is_sampled(river):
    answers = [await ask(river, model="sampled", temperature=0.7, n=2) for _ in range(2)]

    assert [told(one)[0] for one in answers] == ["miss", "hit"]
    assert len(json.loads(answers[1][2])["choices"]) == 2
    assert len(river.sim.bill) == 1


async def test_a_stale_answer_is_replayed_while_one_call_renews_it(river):
    first = await ask(river, model="renewed")
    await asyncio.sleep(1.1)
    stale = await asyncio.gather(*(ask(river, model="renewed") for _ in range(5)))
    rows = await river.rows(7)
    fresh = await ask(river, model="renewed")

    assert {told(one) for one in stale} <= {("stale", "revalidating"), ("hit", "")}
    assert told(stale[0]) == ("stale", "revalidating") or ("stale", "revalidating") in map(told, stale)
    assert len(river.sim.bill) == 2
    assert json.loads(fresh[2])["id"] != json.loads(first[2])["id"]
    renewals = [row for row in rows if row["cache"] == "revalidation"]
    assert [(row["outcome"], row["cost_nano"] > 0, row["baseline_nano"]) for row in renewals] == [
        ("revalidated", True, 0)
    ]
    assert sum(row["cost_nano"] for row in rows) == river.sim.total_nano()


async def test_a_stale_answer_stands_in_when_no_other_can_be_had(river):
    first = await ask(river, model="forgiving")
    await asyncio.sleep(1.1)
    river.sim.set_scenario(None, Scenario(fault="http_503"))
    spared = await ask(river, model="forgiving")
    refused = await ask(river, model="forgiving", text="another question")

    assert told(spared) == ("stale", "error")
    assert spared[2] == first[2]
    assert refused[0] == 502


async def test_a_reload_that_changes_another_route_keeps_the_answers(river):
    await ask(river)
    river.gateway.routes.write_text(river.gateway.routes.read_text().replace("total_s: 20", "total_s: 21"))
    status, _, _ = await asyncio.to_thread(river.gateway.post, "/admin/reload", {}, authorization=f"Bearer {ADMIN}")

    assert status == 200
    assert told(await ask(river))[0] == "hit"
    assert len(river.sim.bill) == 1


async def test_a_stale_answer_after_failed_attempts_is_one_request_with_a_row_of_its_own(river):
    first = await ask(river, model="forgiving")
    await asyncio.sleep(1.1)
    river.sim.set_scenario(None, Scenario(fault="http_503"))
    spared = await ask(river, model="forgiving")
    rows = [row for row in await river.rows(3) if row["request_id"] == spared[1]["x-request-id"]]
    rows.sort(key=lambda row: row["attempt"])

    assert told(spared) == ("stale", "error")
    assert spared[2] == first[2]
    assert "x-should-retry" not in spared[1]
    assert [(row["cache"], row["outcome"], row["attempt"]) for row in rows] == [
        ("miss", "http_503", 1), ("stale", "cached", 2)
    ]  # fmt: skip
    assert rows[1]["baseline_nano"] > 0


@pytest.mark.parametrize("control", [None, "no-store"])
async def test_a_route_that_shares_no_calls_renews_too_but_not_for_who_wants_nothing_kept(river, control):
    first = await ask(river, model="alone")
    await asyncio.sleep(1.1)
    stale = await ask(river, control, model="alone")
    await asyncio.sleep(0.3)

    assert first[2] == stale[2]
    assert told(stale) == ("stale", "revalidating" if control is None else "no-store")
    assert len(river.sim.bill) == (2 if control is None else 1)
