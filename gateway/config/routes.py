"""Routes: from routes.yaml to values, every name in them resolved against the catalogue."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gateway.core.catalog import AUTO
from gateway.core.route import Delivery, FloorMeaning, Policy, Route, StepDown, Timeouts
from gateway.policies import POLICIES

from .caching import build_cache
from .catalogue import Catalogue
from .conditions import build_when
from .files import File, listed
from .mistakes import did_you_mean
from .shape import DefaultsKeys, RouteKeys, RoutesFile, TimeoutKeys
from .source import Spot
from .steps import check_ways

DIRECT = "direct"
"""The name of the route behind a model that a caller names itself; teams may be allowed it by this name."""


def build_routes(file: File[RoutesFile], catalogue: Catalogue) -> dict[str, Route]:
    """By name. Routes that cannot be built are left out, their mistakes noted where they stand."""
    defaults = file.keys.defaults
    here = file.spot.at("defaults")
    catalogue.check_jurisdictions(here.at("jurisdictions"), defaults.jurisdictions)
    _check_timeouts(_timeouts(defaults.timeouts, defaults.timeouts), here.at("timeouts"))
    baseline = None if defaults.baseline is None else catalogue.chat_model(here.at("baseline"), defaults.baseline)
    if not file.source.names("routes"):
        file.spot.at("routes").wrong("there is no route; write at least one under 'routes'")
    found: dict[str, Route] = {}
    for name, keys in file.keys.routes.items():
        spot = file.spot.at("routes", name)
        _check_name(name, catalogue, spot)
        route = _route(name, keys, defaults, baseline, catalogue, spot)
        if route is not None:
            found[name] = route
    check_ways(file, found, catalogue)
    return found


def direct_routes(defaults: DefaultsKeys, catalogue: Catalogue) -> dict[str, Route]:
    """One route for each model, under every name that means this model alone."""
    routes = {
        model_id: Route(
            name=DIRECT,
            policy=POLICIES["cheapest"],
            candidates=(model_id,),
            jurisdictions=_codes(defaults.jurisdictions),
            expected_output_tokens=defaults.expected_output_tokens,
            timeouts=_timeouts(defaults.timeouts, defaults.timeouts),
            max_attempts=defaults.max_attempts,
            max_output_tokens=defaults.max_output_tokens,
        )
        for model_id, model in catalogue.models.items()
        if not model.embeds
    }
    return {name: routes[model_id] for name, model_id in catalogue.names.unique().items() if model_id in routes}


def _check_name(name: str, catalogue: Catalogue, spot: Spot) -> None:
    meant = catalogue.names.ids(name)
    if name == DIRECT:
        spot.key.wrong(f"{DIRECT!r} is kept for models that callers name themselves; choose another name")
    elif meant:
        spot.key.wrong(f"route {name!r} is named like a model ({', '.join(meant)}); choose another name")


def _route(
    name: str, keys: RouteKeys, defaults: DefaultsKeys, baseline: str | None, catalogue: Catalogue, spot: Spot
) -> Route | None:
    policy = _policy(keys, spot)
    candidates = _models(keys.candidates, catalogue, spot.at("candidates"))
    if not keys.candidates:
        spot.at("candidates").wrong(f"route {name!r} has no candidates; name at least one model")
    fallbacks = _models(keys.fallbacks, catalogue, spot.at("fallbacks"), already=candidates)
    weights = _weights(keys, candidates, catalogue, spot)
    if keys.baseline is not None:
        baseline = catalogue.chat_model(spot.at("baseline"), keys.baseline)
    catalogue.check_jurisdictions(spot.at("jurisdictions"), keys.jurisdictions)
    catalogue.check_kind(spot.at("kind"), keys.kind, further=(AUTO,))
    for kind in keys.quality_floor or {}:
        catalogue.check_kind(spot.at("quality_floor", kind).key, kind)
    when = build_when(keys.when, catalogue, spot.at("when"))
    jurisdictions = _codes(keys.jurisdictions or defaults.jurisdictions)
    cache = None
    if keys.cache is not None:
        cache = build_cache(keys.cache, name, jurisdictions, catalogue, spot.at("cache"))
    timeouts = _timeouts(keys.timeouts, defaults.timeouts)
    if keys.timeouts.model_fields_set:
        _check_timeouts(timeouts, spot.at("timeouts"))
    if policy is None:
        return None
    return Route(
        name=name,
        policy=policy,
        candidates=tuple(candidates),
        fallbacks=tuple(fallbacks),
        weights=weights,
        explore_percent=keys.explore_percent,
        kind=keys.kind,
        floors=keys.quality_floor or {},
        floor_means=FloorMeaning(keys.floor_means),
        baseline=baseline,
        jurisdictions=jurisdictions,
        max_cost_nano=keys.max_cost_usd,
        expected_output_tokens=keys.expected_output_tokens or defaults.expected_output_tokens,
        cache=cache,
        timeouts=timeouts,
        max_attempts=keys.max_attempts or defaults.max_attempts,
        max_output_tokens=keys.max_output_tokens or defaults.max_output_tokens,
        delivery=Delivery(keys.delivery),
        step_down=None if keys.step_down is None else StepDown(keys.step_down.from_percent, keys.step_down.to),
        when=when,
    )


def _codes(jurisdictions: Sequence[str] | None) -> frozenset[str] | None:
    return None if jurisdictions is None else frozenset(jurisdictions)


def _policy(keys: RouteKeys, spot: Spot) -> Policy | None:
    policy = POLICIES.get(keys.policy)
    if policy is None:
        near = did_you_mean(keys.policy, POLICIES)
        spot.at("policy").wrong(f"unknown policy {keys.policy!r}; there are {listed(POLICIES)}{near}")
    elif keys.explore_percent and keys.policy != "cheapest":
        why = f"'explore_percent' is for the policy 'cheapest'; this route's policy is {keys.policy!r}"
        spot.at("explore_percent").key.wrong(why)
    return policy


def _models(words: Sequence[str], catalogue: Catalogue, spot: Spot, already: Collection[str] = ()) -> list[str]:
    """The ids of a list of models; one that stands twice, or is a candidate already, is a mistake."""
    found: list[str] = []
    for index, word in enumerate(words):
        model_id = catalogue.chat_model(spot.at(index), word)
        if model_id is None:
            continue
        if model_id in already:
            spot.at(index).wrong(f"{word!r} is a candidate of the route already, so it cannot be its fallback")
        elif model_id in found:
            spot.at(index).wrong(f"{word!r} stands twice: {model_id} is in the list already")
        else:
            found.append(model_id)
    return found


def _weights(keys: RouteKeys, candidates: Sequence[str], catalogue: Catalogue, spot: Spot) -> dict[str, int]:
    here = spot.at("weights")
    if keys.policy != "split":
        if keys.weights is not None and keys.policy in POLICIES:
            here.key.wrong(f"'weights' are for the policy 'split'; this route's policy is {keys.policy!r}")
        return {}
    if keys.weights is None:
        here.key.wrong("the policy 'split' needs 'weights': a share for each candidate")
        return {}
    found: dict[str, int] = {}
    for word, share in keys.weights.items():
        model_id = catalogue.names.resolve(here.at(word).key, word)
        if model_id is None:
            continue
        if model_id in found:
            here.at(word).key.wrong(f"{word!r} stands twice: {model_id} has a weight already")
        elif model_id not in candidates and not spot.at("candidates").broken:
            here.at(word).key.wrong(f"{word!r} has a weight and is no candidate of this route")
        found[model_id] = share
    if not here.broken:
        if not any(keys.weights.values()):
            here.wrong("all weights are 0, so no candidate would ever be drawn")
        for model_id in candidates:
            if model_id not in found:
                here.wrong(f"candidate {model_id!r} has no weight; write 0 to send it nothing")
    return found


def _timeouts(keys: TimeoutKeys, defaults: TimeoutKeys) -> Timeouts:
    """The route's own, else the default, else the built-in."""
    given: Mapping[str, float] = {
        **defaults.model_dump(exclude_none=True),
        **keys.model_dump(exclude_none=True),
    }
    return Timeouts(**{name.removesuffix("_s"): seconds for name, seconds in given.items()})


def _check_timeouts(timeouts: Timeouts, spot: Spot) -> None:
    for name in ("connect", "first_token"):
        part: float = getattr(timeouts, name)
        if timeouts.total < part:
            why = f"total_s ({timeouts.total:g}) is shorter than {name}_s ({part:g})"
            spot.at("total_s").wrong(f"{why}, which could then never be reached")
