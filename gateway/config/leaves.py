"""The single values of a configuration file: each type reads YAML's value, says what is wrong, and knows its schema.

Money arrives as text or Decimal and leaves as an integer. Every message is a predicate ("is not ..."), so that the
key's name can stand before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from gateway.core.budget import Offline, ScopeKind, Unit
from gateway.core.caching import Scope
from gateway.core.catalog import EFFORTS, Capability
from gateway.core.money import NANO_PER_USD, Nano, Pico, nano_from_usd, pico_from_usd_per_million
from gateway.core.pricing import Status
from gateway.core.route import Delivery, FloorMeaning

from .mistakes import did_you_mean
from .words import ALL, OVERRIDES, WHOSE
from .yaml_places import as_moment

MAY_BE_NULL = frozenset({"key_env", "effective_until", "deprecated_on", "except_holidays"})
"""Elsewhere an empty value is a mistake: `jurisdictions:` with nothing after it must not come to mean "anywhere"."""

OWN = "gateway"
"""The type of our own validation errors: their message is already a sentence."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def refused(why: str) -> PydanticCustomError:
    return PydanticCustomError(OWN, "{why}", {"why": why})


def shown(value: object) -> str:
    """A value as a message may quote it: short, and as the file has it."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def word(choices: Iterable[str]) -> tuple[PlainValidator, WithJsonSchema]:
    """One of a closed list of words."""
    known = tuple(map(str, choices))

    def read(value: object) -> str:
        if value in known and isinstance(value, str):
            return value
        raise refused(f"is {shown(value)}; it is one of {', '.join(known)}{did_you_mean(str(value), known)}")

    return PlainValidator(read), WithJsonSchema({"type": "string", "enum": list(known)})


def _amount(value: object, read: Callable[[str], int], what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise refused(f"is {shown(value)}, not an amount in dollars")
    try:
        return read(str(value))
    except ValueError as exc:
        raise refused(f"is no {what}: {exc}") from exc


def _money(read: Callable[[str], int]) -> Callable[[object], int]:
    def checked(value: object) -> int:
        amount = _amount(value, read, "price")
        if amount > _TOO_MUCH:
            raise refused(f"is {shown(value)}, which is no price anyone asks")
        return amount

    return checked


_TOO_MUCH = 10**13
"""$10,000 for an amount, $10 for a token."""


def _budget(value: object) -> int:
    amount = _amount(value, nano_from_usd, "amount")
    if amount == 0:
        raise refused(f"is {shown(value)}; it must be more than 0")
    if amount > _MOST_BUDGET:
        raise refused(f"is {shown(value)}; it must be 9,000,000 or less, for sums are exact up to 2^53 nano-dollars")
    return amount


_MOST_BUDGET = 9_000_000 * NANO_PER_USD
"""The numbers of Redis's scripts are exact up to 2^53, which is $9,007,199.254740992 in nano-dollars."""


def _number(value: object) -> object:
    # pydantic's strict float takes an int and a float; ours arrive as Decimal.
    return float(value) if isinstance(value, Decimal) else value


def _day(value: object) -> date:
    moment = as_moment(value) if isinstance(value, str) else value
    if isinstance(moment, date) and not isinstance(moment, datetime):
        return moment
    raise refused(f"is {shown(value)}, not a date such as 2026-12-31")


