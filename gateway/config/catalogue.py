"""Models and their names: those of the price book, merged by key with what routes.yaml says of them.

So a team that measured a model itself gives its scores and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.catalog import OVERALL, Capability, Model, Provider, QualityScore
from gateway.core.pricing import Status

from .files import File, listed, merged
from .mistakes import did_you_mean
from .providers import build_providers
from .shape import RoutesFile
from .shape_book import BookFile, ModelKeys, QualityKeys
from .source import Spot


class Names:
    """By which names a model may be called: its id, its bare name and its aliases, as far as they are unique."""

    def __init__(self, models: Mapping[str, Model], declared: Iterable[str]) -> None:
        """declared: ids that stand in a file, also those whose model could not be understood."""
        ids = {*models, *declared}
        found: dict[str, set[str]] = {}
        for model_id in ids:
            provider, _, bare = model_id.partition("/")
            aliases = models[model_id].aliases if model_id in models else ()
            for name in (model_id, bare, *aliases, *(f"{provider}/{alias}" for alias in aliases)):
                found.setdefault(name, set()).add(model_id)
        # An id always means its own model, whatever alias another one claims.
        self._ids = {name: (name,) if name in ids else tuple(sorted(meant)) for name, meant in found.items()}

    def ids(self, name: str) -> tuple[str, ...]:
        return self._ids.get(name, ())

    def unique(self) -> dict[str, str]:
        """Every name that stands for one model, with its id."""
        return {name: ids[0] for name, ids in self._ids.items() if len(ids) == 1}

    def resolve(self, spot: Spot, name: str) -> str | None:
        """The id that a name in a file stands for; None after noting the mistake."""
        ids = self.ids(name)
        if len(ids) == 1:
            return ids[0]
        if ids:
            spot.wrong(f"{name!r} is the name of several models; write one of {listed(ids)}")
        else:
            spot.wrong(f"unknown model {name!r}{did_you_mean(name, self._ids)}")
        return None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Providers and models by name, and the words that other sections may use."""

    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    names: Names
    kinds: frozenset[str]
    jurisdictions: frozenset[str]

    def check_jurisdictions(self, spot: Spot, codes: Sequence[str] | None) -> None:
        """Where no provider stands, nothing would be allowed: that is taken for a slip."""
        if spot.source.broken(("providers",)):
            return
        for index, code in enumerate(codes or ()):
            if code not in self.jurisdictions:
                known = sorted(self.jurisdictions)
                near = did_you_mean(code, known)
                spot.at(index).wrong(f"no provider is in {code!r}; providers are in {listed(known)}{near}")


def build_catalogue(books: Sequence[File[BookFile]], routes: File[RoutesFile], env: Mapping[str, str]) -> Catalogue:
    providers = build_providers(books, routes, env)
    models = _models(books, routes, {*providers, *routes.source.names("providers")})
    return Catalogue(
        providers=providers,
        models=models,
        names=Names(models, routes.source.names("models")),
        kinds=frozenset({OVERALL}.union(*(model.quality for model in models.values()))),
        jurisdictions=frozenset(provider.jurisdiction for provider in providers.values()),
    )


def _models(books: Sequence[File[BookFile]], routes: File[RoutesFile], providers: Collection[str]) -> dict[str, Model]:
    found: dict[str, Model] = {}
    known: dict[str, ModelKeys] = {}
    for book in books:
        for name, keys in book.keys.models.items():
            model_id = f"{book.keys.provider.name}/{name}"
            known[model_id] = keys
            _add(found, model_id, keys, known, book.spot.at("models", name))
    for model_id, given in routes.keys.models.items():
        spot = routes.spot.at("models", model_id)
        provider = model_id.partition("/")[0]
        if provider not in providers:
            spot.key.wrong(f"unknown provider {provider!r} in model {model_id!r}{did_you_mean(provider, providers)}")
            continue
        before = known.get(model_id)
        keys = merged(before, given)
        if before is not None:
            keys = keys.model_copy(update={"quality": {**before.quality, **given.quality}})
        _add(found, model_id, keys, known, spot)
    return found


def _add(found: dict[str, Model], model_id: str, keys: ModelKeys, known: Iterable[str], spot: Spot) -> None:
    if keys.context_tokens is None or keys.max_output_tokens is None or keys.capabilities is None:
        needs = ("context_tokens", "max_output_tokens", "capabilities")
        unsaid = [need for need in needs if getattr(keys, need) is None and not spot.at(need).broken]
        near = "" if model_id in known else did_you_mean(model_id, known)
        if unsaid:
            spot.key.wrong(f"model {model_id!r} is new here, so it needs {listed(unsaid)}{near}")
        return
    provider, _, name = model_id.partition("/")
    found[model_id] = Model(
        id=model_id,
        provider=provider,
        upstream_name=name,
        context_tokens=keys.context_tokens,
        max_output_tokens=keys.max_output_tokens,
        capabilities=frozenset(map(Capability, keys.capabilities)),
        expected_output_tokens=keys.expected_output_tokens,
        tokens_per_byte=keys.tokens_per_byte,
        aliases=tuple(keys.aliases),
        deprecated_on=keys.deprecated_on,
        quality={kind: _score(score) for kind, score in keys.quality.items()},
    )


def _score(keys: QualityKeys) -> QualityScore:
    return QualityScore(
        score=keys.score, status=Status(keys.status), source=keys.source, read=keys.read, subject=keys.subject
    )
