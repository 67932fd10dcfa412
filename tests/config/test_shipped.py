"""The files that ship: routes.yaml, its examples, and its schema."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import jsonschema
import pytest
from conffiles import FULL, ROOT, shipped_with_examples

from gateway.config import SHIPPED_ROUTES, json_schema, load
from gateway.config.shape import RoutesFile
from gateway.config.shape_book import Keys
from gateway.config.yaml_places import read_yaml
from gateway.core.route import Delivery, FloorMeaning
from gateway.policies import POLICIES

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shipped():
    return load(ROOT / "routes.yaml", {}, now=NOW)


def test_the_shipped_file_loads_without_warnings(shipped):
    assert [str(one) for one in shipped.warnings] == []


def test_the_default_is_the_file_in_the_working_directory(shipped, monkeypatch):
    monkeypatch.chdir(ROOT)

    assert load(None, {}, now=NOW).world.routes.keys() == shipped.world.routes.keys()


def test_the_package_holds_the_same_file():
    assert SHIPPED_ROUTES.read_bytes() == (ROOT / "routes.yaml").read_bytes()


def test_without_keys_the_three_providers_are_simulated(shipped):
    assert shipped.modes == {"openai": "simulated", "deepseek": "simulated", "google": "simulated"}


def test_auto_has_measured_candidates_of_every_provider(shipped):
    market, auto = shipped.world.market, shipped.world.routes["auto"]

    models = [market.models[name] for name in auto.candidates]
    assert {model.provider for model in models} == {"openai", "deepseek", "google"}
    assert all(model.score(auto.kind).score >= auto.floor_for(auto.kind) for model in models)


def test_private_sends_nothing_to_china(shipped):
    market, private = shipped.world.market, shipped.world.routes["private"]

    assert private.jurisdictions == {"US"}
    assert {market.providers[market.models[name].provider].jurisdiction for name in private.candidates} == {"US"}


def test_one_route_is_cached(shipped):
    assert [name for name, route in shipped.world.routes.items() if route.cache is not None] == ["faq"]


def test_every_policy_is_shown(shipped):
    assert {route.policy.name for route in shipped.world.routes.values()} == set(POLICIES)


def test_a_candidate_at_an_effort_a_kind_auto_a_condition_and_a_whole_delivery_are_shown(shipped):
    routes = shipped.world.routes.values()

    assert any("@" in name for route in routes for name in route.candidates)
    assert any(route.asks_kind and route.when and route.floor_means is FloorMeaning.AVERAGE for route in routes)
    assert [route.name for route in routes if route.delivery is Delivery.WHOLE] == ["extract"]


@pytest.mark.parametrize("key", ["OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY"])
def test_with_one_key_only_routes_of_other_providers_are_warned_about(key):
    found = load(ROOT / "routes.yaml", {key: "k"}, now=NOW)

    without = [one.message.split("'")[1] for one in found.warnings]
    assert without == (["private"] if key == "DEEPSEEK_API_KEY" else [])


def test_the_examples_in_the_shipped_file_load(tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(shipped_with_examples())
    keys = {"RESEARCH_BATCH_KEY": "k" * 32, "OPENAI_API_KEY": "k", "DEEPSEEK_API_KEY": "k", "GEMINI_API_KEY": "k"}

    found = load(path, keys, now=NOW)

    assert [str(one) for one in found.warnings] == []
    assert found.modes["local"] == "real"
    assert found.world.market.prices.at("openai/gpt-5.5", NOW).id == "gpt-5.5-contract@2026-10-01"


def as_json(value):
    """Values as an editor's YAML reader has them: dates are text, decimals are numbers."""
    match value:
        case dict():
            return {key: as_json(inner) for key, inner in value.items()}
        case list():
            return [as_json(inner) for inner in value]
        case Decimal():
            return float(value)
        case datetime() | date():
            return value.isoformat()
    return value


def test_the_committed_schema_is_the_one_of_the_code():
    # when it is not: gateway schema > routes.schema.json
    assert json.loads((ROOT / "routes.schema.json").read_text()) == json_schema()


@pytest.mark.parametrize("text", [(ROOT / "routes.yaml").read_text(), shipped_with_examples(), FULL])
def test_the_schema_accepts_what_loads(text):
    jsonschema.Draft7Validator.check_schema(json_schema())
    document, _ = read_yaml("routes.yaml", text.encode())

    jsonschema.Draft7Validator(json_schema()).validate(as_json(document.data))


@pytest.mark.parametrize(
    "text",
    [
        "routes: {auto: {polcy: best, candidates: [a]}}",
        "routes: {auto: {policy: quickest, candidates: [a]}}",
        "routes: {auto: {policy: best, candidates: [a], delivery: later}}",
        "routes: {auto: {policy: best, candidates: [a], when: [{kind: code}]}}",
        "routes: {auto: {policy: best, candidates: [a], when: [{use: b, hours: '22-6'}]}}",
        "routes: {}\nmodels: {a/b: {efforts: {highest: {}}}}",
        "routes: {}\nteams: {t: {overrides: none}}",
        "routes: {auto: {policy: best, candidates: [a], quality_floor: 101}}",
        "routes: {auto: {policy: best, candidates: [a], jurisdictions: }}",
        "routes: {a b: {policy: best, candidates: [a]}}",
        "routes: {}\nmodels: {big: {context_tokens: 1}}",
        "routes: {}\nteams: {t: {keys: [{id: a, sha256: abc}]}}",
        "teams: {}",
    ],
)
def test_the_schema_refuses_what_does_not_load(text):
    document, _ = read_yaml("routes.yaml", text.encode())

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(json_schema()).validate(as_json(document.data))


def test_the_schema_uses_the_common_subset_of_drafts():
    text = json.dumps(json_schema())

    assert "$defs" not in text
    assert "prefixItems" not in text
    assert '"const"' not in text


def keys_of(schema: dict) -> dict:
    return dict(schema.get("properties", {}))


def test_every_key_has_a_line_of_docs():
    schema = json_schema()
    whole = {"routes.yaml": schema, **schema["definitions"]}

    silent = [
        f"{where}.{name}"
        for where, part in whole.items()
        for name, key in keys_of(part).items()
        if not key.get("description") and "$ref" not in key
    ]
    assert silent == []
    assert all("\n" not in key.get("description", "") for part in whole.values() for key in keys_of(part).values())


def test_no_key_is_known_to_python_alone():
    assert RoutesFile.model_config["extra"] == "forbid"
    assert all(shape.model_config["extra"] == "forbid" for shape in Keys.__subclasses__())
