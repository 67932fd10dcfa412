"""Files and environment -> one World, or every mistake at once.

The one place of this room that reads files. The instant comes in, for the warnings that depend on it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from gateway.core.market import Market
from gateway.core.terms import Words
from gateway.core.world import KEYLESS, ServerSettings, World
from gateway.policies import POLICIES

from .catalogue import Catalogue, build_catalogue
from .files import File
from .kinds import kinds_file, names_in
from .mistakes import ConfigError, Mistake
from .modes import Mode, off_reasons, provider_modes
from .prices import build_prices
from .recover import shaped
from .routes import build_routes, direct_routes
from .rules import build_rules, key_ids
from .shape import RoutesFile, ServerKeys
from .shape_book import BookFile, Keys, ReviewedFile
from .source import Source, Text
from .teams import build_callers, build_teams
from .warn import find_warnings

Shape = TypeVar("Shape", bound=Keys)

PRICEBOOK = Path(__file__).parent.parent / "pricebook"
SHIPPED_ROUTES = Path(__file__).with_name("routes.yaml")
"""The routes.yaml that ships: in a checkout a link to the one at its root."""

DEFAULT_ROUTES = Path("routes.yaml")
_NOWHERE = "https://nowhere.invalid"
_NO_ROUTES = f"no such file; name another, or begin with the shipped one: cp {SHIPPED_ROUTES} {{}}"


@dataclass(frozen=True, slots=True)
class Refresh:
    """A reviewed file of price rows, to be looked at again every so often."""

    path: Path
    every_s: float


@dataclass(frozen=True, slots=True)
class Texts:
    """What a world is built from, as it was read. `reviewed` is the file of `refresh`, None when there is none."""

    books: tuple[Text, ...]
    routes: Text
    reviewed: Text | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A world that passed every check, and the texts that it was built from.

    kinds: the task kinds that requests are told apart by.
    """

    world: World
    warnings: tuple[Mistake, ...]
    modes: Mapping[str, Mode]
    texts: Texts
    refresh: Refresh | None = None
    kinds: tuple[str, ...] = ()


def load(
    routes_path: Path | None,
    env: Mapping[str, str],
    *,
    now: datetime,
    pricebook: Path = PRICEBOOK,
) -> Loaded:
    """Read the price book and a routes.yaml (None: the one in the working directory), and build what they say.

    Raises ConfigError with every mistake found.
    """
    return build(read_texts(routes_path, pricebook=pricebook), env, now=now)


def read_texts(routes_path: Path | None, *, pricebook: Path = PRICEBOOK) -> Texts:
    """The files as they are now. Raises ConfigError for one that cannot be read."""
    routes_file = routes_path or DEFAULT_ROUTES
    name = str(routes_file)
    books = tuple(read(path, f"gateway/pricebook/{path.name}") for path in sorted(pricebook.glob("*.yaml")))
    return reviewed_again(Texts(books, read(routes_file, name, missing=_NO_ROUTES.format(name))))


def reviewed_again(texts: Texts) -> Texts:
    """With the reviewed file as it is now, if these texts name one. Raises ConfigError when it cannot be read."""
    refresh = _refresh(texts.routes)
    if refresh is None:
        return texts
    try:
        return replace(texts, reviewed=Text(str(refresh.path), refresh.path.read_bytes()))
    except (OSError, ValueError) as exc:  # ValueError: no path can hold a NUL
        source = Source(*texts.routes)
        why = exc.strerror if isinstance(exc, OSError) else str(exc)
        source.wrong(("prices", "refresh", "file"), f"{refresh.path} cannot be read: {why}")
        raise ConfigError(source.mistakes) from exc


@lru_cache(maxsize=4)  # asked at every look at the files, and they seldom change
def _refresh(routes: Text) -> Refresh | None:
    keys = shaped(Source(*routes), RoutesFile)
    if keys is None or keys.refresh is None:
        return None
    return Refresh(Path(routes.name).parent / keys.refresh.file, keys.refresh.every_s)


def build(texts: Texts, env: Mapping[str, str], *, now: datetime) -> Loaded:
    """Texts and environment -> a world. Of files it reads the one of task kinds only, once.

    env: the environment, for provider keys, team keys and base URLs. now: aware; what is near its end then is warned
    about, and holidays that end too soon are refused. Raises ConfigError with every mistake found.
    """
    return _build(texts, env, now=now, kinds=names_in(kinds_file(env)))


def rebuilt(texts: Texts, modes: Mapping[str, Mode], *, at: datetime, kinds: Collection[str]) -> World:
    """The world that these texts made at an earlier instant, without the environment of then: it has no callers.

    Its base URLs are none, and its version is another. Raises ConfigError for what is no longer understood.
    """
    sources = [Source(*text) for text in texts.books]
    books = [file for source in sources if (file := _file(source, BookFile)) is not None]
    routes = _file(Source(*texts.routes), RoutesFile)
    keys = [*(book.keys.provider for book in books), *(() if routes is None else routes.keys.providers.values())]
    env = {one.base_url_env: _NOWHERE for one in keys if one.base_url_env}
    return _build(texts, env, now=at, kinds=kinds, modes=modes).world


