"""Models and their names: those of the price book, merged by key with what routes.yaml says of them.

So a team that measured a model itself gives its scores and nothing else. A model at one reasoning effort is a model of
its own, `provider/name@effort`: what is said of the effort is put over what is said of the model, but for its scores.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from gateway.core.catalog import AUTO, EFFORTS, OVERALL, Capability, Model, Provider, QualityScore
from gateway.core.pricing import Status

from .files import File, listed, merged
from .mistakes import did_you_mean
from .providers import build_providers
from .shape import RoutesFile
from .shape_book import BookFile, EffortKeys, ModelKeys, QualityKeys
from .source import Spot


class Names:
    """By which names a model may be called: its id, its bare name and its aliases, as far as they are unique.

    plain: of each model at an effort, the id of the model itself.
    """

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
        self.plain = {name: model.base for name, model in models.items() if model.effort is not None}

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
            self._unknown(spot, name)
        return None

    def _unknown(self, spot: Spot, name: str) -> None:
        base, _, effort = name.rpartition("@")
        meant = self.ids(base)
        if len(meant) != 1:
            spot.wrong(f"unknown model {name!r}{did_you_mean(name, self._ids)}")
        elif effort not in EFFORTS:
            near = did_you_mean(effort, EFFORTS)
            spot.wrong(f"unknown reasoning effort {effort!r} in {name!r}; there are {listed(EFFORTS)}{near}")
        elif not spot.source.broken(("models", meant[0], "efforts")):
            near = did_you_mean(name, [one for one in self._ids if self.ids(one)[0] in self.plain])
            how = f"'models: {{{meant[0]}: {{efforts: {{{effort}: {{}}}}}}}}'"
            spot.wrong(f"no effort {effort!r} of {meant[0]} is declared; {how} would declare it{near}")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Providers and models by name, and the words that other sections may use."""

    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    names: Names
    kinds: frozenset[str]
    jurisdictions: frozenset[str]

    def chat_model(self, spot: Spot, name: str) -> str | None:
        """The id of a model that answers; None after noting the mistake."""
        model_id = self.names.resolve(spot, name)
        model = None if model_id is None else self.models.get(model_id)
        if model is not None and model.embeds:
            spot.wrong(f"{name!r} is an embedding model: it makes vectors of texts for a 'semantic' cache, no answers")
            return None
        return model_id

    def check_kind(self, spot: Spot, kind: str, *, further: Collection[str] = ()) -> None:
        """further: words that are no kinds, and good in this place."""
        if kind not in self.kinds and kind not in further and not spot.source.broken(("models",)):
            known = sorted({*self.kinds, *further})
            spot.wrong(f"unknown task kind {kind!r}; there are {listed(known)}{did_you_mean(kind, known)}")

    def check_jurisdictions(self, spot: Spot, codes: Sequence[str] | None) -> None:
        """Where no provider stands, nothing would be allowed: that is taken for a slip."""
        if spot.source.broken(("providers",)):
            return
        for index, code in enumerate(codes or ()):
            if code not in self.jurisdictions:
                known = sorted(self.jurisdictions)
                near = did_you_mean(code, known)
                spot.at(index).wrong(f"no provider is in {code!r}; providers are in {listed(known)}{near}")


def build_catalogue(
    books: Sequence[File[BookFile]],
    routes: File[RoutesFile],
    env: Mapping[str, str],
    kinds: Collection[str],
) -> Catalogue:
    """kinds: what requests are told apart by; a kind is known too when a model has a score for it."""
    providers = build_providers(books, routes, env)
    models = _models(books, routes, {*providers, *routes.source.names("providers")})
    return Catalogue(
        providers=providers,
        models=models,
        names=Names(models, routes.source.names("models")),
        kinds=frozenset({OVERALL, *kinds}.union(*(model.quality for model in models.values()))),
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
        _add(found, model_id, given if before is None else _over(before, given), known, spot)
    return found


def _over(before: ModelKeys, given: ModelKeys) -> ModelKeys:
    """Key by key; scores by kind, efforts by name and then likewise."""
    efforts = {**before.efforts, **given.efforts}
    for effort in before.efforts.keys() & given.efforts.keys():
        earlier, later = before.efforts[effort], given.efforts[effort]
        quality = {**earlier.quality, **later.quality}
        efforts[effort] = merged(earlier, later).model_copy(update={"quality": quality})
    quality = {**before.quality, **given.quality}
    return merged(before, given).model_copy(update={"quality": quality, "efforts": efforts})


def _add(found: dict[str, Model], model_id: str, keys: ModelKeys, known: Iterable[str], spot: Spot) -> None:
    plain, _, effort = model_id.rpartition("@")
    if effort in EFFORTS:
        spot.key.wrong(f"{model_id!r} is a model at an effort; write it under 'efforts' of {plain!r}")
        return
    needs: tuple[str, ...] = ("context_tokens", "max_output_tokens", "capabilities")
    if keys.embeds:
        for name in needs[1:]:
            if getattr(keys, name) is not None:
                spot.at(name).key.wrong(f"model {model_id!r} embeds and never answers, so it has no {name!r}")
        needs = needs[:1]
    if any(getattr(keys, need) is None for need in needs):
        unsaid = [need for need in needs if getattr(keys, need) is None and not spot.at(need).broken]
        near = "" if model_id in known else did_you_mean(model_id, known)
        if unsaid:
            spot.key.wrong(f"model {model_id!r} is new here, so it needs {listed(unsaid)}{near}")
        return
    provider, _, name = model_id.partition("/")
    model = Model(
        id=model_id,
        provider=provider,
        upstream_name=name,
        context_tokens=keys.context_tokens or 0,
        max_output_tokens=keys.max_output_tokens or 0,
        capabilities=frozenset(map(Capability, keys.capabilities or ())),
        expected_output_tokens=0 if keys.embeds else keys.expected_output_tokens,
        tokens_per_byte=keys.tokens_per_byte,
        aliases=tuple(keys.aliases),
        deprecated_on=keys.deprecated_on,
        quality=_scores(keys.quality, spot.at("quality")),
        embeds=keys.embeds,
    )
    found[model_id] = model
    if keys.efforts and Capability.REASONING not in model.capabilities:
        spot.at("efforts").key.wrong(f"model {model_id!r} has no 'reasoning' among its capabilities, so no efforts")
    for effort, given in keys.efforts.items():
        found[f"{model_id}@{effort}"] = _at_effort(model, effort, given, spot.at("efforts", effort))


def _at_effort(model: Model, effort: str, keys: EffortKeys, spot: Spot) -> Model:
    return replace(
        model,
        id=f"{model.id}@{effort}",
        effort=effort,
        aliases=tuple(f"{alias}@{effort}" for alias in model.aliases),
        expected_output_tokens=keys.expected_output_tokens or model.expected_output_tokens,
        quality=_scores(keys.quality, spot.at("quality")),
    )


def _scores(quality: Mapping[str, QualityKeys], spot: Spot) -> dict[str, QualityScore]:
    if AUTO in quality:
        spot.at(AUTO).key.wrong(f"{AUTO!r} is no task kind; it says that each request's own kind counts")
    return {kind: _score(score) for kind, score in quality.items()}


def _score(keys: QualityKeys) -> QualityScore:
    return QualityScore(
        score=keys.score, status=Status(keys.status), source=keys.source, read=keys.read, subject=keys.subject
    )
