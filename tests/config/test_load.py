"""What a good routes.yaml becomes: the world, the modes of providers, the names models answer to."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from conffiles import BOOK, FULL, KEYS, MINIMAL, NOW, loaded

from gateway.config import ConfigError, load, load_teams, teams_of
from gateway.core.budget import Rules
from gateway.core.caching import CacheRule, Scope, SemanticRule
from gateway.core.catalog import Capability, Provider
from gateway.core.pricing import Usage
from gateway.core.route import Delivery, FloorMeaning, Timeouts
from gateway.core.world import KEYLESS_TEAM, Caller, ServerSettings, key_digest
from gateway.kinds.shipped import SHIPPED, kind_names
from gateway.policies import POLICIES


@pytest.fixture
def full(tmp_path):
    return loaded(tmp_path, FULL, KEYS)


def test_a_route_is_what_its_keys_say(full):
    route = full.world.routes["auto"]

    assert route.policy.name == "cheapest"
    assert route.candidates == ("openai/big", "deepseek/flash", "mistral/tiny", "openai/big@high")
    assert route.fallbacks == ("openai/small",)
    assert (route.kind, route.floors, route.floor_for(route.kind)) == ("code", {"overall": 60.0, "code": 70.0}, 70.0)
    assert route.baseline == "openai/small"
    assert route.jurisdictions == {"US"}
    assert route.max_cost_nano == 50_000_000
    assert route.expected_output_tokens == 300
    assert route.cache == CacheRule(
        ttl_s=60,
        max_bytes=2048,
        scope=Scope.KEY,
        jitter_percent=0,
        stale_while_revalidate_s=30,
        stale_if_error_s=600,
        sampled=True,
        coalesce=False,
        semantic=SemanticRule("openai/vectors", 0.9),
    )
    assert route.timeouts == Timeouts(connect=1, first_token=20, between_tokens=3, total=50)
    assert route.max_attempts == 2
    assert (route.floor_means, route.delivery, route.explore_percent) == (FloorMeaning.AVERAGE, Delivery.WHOLE, 5)


def test_a_route_takes_what_it_does_not_say_from_the_defaults(full):
    route = full.world.routes["plain"]

    assert route.floors == {"overall": 65.0}
    assert route.baseline == "openai/big"
    assert route.jurisdictions == {"US", "CN"}
    assert route.expected_output_tokens == 700
    assert route.timeouts == Timeouts(connect=1, first_token=20, between_tokens=3, total=40)
    assert (route.max_attempts, route.cache, route.max_cost_nano) == (4, None, None)


def test_a_cache_that_says_only_how_long_keeps_plain_answers_for_one_team(tmp_path):
    text = MINIMAL + "    cache: {ttl_s: 5, semantic: {model: vectors}}\n"

    rule = loaded(tmp_path, text).world.routes["auto"].cache

    assert rule == CacheRule(ttl_s=5, max_bytes=256 * 1024, semantic=SemanticRule("openai/vectors", 0.95))
    assert (rule.scope, rule.jitter_percent, rule.stale_s) == (Scope.TEAM, 10, 0)
    assert (rule.sampled, rule.coalesce) == (False, True)


def test_without_defaults_the_built_in_values_hold(tmp_path):
    world = loaded(tmp_path, MINIMAL).world

    route = world.routes["auto"]
    assert (route.jurisdictions, route.baseline, route.max_attempts, route.timeouts) == (None, None, 3, Timeouts())
    assert (world.server, world.callers, world.teams) == (ServerSettings(), {}, {})
    assert (route.max_output_tokens, route.step_down, world.rules) == (16_384, None, Rules())
    assert (route.floor_means, route.delivery, route.when) == (FloorMeaning.REQUEST, Delivery.STREAM, ())
    assert world.direct["big"].max_output_tokens == 16_384


def test_weights_are_those_of_ids(full):
    assert full.world.routes["shares"].weights == {"openai/big": 90, "openai/small": 10, "openai/big@high": 0}


def test_server_limits(full):
    assert full.world.server == ServerSettings(2 * 1024 * 1024, 5.0, 6.0, 7.5, 8)


def test_a_team_key_is_known_by_its_digest_only(full):
    callers = full.world.callers

    assert callers["0123456789abcdef" * 4] == Caller(
        "research", "research-app", frozenset({"auto", "direct"}), frozenset({"US"}), "acme", may_loosen=True,
        cache_bypass=frozenset({"research-batch", "made-later"}),
    )  # fmt: skip
    assert callers[key_digest("r" * 40)].key_id == "research-batch"
    assert callers[key_digest("o" * 40)] == Caller("open", "open-app", organisation="guests")
    assert len(callers) == 3
    assert KEYLESS_TEAM not in {caller.team for caller in callers.values()}


def test_what_a_teams_keys_may_do_is_known_also_without_a_key(full):
    assert full.world.teams == {
        "research": Caller(
            "research", "", frozenset({"auto", "direct"}), frozenset({"US"}), "acme", may_loosen=True,
            cache_bypass=frozenset({"research-batch", "made-later"}),
        ),
        "open": Caller("open", "", organisation="guests"),
        "later": Caller("later", "", frozenset({"plain"}), organisation="acme", cache_bypass=frozenset()),
    }  # fmt: skip


def test_a_team_may_loosen_no_terms_unless_its_file_says_so(full):
    assert {name: team.may_loosen for name, team in full.world.teams.items()} == {
        "research": True, "open": False, "later": False,
    }  # fmt: skip
    assert full.world.callers[key_digest("r" * 40)].may_loosen
    assert full.world.keyless.may_loosen


def test_a_teams_keys_may_go_past_the_cache_unless_its_file_names_those_that_may(full):
    teams, callers = full.world.teams, full.world.callers

    assert callers[key_digest("r" * 40)].may_bypass_cache
    assert not callers["0123456789abcdef" * 4].may_bypass_cache
    assert callers[key_digest("o" * 40)].may_bypass_cache
    assert replace(teams["research"], key_id="made-later").may_bypass_cache
    assert not replace(teams["later"], key_id="any").may_bypass_cache
    assert full.world.keyless.may_bypass_cache


def test_the_words_of_headers_are_the_policies_the_kinds_and_the_places(full):
    words = full.world.words

    assert words.policies == POLICIES
    assert words.kinds == {*kind_names(SHIPPED.read_bytes()), "overall", "legal"}
    assert words.places == {"US", "CN", "FR"}


def test_the_kinds_that_requests_are_told_apart_by_are_those_of_a_file(tmp_path):
    path, kinds = tmp_path / "routes.yaml", tmp_path / "own.kinds"
    path.write_text(MINIMAL + "    kind: poems\n")
    kinds.write_bytes(msgspec.msgpack.encode({"format": 1, "kinds": ["poems"]}))

    world = load(path, {"GATEWAY_KINDS": str(kinds)}, now=NOW, pricebook=BOOK).world

    assert world.words.kinds == {"poems", "overall", "code"}
    with pytest.raises(ConfigError, match="unknown task kind 'poems'"):
        load(path, {}, now=NOW, pricebook=BOOK)


@pytest.mark.parametrize(("content", "told"), [(None, "No such file"), (b"{}", "no file of task kinds")])
def test_a_file_of_kinds_that_is_none_is_named(tmp_path, content, told):
    path, kinds = tmp_path / "routes.yaml", tmp_path / "own.kinds"
    path.write_text(MINIMAL)
    if content is not None:
        kinds.write_bytes(content)

    with pytest.raises(ConfigError, match=told):
        load(path, {"GATEWAY_KINDS": str(kinds)}, now=NOW, pricebook=BOOK)


def test_without_an_organisation_there_is_a_default_one(tmp_path):
    world = loaded(tmp_path, MINIMAL + "teams: {t: {}, u: {organisation: other}}\n").world

    assert {name: team.organisation for name, team in world.teams.items()} == {"t": "default", "u": "other"}


def test_a_team_allowed_direct_may_name_models_and_another_may_not(full):
    world = full.world
    research = world.callers[key_digest("r" * 40)]
    narrow = Caller("narrow", "k", frozenset({"auto"}))

    assert research.may_use(world.route("openai/big"))
    assert not narrow.may_use(world.route("openai/big"))


def test_every_unique_name_of_a_model_leads_to_the_same_direct_route(full):
    world = full.world

    route = world.direct["openai/big"]
    assert all(world.direct[name] is route for name in ("big", "large", "big-2026-01-01", "openai/large"))
    assert (route.name, route.policy.name, route.candidates) == ("direct", "cheapest", ("openai/big",))
    assert (route.baseline, route.floors, route.cache) == (None, {}, None)
    assert (route.jurisdictions, route.max_attempts, route.timeouts.total) == ({"US", "CN"}, 4, 40)
    assert world.direct["meta/llama-3"].candidates == ("local/meta/llama-3",)


def test_an_ambiguous_name_is_no_direct_name(tmp_path):
    other = "models:\n  deepseek/big: {context_tokens: 1, max_output_tokens: 1, capabilities: []}\n"

    world = loaded(tmp_path, MINIMAL.replace("big, ", "") + other).world

    assert world.route("big") is None
    assert world.route("openai/big").candidates == ("openai/big",)
    assert world.route("deepseek/big").candidates == ("deepseek/big",)
    assert world.route("large").candidates == ("openai/big",)


def test_a_known_model_is_merged_by_key_and_by_task_kind(full):
    model = full.world.market.models["openai/big"]

    assert (model.context_tokens, model.expected_output_tokens, model.aliases) == (
        200_000,
        450,
        ("large", "big-2026-01-01"),
    )
    assert model.score("code").score == 72.5
    assert model.score("code").subject == "effort low"
    assert model.score("overall").score == 80


def test_a_new_model(full):
    model = full.world.market.models["mistral/tiny"]

    assert (model.provider, model.upstream_name) == ("mistral", "tiny")
    assert (model.capabilities, model.tokens_per_byte) == ({Capability.TOOLS}, 0.3)
    assert model.expected_output_tokens == 500
    assert full.world.market.models["local/meta/llama-3"].upstream_name == "meta/llama-3"


def test_providers(full):
    providers = full.world.market.providers

    assert providers["local"] == Provider("local", "openai", "http://127.0.0.1:8000/v1", None, "US")
    assert providers["mistral"] == Provider("mistral", "openai", "", "MISTRAL_API_KEY", "FR", "litellm", "mistral")
    assert providers["openai"].base_url == "https://api.openai.com/v1"
    assert {name for name, provider in providers.items() if provider.abort_stops_billing} == {"openai"}


def test_a_set_variable_replaces_the_base_url(tmp_path):
    world = loaded(tmp_path, FULL, {**KEYS, "OPENAI_BASE_URL": "http://proxy:8081/v1/"}).world

    assert world.market.providers["openai"].base_url == "http://proxy:8081/v1"


def test_a_price_row(full):
    prices = full.world.market.prices
    # 2026-06-06 is a Saturday: 23:00 in Paris is 21:00 UTC, and Sunday 05:59 is 03:59 UTC
    evening = datetime(2026, 6, 6, 21, tzinfo=UTC)

    day = prices.at("mistral/tiny", datetime(2026, 6, 6, 12, tzinfo=UTC))
    assert (day.id, prices.at("mistral/tiny", evening).id) == ("tiny@1", "tiny@1#night")
    assert prices.at("mistral/tiny", datetime(2026, 6, 7, 3, 59, tzinfo=UTC)).id == "tiny@1#night"
    assert prices.at("mistral/tiny", datetime(2026, 6, 7, 4, tzinfo=UTC)).id == "tiny@1"
    assert prices.at("mistral/tiny", datetime(2025, 12, 31, 22, 59, tzinfo=UTC)) is None
    assert prices.at("mistral/tiny", datetime(2025, 12, 31, 23, tzinfo=UTC)).id == "tiny@1"
    assert prices.at("mistral/tiny", datetime(2027, 1, 1, tzinfo=UTC)) is None
    # $0.10 and $0.30 a million tokens, $0.35 for reasoning: 1000*100 + 10*300 + 20*350 pico-dollars in thousands
    assert day.cost(Usage(input=1000, output=10, reasoning=20)) == 110_000
    assert day.cost(Usage(input=1001, output=0)) == 1_001_000
    assert day.cost(Usage(input=2001, output=0)) == 6_003_000
    assert day.cost(Usage(input=2001, output=0), "flex") == 100_050


MODES = {
    "nothing set": ({}, {"openai": "simulated", "deepseek": "simulated", "mistral": "off"}),
    "an empty key": ({"OPENAI_API_KEY": " "}, {"openai": "simulated", "deepseek": "simulated", "mistral": "off"}),
    "one key": ({"OPENAI_API_KEY": "sk"}, {"openai": "real", "deepseek": "off", "mistral": "off"}),
    "another's key": ({"MISTRAL_API_KEY": "k"}, {"openai": "off", "deepseek": "off", "mistral": "real"}),
    "all keys": (
        {"OPENAI_API_KEY": "k", "DEEPSEEK_API_KEY": "k", "MISTRAL_API_KEY": "k"},
        {"openai": "real", "deepseek": "real", "mistral": "real"},
    ),
}


@pytest.mark.parametrize(("env", "modes"), MODES.values(), ids=MODES)
def test_simulated_only_while_no_provider_is_real(tmp_path, env, modes):
    text = MINIMAL + "providers:\n  mistral: {via: litellm, key_env: MISTRAL_API_KEY, jurisdiction: FR}\n"

    found = loaded(tmp_path, text, env)

    assert found.modes == modes
    off = {name: f"no key: set {name.upper()}_API_KEY" for name, mode in modes.items() if mode == "off"}
    assert found.world.market.off == off


def test_a_provider_that_needs_no_key_is_real(full):
    assert full.modes == {"openai": "off", "deepseek": "off", "local": "real", "mistral": "off"}


def test_the_version_changes_with_the_file_and_with_the_modes(tmp_path):
    first = loaded(tmp_path, MINIMAL).world.version

    assert loaded(tmp_path, MINIMAL).world.version == first
    assert len(first) == 16
    # an answer of the simulator must not be replayed from the cache once a key is set
    assert loaded(tmp_path, MINIMAL, {"OPENAI_API_KEY": "sk-1"}).world.version != first
    assert loaded(tmp_path, MINIMAL + "# changed\n").world.version != first


def test_no_loaded_value_holds_a_key(tmp_path):
    found = loaded(tmp_path, FULL, {**KEYS, "OPENAI_API_KEY": "sk-very-secret"})

    assert "sk-very-secret" not in repr(found)
    assert "r" * 40 not in repr(found)


def test_the_files_that_were_read_are_named(full, tmp_path):
    names = [text.name.rpartition("/")[2] for text in (*full.texts.books, full.texts.routes)]
    assert names == ["deepseek.yaml", "openai.yaml", "routes.yaml"]


def test_loading_the_shipped_book_takes_well_under_half_a_second(tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text("routes:\n  r: {policy: best, candidates: [gpt-5.5]}\n")

    started = time.process_time()
    load(path, {}, now=NOW)

    assert time.process_time() - started < 0.5


def test_teams_are_read_without_the_secrets_of_their_keys(tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(FULL)

    teams = load_teams(path)

    assert teams == teams_of(loaded(tmp_path, FULL, KEYS).world)
    assert teams.organisations == {"research": "acme", "open": "guests", "later": "acme"}
    assert teams.key_ids == {"research-app", "research-batch", "open-app"}


def test_teams_of_a_file_with_mistakes_are_not_read(tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(MINIMAL + "teams: {t: {rotues: [auto]}}\n")

    with pytest.raises(ConfigError, match=r"routes\.yaml:5:13: unknown key 'rotues' in team 't'"):
        load_teams(path)
