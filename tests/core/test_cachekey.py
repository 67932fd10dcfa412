"""Under which key an answer may be replayed: the same exactly when who shares it, the rules and the question are."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.cachekey import cache_key, rules_digest, scope_name
from gateway.core.caching import CacheRule, Scope
from gateway.core.market import Market
from gateway.core.request import parse_chat
from gateway.core.route import FloorMeaning, Route
from gateway.core.world import Caller
from gateway.policies import POLICIES
from tests.core.market import MARKET, MODELS, PRICES, PROVIDERS, PriceBook, model

SECRET = b"secret"
RULE = CacheRule(ttl_s=60, max_bytes=1_000)
ROUTE = Route("auto", POLICIES["cheapest"], ("openai/big", "openai/small"), fallbacks=("deepseek/flash",), cache=RULE)
RULES = rules_digest(ROUTE, MARKET)
CALLER = Caller(team="a", key_id="k", organisation="o")

BODY = {"model": "auto", "messages": [{"role": "user", "content": "x"}], "temperature": 0}


def key(body: dict | bytes = BODY, *, secret=SECRET, scope="team:a", rules=RULES, caller=CALLER) -> str:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return cache_key(secret, scope=scope, rules=rules, caller=caller, request=parse_chat(raw))


# A million pairs of tenant and request -------------------------------------------------------------------------------

# Names that would run together if a key were made by writing its parts one after the other.
TEAMS = ["a", "ab", "abc", "b", "bc", "c", "a.b", "a-b", "a_b", "team", "key", "global", "simulated", "-"]
KEYS = ["a", "ab", "b", "bc", "k", "team"]
ORGANISATIONS = ["a", "ab", "default"]
PLACES = [None, frozenset(), frozenset({"US"}), frozenset({"US", "CN"}), frozenset({"CN", "US"})]


@dataclass(frozen=True)
class Tenant:
    """Who asks, under a route's scope and rules. `identity`: all that may make its answers its own."""

    caller: Caller
    scope: Scope
    simulated: bool
    rules: bytes

    @property
    def identity(self) -> tuple:
        mine = {
            Scope.KEY: (self.caller.team, self.caller.key_id),
            Scope.TEAM: (self.caller.team,),
            Scope.ORGANISATION: (self.caller.organisation,),
            Scope.GLOBAL: (),
        }
        return self.scope, mine[self.scope], self.simulated, self.rules, self.caller.jurisdictions


def tenants(count: int) -> list[Tenant]:
    """Every scope, by turns; a step that shares no factor with their number goes through all combinations evenly."""
    other = rules_digest(replace(ROUTE, name="autos"), MARKET)
    everyone = list(product(TEAMS, KEYS, ORGANISATIONS, PLACES, Scope, (False, True), (RULES, other)))
    return [
        Tenant(Caller(team=team, key_id=id, organisation=organisation, jurisdictions=places), scope, simulated, rules)
        for team, id, organisation, places, scope, simulated, rules in (
            everyone[at * 7919 % len(everyone)] for at in range(count)
        )
    ]


