"""The files as they are written: every key with its type, its default and one line of docs.

`routes.schema.json` is made from these models. They say what may stand in a file, nothing about what refers to what:
that is checked afterwards, against the whole catalogue (catalogue.py, prices.py, routes.py, teams.py).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from gateway.policies import POLICIES

from .leaves import (
    CapabilityWord,
    Count,
    Day,
    DayWord,
    Digest,
    Floors,
    Hours,
    Instant,
    Jurisdiction,
    ModelId,
    ModelName,
    Name,
    Number,
    PriceId,
    Rate,
    Score,
    Seconds,
    StatusWord,
    Url,
    Usd,
    Variable,
    ViaWord,
    Zone,
)


class Keys(BaseModel):
    """A mapping of a file. Unknown keys are mistakes, and no value is guessed from one of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)

    # What stands in for a key that is missing or wrong, so that the rest of its mapping is still checked.
    # Any: values as YAML gives them.
    stand_ins: ClassVar[dict[str, Any]] = {}


_SCORE_SCHEMA = {"type": "number", "minimum": 0, "maximum": 100}

SourceText: TypeAlias = Annotated[str, Field(min_length=1, description="Who said so, and when or where it was read.")]
Jurisdictions: TypeAlias = Annotated[list[Jurisdiction], Field(min_length=1)]


class RatesKeys(Keys):
    """US dollars per million tokens, by class; decimals, best in quotes."""

    input: Rate = Field(description="Input tokens that were not cached.")
    cached_input: Rate | None = Field(None, description="Input read from the provider's prompt cache. Default: input.")
    cache_write: Rate | None = Field(None, description="Input written to the prompt cache. Default: input.")
    output: Rate = Field(description="Output tokens.")
    reasoning: Rate | None = Field(None, description="Hidden thinking tokens. Default: output.")


class ContextTierKeys(Keys):
    """Rates of the whole request once its prompt is longer than a threshold."""

    above_input_tokens: Count = Field(description="The tier holds for prompts of more tokens than this.")
    rates: RatesKeys


class WindowKeys(Keys):
    """Other rates at some hours of the week."""

    name: Name = Field(description="Names the window in the ledger, as in row-id#peak.")
    zone: Zone = Field(description="The time zone of days and hours, such as Asia/Shanghai.")
    days: list[DayWord] = Field(min_length=1, description="Days of the week: mon tue wed thu fri sat sun.")
    hours: list[Hours] = Field(min_length=1, description='Spans of the local day such as "09:00-12:00", end exclusive.')
    except_holidays: Name | None = Field(None, description="A list under holidays; the window does not hold on its days.")
    rates: RatesKeys


class PriceKeys(Keys):
    """One dated row of the price book: in force from an instant until another, or until the model's next row."""

    id: PriceId = Field(description="Names the row in the ledger; unique, such as gpt-6-luna@2026-09-22.")
    model: ModelName = Field(description="The model this is a price of.")
    effective_from: Instant = Field(description="The first instant at which the row holds, such as 2026-12-01T00:00:00Z.")
    effective_until: Instant | None = Field(None, description="The first instant at which it no longer holds.")
    status: StatusWord = Field(description="How far it may be trusted. A rumoured row never prices live traffic.")
    source: SourceText
    read: Day = Field(description="The day on which the source was read.")
    rates: RatesKeys
    context_tiers: list[ContextTierKeys] = Field([], description="Rates of longer prompts, thresholds ascending.")
    service_tiers: dict[Name, RatesKeys] = Field({}, description="Rates by the service tier that the provider reports.")
    windows: list[WindowKeys] = Field([], description="Other rates at some hours of the week.")


class CoversKeys(Keys):
    """The period for which a list of holidays is complete."""

    from_: Day = Field(alias="from", description="The first day that the list knows about.")
    until: Day = Field(description="The last day that the list knows about.")


class HolidaysKeys(Keys):
    """Days on which a price window does not hold."""

    zone: Zone = Field(description="The time zone of the days.")
    covers: CoversKeys
    source: SourceText
    dates: list[Day] = Field(description="The days, each as 2026-10-01.")


