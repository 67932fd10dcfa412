"""What routes.yaml says of one route, as values: who may answer, by which policy, under which terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from zoneinfo import ZoneInfo

from .caching import CacheRule
from .candidate import Candidate, Signals
from .catalog import AUTO, OVERALL, Capability
from .money import Nano


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `first_token` and `between_tokens` count content events, so keep-alive comments do not hide a stall."""

    connect: float = 5.0
    first_token: float = 60.0
    between_tokens: float = 60.0
    total: float = 600.0


@dataclass(frozen=True, slots=True)
class StepDown:
    """From so many percent of the fullest budget on, requests go by the rules of another route."""

    from_percent: int
    to: str


@dataclass(frozen=True, slots=True)
class Hours:
    """A part of the week: minutes of the local day, end exclusive; an end before the start is on the next day."""

    start: int
    end: int
    days: frozenset[int]
    zone: ZoneInfo

    def hold(self, at: datetime) -> bool:
        local = at.astimezone(self.zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.start < self.end:
            return day in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return day in self.days
        return minute < self.end and (day - 1) % 7 in self.days


@dataclass(frozen=True, slots=True)
class When:
    """Go by the rules of another route while all of this holds. What is empty or None always holds.

    kinds: one of these is what the request seems to be. needs: it needs all of these. tags: it carries all of these.
    """

    to: str
    kinds: frozenset[str] = frozenset()
    needs: frozenset[Capability] = frozenset()
    used_from_percent: int | None = None
    hours: Hours | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


class FloorMeaning(StrEnum):
    """request: each answer is expected to reach the floor. average: so are the answers sent to a model together."""

    REQUEST = "request"
    AVERAGE = "average"


class Delivery(StrEnum):
    """How a streamed answer reaches the caller: as it comes, or once it is whole, so that a broken one is repeated."""

    STREAM = "stream"
    WHOLE = "whole"


class Policy(Protocol):
    """One way to order candidates. Pure; returns those it is willing to use, first choice first."""

    @property
    def name(self) -> str: ...

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]: ...


@dataclass(frozen=True, slots=True)
class Route:
    """Candidates, fallbacks, weights and baseline are model ids; `model@effort` is a model at one reasoning effort.

    kind: the task kind whose scores count, or "auto": what each request seems to be. when: under what conditions the
    rules of which other route hold, the first that applies.
    explore_percent: of the requests, how many go to a candidate of which too little is known, so that it becomes known.
    max_output_tokens: the limit that a request under a hard budget gets when it names none: its price must be bounded.
    """

    name: str
    policy: Policy
    candidates: tuple[str, ...]
    fallbacks: tuple[str, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    kind: str = OVERALL
    floors: Mapping[str, float] = field(default_factory=dict)
    floor_means: FloorMeaning = FloorMeaning.REQUEST
    baseline: str | None = None
    jurisdictions: frozenset[str] | None = None
    max_cost_nano: Nano | None = None
    expected_output_tokens: int | None = None
    cache: CacheRule | None = None
    timeouts: Timeouts = Timeouts()
    max_attempts: int = 3
    max_output_tokens: int = 16_384
    delivery: Delivery = Delivery.STREAM
    explore_percent: int = 0
    step_down: StepDown | None = None
    when: tuple[When, ...] = ()

    def floor_for(self, kind: str) -> float | None:
        """The quality that a request of this kind must reach: the floor of the kind, else the overall one."""
        return self.floors.get(kind, self.floors.get(OVERALL))

    @property
    def asks_kind(self) -> bool:
        """Whether a request's kind decides anything here."""
        return self.kind == AUTO or any(one.kinds for one in self.when)
