"""Budgets and limits: from routes.yaml to the rules that every attempt is admitted by."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from gateway.core.budget import Budget, Limit, Offline, Rules, Scope, ScopeKind, Unit, Window

from .catalogue import Catalogue
from .files import File, listed
from .mistakes import did_you_mean
from .routes import DIRECT
from .shape import RoutesFile
from .shape_rules import BudgetKeys, LimitKeys, ScopeKeys
from .source import Spot

KINDS = tuple(map(str, ScopeKind))
QUANTITIES = ("requests_per_minute", "tokens_per_minute", "concurrency")

_WINTER_AND_SUMMER = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC))
"""Clocks that go by half hours do so in every year; any two dates half a year apart show them."""


def build_rules(file: File[RoutesFile], catalogue: Catalogue) -> Rules:
    """Raises nothing; what cannot be built is left out, its mistakes noted where they stand."""
    known = _known(file, catalogue)
    budgets = [_budget(name, keys, known, file.spot.at("budgets", name)) for name, keys in file.keys.budgets.items()]
    limits = [_limit(name, keys, known, file.spot.at("limits", name)) for name, keys in file.keys.limits.items()]
    return Rules(
        tuple(one for one in budgets if one is not None),
        tuple(one for one in limits if one is not None),
    )


def key_ids(file: File[RoutesFile]) -> set[str]:
    """The ids of the keys in this file; further keys are made while the gateway runs."""
    return {key.id for team in file.keys.teams.values() for key in team.keys}


def _known(file: File[RoutesFile], catalogue: Catalogue) -> Mapping[str, Collection[str] | None]:
    """The names there are of each kind of scope. None: any name, it cannot be judged here."""
    spot, teams = file.spot, file.keys.teams
    unsure = spot.at("organisation").broken or any(spot.at("teams", team, "organisation").broken for team in teams)
    organisations = {file.keys.organisation, *(team.organisation for team in teams.values() if team.organisation)}
    return {
        ScopeKind.KEY: None,
        ScopeKind.TEAM: file.source.names("teams"),
        ScopeKind.ORGANISATION: None if unsure else organisations,
        ScopeKind.ROUTE: (DIRECT, *file.source.names("routes")),
        ScopeKind.PROVIDER: {*catalogue.providers, *file.source.names("providers")},
    }


def _scope(keys: ScopeKeys, known: Mapping[str, Collection[str] | None], what: str, spot: Spot) -> Scope | None:
    said = [kind for kind in (*KINDS, "each") if getattr(keys, kind) is not None]
    if not said:
        spot.key.wrong(f"{what} needs to say whom it concerns: one of {listed((*KINDS, 'each'))}")
        return None
    if len(said) > 1:
        spot.at(said[1]).key.wrong(f"{what} has {listed(said)}; it concerns one of them only")
        return None
    if keys.each is not None:
        return Scope(ScopeKind(keys.each))
    kind, name = said[0], str(getattr(keys, said[0]))
    names = known[kind]
    if names is not None and name not in names:
        spot.at(kind).wrong(f"unknown {kind} {name!r}{did_you_mean(name, names)}")
    return Scope(ScopeKind(kind), name)


def _budget(name: str, keys: BudgetKeys, known: Mapping[str, Collection[str] | None], spot: Spot) -> Budget | None:
    scope = _scope(keys, known, f"budget {name!r}", spot)
    if keys.zone is not None:
        _check_zone(keys.zone, keys.rolling, spot.at("zone"))
    if keys.mode == "soft" and "offline" in keys.model_fields_set:
        spot.at("offline").key.wrong("'offline' is for hard budgets; a soft one never refuses")
    if scope is None:
        return None
    return Budget(
        name=name,
        scope=scope,
        limit_nano=keys.usd,
        window=Window(Unit(keys.window), keys.rolling, keys.zone),
        hard=keys.mode == "hard",
        offline=Offline(keys.offline),
    )


def _check_zone(zone: ZoneInfo, rolling: bool, spot: Spot) -> None:
    if rolling:
        spot.key.wrong("a rolling window begins at no midnight; delete 'zone'")
        return
    offsets = [zone.utcoffset(at.astimezone(zone)) for at in _WINTER_AND_SUMMER]
    if any(offset is not None and offset.seconds % 3_600 for offset in offsets):
        why = "is not whole hours from UTC, and spending is summed by whole hours; take a near one that is"
        spot.wrong(f"the time zone {zone.key} {why}")


def _limit(name: str, keys: LimitKeys, known: Mapping[str, Collection[str] | None], spot: Spot) -> Limit | None:
    scope = _scope(keys, known, f"limit {name!r}", spot)
    if all(getattr(keys, quantity) is None for quantity in QUANTITIES):
        spot.key.wrong(f"limit {name!r} limits nothing; write at least one of {listed(QUANTITIES)}")
    if scope is None:
        return None
    return Limit(name, scope, keys.requests_per_minute, keys.tokens_per_minute, keys.concurrency)