def _instant(value: object) -> datetime:
    moment = as_moment(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise refused(f"is {shown(value)}, not an instant such as 2026-12-01T00:00:00Z")
    if moment.tzinfo is None:
        raise refused(f"is {shown(value)}, which names no time zone; write Z for UTC, or an offset such as +08:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise refused(f"is {shown(value)}, outside the calendar") from exc


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def _zone(value: object) -> ZoneInfo:
    try:
        return ZoneInfo(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        near = did_you_mean(str(value), _zones())
        raise refused(f"is {shown(value)}, not a time zone such as Asia/Shanghai{near}") from exc


_HOURS = re.compile(r"([0-9]{2}):([0-5][0-9])-([0-9]{2}):([0-5][0-9])")


def _span(value: object) -> tuple[int, int]:
    """Minutes of a day; the end may lie before the beginning."""
    found = _HOURS.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refused(f'is {shown(value)}; hours are written "09:00-12:00"')
    begin, end = (int(found[at]) * 60 + int(found[at + 1]) for at in (1, 3))
    if end > 24 * 60 or begin >= 24 * 60:
        raise refused(f"is {shown(value)}; a day ends at 24:00")
    return begin, end


def _night(value: object) -> tuple[int, int]:
    begin, end = _span(value)
    if begin == end:
        raise refused(f'is {shown(value)}, which is no time at all; the whole day is "00:00-24:00"')
    return begin, end


def _hours(value: object) -> tuple[int, int]:
    begin, end = _span(value)
    if end <= begin:
        raise refused(f"is {shown(value)}, which ends before it begins; split hours over midnight at 24:00")
    return begin, end


def _url(value: object) -> str:
    why = url_fault(value) if isinstance(value, str) else "is not text"
    if why is not None:
        raise refused(why)
    return str(value).rstrip("/")


def url_fault(url: str) -> str | None:
    """Why a base URL cannot be used, without quoting it: it may hold a secret."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return "is not a URL"
    if not usable or any(sign.isspace() for sign in url):
        return "is not a URL that begins with https:// or http://"
    if parts.username is not None or parts.password is not None:
        return "holds a user name or password; secrets stand in environment variables, see key_env"
    if parts.query or parts.fragment:
        return "has a query or a fragment; a path is put after it"
    return None


def _floors(value: object) -> object:
    return value if isinstance(value, dict) else {"overall": value}


def _one_or_more(value: object) -> object:
    return value if isinstance(value, list) else [value]


def _keys_or_word(value: object) -> object:
    """None: all."""
    if isinstance(value, list) and value:
        return value
    if isinstance(value, str) and value in WHOSE:
        return None if value == ALL else []
    what = "empty" if value == [] else shown(value)
    raise refused(f"is {what}; it is all, none, or a list of key ids{did_you_mean(str(value), WHOSE)}")


def _named(pattern: str, what: str) -> tuple[PlainValidator, WithJsonSchema]:
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise refused(f"is {shown(value)}, not text; write it in quotes")
        if compiled.fullmatch(value) is None:
            raise refused(f"is {shown(value)}, not a {what}")
        return value

    return PlainValidator(read), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


def _unquoted(pattern: str, why: str) -> tuple[PlainValidator, WithJsonSchema]:
    """As `_named`, for places where somebody may have put a secret: the message never repeats the value."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if isinstance(value, str) and compiled.fullmatch(value):
            return value
        raise refused(why)

    return PlainValidator(read), WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"})


_PRICE_SCHEMA = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?$"}, {"type": "number", "minimum": 0}]}
)

Rate: TypeAlias = Annotated[Pico, PlainValidator(_money(pico_from_usd_per_million)), _PRICE_SCHEMA]
Usd: TypeAlias = Annotated[Nano, PlainValidator(_money(nano_from_usd)), _PRICE_SCHEMA]
BudgetUsd: TypeAlias = Annotated[Nano, PlainValidator(_budget), _PRICE_SCHEMA]
Seconds: TypeAlias = Annotated[float, Field(gt=0, le=86_400), BeforeValidator(_number)]
SecondsOrNever: TypeAlias = Annotated[float, Field(ge=0, le=86_400), BeforeValidator(_number)]
Score: TypeAlias = Annotated[float, Field(ge=0, le=100), BeforeValidator(_number)]
Similarity: TypeAlias = Annotated[float, Field(ge=0.8, le=1), BeforeValidator(_number)]
TokensPerByte: TypeAlias = Annotated[float, Field(gt=0, le=4), BeforeValidator(_number)]
Percent: TypeAlias = Annotated[int, Field(gt=0, le=100)]
Count: TypeAlias = Annotated[int, Field(gt=0, le=1_000_000_000)]
Day: TypeAlias = Annotated[date, PlainValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Instant: TypeAlias = Annotated[
    datetime, PlainValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})
]
Zone: TypeAlias = Annotated[ZoneInfo, PlainValidator(_zone), WithJsonSchema({"type": "string"})]
Hours: TypeAlias = Annotated[
    tuple[int, int], PlainValidator(_hours), WithJsonSchema({"type": "string", "pattern": f"^{_HOURS.pattern}$"})
]
# Over midnight too: "22:00-06:00" ends on the next day.
NightHours: TypeAlias = Annotated[
    tuple[int, int], PlainValidator(_night), WithJsonSchema({"type": "string", "pattern": f"^{_HOURS.pattern}$"})
]
Url: TypeAlias = Annotated[str, PlainValidator(_url), WithJsonSchema({"type": "string", "pattern": "^https?://"})]
Floors: TypeAlias = Annotated[dict[str, Score], Field(min_length=1), BeforeValidator(_floors)]

# A name ends up in headers, metric labels and URLs, so it is plain ASCII.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_NAME_SCHEMA = {"type": "string", "pattern": f"^{_NAME}$"}
_NAMES_SCHEMA = {"type": "array", "items": _NAME_SCHEMA, "minItems": 1}
_LONG_NAME = r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}"


