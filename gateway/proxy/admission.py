"""Before an attempt is sent: who it counts for, the most it can cost, and leave to spend that.

The one place that turns an attempt into what the accounts are asked. Nothing is sent without it.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from gateway.core.budget import Ask, Bound, BoundLimit, Rules, hold_amount, most_tokens, used_percent
from gateway.core.contracts import Accounts, Admission
from gateway.core.records import SpendRecord
from gateway.core.route import Route
from gateway.core.world import Caller, World

from .attempt import Attempt

_Who = tuple[str, str, str, str, str]

NO_PROVIDER = ""
"""Where no provider has been chosen yet: what is counted by provider does not concern a request then."""


class _Concerned(msgspec.Struct, frozen=True):
    budgets: tuple[Bound, ...]
    limits: tuple[BoundLimit, ...]
    bounded: bool


class Admissions:
    """Asks the accounts. Which rules concern whom is worked out once for each combination and configuration."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._rules: Rules | None = None
        self._known: dict[_Who, _Concerned] = {}

    def used_percent(self, route: Route, caller: Caller, world: World) -> int:
        """How far the fullest budget of this caller is used, where the route goes by it; else 0."""
        if route.step_down is None and (not route.when or not any(one.used_from_percent for one in route.when)):
            return 0
        budgets = self._concerned(world.rules, caller, route.name, NO_PROVIDER).budgets
        return used_percent(self._accounts.used, budgets)

    async def admit(self, attempt: Attempt, rules: Rules) -> Admission:
        """Leave to send this attempt. Raises GatewayError when there is none."""
        job, candidate = attempt.job, attempt.candidate
        route, request = job.decision.route, job.request
        concerned = self._concerned(rules, job.caller, route.name, candidate.model.provider)
        cap = route.max_output_tokens
        if concerned.bounded:
            attempt.output_cap = cap
        attempt.hold = hold_amount(request, attempt.price, most_tokens(request, candidate.model, cap))
        ask = Ask(
            hold=attempt.attempt_id,
            organisation=job.caller.organisation,
            amount=attempt.hold,
            tokens=candidate.expected.total,
            budgets=concerned.budgets,
            limits=concerned.limits,
            note=attempt.record_if_lost(),
        )
        return await self._accounts.admit(ask)

    async def admit_beside(self, note: SpendRecord, caller: Caller, rules: Rules) -> Admission:
        """Leave to spend what this record says, on a call beside those of the request. Raises GatewayError.

        Budgets hold for it; limits do not, for they are of what callers ask.
        """
        budgets = self._concerned(rules, caller, note.route, note.provider).budgets
        ask = Ask(
            hold=note.attempt_id, organisation=caller.organisation, amount=note.cost_nano, tokens=0, budgets=budgets,
            limits=(), note=note,
        )  # fmt: skip
        return await self._accounts.admit(ask)

    def _concerned(self, rules: Rules, caller: Caller, route: str, provider: str) -> _Concerned:
        if rules is not self._rules:
            self._rules, self._known = rules, {}
        who: _Who = (caller.organisation, caller.team, caller.key_id, route, provider)
        found = self._known.get(who)
        if found is None:
            names = caller.scopes(route, provider)
            budgets = rules.budgets_for(names)
            bounded = any(bound.budget.hard for bound in budgets)
            found = self._known[who] = _Concerned(budgets, rules.limits_for(names), bounded)
        return found


def tags_json(tags: Mapping[str, str]) -> str:
    """Tags as the ledger keeps them: the same tags are always the same text."""
    return msgspec.json.encode(tags, order="sorted").decode() if tags else "{}"
