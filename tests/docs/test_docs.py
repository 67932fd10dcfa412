"""The documentation, held to the code: what is undocumented, or no longer there, fails."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway import cachekeeping, reloading, server
from gateway.admin import keys
from gateway.cli import COMMANDS
from gateway.config import json_schema, load, reload
from gateway.core import conversation, request, retry, routing
from gateway.core.records import LOST
from gateway.core.route import Timeouts
from gateway.core.terms import HEADERS
from gateway.core.world import ServerSettings
from gateway.finance import focus, invoice
from gateway.finance.layout import plain
from gateway.finance.layouts import LAYOUTS
from gateway.kinds.shipped import SHIPPED, kind_names
from gateway.policies import POLICIES
from gateway.proxy import chat, exchange, faults, health, memo, reply, settle, sharing
from gateway.proxy.metrics import Metrics
from gateway.proxy.plan import REVALIDATED
from gateway.stores import circuits, flight_line, gate, kept, key_table, redis_cache, store_watch, upkeep, warmth
from gateway.stores.question import DIMENSIONS
from gateway.workers import line, patience, supervisor
from tests.docs.pages import CACHING, CONFIGURATION, LIFE, MONEY, NAMES, OPERATIONS, PAGES, ROUTING
from tests.running import ROOT

SCHEMA = json_schema()
SHAPES = {"": SCHEMA, **SCHEMA["definitions"]}

SECTIONS = {
    "": "routes.yaml", "ServerKeys": "server", "DefaultsKeys": "defaults", "RouteKeys": "routes",
    "TimeoutKeys": "timeouts", "CacheKeys": "cache", "TeamKeys": "teams", "TeamKeyKeys": "keys",
    "ProviderKeys": "providers", "ModelKeys": "models", "QualityKeys": "quality", "PricesKeys": "prices",
    "RefreshKeys": "refresh", "PriceKeys": "price rows", "RatesKeys": "rates", "ContextTierKeys": "context_tiers",
    "ServiceTierKeys": "service_tiers", "WindowKeys": "windows", "HolidaysKeys": "holidays", "CoversKeys": "covers",
    "BudgetKeys": "budgets", "LimitKeys": "limits", "StepDownKeys": "step_down", "WhenKeys": "when",
    "EffortKeys": "efforts", "SemanticKeys": "semantic",
}  # fmt: skip
"""Where docs/configuration.md holds the table of each mapping of routes.yaml."""


def sources() -> Iterator[ast.AST]:
    """Every node of the gateway's code. The simulator is no part of what is documented."""
    for path in sorted((ROOT / "gateway").rglob("*.py")):
        if "simulator" not in path.parts:
            yield from ast.walk(ast.parse(path.read_text()))


