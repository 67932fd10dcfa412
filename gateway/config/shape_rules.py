"""Budgets and limits as routes.yaml writes them: whom they concern, how much, in which period."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from .leaves import BudgetUsd, Count, EachWord, ModeWord, Name, OfflineWord, UnitWord, Zone
from .shape_book import Keys


class ScopeKeys(Keys):
    """Whom a budget or a limit concerns: exactly one of these keys."""

    key: Name | None = Field(default=None, description="One API key, by its id.")
    team: Name | None = Field(default=None, description="One team, all its keys together.")
    organisation: Name | None = Field(default=None, description="One organisation, all its teams together.")
    route: Name | None = Field(default=None, description="One route; direct: models that callers name themselves.")
    provider: Name | None = Field(default=None, description="One provider, whoever asks it.")
    each: EachWord | None = Field(
        default=None, description="Each one by itself: key, team, organisation, route or provider."
    )


class BudgetKeys(ScopeKeys):
    """What a scope may spend in a period."""

    stand_ins: ClassVar[dict[str, object]] = {"usd": 1, "window": "month"}
    why: ClassVar[dict[str, str]] = {"window": "a budget needs a window: hour, day or month"}

    usd: BudgetUsd = Field(description="What may be spent in one window, in US dollars; at most 9,000,000.")
    window: UnitWord = Field(description="hour, day or month.")
    rolling: bool = Field(
        default=False, description="The last 60 minutes, 24 hours or 30 days, instead of the calendar's."
    )
    zone: Zone | None = Field(default=None, description="Whose midnight a day or month begins at. Default: UTC.")
    mode: ModeWord = Field(default="hard", description="hard: refuse what no longer fits. soft: never refuse.")
    offline: OfflineWord = Field(
        default="closed", description="While Redis is away. closed: refuse; slice: spend from a share set aside before."
    )


class LimitKeys(ScopeKeys):
    """How much a scope may ask; at least one of the three."""

    requests_per_minute: Count | None = Field(default=None, description="Requests sent to providers a minute.")
    tokens_per_minute: Count | None = Field(default=None, description="Tokens of prompts and answers a minute.")
    concurrency: Count | None = Field(default=None, description="Requests in progress at once.")
