"""What one request asks of its route's terms for itself, in its headers. Pure.

    x-gateway-policy          another policy
    x-gateway-quality-floor   the least quality, 0 to 100
    x-gateway-max-cost-usd    the most this request may be expected to cost
    x-gateway-jurisdictions   where its prompt may go
    x-gateway-timeout-ms      how long it may take in all
    x-gateway-kind            what kind of task it is
    x-gateway-delivery        stream, or whole: nothing before the answer is complete

A key that may not loosen gets what makes the route's terms stricter and is refused the rest; a team's own jurisdictions
hold in any case. Unknown values are refused: a term that is silently ignored is a promise broken.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

import msgspec

from .catalog import AUTO
from .errors import Blame, GatewayError
from .money import NANO_PER_USD, Nano, nano_from_usd, usd
from .route import Delivery, FloorMeaning, Policy, Route

PREFIX = "x-gateway-"
MOST_COST_USD = 1_000_000
SHORTEST_TIMEOUT_MS, LONGEST_TIMEOUT_MS = 10, 3_600_000


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """None: as the route says. jurisdictions in order, so that equal terms are equal."""

    policy: str | None = None
    floor: float | None = None
    max_cost_nano: Nano | None = None
    jurisdictions: tuple[str, ...] | None = None
    timeout_ms: int | None = None
    kind: str | None = None
    delivery: Delivery | None = None


AS_THE_ROUTE = Terms()

HEADERS: Mapping[bytes, str] = {
    f"{PREFIX}{name}".encode(): name
    for name in ("policy", "quality-floor", "max-cost-usd", "jurisdictions", "timeout-ms", "kind", "delivery")
}


class Words(msgspec.Struct, frozen=True):
    """What may be named: the policies, the task kinds, and the places where providers are."""

    policies: Mapping[str, Policy] = {}
    kinds: frozenset[str] = frozenset()
    places: frozenset[str] = frozenset()


NO_WORDS = Words()


def read_terms(given: Mapping[str, str], words: Words) -> Terms:
    """The terms in these header values, by the names of HEADERS. Raises GatewayError 400 naming header and values."""
    if not given:
        return AS_THE_ROUTE
    return Terms(
        policy=_word(given, "policy", words.policies),
        floor=_number(given, "quality-floor", 0, 100),
        max_cost_nano=_money(given, "max-cost-usd"),
        jurisdictions=_places(given, "jurisdictions", words.places),
        timeout_ms=_timeout(given, "timeout-ms"),
        kind=_word(given, "kind", words.kinds),
        delivery=None if (word := _word(given, "delivery", tuple(Delivery))) is None else Delivery(word),
    )


def _word(given: Mapping[str, str], name: str, known: Collection[str]) -> str | None:
    word = given.get(name)
    if word is not None and word not in known:
        raise _unknown(name, word, f"one of {', '.join(sorted(known))}")
    return word


def _number(given: Mapping[str, str], name: str, least: int, most: int) -> float | None:
    text = given.get(name)
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise _unknown(name, text, f"a number from {least} to {most}")
    return number


def _money(given: Mapping[str, str], name: str) -> Nano | None:
    text = given.get(name)
    if text is None:
        return None
    takes = f"an amount in US dollars, such as 0.05, up to {MOST_COST_USD:,}"
    try:
        amount = nano_from_usd(text)
    except ValueError as exc:
        raise _unknown(name, text, takes) from exc
    if amount > MOST_COST_USD * NANO_PER_USD:
        raise _unknown(name, text, takes)
    return amount


def _timeout(given: Mapping[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and SHORTEST_TIMEOUT_MS <= int(text[:9]) <= LONGEST_TIMEOUT_MS):
        raise _unknown(name, text, f"milliseconds, {SHORTEST_TIMEOUT_MS} to {LONGEST_TIMEOUT_MS}")
    return int(text[:9])


def _places(given: Mapping[str, str], name: str, known: Collection[str]) -> tuple[str, ...] | None:
    text = given.get(name)
    if text is None:
        return None
    codes = sorted({code.strip() for code in text.split(",")})
    for code in codes:
        if code not in known:
            raise _unknown(name, code, f"countries where a provider is, of {', '.join(sorted(known))}")
    return tuple(codes)


def _unknown(name: str, value: str, takes: str) -> GatewayError:
    header = f"{PREFIX}{name}"
    told = f"'{header}' is {value[:60]!r}; it takes {takes}"
    return GatewayError(Blame.CALLER, 400, told=told, param=header, code="invalid_term", outcome="invalid")


def under(route: Route, terms: Terms, words: Words, *, may_loosen: bool) -> Route:
    """The route under these terms. Raises GatewayError 403 for what a caller that may not loosen would loosen."""
    if terms == AS_THE_ROUTE:
        return route
    if not may_loosen:
        for name, why in _loosened(route, terms):
            header = f"{PREFIX}{name}"
            told = f"this key may make the terms of {route.name!r} stricter and not looser: {why}"
            raise GatewayError(Blame.CALLER, 403, told=told, param=header, code="term_loosened", outcome="refused")
    kind = terms.kind or route.kind
    floors = route.floors if terms.floor is None else {kind: terms.floor, "overall": terms.floor}
    timeouts = route.timeouts
    if terms.timeout_ms is not None:
        timeouts = dataclasses.replace(timeouts, total=terms.timeout_ms / 1_000)
    return dataclasses.replace(
        route,
        policy=route.policy if terms.policy is None else words.policies[terms.policy],
        kind=kind,
        floors=floors,
        # What graded answers are known to average was worked out for the route's own floor.
        floor_means=route.floor_means if terms.floor is None else FloorMeaning.REQUEST,
        max_cost_nano=route.max_cost_nano if terms.max_cost_nano is None else terms.max_cost_nano,
        jurisdictions=route.jurisdictions if terms.jurisdictions is None else frozenset(terms.jurisdictions),
        timeouts=timeouts,
        delivery=terms.delivery or route.delivery,
    )


def _loosened(route: Route, terms: Terms) -> list[tuple[str, str]]:
    found = []
    if terms.policy is not None and terms.policy != route.policy.name:
        found.append(("policy", f"its policy is {route.policy.name}"))
    floor = route.floor_for(route.kind)
    # Where each request is judged by its own kind, the caller's word for it is what was asked for.
    if terms.kind is not None and terms.floor is None and floor is not None and route.kind != AUTO:
        other = route.floor_for(terms.kind)
        if other is None or other < floor:
            found.append(("kind", f"its floor for {route.kind} is {floor:g}"))
    strictest = max(route.floors.values(), default=None)
    if terms.floor is not None and strictest is not None and terms.floor < strictest:
        found.append(("quality-floor", f"its floor is {strictest:g}"))
    cap = route.max_cost_nano
    if terms.max_cost_nano is not None and cap is not None and terms.max_cost_nano > cap:
        found.append(("max-cost-usd", f"its cap is ${usd(cap)}"))
    places = route.jurisdictions
    if terms.jurisdictions is not None and places is not None and not places.issuperset(terms.jurisdictions):
        found.append(("jurisdictions", f"it allows {', '.join(sorted(places))}"))
    if terms.timeout_ms is not None and terms.timeout_ms > route.timeouts.total * 1_000:
        found.append(("timeout-ms", f"it allows {route.timeouts.total * 1_000:g} ms"))
    return found