def texts(nodes: Iterator[ast.AST]) -> set[str]:
    """Text constants; names, byte strings decoded, docstrings too."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
            found.add(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    return found


def given(name: str) -> set[str]:
    """The words that are given as `name=...` in a call, or assigned to an attribute of that name."""
    found: set[str] = set()
    for node in sources():
        if isinstance(node, ast.keyword) and node.arg == name:
            found |= texts(ast.walk(node.value))
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute):
            found |= texts(ast.walk(node.value)) if node.targets[0].attr == name else set()
    return {word for word in found if word}


def handed_over(node: ast.AST) -> list[str]:
    """Text that is given to a function as it stands, or is a key: `env.get("X")`, `env["X"]`, `{"X": ...}`."""
    values: list[ast.AST | None] = []
    if isinstance(node, ast.Call):
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
    elif isinstance(node, ast.Subscript):
        values = [node.slice]
    elif isinstance(node, ast.Dict):
        values = [*node.keys]
    return [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]


# Configuration -------------------------------------------------------------------------------------------------------


def test_every_mapping_of_routes_yaml_has_a_section():
    assert set(SHAPES) == set(SECTIONS)


@pytest.mark.parametrize("shape", SECTIONS)
def test_every_key_stands_in_the_table_of_its_section_and_no_other(shape):
    assert set(CONFIGURATION.rows(SECTIONS[shape])) == set(SHAPES[shape]["properties"])


def told(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    return "empty" if default == "" else f"{default:g}" if isinstance(default, int | float) else f"`{default}`"


@pytest.mark.parametrize("shape", [shape for shape in SECTIONS if shape])
def test_every_default_of_the_schema_is_the_one_in_the_table(shape):
    rows = CONFIGURATION.rows(SECTIONS[shape])
    for key, schema in SHAPES[shape]["properties"].items():
        default = schema.get("default")
        if key in SHAPES[shape].get("required", ()):
            assert rows[key][0].startswith("required"), key
        elif default is not None:
            assert rows[key][0] == told(default), key


def test_the_defaults_that_the_code_fills_in_are_those_in_the_tables():
    for key, row in CONFIGURATION.rows("timeouts").items():
        assert row[0] == f"{getattr(Timeouts(), key.removesuffix('_s')):g}"
    server, rows = ServerSettings(), CONFIGURATION.rows("server")
    assert rows["max_body_mib"][0] == str(server.max_body_bytes // 2**20)
    assert rows["max_concurrency"][0] == str(server.max_concurrency)
    assert rows["watch_s"][0] == f"{server.watch_s:g}"


def test_every_environment_variable_is_documented_and_none_that_is_not_read():
    in_code = {
        text for node in sources() for text in handed_over(node) if re.fullmatch(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+", text)
    }
    world = load(ROOT / "routes.yaml", {}, now=datetime.now(UTC)).world
    read = in_code | {provider.key_env for provider in world.market.providers.values() if provider.key_env}

    section = CONFIGURATION.section("Environment variables")
    assert set(re.findall(r"`([A-Z][A-Z0-9_]+)`", section)) == read


def test_every_variable_of_the_example_env_file_is_explained():
    names = re.findall(r"^#?([A-Z][A-Z0-9_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    unexplained = [name for name in names if not any(f"`{name}`" in page.text for page in (CONFIGURATION, OPERATIONS))]

    assert len(names) > 5
    assert unexplained == []


# Commands ------------------------------------------------------------------------------------------------------------

TYPED = [(name, code) for name in NAMES for code in PAGES[name].code()]
COMMAND = re.compile(r"(?:^|[\s/])gateway ([a-z]+)\b(.*)")


def options(command: str) -> set[str]:
    parser = argparse.ArgumentParser()
    importlib.import_module(f"gateway.cli.{command}").add_arguments(parser)
    return options_of(parser)


def options_of(parser: argparse.ArgumentParser) -> set[str]:
    """Those of its own and of its subcommands."""
    own = {option for action in parser._actions for option in action.option_strings}
    subs = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return own.union(*(options_of(sub) for choices in subs for sub in choices.values()))


def test_every_command_that_is_named_exists_with_its_options():
    named = [(name, *found.groups()) for name, code in TYPED if (found := COMMAND.search(code))]
    for name, command, rest in named:
        assert command in COMMANDS, (name, command)
        assert set(re.findall(r"(?<!\S)--[a-z-]+", rest)) <= options(command), (name, command, rest)
    assert len(named) > 20


def test_every_command_is_in_the_table_of_commands():
    rows = CONFIGURATION.rows("Commands and exit codes")

    assert {words.split()[1] for words in rows if words.startswith("gateway ")} == set(COMMANDS)


def test_every_make_target_that_is_named_exists():
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {found[1] for _, code in TYPED if (found := re.match(r"make ([a-z-]+)", code))}

    assert {"run", "test", "demo"} <= named <= targets


def test_every_dimension_of_spend_is_named():
    assert [name for name in DIMENSIONS if f"`{name}`" not in MONEY.section("The ledger")] == []


def test_every_column_of_our_own_in_a_focus_file_is_explained():
    own = {column.name for column in focus.COLUMNS if column.name.startswith("x_")}

    assert {name for row in MONEY.rows("FOCUS rows") for name in re.findall(r"x_\w+", row)} == own


def test_every_layout_of_an_invoice_is_told_with_the_headers_that_it_is_known_by():
    rows = MONEY.rows("Invoices")

    assert set(rows) == {layout.name for layout in LAYOUTS}
    for layout in LAYOUTS:
        assert layout.needs <= {plain(word) for word in re.findall(r"`([^`]+)`", rows[layout.name][0])}, layout.name


# What comes out ------------------------------------------------------------------------------------------------------


def test_every_metric_is_documented_and_none_that_does_not_exist():
    page = Metrics("1.0").render().decode()
    exported = set(re.findall(r"^# TYPE (\S+)", page, re.MULTILINE))
    told = OPERATIONS.section("Metrics")

    assert {name for name in exported if f"`{name}`" not in told} == set()
    assert set(re.findall(r"`(gateway_[a-z_]+)`", OPERATIONS.prose)) <= exported


def test_every_header_of_ours_is_documented_and_none_that_is_not_sent():
    header = re.compile(r"x-(?:gateway|request|should)-[a-z-]+[a-z]")
    sent = {name for text in texts(sources()) for name in header.findall(text)}
    told = {name for page in PAGES.values() for name in header.findall(page.text)}

    assert sent == told


def test_every_term_of_a_request_every_policy_and_every_kind_is_told():
    assert {name.encode() for name in CONFIGURATION.rows("Request headers")} == set(HEADERS)
    assert set(CONFIGURATION.rows("policies")) == set(POLICIES)
    kinds = kind_names(SHIPPED.read_bytes())
    assert [kind for kind in kinds if f"`{kind}`" not in CONFIGURATION.section("kinds and floors")] == []


def test_every_outcome_of_an_attempt_is_explained():
    rejected = set(re.findall(r"`([a-z_]+)`", LIFE.section("8. The record").partition("Outcomes of an attempt")[0]))
    explained = set(LIFE.rows("8. The record"))
    outcomes = {word for word in given("outcome") if not word.startswith("http_")}
    outcomes |= {"http_<status>", LOST, REVALIDATED}

    assert outcomes == explained | (rejected & outcomes)
    assert explained <= outcomes


def test_every_error_code_is_named():
    refusals = {code for _, _, _, code in routing._REFUSALS if code is not None}
    codes = {word for word in given("code") if re.fullmatch(r"[a-z_]+", word)} | refusals

    assert len(codes) > 15
    assert [code for code in sorted(codes) if f"`{code}`" not in LIFE.prose] == []


def test_every_reason_of_a_rejection_is_counted_and_told():
    told = re.search(r"`gateway_rejected_total` by its reason: (.*?)\.\n", LIFE.text, re.DOTALL)

    assert told is not None
    assert set(re.findall(r"`(\w+)`", told[1])) == chat.REJECTED


def test_every_logger_is_in_the_table_of_loggers():
    calls = (node for node in sources() if isinstance(node, ast.Call) and ast.unparse(node.func) == "logging.getLogger")
    named = {text for text in texts(arg for call in calls for arg in call.args) if text.startswith("gateway")}

    assert {name for name in named if f"| `{name}` |" not in OPERATIONS.text} == set()


def returned(path: str, name: str) -> set[str]:
    """The words that a function of this file returns, the empty one left out."""
    tree = ast.parse((ROOT / "gateway" / path).read_text())
    (function,) = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name]
    returns = (node for node in ast.walk(function) if isinstance(node, ast.Return) and node.value is not None)
    return {text for node in returns for text in texts(ast.walk(node.value)) if re.fullmatch(r"[a-z_]+", text)}


def test_every_reason_not_to_keep_an_answer_and_to_go_past_the_cache_is_told():
    unkept = returned("proxy/keeper.py", "_not_kept") | returned("core/cachekey.py", "not_kept_as") | {"busy"}
    past = returned("core/cachekey.py", "not_kept_for") - {"audio"}  # what it looks for
    missed = returned("proxy/keeper.py", "not_replayed")

    assert set(CACHING.rows("What is kept and what never")) == unkept
    reasons = {word for row in CACHING.rows("What the reply says") for word in re.findall(r"[\w-]+", row)}
    assert past | missed <= reasons
    assert len(past | missed) == 4


def test_every_word_of_the_caches_header_is_told():
    assert {"off", "miss", "hit", "coalesced", "stale", "bypass"} <= set(CACHING.rows("What the reply says"))


def test_every_reason_to_drop_a_candidate_is_named():
    made = (node for node in sources() if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Drop")
    drops = set.union(*(texts(ast.walk(node.args[1])) for node in made))

    assert len(drops) == 11
    assert [code for code in drops if f"| `{code}` |" not in LIFE.section("3. The decision")] == []


LIMIT = inspect.signature(settle.Settler).parameters["limit"].default
PAUSE_MS = f"{settle.PAUSE_S * 1000:g} ms"


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (LIFE, f"batches of up to {settle.BATCH}, a pause of {PAUSE_MS}"),
        (LIFE, f"at {LIMIT:,} waiting ones"),
        (LIFE, f"After {health.FAULTS_TO_OPEN} faults in a row a model is set aside for {health.FIRST_PAUSE_S:g} s"),
        (LIFE, f"doubling up to {health.LONGEST_PAUSE_S:g} each time it happens again"),
        (LIFE, f"401 and 402 set the whole provider aside for {health.CREDENTIALS_PAUSE_S:g} seconds"),
        (LIFE, f"of its recent outcomes (about {health.RECENT})"),
        (LIFE, f"for up to {health.PROBE_S:g} seconds more, until that one has been answered"),
        (LIFE, f"every {circuits.EVERY_S:g} seconds each tells through Redis what has changed"),
        (LIFE, f"in the last {retry.SPAN_S} seconds {retry.RETRIES_PERCENT} % may be"),
        (LIFE, f"retries, and {retry.RETRIES_PER_S} a second in any case"),
        (LIFE, f"up to {retry.FIRST_PAUSE_S * 1e3:g} ms, doubling to {retry.LONGEST_PAUSE_S * 1e3:g} ms"),
        (LIFE, f"is read for up to {exchange.REST_S:g} seconds more"),
        (LIFE, f"Usage may come up to {exchange.USAGE_GRACE_S:g} second after the finish reason"),
        (LIFE, f"the comment `: keep-alive` every {reply.KEEP_ALIVE_S:g} seconds"),
        (LIFE, f"of more than {faults.MAX_ANSWER_BYTES // 2**20} MiB is given up"),
        (LIFE, f"It takes {reply.WATCH_AFTER_S * 1e3:g} ms from the beginning until leaving is noticed"),
        (LIFE, f"is a miss after {redis_cache.TIMEOUT_S * 1e3:g} ms at most, connecting included"),
        (LIFE, f"plus {request.IMAGE_TOKENS:,} tokens for each image or file"),
        (LIFE, f"`n` may be {request.MOST_CHOICES} at most, an output limit {request.MOST_TOKENS:,}"),
        (MONEY, f"{request.IMAGE_TOKENS:,} tokens an image or file"),
        (MONEY, f"in any of the first {invoice.HEADER_WITHIN} lines"),
        (OPERATIONS, f"after {settle.PAUSE_S:g} to {settle.LONGEST_RETRY_S:g} seconds. At {LIMIT:,} waiting records"),
        (LIFE, f"answers that did not come within {gate.ANSWER_S:g} seconds each"),
        (LIFE, f"looked\nfor every {gate.PROBE_S:g} seconds"),
        (LIFE, f"{request.MOST_TAGS} tags at most, names of up to {request.MOST_TAG_NAME_CHARS} characters"),
        (OPERATIONS, f"made again from the ledger, within {upkeep.RAISE_S:g} seconds"),
        (OPERATIONS, f"nothing has come for {server.GRACE_S} second is closed"),
        (OPERATIONS, f"every `server.watch_s` seconds ({ServerSettings().watch_s:g})"),
        (OPERATIONS, f"once they read the same {reload.STILL_S:g} seconds later"),
        (OPERATIONS, f"some worker did not answer within {supervisor.TAKE_S:g} seconds"),
        (OPERATIONS, f"or the whole took longer than {reloading.DEADLINE_S:g}"),
        (OPERATIONS, f"reports to the supervisor every {line.REPORT_S:g} seconds"),
        (OPERATIONS, f"after {patience.FIRST_PAUSE_S:g} to {patience.LONGEST_PAUSE_S:g} seconds when it keeps ending"),
        (OPERATIONS, f"looks at one number in the database every {key_table.PAUSE_S:g} seconds"),
        (CACHING, f"lasts {flight_line.LEASE_S:g} seconds and is renewed every {flight_line.RENEW_S:g}"),
        (CACHING, f"does that {sharing.TURNS} times at most"),
        (CACHING, f"more than {faults.MAX_ANSWER_BYTES // 2**20} MiB cannot be shared"),
        (CACHING, f"a moment ago for up to {memo.MEMO_S:g} second without"),
        (CACHING, f"{cachekeeping.MOST_ENTRIES:,} entries at most; what is left"),
        (CACHING, f"{kept.MOST_LABELS:,} labels are remembered"),
        (CACHING, f"waits for it longer than {redis_cache.TIMEOUT_S * 1000:g} ms"),
        (OPERATIONS, f"read every {store_watch.EVERY_S:g} seconds; of several workers not the sum"),
        (ROUTING, f"its prompt has {conversation.WORTH_BYTES:,} bytes or more"),
        (ROUTING, f"{conversation.LOOP_S // 60} minutes where there are tools"),
        (ROUTING, f"Look-ups have {warmth.TIMEOUT_S * 1000:g} ms"),
        (OPERATIONS, f"one that takes longer than {keys.DEADLINE_S:g} seconds with 504"),
    ],
)  # fmt: skip
def test_a_number_of_the_code_is_the_one_that_is_told(page, sentence):
    assert page.says(sentence)


# Links ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_resolves(name):
    for link in PAGES[name].links():
        path, _, anchor = link.partition("#")
        target = (PAGES[name].folder / path).resolve() if path else ROOT / name
        assert target.exists(), link
        told = str(target.relative_to(ROOT))
        if anchor:
            assert anchor in PAGES[told].anchors(), link


def test_every_file_that_is_named_exists():
    named = re.compile(r"(?:gateway|docs|deploy|dashboards|tests|scripts)/[\w./-]+\w")
    missing = {
        f"{page.name}: {path}"
        for page in PAGES.values()
        for span in page.code()
        for path in named.findall(span)
        if not (ROOT / path).exists() and not re.search(rf"[\w.]/{re.escape(path)}", span)
    }
    assert missing == set()


def test_the_rooms_that_are_named_are_rooms():
    named = re.compile(r"(?<![\w/.])((?:core|policies|dialects|stores|proxy|admin|config)/(?:\w+\.py)?)")
    paths = {path for page in PAGES.values() for path in named.findall(page.text)}

    assert len(paths) > 10
    assert [path for path in paths if not Path(ROOT / "gateway" / path).exists()] == []
