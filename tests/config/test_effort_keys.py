"""A model at one reasoning effort: how it is declared, what it becomes, and what can be wrong with it."""

from datetime import datetime

import pytest
from conffiles import FULL, KEYS, MINIMAL, NOW, loaded, marked_lines, mistakes

from gateway.config import load
from gateway.core.pricing import Status

THINKS = "models: {openai/big: {capabilities: [tools, reasoning], efforts: {high: {}, low: {}}}}\n"


@pytest.fixture
def full(tmp_path):
    return loaded(tmp_path, FULL, KEYS)


def test_a_model_at_an_effort_is_the_model_with_another_length_and_its_own_scores(full):
    models = full.world.market.models
    plain, high = models["openai/big"], models["openai/big@high"]

    assert (high.id, high.base, high.effort) == ("openai/big@high", "openai/big", "high")
    assert (high.upstream_name, high.provider, high.context_tokens) == ("big", "openai", plain.context_tokens)
    assert high.capabilities == plain.capabilities
    assert (plain.expected_output_tokens, high.expected_output_tokens) == (450, 3000)
    assert [(kind, score.score, score.status) for kind, score in high.quality.items()] == [
        ("legal", 91, Status.RUMOURED)
    ]
    assert high.score("code") is None


def test_what_is_not_said_of_an_effort_is_as_the_model_has_it_but_for_the_scores(full):
    low = full.world.market.models["openai/big@low"]

    assert (low.expected_output_tokens, low.quality, low.deprecated_on) == (450, {}, None)


@pytest.mark.parametrize("at", [NOW, datetime.fromisoformat("2026-07-01T00:00:00Z")])
def test_an_effort_has_the_price_of_its_model_at_every_instant(full, at):
    prices = full.world.market.prices

    assert prices.at("openai/big@high", at) == prices.at("openai/big", at) is not None


def test_every_name_of_a_model_with_an_effort_after_it_may_be_named_by_callers(full):
    direct = full.world.direct

    names = ("openai/big@high", "big@high", "large@high", "openai/large@high", "big-2026-01-01@high")
    assert {direct[name].candidates for name in names} == {("openai/big@high",)}
    assert "small@high" not in direct


def test_efforts_of_a_shipped_model_are_added_to_key_by_key(tmp_path):
    own = (
        "models:\n  openai/gpt:\n"
        "    {context_tokens: 9, max_output_tokens: 9, capabilities: [reasoning], efforts: {high: {}}}\n"
    )
    first = loaded(tmp_path, MINIMAL + own).world.market.models

    assert {name for name in first if "@" in name} == {"openai/gpt@high"}
    shipped = loaded_from_shipped(tmp_path)
    assert shipped["openai/gpt-5.5@high"].expected_output_tokens == 1234
    assert shipped["openai/gpt-5.5@high"].quality["code"].source == "ours"
    assert shipped["openai/gpt-5.5@high"].quality["maths"].source.startswith("LiveBench")
    assert {"openai/gpt-5.5@low", "openai/gpt-5.5@xhigh"} <= shipped.keys()


def loaded_from_shipped(tmp_path):
    path = tmp_path / "routes.yaml"
    path.write_text(
        "routes: {auto: {policy: best, candidates: [gpt-5.5@high]}}\nmodels:\n  openai/gpt-5.5:\n    efforts:\n"
        "      low: {}\n      high:\n        expected_output_tokens: 1234\n"
        "        quality: {code: {score: 1, status: measured, source: ours, read: 2026-01-01}}\n"
    )
    return load(path, {}, now=NOW).world.market.models


def test_a_model_with_an_at_in_its_own_name_keeps_its_name_and_its_price(tmp_path):
    text = (
        "routes: {auto: {policy: best, candidates: [v/claude@2024, v/claude@2024@low]}}\n"
        "providers: {v: {dialect: openai, base_url: http://v, key_env: null, jurisdiction: US}}\n"
        "models: {v/claude@2024: {context_tokens: 9, max_output_tokens: 9, capabilities: [reasoning],"
        " efforts: {low: {}}}}\n"
        "prices:\n  - {id: p, model: v/claude@2024, effective_from: 2026-01-01T00:00:00Z, status: measured,"
        ' source: x, read: 2026-01-01, rates: {input: "1", output: "2"}}\n'
    )
    market = loaded(tmp_path, text).world.market

    assert (market.models["v/claude@2024"].effort, market.models["v/claude@2024@low"].base) == (None, "v/claude@2024")
    assert market.prices.at("v/claude@2024", NOW).id == market.prices.at("v/claude@2024@low", NOW).id == "p"