class QualityKeys(Keys):
    """One quality score of a model, with who measured it."""

    score: Score = Field(description="0 to 100.")
    status: StatusWord = Field(description="How far it may be trusted.")
    source: SourceText
    read: Day = Field(description="The day on which the source was read, or of your own measurement.")
    subject: str = Field("", description="The entry that was measured: model build and effort.")


class ModelKeys(Keys):
    """A model. A known one may be given any key alone; a new one needs its limits and capabilities."""

    aliases: list[ModelName] = Field([], description="Other names by which callers and routes may name it.")
    context_tokens: Count | None = Field(None, description="The longest prompt it takes, in tokens.")
    max_output_tokens: Count | None = Field(None, description="The longest answer it gives, in tokens.")
    capabilities: list[CapabilityWord] | None = Field(None, description="What a request may ask of it.")
    deprecated_on: Day | None = Field(None, description="The day from which its provider no longer serves it.")
    expected_output_tokens: Count = Field(500, description="The output that a price is estimated with before the answer.")
    tokens_per_byte: Annotated[Number, Field(gt=0, le=4)] = Field(0.25, description="Prompt tokens per byte of its text.")
    quality: dict[Name, QualityKeys] = Field({}, description="Scores by task kind; overall stands in for the others.")


class ProviderKeys(Keys):
    """A provider. A known one may be given any key alone."""

    via: ViaWord | None = Field(None, description="http (the default), or litellm for what its SDK speaks.")
    dialect: str | None = Field(None, description="The wire of an http provider; openai serves most compatible servers.")
    base_url: Url | None = Field(None, description="What the paths of its API are put after.")
    base_url_env: Variable | None = Field(None, description="The environment variable that replaces base_url when set.")
    key_env: Variable | None = Field(None, description="The environment variable with its key; null when it needs none.")
    jurisdiction: Jurisdiction | None = Field(None, description="The country whose law reaches its servers.")
    litellm_provider: Name | None = Field(None, description="litellm's name for it. Default: the provider's own name.")


class BookProvider(ProviderKeys):
    """The provider of a price book file: as under providers, with its name."""

    name: Name = Field(description="The first part of its models' ids.")


class BookFile(Keys):
    """A file of gateway/pricebook/."""

    provider: BookProvider
    holidays: dict[Name, HolidaysKeys] = Field({})
    models: dict[ModelName, ModelKeys] = Field({})
    prices: list[PriceKeys] = Field([])


class ServerKeys(Keys):
    """Limits of the front door."""

    max_body_mib: Annotated[int, Field(gt=0, le=1024)] = Field(10, description="The largest request body, in MiB.")
    body_timeout_s: Seconds = Field(30.0, description="How long a client may take to send its body.")
    drain_s: Seconds = Field(30.0, description="How long open requests may go on once the gateway is told to stop.")
    abandoned_stream_s: Seconds = Field(120.0, description="How long a stream is read for its usage after the client left.")
    max_concurrency: Count = Field(2000, description="Requests in progress at once, per worker; more are answered 503.")


class TimeoutKeys(Keys):
    """Deadlines in seconds. Keep-alive comments do not count as an answer."""

    connect_s: Seconds | None = Field(None, description="Until the connection stands. Default: 5.")
    first_token_s: Seconds | None = Field(None, description="Until the first content of the answer. Default: 60.")
    between_tokens_s: Seconds | None = Field(None, description="Between two pieces of a stream. Default: 60.")
    total_s: Seconds | None = Field(None, description="For the whole attempt. Default: 600.")


class CacheKeys(Keys):
    """The exact-match response cache of a route; off when the key is absent."""

    ttl_s: Annotated[int, Field(gt=0, le=31_536_000)] = Field(description="How long an answer may be replayed.")
    max_kib: Annotated[int, Field(gt=0, le=65_536)] = Field(256, description="The largest answer that is kept, in KiB.")