def bodies(count: int) -> list[tuple[bytes, tuple]]:
    """(a body, what it asks for): half of them are others' over again, written otherwise or delivered otherwise; the
    rest differ in one byte, one field or one letter that is no white space of JSON."""
    texts = ["x", "xx", "y", "x ", " x", "X", "x\n", "é", "e\u0301", "", '"', "x,y", "\\u0078"]
    systems = [None, "be brief", "be brief.", "x"]
    limits = [{}, {"max_tokens": 1}, {"max_tokens": 10}, {"max_completion_tokens": 10}, {"temperature": 0},
              {"temperature": 0.0}, {"temperature": 1}, {"top_p": 0}, {"seed": 0}, {"seed": None}, {"stop": "x"},
              {"stop": ["x"]}, {"max_token": 10}, {"tools": [{"type": "function", "function": {"name": "f"}}]},
              {"tools": [{"function": {"name": "f"}, "type": "function"}]}]  # fmt: skip
    said = [
        {"model": "auto", "messages": [*([{"role": "system", "content": system}] if system else []),
                                       {"role": "user", "content": text}], **limit}
        for text, system, limit in product(texts, systems, limits)
    ]  # fmt: skip
    deliveries = [{}, {"stream": True}, {"stream": True, "stream_options": {"include_usage": True}},
                  {"user": "u"}, {"metadata": {"tag": "t"}}, {"safety_identifier": "s"}]  # fmt: skip
    made = []
    for at in range(count):
        fields = said[(at if at < count // 2 else at // 3) % len(said)]
        asked = {**deliveries[at % 6], **fields} if at % 2 else {**fields, **deliveries[at % 6]}
        raw = json.dumps(asked, indent=at % 3 or None, ensure_ascii=False).encode()
        canonical = tuple(sorted((name, json.dumps(value, ensure_ascii=False)) for name, value in fields.items()))
        made.append((raw, canonical))
    return made


def test_of_a_million_pairs_of_tenant_and_request_keys_are_equal_exactly_when_nothing_differs():
    requests = [(parse_chat(raw), asked) for raw, asked in bodies(1_000)]
    everybody = tenants(1_000)
    meaning: dict[str, tuple] = {}
    pairs = 0

    for tenant in everybody:
        scope = scope_name(tenant.scope, tenant.caller, simulated=tenant.simulated)
        for request, asked in requests:
            found = cache_key(SECRET, scope=scope, rules=tenant.rules, caller=tenant.caller, request=request)
            whose = (tenant.identity, asked)
            assert meaning.setdefault(found, whose) == whose, "it would go to somebody else, or answer another question"
            pairs += 1

    assert pairs == 1_000_000
    assert len(meaning) == len(set(meaning.values())), "equal requests of one tenant have several keys"
    assert len({asked for _, asked in requests}) < 700
    assert 300 < len({tenant.identity for tenant in everybody}) < 950


# What changes a key, and what does not -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'{"temperature":0,"messages":[{"role":"user","content":"x"}],"model":"auto"}',
        b'\n{ "model" : "auto",\t"messages" : [ { "role": "user",\r\n "content" :"x" } ] , "temperature":0 } ',
        b'{"model":"auto","messages":[{"role":"user","content":"x"}],"temperature":0,"stream":true}',
        b'{"model":"auto","messages":[{"role":"user","content":"x"}],"temperature":0,"stream":true,'
        b'"stream_options":{"include_usage":true}}',
        b'{"model":"auto","messages":[{"role":"user","content":"x"}],"temperature":0,"user":"u","metadata":{"t":"v"},'
        b'"safety_identifier":"s"}',
        b'{"model":"other","model":"auto","messages":[{"role":"user","content":"x"}],"temperature":0}',
    ],
    ids=["order", "white space", "stream", "usage", "accounts", "said twice"],
)  # fmt: skip
def test_what_is_certainly_equal_has_the_same_key(raw):
    assert key(raw) == key()


@pytest.mark.parametrize(
    "change",
    [
        {"model": "autos"},
        {"messages": [{"role": "user", "content": "y"}]},
        {"messages": [{"role": "user", "content": "x "}]},
        {"messages": [{"content": "x", "role": "user"}]},
        {"messages": [{"role": "system", "content": "x"}]},
        {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"temperature": 0.0},
        {"temperature": None},
        {"temperature": 1},
        {"seed": 1},
        {"tools": []},
        {"reasoning_effort": "low"},
        {"service_tier": "flex"},
        {"unknown_field": None},
    ],
    ids=lambda change: json.dumps(change)[:60],
)
def test_whatever_else_differs_in_a_request_gives_another_key(change):
    assert key({**BODY, **change}) != key()


@pytest.mark.parametrize(
    "change",
    [
        {"secret": b"other"},
        {"scope": "team:b"},
        {"scope": "key:a/k"},
        {"rules": rules_digest(replace(ROUTE, name="other"), MARKET)},
        {"caller": replace(CALLER, jurisdictions=frozenset())},
        {"caller": replace(CALLER, jurisdictions=frozenset({"US"}))},
        {"caller": replace(CALLER, jurisdictions=frozenset({"US", "CN"}))},
    ],
    ids=["secret", "team", "scope", "rules", "nowhere", "one place", "two places"],
)
def test_whoever_shares_the_answer_and_by_which_rules_is_in_the_key(change):
    assert key(**change) != key()


def test_the_caller_is_in_the_key_only_by_scope_and_places():
    assert key(caller=Caller(team="b", key_id="x", organisation="y", may_loosen=True)) == key()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