HOW = "'models: {openai/big: {efforts: {max: {}}}}' would declare it"
ROUTE = "routes:\n  auto:\n    policy: best\n    candidates:\n"
MISTAKES = {
    "an effort that is not declared": (
        ROUTE + "    - big@max  # <-\n",
        f"no effort 'max' of openai/big is declared; {HOW}",
    ),
    "one that is nearly declared": (
        ROUTE + "    - openai/big@xhigh  # <-\n" + THINKS,
        f"no effort 'xhigh' of openai/big is declared; {HOW.replace('max', 'xhigh')}; did you mean 'openai/big@high'?",
    ),
    "an effort that is no word": (
        ROUTE + "    - big@hihg  # <-\n" + THINKS,
        "unknown reasoning effort 'hihg' in 'big@hihg'; there are 'none', 'minimal', 'low', 'medium', 'high', 'xhigh' "
        "and 'max'; did you mean 'high'?",
    ),
    "an effort of an unknown model": (
        ROUTE + "    - bgi@high  # <-\n" + THINKS,
        "unknown model 'bgi@high'; did you mean 'big@high'?",
    ),
    "a baseline at an effort that is not declared": (
        MINIMAL + "    baseline: large@max  # <-\n",
        f"no effort 'max' of openai/big is declared; {HOW}",
    ),
    "the same model at the same effort by two names": (
        ROUTE + "    - big@high\n    - large@high  # <-\n" + THINKS,
        "'large@high' stands twice: openai/big@high is in the list already",
    ),
    "a fallback that is a candidate at that effort": (
        ROUTE + "    - big@high\n    fallbacks: [large@high]  # <-\n" + THINKS,
        "'large@high' is a candidate of the route already, so it cannot be its fallback",
    ),
    "a weight for another effort": (
        MINIMAL.replace("cheapest", "split")
        + "    weights:\n      big: 1\n      flash: 1\n      big@low: 1  # <-\n"
        + THINKS,
        "'big@low' has a weight and is no candidate of this route",
    ),
    "a declared effort that is no word": (
        MINIMAL + "models:\n  openai/big:\n    capabilities: [reasoning]\n    efforts: {hihg: {}}  # <-\n",
        "a key of 'efforts' of model 'openai/big' is 'hihg'; it is one of none, minimal, low, medium, high, xhigh, "
        "max; did you mean 'high'?",
    ),
    "efforts of a model that does not think": (
        MINIMAL + "models:\n  openai/big:\n    efforts: {high: {}}  # <-\n",
        "model 'openai/big' has no 'reasoning' among its capabilities, so no efforts",
    ),
    "an unknown key of an effort": (
        MINIMAL + "models:\n  openai/big:\n    capabilities: [reasoning]\n    efforts: {high: {qualty: {}}}  # <-\n",
        "unknown key 'qualty' in 'high' of model 'openai/big'; did you mean 'quality'?",
    ),
    "an effort declared as a model": (
        MINIMAL + "models:\n  openai/big@high: {context_tokens: 1}  # <-\n",
        "'openai/big@high' is a model at an effort; write it under 'efforts' of 'openai/big'",
    ),
    "a score for whatever a request is": (
        MINIMAL + "models:\n  openai/big:\n    quality:\n"
        "      auto: {score: 1, status: measured, source: us, read: 2026-01-01}  # <-\n",
        "'auto' is no task kind; it says that each request's own kind counts",
    ),
    "a price of an effort": (
        MINIMAL + THINKS + "prices:\n  - id: p\n    model: openai/big@high  # <-\n"
        "    effective_from: 2026-01-01T00:00:00Z\n    status: measured\n    source: us\n    read: 2026-01-01\n"
        "    rates: {input: 1, output: 2}\n",
        "'openai/big@high' has the price of its model, whatever the effort; write 'openai/big'",
    ),
}


@pytest.mark.parametrize(("text", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_about_an_effort(tmp_path, text, message):
    found = mistakes(tmp_path, text)

    assert [(one.line, one.message) for one in found] == [(marked_lines(text)[0], message)]


def test_an_effort_whose_own_keys_are_wrong_is_not_called_undeclared(tmp_path):
    text = (
        ROUTE + "    - big@high\nmodels:\n  openai/big:\n    capabilities: [reasoning]\n    efforts:\n      high: 7\n"
    )

    assert [one.line for one in mistakes(tmp_path, text)] == [10]