class DefaultsKeys(Keys):
    """Hold for every route that does not say otherwise, and for models that are named directly."""

    jurisdictions: Jurisdictions | None = Field(None, description="Where prompts may go. Absent: anywhere.")
    baseline: ModelName | None = Field(None, description="The model that savings are counted against.")
    max_attempts: Annotated[int, Field(gt=0, le=20)] = Field(3, description="Tries per request, the first included.")
    expected_output_tokens: Count | None = Field(None, description="Replaces each model's own estimate of its output.")
    timeouts: TimeoutKeys = Field(TimeoutKeys(), description="Deadlines of one attempt.")


class RouteKeys(Keys):
    """One name that callers may put into `model`, and who may answer to it."""

    stand_ins = {"policy": "", "candidates": []}  # noqa: RUF012 - a ClassVar of Keys

    policy: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(POLICIES)})] = Field(
        description="How the candidates are ordered: cheapest, best (quality first), split (by weights)."
    )
    candidates: list[ModelName] = Field(description="Models that may answer: ids (provider/model), or unique names.")
    quality_floor: Annotated[
        Floors | None,
        WithJsonSchema(
            {"anyOf": [_SCORE_SCHEMA, {"type": "object", "additionalProperties": _SCORE_SCHEMA, "minProperties": 1}]}
        ),
    ] = Field(None, description="The least score (0 to 100) of a candidate: one number, or one per task kind.")
    kind: Name = Field("overall", description="The task kind whose scores count here.")
    baseline: ModelName | None = Field(None, description="The model that savings are counted against.")
    fallbacks: list[ModelName] = Field([], description="Tried in this order when no candidate is left.")
    weights: dict[ModelName, Annotated[int, Field(ge=0, le=1_000_000)]] | None = Field(
        None, description="Shares by candidate, for the policy split only; 0 drains a model."
    )
    jurisdictions: Jurisdictions | None = Field(None, description="Where prompts may go; replaces the default.")
    max_cost_usd: Usd | None = Field(None, description="The most one request may be expected to cost, in US dollars.")
    expected_output_tokens: Count | None = Field(None, description="Replaces each model's own estimate of its output.")
    cache: CacheKeys | None = Field(None, description="Replay equal requests of one team. Absent: off.")
    timeouts: TimeoutKeys = Field(TimeoutKeys(), description="Deadlines of one attempt.")
    max_attempts: Annotated[int, Field(gt=0, le=20)] | None = Field(None, description="Tries, the first included.")


class TeamKeyKeys(Keys):
    """One API key of a team: its SHA-256, or the environment variable that holds it."""

    id: Name = Field(description="Names the key in the ledger; unique.")
    sha256: Digest | None = Field(None, description="SHA-256 of the key in hex; `gateway keys new` prints both.")
    env: Variable | None = Field(None, description="The environment variable that holds the key.")


class TeamKeys(Keys):
    """A team: its keys and what they may reach."""

    keys: list[TeamKeyKeys] = Field(min_length=1, description="The keys of the team.")
    routes: Annotated[list[Name], Field(min_length=1)] | None = Field(
        None, description="Routes it may use; direct allows models by name. Absent: everything."
    )
    jurisdictions: Jurisdictions | None = Field(None, description="Where its prompts may go, whatever the route allows.")


class RoutesFile(Keys):
    """routes.yaml: the file that platform teams edit."""

    server: ServerKeys = Field(ServerKeys(), description="Limits of the front door.")
    defaults: DefaultsKeys = Field(DefaultsKeys(), description="What holds for every route and for named models.")
    routes: dict[Name, RouteKeys] = Field(description="Routes by the name that callers put into model.")
    teams: dict[Name, TeamKeys] = Field({}, description="Teams and their keys. None: no key is asked, loopback only.")
    providers: dict[Name, ProviderKeys] = Field({}, description="Further providers, or other settings of known ones.")
    models: dict[ModelId, ModelKeys] = Field({}, description="Further models by id, or other values of known ones.")
    prices: list[PriceKeys] = Field([], description="Your own price rows. They go before shipped rows while they hold.")
    holidays: dict[Name, HolidaysKeys] = Field({}, description="Lists of days; one of a known name replaces it.")
