"""`gateway prices`: what models cost at an instant and what comes next; rows to review; drift from public catalogues.

Nothing is changed by any of it.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from gateway.config import KNOWN_DRIFT, ConfigError, load, load_known
from gateway.core.catalog import Model
from gateway.core.world import World
from gateway.pricebook import drift_text, price_text
from gateway.pricebook.catalogue import CATALOGUES, Catalogue, CatalogueMissing
from gateway.pricebook.drift import drift
from gateway.pricebook.genai import GenaiPrices
from gateway.pricebook.litellm_map import LiteLLMMap
from gateway.pricebook.price_text import Quote
from gateway.pricebook.propose import Import, Proposal, as_yaml, propose, propose_new

from . import add_routes_argument, complain, instant

_OPEN: Mapping[str, Callable[[], Catalogue]] = {
    "litellm": LiteLLMMap.installed,
    "genai-prices": GenaiPrices.installed,
}

# What belongs to one of the forms only, with the value that means it was not given.
_OF_DRIFT = {"fail": False, "known": None}
_OF_IMPORT = {"from_": None, "provider": None, "out": None}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = (
        "gateway prices [MODEL ...] [--at WHEN] [--json]\n"
        "       gateway prices import [MODEL ...] --from CATALOGUE [--provider NAME] [--out FILE]\n"
        "       gateway prices drift [--json] [--fail]"
    )
    parser.add_argument("words", nargs="*", metavar="MODEL", help="models by any of their names; none: every one")
    add_routes_argument(parser)
    parser.add_argument("--at", type=instant, metavar="WHEN", help="prices of this instant (ISO 8601, UTC if unsaid)")
    parser.add_argument("--json", action="store_true", help="as JSON, dollars per million tokens as decimal text")
    parser.add_argument("--from", dest="from_", choices=CATALOGUES, help="import: the catalogue that is read")
    parser.add_argument("--provider", metavar="NAME", help="import: only models of this provider")
    parser.add_argument("--out", type=Path, metavar="FILE", help="import: write the rows there, to review")
    parser.add_argument("--fail", action="store_true", help="drift: exit code 1 when there is new drift")
    parser.add_argument("--known", type=Path, metavar="FILE", help="drift: other notes than those of the price book")
    parser.set_defaults(run=prices)


def prices(arguments: argparse.Namespace) -> int:
    action = arguments.words[0] if arguments.words[:1] in (["import"], ["drift"]) else None
    foreign = ({} if action == "drift" else _OF_DRIFT) | ({} if action == "import" else _OF_IMPORT)
    given = [name for name, unset in foreign.items() if getattr(arguments, name) != unset]
    if given:
        whose = f"gateway prices {action or ''}".strip()
        return complain(f"--{given[0].rstrip('_')} has no meaning in `{whose}`")
    at = arguments.at or datetime.now(UTC)
    try:
        world = load(arguments.routes, os.environ, now=datetime.now(UTC)).world
        if action == "drift":
            return _drift(arguments, world, at)
        if action == "import":
            return _import(arguments, world, at)
        return _show(arguments, world, at)
    except (ConfigError, CatalogueMissing) as error:
        return complain(str(error))


def _show(arguments: argparse.Namespace, world: World, at: datetime) -> int:
    unknown = [name for name in arguments.words if _priced(world, name) is None]
    if unknown:
        return complain(f"no model is named {unknown[0]!r}; `gateway prices` lists those with a price")
    named = [model for name in arguments.words if (model := _priced(world, name)) is not None]
    book = world.market.prices
    models = named or sorted(model for model in world.market.plain if book.at(model, at) is not None)
    quotes = [Quote(model, at, book.at(model, at), book.next_change(model, at)) for model in models]
    if arguments.json:
        print(price_text.as_json(quotes), end="")
    elif named:
        print("\n".join(map(price_text.detail, quotes)), end="")
    else:
        print(f"standard rates at {at:%Y-%m-%dT%H:%M:%SZ}, $ per million tokens; name a model for its tiers\n")
        print(price_text.overview(quotes), end="")
    return 0 if all(quote.price is not None for quote in quotes) else 1


def _priced(world: World, name: str) -> str | None:
    """The id of the model that a name stands for."""
    direct = world.direct.get(name)
    return world.embedders.get(name) if direct is None else direct.candidates[0]


def _drift(arguments: argparse.Namespace, world: World, at: datetime) -> int:
    known = load_known(arguments.known or KNOWN_DRIFT)
    catalogues = [opened() for opened in _OPEN.values()]
    report = drift(world.market.prices, world.market.plain, catalogues, known, at)
    print(drift_text.as_json(report) if arguments.json else drift_text.render(report), end="")
    return 1 if arguments.fail and report.new else 0


def _import(arguments: argparse.Namespace, world: World, at: datetime) -> int:
    if arguments.from_ is None:
        return complain(f"say which catalogue is read: --from {' or --from '.join(CATALOGUES)}")
    catalogue = _OPEN[arguments.from_]()
    wanted = arguments.words[1:]
    new = [name for name in wanted if _priced(world, name) is None]
    models = _chosen(world, [name for name in wanted if name not in new], arguments.provider, everything=not wanted)
    found = propose(world.market.prices, models, catalogue, load_known(KNOWN_DRIFT), at)
    first: list[Proposal] = []
    for name in new:
        provider, _, bare = name.rpartition("/")
        proposal = propose_new(provider or arguments.provider or "", bare, catalogue, at)
        if proposal is None:
            return complain(
                f"neither the price book nor {catalogue.name} has a price of {name!r}; write provider/model"
            )
        first.append(proposal)
    text = _rows(catalogue, [*found.proposals, *first], at)
    if arguments.out is not None:
        try:
            arguments.out.write_text(text)
        except OSError as error:
            return complain(f"{arguments.out} cannot be written: {error.strerror}")
    else:
        print(text, end="")
    print(_summary(catalogue, found, first, arguments.out))
    return 0


def _chosen(world: World, names: list[str], provider: str | None, *, everything: bool) -> dict[str, Model]:
    models = world.market.models
    named = (_priced(world, name) for name in names)
    ids = world.market.plain if everything else [models[name].base for name in named if name is not None]
    return {name: models[name] for name in ids if provider in (None, models[name].provider)}


def _rows(catalogue: Catalogue, proposals: list[Proposal], at: datetime) -> str:
    """YAML to paste under `prices:`, the changes as comments above each row."""
    source = f"{catalogue.name} {catalogue.version} on {at:%Y-%m-%d}"
    head = f"# Proposed from {source}. Nothing is applied: review, then paste.\n"
    return "".join([head, *(f"\n{as_yaml(one, one.row.model)}" for one in proposals)]) if proposals else ""


def _summary(catalogue: Catalogue, found: Import, first: list[Proposal], out: Path | None) -> str:
    count = len(found.proposals) + len(first)
    lines = [f"{count} rows proposed" + (f", in {out}" if out and count else "")]
    lines.append(f"{len(found.same)} models cost what the book says")
    if found.unlisted:
        lines.append(f"not in {catalogue.name}: {', '.join(found.unlisted)}")
    if found.new:
        lines.append(f"not in the book: {len(found.new)} models; name one for a row of it, such as {found.new[0]}")
    return "\n".join(f"# {line}" for line in lines)