def _build(
    texts: Texts,
    env: Mapping[str, str],
    *,
    now: datetime,
    kinds: Collection[str],
    modes: Mapping[str, Mode] | None = None,
) -> Loaded:
    """modes: those of an earlier time, whose team keys nobody knows any more; None: as the environment has it."""
    book_sources = [Source(*text) for text in texts.books]
    routes_source = Source(*texts.routes)
    sources = [*book_sources, routes_source]
    books = [file for source in book_sources if (file := _file(source, BookFile)) is not None]
    routes = _file(routes_source, RoutesFile)
    reviewed = None
    if texts.reviewed is not None:
        sources.append(Source(*texts.reviewed))
        reviewed = _file(sources[-1], ReviewedFile)
    # Without one of its files the catalogue is not whole, and every model of that file would be called unknown.
    if routes is None or len(books) < len(book_sources):
        raise ConfigError(mistake for source in sources for mistake in source.mistakes)
    catalogue = build_catalogue(books, routes, env, kinds)
    prices = build_prices(books, routes, reviewed, catalogue.names, now)
    past = modes is not None
    modes = modes or provider_modes(catalogue.providers, env)
    market = Market(
        models=catalogue.models,
        providers=catalogue.providers,
        prices=prices,
        off=off_reasons(catalogue.providers, modes),
    )
    teams = build_teams(routes, catalogue)
    world = World(
        version=_version(sources, market, modes),
        market=market,
        routes=build_routes(routes, catalogue),
        direct=direct_routes(routes.keys.defaults, catalogue),
        callers={} if past else build_callers(routes, teams, env),
        server=_server(routes.keys.server),
        teams=teams,
        rules=build_rules(routes, catalogue),
        keyless=replace(KEYLESS, organisation=routes.keys.organisation),
        embedders={name: id for name, id in catalogue.names.unique().items() if _embeds(id, catalogue)},
        words=Words(POLICIES, catalogue.kinds, catalogue.jurisdictions),
    )
    mistakes = [mistake for source in sources for mistake in source.mistakes]
    if mistakes:
        raise ConfigError(mistakes)
    warnings = () if past else find_warnings(books, routes, reviewed, world, modes, env, now)
    return Loaded(world, warnings, modes, texts, _refresh(texts.routes), tuple(kinds))


def _embeds(model_id: str, catalogue: Catalogue) -> bool:
    model = catalogue.models.get(model_id)
    return model is not None and model.embeds


@dataclass(frozen=True, slots=True)
class Teams:
    """Whom keys can be made for. organisations: by team. key_ids: those that the file itself gives out."""

    organisations: Mapping[str, str]
    key_ids: frozenset[str]


def load_teams(routes_path: Path) -> Teams:
    """The teams of a routes.yaml alone: no price book, and no environment in which its secrets would have to be.

    Raises ConfigError with what is wrong with the shape of the file.
    """
    name = str(routes_path)
    source = Source(*read(routes_path, name, missing=_NO_ROUTES.format(name)))
    file = _file(source, RoutesFile)
    if file is None or source.mistakes:
        raise ConfigError(source.mistakes)
    keys = file.keys
    organisations = {team: given.organisation or keys.organisation for team, given in keys.teams.items()}
    return Teams(organisations, frozenset(key_ids(file)))


def teams_of(world: World) -> Teams:
    """The same of a whole world."""
    organisations = {team: caller.organisation for team, caller in world.teams.items()}
    return Teams(organisations, frozenset(caller.key_id for caller in world.callers.values()))


def read(path: Path, name: str, *, missing: str = "no such file") -> Text:
    """A file's bytes. Raises ConfigError when it cannot be read; `name` is what the message calls it."""
    try:
        return Text(name, path.read_bytes())
    except FileNotFoundError as exc:
        raise ConfigError([Mistake(name, 0, 0, missing)]) from exc
    except OSError as exc:
        raise ConfigError([Mistake(name, 0, 0, f"cannot be read: {exc.strerror}")]) from exc


def _file(source: Source, shape: type[Shape]) -> File[Shape] | None:
    keys = shaped(source, shape)
    return None if keys is None else File(source, keys)


def _server(keys: ServerKeys) -> ServerSettings:
    return ServerSettings(
        max_body_bytes=keys.max_body_mib * 1024 * 1024,
        body_timeout_s=keys.body_timeout_s,
        drain_s=keys.drain_s,
        abandoned_stream_s=keys.abandoned_stream_s,
        max_concurrency=keys.max_concurrency,
        watch_s=keys.watch_s,
    )


def _version(sources: Sequence[Source], market: Market, modes: Mapping[str, Mode]) -> str:
    """A digest of the files, and of what the environment made of the providers.

    The latter because decisions are made again from what is kept under their version, and the environment decides which
    providers there are.
    """
    digest = hashlib.sha256()
    parts = [part for source in sources for part in (source.name.encode(), source.raw)]
    for name in sorted(modes):
        parts += [name.encode(), modes[name].encode(), market.providers[name].base_url.encode()]
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:16]