def is_name(text: str) -> bool:
    """Whether a key, team, route or budget may be called so."""
    return re.fullmatch(_NAME, text) is not None


Name: TypeAlias = Annotated[str, *_named(_NAME, "name (letters, digits, . _ -)")]
ModelName: TypeAlias = Annotated[str, *_named(_LONG_NAME, "model name")]
ModelId: TypeAlias = Annotated[str, *_named(f"{_NAME}/{_LONG_NAME}", "model id; write provider/model")]
PriceId: TypeAlias = Annotated[str, *_named(_LONG_NAME, "price row id")]
Jurisdiction: TypeAlias = Annotated[str, *_named(r"[A-Z][A-Z0-9-]{1,15}", "country code such as US")]
Variable: TypeAlias = Annotated[
    str,
    *_unquoted(
        r"[A-Za-z_][A-Za-z0-9_]*",
        "is not the name of an environment variable such as OPENAI_API_KEY; a key itself never stands here",
    ),
]
Digest: TypeAlias = Annotated[str, *_unquoted(r"[0-9a-f]{64}", "is not a SHA-256: 64 hex digits, lower case")]

StatusWord: TypeAlias = Annotated[str, *word(Status)]
CapabilityWord: TypeAlias = Annotated[str, *word(Capability)]
DayWord: TypeAlias = Annotated[str, *word(DAYS)]
ViaWord: TypeAlias = Annotated[str, *word(("http", "litellm"))]
UnitWord: TypeAlias = Annotated[str, *word(Unit)]
EachWord: TypeAlias = Annotated[str, *word(ScopeKind)]
ModeWord: TypeAlias = Annotated[str, *word(("hard", "soft"))]
OfflineWord: TypeAlias = Annotated[str, *word(Offline)]
EffortWord: TypeAlias = Annotated[str, *word(EFFORTS)]
FloorMeaningWord: TypeAlias = Annotated[str, *word(FloorMeaning)]
DeliveryWord: TypeAlias = Annotated[str, *word(Delivery)]
OverridesWord: TypeAlias = Annotated[str, *word(OVERRIDES)]
CacheScopeWord: TypeAlias = Annotated[str, *word(Scope)]
OneOrMoreNames: TypeAlias = Annotated[
    list[Name],
    Field(min_length=1),
    BeforeValidator(_one_or_more),
    WithJsonSchema({"anyOf": [_NAME_SCHEMA, _NAMES_SCHEMA]}),
]
"""One word, or a list of them."""

KeysOrWord: TypeAlias = Annotated[
    list[Name] | None,
    BeforeValidator(_keys_or_word),
    WithJsonSchema({"anyOf": [{"type": "string", "enum": list(WHOSE)}, _NAMES_SCHEMA]}),
]
"""Keys of a team by their ids; None: all of them."""
