"""Conditions of a route: from routes.yaml to values. Where they lead to is checked with the steps down (steps.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from zoneinfo import ZoneInfo

from gateway.core.catalog import OVERALL, Capability
from gateway.core.route import Hours, When

from .catalogue import Catalogue
from .files import listed
from .leaves import DAYS
from .shape_when import WhenKeys
from .source import Spot

CONDITIONS = ("kind", "needs", "budget_used_percent", "hours", "days", "tags")
_WHOLE_DAY = (0, 24 * 60)
_UTC = ZoneInfo(str(UTC))


def build_when(written: Sequence[WhenKeys], catalogue: Catalogue, spot: Spot) -> tuple[When, ...]:
    """In their order. Raises nothing; mistakes are noted where they stand."""
    return tuple(_when(keys, catalogue, spot.at(index)) for index, keys in enumerate(written))


def _when(keys: WhenKeys, catalogue: Catalogue, spot: Spot) -> When:
    if all(getattr(keys, name) is None for name in CONDITIONS):
        if not any(spot.at(name).broken for name in CONDITIONS):
            spot.wrong(f"no condition stands beside 'use'; write at least one of {listed(CONDITIONS)}")
    elif keys.zone is not None and keys.hours is None and keys.days is None:
        spot.at("zone").key.wrong("'zone' is for 'hours' and 'days', and neither stands here")
    for index, kind in enumerate(keys.kind or ()):
        here = spot.at("kind", index) if spot.holds_list("kind") else spot.at("kind")
        if kind == OVERALL:
            here.wrong(f"no request is of the kind {OVERALL!r}; leave 'kind' away for whatever it is")
        else:
            catalogue.check_kind(here, kind)
    return When(
        to=keys.use,
        kinds=frozenset(keys.kind or ()),
        needs=frozenset(map(Capability, keys.needs or ())),
        used_from_percent=keys.budget_used_percent,
        hours=_hours(keys),
        tags=keys.tags or {},
    )


def _hours(keys: WhenKeys) -> Hours | None:
    if keys.hours is None and keys.days is None:
        return None
    start, end = keys.hours or _WHOLE_DAY
    return Hours(start, end, frozenset(map(DAYS.index, keys.days or DAYS)), keys.zone or _UTC)
