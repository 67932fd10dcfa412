"""Teams and their keys: from routes.yaml to the table that a request's key is looked up in.

A key is known by its SHA-256 only. No message holds a key, a digest or a variable's value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from gateway.core.world import Caller, key_digest

from .catalogue import Catalogue
from .files import File
from .mistakes import did_you_mean
from .routes import DIRECT
from .shape import RoutesFile, TeamKeyKeys
from .source import Spot
from .words import ANY


def build_teams(file: File[RoutesFile], catalogue: Catalogue) -> dict[str, Caller]:
    """What the keys of each team may do: callers without a key id. Mistakes are noted where they stand."""
    known_routes = {DIRECT, *file.source.names("routes")}
    teams: dict[str, Caller] = {}
    for team, keys in file.keys.teams.items():
        spot = file.spot.at("teams", team)
        catalogue.check_jurisdictions(spot.at("jurisdictions"), keys.jurisdictions)
        _check_routes(keys.routes or (), known_routes, spot.at("routes"))
        _check_twice(keys.cache_bypass or (), spot.at("cache_bypass"))
        teams[team] = Caller(
            team=team,
            key_id="",
            routes=None if keys.routes is None else frozenset(keys.routes),
            jurisdictions=None if keys.jurisdictions is None else frozenset(keys.jurisdictions),
            organisation=keys.organisation or file.keys.organisation,
            may_loosen=keys.overrides == ANY,
            cache_bypass=None if keys.cache_bypass is None else frozenset(keys.cache_bypass),
        )
    return teams


def build_callers(file: File[RoutesFile], teams: Mapping[str, Caller], env: Mapping[str, str]) -> dict[str, Caller]:
    """By SHA-256 of the key. Raises nothing; mistakes are noted where they stand."""
    callers: dict[str, Caller] = {}
    used: dict[str, str] = {}
    for team, keys in file.keys.teams.items():
        for index, key in enumerate(keys.keys):
            here = file.spot.at("teams", team, "keys", index)
            if key.id in used:
                here.at("id").wrong(f"key id {key.id!r} stands twice: team {used[key.id]!r} has it already")
            used.setdefault(key.id, team)
            digest = _digest(key, here, env)
            if digest is None:
                continue
            if digest in callers:
                other = callers[digest]
                here.wrong(f"key {key.id!r} is the same key as {other.key_id!r} of team {other.team!r}")
            else:
                callers[digest] = replace(teams[team], key_id=key.id)
    return callers


def _check_routes(routes: Collection[str], known: Collection[str], spot: Spot) -> None:
    for index, name in enumerate(routes):
        if name not in known:
            spot.at(index).wrong(f"unknown route {name!r}{did_you_mean(name, known)}")


def _check_twice(key_ids: Sequence[str], spot: Spot) -> None:
    """Ids that are not in the file are good: a key of that id may be made while the gateway runs."""
    for index, key_id in enumerate(key_ids):
        if key_id in key_ids[:index]:
            spot.at(index).wrong(f"key id {key_id!r} stands twice in the list")


def _digest(key: TeamKeyKeys, spot: Spot, env: Mapping[str, str]) -> str | None:
    if (key.sha256 is None) == (key.env is None):
        if not (spot.at("sha256").broken or spot.at("env").broken):
            which = "either 'sha256' or 'env'" if key.env is None else "only one of 'sha256' and 'env'"
            spot.wrong(f"key {key.id!r} needs {which}")
        return None
    if key.env is None:
        return key.sha256
    # A secret mounted from a file often ends in a line break, which no header can carry.
    value = env.get(key.env, "").strip()
    if not value:
        spot.at("env").wrong(f"the environment variable {key.env} of key {key.id!r} is not set")
        return None
    return key_digest(value)
