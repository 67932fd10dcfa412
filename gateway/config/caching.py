"""The response cache of a route: from routes.yaml to values."""

from __future__ import annotations

from collections.abc import Collection

from gateway.core.caching import LONGEST_S, CacheRule, Scope, SemanticRule
from gateway.dialects import DIALECTS

from .catalogue import Catalogue
from .files import listed
from .shape_cache import CacheKeys, SemanticKeys
from .source import Spot

_SEMANTIC = (Scope.TEAM, Scope.KEY)


def build_cache(
    keys: CacheKeys, route: str, jurisdictions: Collection[str] | None, catalogue: Catalogue, spot: Spot
) -> CacheRule:
    """Raises nothing; mistakes are noted where they stand. jurisdictions: those of the route."""
    _check_times(keys, spot)
    semantic = None
    if keys.semantic is not None:
        semantic = _semantic(keys.semantic, keys.scope, catalogue, spot.at("semantic"))
    if semantic is not None:
        _check_place(semantic.model, route, jurisdictions, catalogue, spot.at("semantic", "model"))
    return CacheRule(
        ttl_s=keys.ttl_s,
        max_bytes=keys.max_kib * 1024,
        scope=Scope(keys.scope),
        jitter_percent=keys.jitter_percent,
        stale_while_revalidate_s=keys.stale_while_revalidate_s,
        stale_if_error_s=keys.stale_if_error_s,
        sampled=keys.sampled,
        coalesce=keys.coalesce,
        semantic=semantic,
    )


def check_embedding_model(name: str, catalogue: Catalogue, spot: Spot) -> str | None:
    """Its id; None after noting the mistake: it must make vectors, and be reached by a wire that has them."""
    model_id = catalogue.names.resolve(spot, name)
    model = None if model_id is None else catalogue.models.get(model_id)
    if model is None:
        return model_id
    if not model.embeds:
        spot.wrong(f"{name!r} is no embedding model; there are {listed(embedding_models(catalogue))}")
        return None
    provider = catalogue.providers.get(model.provider)
    if provider is not None and (provider.via != "http" or DIALECTS[provider.dialect].embeddings is None):
        wire = f"the wire {provider.dialect!r} has" if provider.via == "http" else f"{provider.via} is asked for"
        spot.wrong(f"{name!r} cannot be asked for vectors: {wire} no embeddings here")
        return None
    return model_id


def embedding_models(catalogue: Catalogue) -> list[str]:
    return sorted(model.id for model in catalogue.models.values() if model.embeds)


def _check_times(keys: CacheKeys, spot: Spot) -> None:
    for name in ("stale_while_revalidate_s", "stale_if_error_s"):
        stale_s: int = getattr(keys, name)
        if keys.ttl_s + stale_s > LONGEST_S:
            why = f"ttl_s ({keys.ttl_s}) and {name} ({stale_s}) are more than a year ({LONGEST_S}) together"
            spot.at(name if stale_s else "ttl_s").wrong(why)


def _semantic(keys: SemanticKeys, scope: str, catalogue: Catalogue, spot: Spot) -> SemanticRule | None:
    if scope not in _SEMANTIC:
        spot.key.wrong(
            f"similar questions are answered inside one team only; 'scope' is {scope!r} here: write team or key, "
            "or delete 'semantic'"
        )
    model = check_embedding_model(keys.model, catalogue, spot.at("model"))
    return None if model is None else SemanticRule(model, keys.threshold)


def _check_place(
    model_id: str, route: str, jurisdictions: Collection[str] | None, catalogue: Catalogue, spot: Spot
) -> None:
    """It reads every prompt of the route, so it may be no further away than those that answer them."""
    model = catalogue.models.get(model_id)
    provider = None if model is None else catalogue.providers.get(model.provider)
    if provider is not None and jurisdictions is not None and provider.jurisdiction not in jurisdictions:
        allowed = listed(sorted(jurisdictions))
        spot.wrong(f"{model_id} is in {provider.jurisdiction!r}, and route {route!r} allows {allowed} only")