fields = st.dictionaries(st.text("abc", min_size=1, max_size=2), json_values, max_size=3)


@settings(deadline=None)
@given(one=fields, other=fields, indent=st.sampled_from([None, 0, 3]))
def test_any_two_requests_have_the_same_key_exactly_when_their_fields_are_written_the_same(one, other, indent):
    def written(extra: dict) -> dict[str, str]:
        return {name: json.dumps(value) for name, value in extra.items()}

    first, second = {**BODY, **one}, {**other, **BODY}
    assert (key(json.dumps(first, indent=indent).encode()) == key(second)) == (written(one) == written(other))


# Whose it is ---------------------------------------------------------------------------------------------------------


def test_a_scope_is_named_after_whoever_shares_it():
    named = {scope: scope_name(scope, CALLER, simulated=False) for scope in Scope}

    assert named == {
        Scope.KEY: "key:a/k", Scope.TEAM: "team:a", Scope.ORGANISATION: "organisation:o", Scope.GLOBAL: "global:",
    }  # fmt: skip
    assert all(scope_name(scope, CALLER, simulated=True) == f"simulated/{name}" for scope, name in named.items())


# By which rules ------------------------------------------------------------------------------------------------------

MOVED = {**PROVIDERS, "deepseek": replace(PROVIDERS["deepseek"], base_url="https://elsewhere.test")}
RENAMED = {**MODELS, "openai/small": replace(MODELS["openai/small"], upstream_name="small-2")}


@pytest.mark.parametrize(
    ("route", "market"),
    [
        (replace(ROUTE, name="other"), MARKET),
        (replace(ROUTE, policy=POLICIES["ordered"]), MARKET),
        (replace(ROUTE, candidates=("openai/big",)), MARKET),
        (replace(ROUTE, candidates=("openai/small", "openai/big")), MARKET),
        (replace(ROUTE, candidates=("openai/big",), fallbacks=("openai/small", "deepseek/flash")), MARKET),
        (replace(ROUTE, fallbacks=()), MARKET),
        (replace(ROUTE, floors={"overall": 60.0}), MARKET),
        (replace(ROUTE, floor_means=FloorMeaning.AVERAGE), MARKET),
        (replace(ROUTE, weights={"openai/big": 1}), MARKET),
        (replace(ROUTE, kind="code"), MARKET),
        (replace(ROUTE, jurisdictions=frozenset()), MARKET),
        (replace(ROUTE, jurisdictions=frozenset({"US"})), MARKET),
        (replace(ROUTE, cache=replace(RULE, ttl_s=9)), MARKET),
        (ROUTE, replace(MARKET, providers=MOVED)),
        (ROUTE, replace(MARKET, models=RENAMED)),
    ],
    ids=["name", "policy", "a candidate less", "their order", "a fallback more", "no fallback", "floors",
         "what floors mean", "weights", "kind", "nowhere", "one place", "how long", "base URL", "upstream name"],
)  # fmt: skip
def test_a_change_of_who_may_answer_changes_the_rules(route, market):
    assert rules_digest(route, market) != RULES


def test_what_changes_elsewhere_leaves_the_rules():
    more = model("google/newer", 99)
    providers = {**PROVIDERS, "google": replace(PROVIDERS["google"], base_url="https://elsewhere.test")}
    market = Market({**MODELS, more.id: more}, providers, PriceBook(PRICES[:1]))
    shared_otherwise = replace(RULE, max_bytes=9, jitter_percent=0, coalesce=False, sampled=True)

    assert rules_digest(ROUTE, market) == RULES
    assert rules_digest(replace(ROUTE, cache=shared_otherwise), MARKET) == RULES
    assert rules_digest(replace(ROUTE, max_attempts=1, baseline="openai/big"), MARKET) == RULES
    assert rules_digest(replace(ROUTE, floors={}, weights={}), MARKET) == RULES


def test_the_order_in_which_floors_and_places_are_written_is_no_rule():
    one = replace(ROUTE, floors={"code": 1.0, "math": 2.0}, jurisdictions=frozenset(("US", "CN")))
    other = replace(ROUTE, floors={"math": 2.0, "code": 1.0}, jurisdictions=frozenset(("CN", "US")))

    assert rules_digest(one, MARKET) == rules_digest(other, MARKET)
