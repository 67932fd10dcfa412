"""What a decision is told of the moment: health, what was learned, the kind of task, the conversation, the budgets.

Each is looked up only where it can matter to the route that is named, so that a plain one pays for none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from gateway.core.candidate import Estimate, Signals, Warm
from gateway.core.request import ChatRequest
from gateway.core.route import Route
from gateway.core.routing import likeliest
from gateway.core.terms import Terms
from gateway.core.world import Caller, World

from .admission import Admissions
from .attempt import Attempt, Job
from .clock import dice, instant
from .health import Health

KIND_TAG = "kind"
"""The tag by which a caller may say what kind of task its request is; a word that is no kind here says nothing."""

_NO_KINDS: Mapping[str, float] = {}


class Learned(Protocol):
    """What settled answers have taught."""

    def estimates(self, route: Route, kind: str) -> Mapping[str, Estimate]:
        """By model id; models that nothing is known of are not in it."""
        ...


class Conversations(Protocol):
    """Which model answered a conversation's turn before."""

    async def find(self, request: ChatRequest, caller: Caller) -> Warm | None: ...

    def keep(self, job: Job, attempt: Attempt) -> None:
        """After an answer; never waits."""
        ...


KindsOf = Callable[[str, msgspec.Raw], Mapping[str, float]]
"""From a route's name and the raw messages of a request to what it seems to be, by probability; empty: unknown."""


class Moment:
    """Reads the signals of one request."""

    def __init__(
        self, health: Health, admissions: Admissions, learned: Learned, conversations: Conversations, kinds_of: KindsOf
    ) -> None:
        self._health = health
        self._admissions = admissions
        self._learned = learned
        self.conversations = conversations
        self._kinds_of = kinds_of

    async def signals(
        self, route: Route, request: ChatRequest, caller: Caller, world: World, *, terms: Terms,
        tags: Mapping[str, str], at_us: int,
    ) -> Signals:  # fmt: skip
        kinds = self._kinds(route, request, world, terms, tags)
        return Signals(
            now=instant(at_us),
            seed=dice(),
            unhealthy=self._health.unhealthy(),
            used_percent=self._admissions.used_percent(route, caller, world),
            kinds=kinds,
            estimates=self._learned.estimates(route, likeliest(terms.kind or route.kind, kinds)[0][0]),
            warm=await self.conversations.find(request, caller),
        )

    def _kinds(
        self, route: Route, request: ChatRequest, world: World, terms: Terms, tags: Mapping[str, str]
    ) -> Mapping[str, float]:
        """The caller's own word first."""
        if not world.asks_kind(route):
            return _NO_KINDS
        said = terms.kind or tags.get(KIND_TAG)
        if said in world.words.kinds:
            return {said: 1.0}
        return self._kinds_of(route.name, request.fields["messages"])
