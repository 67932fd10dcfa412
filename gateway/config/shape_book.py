"""The price book as it is written: every key with its type, its default and one line of docs.

Providers, models, prices and holidays stand in routes.yaml in the same form.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from gateway.dialects import DIALECTS

from .leaves import (
    CapabilityWord,
    Count,
    Day,
    DayWord,
    EffortWord,
    Hours,
    Instant,
    Jurisdiction,
    ModelName,
    Name,
    PriceId,
    Rate,
    Score,
    StatusWord,
    TokensPerByte,
    Url,
    Variable,
    ViaWord,
    Zone,
)

ROWS_ALONE, WITH_KEYS = FORMS = ("<rows>", "<mapping>")
"""What pydantic puts into the path of an error, to say which form of `prices` it took."""


class Keys(BaseModel):
    """A mapping of a file. Unknown keys are mistakes, and no value is guessed from one of another type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, arbitrary_types_allowed=True)

    # What stands in for a key that is missing or wrong, so that the rest of its mapping is still checked.
    stand_ins: ClassVar[dict[str, object]] = {}
    # What is said beyond "has no ..." of a required key that is missing.
    why: ClassVar[dict[str, str]] = {}


SourceText: TypeAlias = Annotated[str, Field(min_length=1, description="Who said so, and when or where it was read.")]


class RatesKeys(Keys):
    """US dollars per million tokens, by class; decimals, best in quotes."""

    input: Rate = Field(description="Input tokens that were not cached.")
    cached_input: Rate | None = Field(
        default=None, description="Input read from the provider's prompt cache. Default: input."
    )
    cache_write: Rate | None = Field(default=None, description="Input written to the prompt cache. Default: input.")
    output: Rate = Field(description="Output tokens.")
    reasoning: Rate | None = Field(default=None, description="Hidden thinking tokens. Default: output.")
    audio_input: Rate | None = Field(default=None, description="Audio in the prompt. Default: input.")
    image_input: Rate | None = Field(default=None, description="Images in the prompt. Default: input.")
    audio_output: Rate | None = Field(default=None, description="Audio in the answer. Default: output.")
    image_output: Rate | None = Field(default=None, description="Images in the answer. Default: output.")


class ContextTierKeys(Keys):
    """Rates of the whole request once its prompt is longer than a threshold."""

    above_input_tokens: Count = Field(description="The tier holds for prompts of more tokens than this.")
    rates: RatesKeys


class ServiceTierKeys(RatesKeys):
    """Rates of requests that the provider serves in one of its service tiers."""

    context_tiers: list[ContextTierKeys] = Field(
        default=[], description="Rates of longer prompts in this service tier. None: its rates hold at any size."
    )


class WindowKeys(Keys):
    """Other rates at some hours of the week."""

    name: Name = Field(description="Names the window in the ledger, as in row-id#peak.")
    zone: Zone = Field(description="The time zone of days and hours, such as Asia/Shanghai.")
    days: list[DayWord] = Field(min_length=1, description="Days of the week: mon tue wed thu fri sat sun.")
    hours: list[Hours] = Field(min_length=1, description='Spans of the local day such as "09:00-12:00", end exclusive.')
    except_holidays: Name | None = Field(default=None, description="A list under holidays: days without the window.")
    rates: RatesKeys


class PriceKeys(Keys):
    """One dated row of the price book: in force from an instant until another, or until the model's next row."""

    id: PriceId = Field(description="Names the row in the ledger; unique, such as gpt-6-luna@2026-09-22.")
    model: ModelName = Field(description="The model this is a price of.")
    effective_from: Instant = Field(description="The first instant at which it holds, such as 2026-12-01T00:00:00Z.")
    effective_until: Instant | None = Field(default=None, description="The first instant at which it no longer holds.")
    status: StatusWord = Field(description="How far it may be trusted. A rumoured row never prices live traffic.")
    source: SourceText
    read: Day = Field(description="The day on which the source was read.")
    rates: RatesKeys
    context_tiers: list[ContextTierKeys] = Field(
        default=[], description="Rates of longer prompts, thresholds ascending."
    )
    service_tiers: dict[Name, ServiceTierKeys] = Field(
        default={}, description="Rates by the service tier that the provider reports."
    )
    windows: list[WindowKeys] = Field(default=[], description="Other rates at some hours of the week.")


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
    subject: str = Field(default="", description="The entry that was measured: model build and effort.")


class EffortKeys(Keys):
    """A model at one reasoning effort: a candidate of its own, `provider/model@effort`, at the model's price."""

    expected_output_tokens: Count | None = Field(
        default=None, description="The output that costs are estimated with beforehand. Default: the model's."
    )
    quality: dict[Name, QualityKeys] = Field(
        default={}, description="Its own scores by task kind; those of the plain model are not taken for it."
    )


class ModelKeys(Keys):
    """A model. A known one may be given any key alone; a new one needs its limits and capabilities."""

    aliases: list[ModelName] = Field(default=[], description="Other names by which callers and routes may name it.")
    context_tokens: Count | None = Field(default=None, description="The longest prompt it takes, in tokens.")
    max_output_tokens: Count | None = Field(default=None, description="The longest answer it gives, in tokens.")
    capabilities: list[CapabilityWord] | None = Field(default=None, description="What a request may ask of it.")
    embeds: bool = Field(
        default=False, description="It makes vectors of texts for a semantic cache, and is never a candidate."
    )
    deprecated_on: Day | None = Field(default=None, description="The day from which its provider no longer serves it.")
    expected_output_tokens: Count = Field(
        default=500, description="The output that costs are estimated with beforehand."
    )
    tokens_per_byte: TokensPerByte = Field(default=0.25, description="Prompt tokens per byte of its text.")
    quality: dict[Name, QualityKeys] = Field(
        default={}, description="Scores by task kind; overall stands in for the others."
    )
    efforts: dict[EffortWord, EffortKeys] = Field(
        default={}, description="The reasoning efforts at which it may be a candidate, as model@effort."
    )


class ProviderKeys(Keys):
    """A provider. A known one may be given any key alone."""

    via: ViaWord | None = Field(default=None, description="http (the default), or litellm for what its SDK speaks.")
    dialect: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(DIALECTS)})] | None = Field(
        default=None, description="The wire of an http provider; most servers speak openai."
    )
    base_url: Url | None = Field(default=None, description="What the paths of its API are put after.")
    base_url_env: Variable | None = Field(
        default=None, description="The environment variable that, when set, replaces base_url."
    )
    key_env: Variable | None = Field(
        default=None, description="The environment variable with its key; null: it needs none."
    )
    jurisdiction: Jurisdiction | None = Field(default=None, description="The country whose law reaches its servers.")
    litellm_provider: Name | None = Field(
        default=None, description="litellm's name for it. Default: the provider's own name."
    )
    abort_stops_billing: bool | None = Field(
        default=None, description="Whether a stream that is cut off is billed only so far. Default: false."
    )


class BookProvider(ProviderKeys):
    """The provider of a price book file: as under providers, with its name."""

    name: Name = Field(description="The first part of its models' ids.")


class ReviewedFile(Keys):
    """The file of `refresh`: rows that go before shipped ones, and lists of days."""

    holidays: dict[Name, HolidaysKeys] = Field(default={})
    prices: list[PriceKeys]


class BookFile(Keys):
    """A file of gateway/pricebook/."""

    provider: BookProvider
    holidays: dict[Name, HolidaysKeys] = Field(default={})
    models: dict[ModelName, ModelKeys] = Field(default={})
    prices: list[PriceKeys] = Field(default=[])
