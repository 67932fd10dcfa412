"""The shipped book against doctored catalogues: what counts as drift, what is known, and which rows are proposed."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest
import yaml

from gateway.config import KNOWN_DRIFT, load, load_known
from gateway.pricebook import drift_text
from gateway.pricebook.catalogue import STANDARD, Cell, Stated
from gateway.pricebook.drift import Known, drift, label
from gateway.pricebook.genai import GenaiPrices
from gateway.pricebook.litellm_map import LiteLLMMap
from gateway.pricebook.propose import as_yaml, propose, propose_new
from tests.running import ROOT

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
WORLD = load(ROOT / "routes.yaml", {}, now=NOW).world
BOOK, MODELS = WORLD.market.prices, WORLD.market.models


class Catalogue:
    """Says what it is told to say of one model, at every instant."""

    version = "1"
    cannot_say = ("holidays",)
    knows_the_future = True

    def __init__(self, name: str, says: Mapping[str, Mapping[Cell, int]], starts=()) -> None:
        self.name = name
        self.says = says
        self._starts = starts

    def states(self, provider, model, at):
        cells = self.says.get(model)
        return None if cells is None else Stated(dict(cells))

    def starts(self, provider, model):
        return self._starts

    def models(self, provider, at):
        return tuple(self.says)


def cell(tier: str, above: int, **by_class: int) -> dict[Cell, int]:
    return {Cell(tier, above, name): pico for name, pico in by_class.items()}


# gpt-5.5 costs 5/0.5/30, and 10/1/45 past 272,000 tokens
PAST = cell(STANDARD, 272_000, input=10_000_000, output=45_000_000)
RIGHT = cell(STANDARD, 0, input=5_000_000, output=30_000_000) | PAST
WRONG = cell(STANDARD, 0, input=4_000_000, output=30_000_000) | PAST


def report(*catalogues, known=(), models=("openai/gpt-5.5",)):
    return drift(BOOK, {name: MODELS[name] for name in models}, catalogues, known, NOW)


def told(found) -> list[tuple[str, int, dict[str, int], str]]:
    return [(label(one.cell), one.book, dict(one.says), one.why(found.catalogues)) for one in found.new]


def test_who_agrees_does_not_drift():
    found = report(Catalogue("litellm", {"gpt-5.5": RIGHT}), Catalogue("genai-prices", {"gpt-5.5": RIGHT}))

    assert (found.new, found.known) == ((), ())
    assert found.cells == 4


def test_a_base_rate_without_a_cliff_is_drift_where_the_book_has_one():
    flat = cell(STANDARD, 0, input=5_000_000)

    assert told(report(Catalogue("litellm", {"gpt-5.5": flat}))) == [
        (">272000 input", 10_000_000, {"litellm": 5_000_000}, "litellm alone")
    ]


@pytest.mark.parametrize(
    ("litellm", "genai", "why"),
    [
        (WRONG, RIGHT, "litellm alone; genai-prices agrees with the book"),
        (WRONG, WRONG, "the catalogues agree with each other"),
        (WRONG, {**RIGHT, Cell(STANDARD, 0, "input"): 3_000_000}, "no two agree"),
        (WRONG, cell(STANDARD, 0, cached_input=500_000), "litellm alone; genai-prices does not say"),
    ],
)
def test_drift_says_who_says_what(litellm, genai, why):
    found = report(Catalogue("litellm", {"gpt-5.5": litellm}), Catalogue("genai-prices", {"gpt-5.5": genai}))

    reasons = [reason for name, _, _, reason in told(found) if name == "input"]
    assert reasons == [why]


def test_a_note_holds_for_the_two_numbers_it_names():
    note = Known(
        ("openai/*",), "litellm", STANDARD, 0, {"input": (5_000_000, 4_000_000)}, "a promotion", date(2026, 11, 1)
    )  # fmt: skip
    moved = {**WRONG, Cell(STANDARD, 0, "input"): 3_000_000}

    known = report(Catalogue("litellm", {"gpt-5.5": WRONG}), known=[note])
    news = report(Catalogue("litellm", {"gpt-5.5": moved}), known=[note])
    by_two = report(
        Catalogue("litellm", {"gpt-5.5": WRONG}), Catalogue("genai-prices", {"gpt-5.5": WRONG}), known=[note]
    )

    assert (len(known.new), [one.why(known.catalogues) for one in known.known]) == (0, ["a promotion"])
    assert (len(news.new), news.unused) == (1, (note,))
    assert len(by_two.new) == 1  # the other source is not explained


def test_drift_of_a_coming_change_is_found_today():
    argon = cell(STANDARD, 0, input=2_000_000, output=10_000_000)

    found = report(Catalogue("genai-prices", {"gemini-4-argon": argon}), models=("google/gemini-4-argon",))

    assert [(one.cell.token_class, one.first) for one in found.new] == [
        ("input", datetime(2026, 12, 1, tzinfo=UTC)), ("output", datetime(2026, 12, 1, tzinfo=UTC)),
    ]  # fmt: skip


def test_the_shipped_book_has_no_new_drift_and_every_note_explains_something():
    catalogues = [LiteLLMMap.installed(), GenaiPrices.installed()]

    found = drift(BOOK, MODELS, catalogues, load_known(KNOWN_DRIFT), NOW)

    assert [f"{one.model} {label(one.cell)}" for one in found.new] == []
    assert found.unused == ()
    assert found.cells > 500
    assert "known, and why the book is right: 32" in drift_text.render(found)
    assert '"new": []' in drift_text.as_json(found)


def test_weekends_and_holidays_are_where_the_catalogues_are_wrong_about_deepseek():
    catalogues = [LiteLLMMap.installed(), GenaiPrices.installed()]

    found = report(*catalogues, models=("deepseek/deepseek-flash",))

    inputs = {tuple(sorted(one.differing)): one.first for one in found.new if one.cell.token_class == "input"}
    assert inputs == {
        ("genai-prices",): datetime(2026, 11, 28, 1, tzinfo=UTC),  # Saturday, 9 in Beijing
        ("genai-prices", "litellm"): datetime(2027, 1, 1, 1, tzinfo=UTC),  # New Year, a Friday
    }


# Rows to review -----------------------------------------------------------------------------------------------------


def proposals(catalogue, *names, known=()):
    return propose(BOOK, {name: MODELS[name] for name in names}, catalogue, known, NOW)


def test_a_proposal_is_the_row_in_force_with_what_is_stated_laid_over():
    cheaper = cell(STANDARD, 0, input=4_000_000, output=20_000_000) | cell("flex", 272_000, output=15_000_000)

    found = proposals(Catalogue("litellm", {"gpt-5.5": cheaper}), "openai/gpt-5.5")

    (one,) = found.proposals
    assert one.changes == ("input 5 -> 4", "output 30 -> 20", "flex >272000 output 22.5 -> 15")
    assert one.cautions == ("litellm does not say since when: this is the day it was read",)
    assert one.row.rates == replace_rates(BOOK.at("openai/gpt-5.5", NOW).base, input=4_000_000, output=20_000_000)
    assert one.row.context_tiers == BOOK.at("openai/gpt-5.5", NOW).row.context_tiers
    assert one.row.service_tiers["priority"] == BOOK.at("openai/gpt-5.5", NOW).row.service_tiers["priority"]


def replace_rates(rates, **given):
    # cache writes and reasoning were left out of the row, and follow input and output
    return msgspec.structs.replace(rates, cache_write=given["input"], reasoning=given["output"], **given)


def test_a_proposed_row_is_good_yaml_that_loads(tmp_path):
    cheaper = cell(STANDARD, 0, input=4_000_000, audio_input=6_000_000) | cell("scale", 0, input=1)
    peak = cell(STANDARD, 0, input=140_000)

    rows = [
        *proposals(Catalogue("litellm", {"gpt-5.5": cheaper}), "openai/gpt-5.5").proposals,
        *proposals(Catalogue("litellm", {"deepseek-flash": peak}), "deepseek/deepseek-flash").proposals,
    ]
    text = "prices:\n" + "".join(f"{as_yaml(row, row.row.model)}" for row in rows)
    (tmp_path / "routes.yaml").write_text("routes: {a: {policy: best, candidates: [openai/gpt-5.5]}}\n" + text)

    loaded = load(tmp_path / "routes.yaml", {}, now=NOW).world.market.prices
    assert [replace(loaded.at(row.row.model, NOW).row, source="") for row in rows] == [
        replace(row.row, source="") for row in rows
    ]
    assert len(yaml.safe_load(text)["prices"]) == 2


def test_windows_keep_the_books_hours_and_take_the_rates_of_an_instant_within():
    entry = {
        "input_cost_per_token": Decimal("4e-07"),
        "off_peak_pricing": {
            "hours_utc": ["00:00-01:00", "04:00-06:00", "10:00-00:00"],
            "input_cost_per_token": Decimal("2e-07"),
        },
    }

    found = proposals(LiteLLMMap({"deepseek/deepseek-flash": entry}, "9"), "deepseek/deepseek-flash")

    (one,) = found.proposals
    assert one.changes == ("input 0.15 -> 0.2", "peak input 0.3 -> 0.4")
    (peak,) = one.row.windows
    assert (one.row.rates.input, peak.rates.input) == (200_000, 400_000)
    assert peak.minutes == ((9 * 60, 12 * 60), (14 * 60, 18 * 60))
    assert any("holidays" in caution for caution in one.cautions)


def test_what_is_known_is_not_proposed_again_and_dated_changes_get_their_own_row():
    note = Known(("openai/gpt-5.5",), "litellm", STANDARD, 0, {"input": (5_000_000, 4_000_000)}, "x", date(2026, 11, 1))
    begins = datetime(2027, 2, 1, tzinfo=UTC)

    quiet = proposals(Catalogue("litellm", {"gpt-5.5": WRONG}), "openai/gpt-5.5", known=[note])
    dated = proposals(Catalogue("genai-prices", {"gpt-5.5": WRONG}, starts=[begins]), "openai/gpt-5.5")

    assert (quiet.proposals, quiet.same) == ((), ("openai/gpt-5.5",))
    assert [one.row.effective_from for one in dated.proposals] == [NOW.replace(hour=0), begins]


def test_the_shipped_book_needs_no_row_from_either():
    known = load_known(KNOWN_DRIFT)
    for catalogue in (LiteLLMMap.installed(), GenaiPrices.installed()):
        found = propose(BOOK, MODELS, catalogue, known, NOW)
        assert [one.row.id for one in found.proposals] == []
        assert found.unlisted == ("google/gemini-4-carbon",)


def test_a_model_the_book_does_not_have_gets_a_first_row():
    row = propose_new("openai", "gpt-audio", GenaiPrices.installed(), NOW)

    assert 'audio_input: "32", audio_output: "64"' in as_yaml(row, row.row.model)
    assert propose_new("openai", "nonsense", GenaiPrices.installed(), NOW) is None
