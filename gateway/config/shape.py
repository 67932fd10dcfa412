"""routes.yaml as it is written: every key with its type, its default and one line of docs.

`routes.schema.json` is made from these models. They say what may stand in the file, nothing about what refers to what:
that is checked afterwards, against the whole catalogue (providers.py, catalogue.py, prices.py, routes.py, steps.py,
teams.py, rules.py).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, TypeAlias

from pydantic import Discriminator, Field, Tag, WithJsonSchema

from gateway.core.route import FloorMeaning
from gateway.core.world import DEFAULT_ORGANISATION
from gateway.policies import POLICIES

from .leaves import (
    Count,
    DeliveryWord,
    Digest,
    FloorMeaningWord,
    Floors,
    Jurisdiction,
    KeysOrWord,
    ModelId,
    ModelName,
    Name,
    OverridesWord,
    Percent,
    Seconds,
    SecondsOrNever,
    Usd,
    Variable,
)
from .shape_book import ROWS_ALONE, WITH_KEYS, HolidaysKeys, Keys, ModelKeys, PriceKeys, ProviderKeys
from .shape_cache import CacheKeys
from .shape_rules import BudgetKeys, LimitKeys
from .shape_when import WhenKeys
from .words import ALL, STRICTER

_SCORE_SCHEMA = {"type": "number", "minimum": 0, "maximum": 100}
Jurisdictions: TypeAlias = Annotated[list[Jurisdiction], Field(min_length=1)]


class ServerKeys(Keys):
    """Limits of the front door."""

    max_body_mib: Annotated[int, Field(gt=0, le=1024)] = Field(
        default=10, description="The largest request body, in MiB."
    )
    body_timeout_s: Seconds = Field(default=30.0, description="How long a client may take to send its body.")
    drain_s: Seconds = Field(
        default=30.0, description="How long open requests may go on once the gateway is told to stop."
    )
    abandoned_stream_s: Seconds = Field(
        default=120.0, description="How long a stream is read on for its usage without a client."
    )
    max_concurrency: Count = Field(
        default=2000, description="Requests in progress at once, per worker; more are answered 503."
    )
    watch_s: SecondsOrNever = Field(
        default=2.0, description="How often the configuration files are looked at for a change; 0: never."
    )


class TimeoutKeys(Keys):
    """Deadlines in seconds. Keep-alive comments do not count as an answer."""

    connect_s: Seconds | None = Field(default=None, description="Until the connection stands. Default: 5.")
    first_token_s: Seconds | None = Field(
        default=None, description="Until the first content of the answer. Default: 60."
    )
    between_tokens_s: Seconds | None = Field(default=None, description="Between two pieces of a stream. Default: 60.")
    total_s: Seconds | None = Field(default=None, description="For the whole attempt. Default: 600.")


class DefaultsKeys(Keys):
    """Hold for every route that does not say otherwise, and for models that are named directly."""

    jurisdictions: Jurisdictions | None = Field(default=None, description="Where prompts may go. Absent: anywhere.")
    baseline: ModelName | None = Field(default=None, description="The model that savings are counted against.")
    max_attempts: Annotated[int, Field(gt=0, le=20)] = Field(
        default=3, description="Tries per request, the first included."
    )
    expected_output_tokens: Count | None = Field(
        default=None, description="Replaces each model's own estimate of its output."
    )
    max_output_tokens: Count = Field(
        default=16_384, description="The output limit of requests under a hard budget that state none."
    )
    timeouts: TimeoutKeys = Field(default_factory=TimeoutKeys, description="Deadlines of one attempt.")


class StepDownKeys(Keys):
    """Another route takes over while a budget is nearly used up."""

    stand_ins: ClassVar[dict[str, object]] = {"from_percent": 100}

    from_percent: Percent = Field(description="From so much of the fullest budget on, in percent.")
    to: Name = Field(description="The route whose rules hold then; one without a step of its own.")


class RouteKeys(Keys):
    """One name that callers may put into `model`, and who may answer to it."""

    stand_ins: ClassVar[dict[str, object]] = {"policy": "", "candidates": []}

    policy: Annotated[str, WithJsonSchema({"type": "string", "enum": sorted(POLICIES)})] = Field(
        description="How the candidates are ordered: cheapest, best (quality first), value (quality for the money), "
        "fastest, split (by weights), ordered (as they stand)."
    )
    candidates: list[ModelName] = Field(
        description="Models that may answer: ids (provider/model) or unique names; model@effort at one effort."
    )
    quality_floor: Annotated[
        Floors | None,
        WithJsonSchema(
            {"anyOf": [_SCORE_SCHEMA, {"type": "object", "additionalProperties": _SCORE_SCHEMA, "minProperties": 1}]}
        ),
    ] = Field(default=None, description="The least score (0 to 100) of a candidate: one number, or one per task kind.")
    floor_means: FloorMeaningWord = Field(
        default=FloorMeaning.REQUEST,
        description="What the floor promises. request: of each answer; average: of the answers of a model together.",
    )
    kind: Name = Field(
        "overall", description="The task kind whose scores count here; auto: that of each request by itself."
    )
    baseline: ModelName | None = Field(default=None, description="The model that savings are counted against.")
    fallbacks: list[ModelName] = Field(default=[], description="Tried in this order when no candidate is left.")
    explore_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=0, description="For cheapest: requests that go to a candidate of which little is known, in percent."
    )
    weights: dict[ModelName, Annotated[int, Field(ge=0, le=1_000_000)]] | None = Field(
        default=None, description="Shares by candidate, for the policy split only; 0 drains a model."
    )
    jurisdictions: Jurisdictions | None = Field(default=None, description="Where prompts may go; replaces the default.")
    max_cost_usd: Usd | None = Field(
        default=None, description="The most one request may be expected to cost, in US dollars."
    )
    expected_output_tokens: Count | None = Field(
        default=None, description="Replaces each model's own estimate of its output."
    )
    cache: CacheKeys | None = Field(default=None, description="Answer equal requests with a kept answer. Absent: off.")
    timeouts: TimeoutKeys = Field(default_factory=TimeoutKeys, description="Deadlines of one attempt.")
    max_attempts: Annotated[int, Field(gt=0, le=20)] | None = Field(
        default=None, description="Tries, the first included."
    )
    max_output_tokens: Count | None = Field(
        default=None, description="The output limit of requests under a hard budget that state none."
    )
    delivery: DeliveryWord = Field(
        default="stream",
        description="Of streams. stream: as it comes; whole: once it is complete, so that a broken one is made again.",
    )
    step_down: StepDownKeys | None = Field(
        default=None, description="Go by another route's rules while a budget is nearly used up."
    )
    when: list[WhenKeys] = Field(
        default=[], description="Go by another route's rules under conditions; the first that holds counts."
    )


class TeamKeyKeys(Keys):
    """One API key of a team: its SHA-256, or the environment variable that holds it."""

    id: Name = Field(description="Names the key in the ledger; unique.")
    sha256: Digest | None = Field(
        default=None, description="SHA-256 of the key in hex; `gateway keys new` prints both."
    )
    env: Variable | None = Field(default=None, description="The environment variable that holds the key.")


class TeamKeys(Keys):
    """A team: its keys and what they may reach."""

    keys: list[TeamKeyKeys] = Field(
        default=[], description="Its keys in this file; more are made with `gateway keys create`."
    )
    organisation: Name | None = Field(default=None, description="Whom it belongs to. Default: that of the file.")
    routes: Annotated[list[Name], Field(min_length=1)] | None = Field(
        default=None, description="Routes it may use; direct allows models by name. Absent: everything."
    )
    jurisdictions: Jurisdictions | None = Field(
        default=None, description="Where its prompts may go, beside the route's own rule."
    )
    overrides: OverridesWord = Field(
        default=STRICTER,
        description="What its requests' headers may do to a route's terms. stricter: not loosen them; any: also that.",
    )
    cache_bypass: KeysOrWord = Field(
        default=ALL,
        validate_default=True,
        description="Whose requests may go past kept answers by Cache-Control: all, none, or a list of key ids.",
    )


class RefreshKeys(Keys):
    """A reviewed file of price rows that is read again while the gateway runs."""

    file: Annotated[str, Field(min_length=1)] = Field(
        description="The file, beside routes.yaml unless its path is absolute; prices and holidays, as here."
    )
    every_s: Seconds = Field(default=60.0, description="How often it is looked at.")


class PricesKeys(Keys):
    """Your own price rows, and a file with further ones."""

    rows: list[PriceKeys] = Field(default=[], description="Price rows, as in a list of them alone.")
    refresh: RefreshKeys | None = Field(default=None, description="A file of further rows. Absent: none.")


def _form(prices: object) -> str:
    return WITH_KEYS if isinstance(prices, dict | PricesKeys) else ROWS_ALONE


class RoutesFile(Keys):
    """routes.yaml: the file that platform teams edit."""

    stand_ins: ClassVar[dict[str, object]] = {"routes": {}}

    organisation: Name = Field(DEFAULT_ORGANISATION, description="Whom the teams belong to that do not say otherwise.")
    server: ServerKeys = Field(default_factory=ServerKeys, description="Limits of the front door.")
    defaults: DefaultsKeys = Field(
        default_factory=DefaultsKeys, description="What holds for every route and for named models."
    )
    routes: dict[Name, RouteKeys] = Field(description="Routes by the name that callers put into model.")
    teams: dict[Name, TeamKeys] = Field(
        default={}, description="Teams and their keys. None: no key is asked, loopback only."
    )
    budgets: dict[Name, BudgetKeys] = Field(default={}, description="What may be spent, by whom, in which period.")
    limits: dict[Name, LimitKeys] = Field(default={}, description="How much may be asked, by whom.")
    providers: dict[Name, ProviderKeys] = Field(
        default={}, description="Further providers, or other settings of known ones."
    )
    models: dict[ModelId, ModelKeys] = Field(
        default={}, description="Further models by id, or other values of known ones."
    )
    prices: Annotated[
        Annotated[list[PriceKeys], Tag(ROWS_ALONE)] | Annotated[PricesKeys, Tag(WITH_KEYS)], Discriminator(_form)
    ] = Field(default=[], description="Your own price rows. They go before shipped rows while they hold.")
    holidays: dict[Name, HolidaysKeys] = Field(
        default={}, description="Lists of days; one of a known name replaces it."
    )

    @property
    def price_rows(self) -> list[PriceKeys]:
        return self.prices.rows if isinstance(self.prices, PricesKeys) else self.prices

    @property
    def refresh(self) -> RefreshKeys | None:
        return self.prices.refresh if isinstance(self.prices, PricesKeys) else None
