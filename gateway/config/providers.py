"""Providers: those of the price book, merged by key with what routes.yaml says of them, and further ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.core.catalog import Provider
from gateway.dialects import DIALECTS

from .files import File, listed, merged
from .leaves import url_fault
from .mistakes import did_you_mean
from .shape import RoutesFile
from .shape_book import BookFile, ProviderKeys
from .source import Spot


def build_providers(
    books: Sequence[File[BookFile]], routes: File[RoutesFile], env: Mapping[str, str]
) -> dict[str, Provider]:
    """By name. Raises nothing; mistakes are noted where they stand."""
    found: dict[str, Provider] = {}
    known: dict[str, ProviderKeys] = {}
    for book in books:
        name = book.keys.provider.name
        known[name] = book.keys.provider
        _add(found, name, known[name], known, book.spot.at("provider"), env)
    for name, given in routes.keys.providers.items():
        spot = routes.spot.at("providers", name)
        _check_given(given, spot)
        _add(found, name, merged(known.get(name), given), known, spot, env)
    return found


def _check_given(given: ProviderKeys, spot: Spot) -> None:
    if given.via == "litellm" and given.dialect is not None:
        spot.at("dialect").wrong("litellm answers in OpenAI's shape whatever it speaks itself; delete 'dialect'")
    if given.via != "litellm" and given.litellm_provider is not None:
        spot.at("litellm_provider").wrong("'litellm_provider' is for a provider with 'via: litellm'")


def _add(
    found: dict[str, Provider],
    name: str,
    keys: ProviderKeys,
    known: Iterable[str],
    spot: Spot,
    env: Mapping[str, str],
) -> None:
    needs = ["jurisdiction", "key_env"]
    if keys.via != "litellm":
        needs += ["dialect"] if keys.base_url_env else ["dialect", "base_url"]
    missing = [need for need in needs if need not in keys.model_fields_set]
    if missing:
        unsaid = [need for need in missing if not spot.at(need).broken]
        near = "" if name in known else did_you_mean(name, known)
        if unsaid:
            spot.key.wrong(f"provider {name!r} is new here, so it needs {listed(unsaid)}{near}")
        return
    via = keys.via or "http"
    base_url = _base_url(keys, spot, env)
    if via == "http":
        _check_http(keys, base_url, spot)
    found[name] = Provider(
        name=name,
        dialect="openai" if via == "litellm" else str(keys.dialect),
        base_url=base_url,
        key_env=keys.key_env,
        jurisdiction=str(keys.jurisdiction),
        via=via,
        litellm_provider=(keys.litellm_provider or name) if via == "litellm" else "",
        abort_stops_billing=bool(keys.abort_stops_billing),
    )


def _base_url(keys: ProviderKeys, spot: Spot, env: Mapping[str, str]) -> str:
    replaced = env.get(keys.base_url_env, "").strip() if keys.base_url_env else ""
    if not replaced:
        return keys.base_url or ""
    fault = url_fault(replaced)
    if fault is not None:
        spot.at("base_url_env").wrong(f"the value of the environment variable {keys.base_url_env} {fault}")
    return replaced.rstrip("/")


def _check_http(keys: ProviderKeys, base_url: str, spot: Spot) -> None:
    if keys.dialect not in DIALECTS:
        near = did_you_mean(str(keys.dialect), DIALECTS)
        spot.at("dialect").wrong(f"unknown dialect {keys.dialect!r}; there are {listed(DIALECTS)}{near}")
    if not base_url:
        spot.at("base_url_env").wrong(f"{keys.base_url_env} is not set, and there is no 'base_url' beside it")
