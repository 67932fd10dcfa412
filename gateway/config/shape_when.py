"""Conditions under which a route goes by the rules of another one, as routes.yaml writes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from gateway.core.request import MOST_TAG_CHARS, MOST_TAG_NAME_CHARS

from .leaves import CapabilityWord, DayWord, Name, NightHours, OneOrMoreNames, Percent, Zone
from .shape_book import Keys


class WhenKeys(Keys):
    """Everything that is said must hold at once; at least one thing beside `use` is."""

    use: Name = Field(description="The route whose rules hold then; one without 'when' and 'step_down' of its own.")
    kind: OneOrMoreNames | None = Field(
        default=None, description="The request seems to be of this task kind, or of one of these."
    )
    needs: Annotated[list[CapabilityWord], Field(min_length=1)] | None = Field(
        default=None, description="The request needs all of these capabilities."
    )
    budget_used_percent: Percent | None = Field(
        default=None, description="So much of the fullest budget that concerns the request is used, in percent."
    )
    hours: NightHours | None = Field(
        default=None, description='The time of day, such as "22:00-06:00", end exclusive; it may pass midnight.'
    )
    days: Annotated[list[DayWord], Field(min_length=1)] | None = Field(
        default=None, description="Of mon tue wed thu fri sat sun; hours past midnight belong to the day before."
    )
    zone: Zone | None = Field(default=None, description="The time zone of hours and days. Default: UTC.")
    tags: (
        Annotated[
            dict[
                Annotated[str, StringConstraints(min_length=1, max_length=MOST_TAG_NAME_CHARS)],
                Annotated[str, StringConstraints(max_length=MOST_TAG_CHARS)],
            ],
            Field(min_length=1),
        ]
        | None
    ) = Field(default=None, description="The request carries all of these tags, by name and value.")
