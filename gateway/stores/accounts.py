"""Budgets and limits over the gate: core.contracts.Accounts.

What is decided here: the slot of now, what a script's answer means to the caller, and what may still be done while the
server is away. Money fails closed then: a hard budget refuses, or spends from a slice that was set aside for it before.
Limits fail open, and so does everything without a hard budget.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import msgspec

from gateway.core.budget import MINUTE_US, Ask, Bound, Budget, Limit, Offline, Slot
from gateway.core.contracts import Admission, LedgerUnavailable, Settlement
from gateway.core.records import SpendRecord
from gateway.core.refusals import (
    accounts_away,
    accounts_unready,
    budget_used_up,
    more_than_a_minute,
    over_rate,
    too_many_at_once,
)

from .gate import Away, Gate, Wire

log = logging.getLogger("gateway.accounts")

SEED_DEADLINE_S = 5.0
DOUBTED_US = 30_000_000
"""How long the ledger may still say what a given-up hold was charged, after the store has learned what it did cost."""

ROUNDS = 4
"""An admission may first find that a slot has ended, or that a counter must be made: each is mended and asked again."""

_encode = msgspec.msgpack.Encoder().encode

LedgerSums = Callable[[Mapping[str, str], int, int], Mapping[int, int]]
"""(scope, since_us, bucket_us) -> nano-dollars in the ledger by the start of each bucket in us; bucket_us 0: one sum
under since_us. Blocking; raises LedgerUnavailable."""


@dataclass(slots=True)
class Slice:
    """A share of a budget that this worker may spend while the server is away; held like an attempt."""

    organisation: str
    hold: str
    bound: Bound
    wire: Wire
    amount: int
    left: int


class RedisAccounts:
    """The accounts of every organisation, for one worker. `gates` by organisation."""

    def __init__(self, gates: Mapping[str, Gate], sums: LedgerSums) -> None:
        self.gates = gates
        self._sums = sums
        self._slots: dict[str, Slot] = {}
        self.used: dict[str, int] = {}
        self.bounds: dict[str, tuple[str, Bound]] = {}
        self.open: dict[str, Admission] = {}
        self.slices: dict[str, Slice] = {}
        self._seeding: dict[str, asyncio.Task[None]] = {}

    def add(self, organisation: str, gate: Gate) -> None:
        """The accounts of a further organisation. Whoever goes through `gates` now goes through those of before."""
        self.gates = {**self.gates, organisation: gate}

    def follow(self, budgets: Collection[Budget]) -> None:
        """Let go of budgets that are no longer in force: their counters stay, and are not looked after."""
        for bound_id, (_, bound) in list(self.bounds.items()):
            if bound.budget not in budgets:
                del self.bounds[bound_id]
                self.give_back(bound_id)

    def give_back(self, bound_id: str) -> None:
        """What was spent of the slice meanwhile is settled by the attempts themselves, which go before."""
        kept = self.slices.pop(bound_id, None)
        if kept is not None:
            self.gates[kept.organisation].settle(Settlement(kept.hold, kept.amount, 0, [kept.wire], [], [], None))

    @property
    def waiting(self) -> int:
        return sum(gate.waiting for gate in self.gates.values())

    @property
    def failures(self) -> int:
        return sum(gate.failures for gate in self.gates.values())

    @property
    def away(self) -> bool:
        return any(gate.away for gate in self.gates.values())

    async def admit(self, ask: Ask) -> Admission:
        """Raises GatewayError: 402 for a budget, 429 for a limit, 503 when neither can be known."""
        gate = self.gates[ask.organisation]
        limits = _limits_wire(ask)
        note = _encode(ask.note)
        for _ in range(ROUNDS):
            budgets = [self.budget_wire(gate, bound) for bound in ask.budgets]
            try:
                answer = await gate.admit([ask.hold, ask.amount, budgets, limits, False], note)
            except Away:
                return self._admit_offline(ask, budgets, limits)
            if answer[0] == 1:
                admission = Admission(ask=ask, budgets=budgets, limits=limits)
                for bound, used in zip(ask.budgets, answer[1:], strict=False):
                    self.used[bound.id] = used
                    self.bounds[bound.id] = ask.organisation, bound
                self.open[ask.hold] = admission
                return admission
            await self._mend_or_refuse(ask, budgets, limits, answer[1:])
        raise accounts_unready()

    def settle(self, admission: Admission | None, record: SpendRecord) -> None:
        """The attempt is over. Never waits and never fails; without an admission the record is only booked."""
        gate = self._gate_of(record)
        if admission is None:
            gate.settle(Settlement(record.attempt_id, 0, record.cost_nano, [], [], [], record))
            return
        self.open.pop(admission.ask.hold, None)
        gate.settle(
            Settlement(
                hold=admission.ask.hold,
                amount=admission.ask.amount,
                cost=record.cost_nano,
                budgets=admission.budgets,
                busy=[str(limit[0]) for limit in admission.limits if limit[1] == "c"],
                refunds=_refunds(admission, record),
                record=record,
                absence=admission.absence,
            )
        )

    def taken(self, settlement: Settlement) -> None:
        """The ledger has the record of this settlement."""
        if settlement.record is not None:
            self._gate_of(settlement.record).taken(settlement)

    def _gate_of(self, record: SpendRecord) -> Gate:
        # An organisation that was taken out of the configuration since: its record is booked all the same.
        return self.gates.get(record.organisation) or next(iter(self.gates.values()))

    async def seed(self, organisation: str, bounds: list[Bound]) -> None:
        """Make counters from the ledger, or raise those below it. Raises Away, LedgerUnavailable, TimeoutError."""
        gate = self.gates[organisation]
        items: list[Wire] = []
        for bound in bounds:
            wire = self.budget_wire(gate, bound)
            async with asyncio.timeout(SEED_DEADLINE_S):
                items.append([wire, await asyncio.to_thread(self._ask_ledger, organisation, bound, wire)])
        await gate.run("seed", _encode(items), str(DOUBTED_US))

    async def _seed_once(self, organisation: str, bound: Bound) -> None:
        """A crowd that meets a missing counter asks the ledger once."""
        task = self._seeding.get(bound.id)
        if task is None:
            task = asyncio.create_task(self.seed(organisation, [bound]), name="accounts-seed")
            self._seeding[bound.id] = task
            task.add_done_callback(lambda _: self._seeding.pop(bound.id, None))
        await asyncio.shield(task)  # whoever leaves must not take it from the others; it has a deadline of its own

    def _ask_ledger(self, organisation: str, bound: Bound, wire: Wire) -> list[tuple[int, int]]:
        slot_s, length_s = int(wire[1]), int(wire[4])
        window = bound.budget.window
        since_s = window.began_s(Slot(slot_s, slot_s + length_s))
        scope = {"organisation": organisation, bound.budget.scope.kind.column: bound.name}
        bucket_us = length_s * 1_000_000 if window.rolling else 0
        found = self._sums(scope, since_s * 1_000_000, bucket_us)
        return [(start_us // 1_000_000, nano) for start_us, nano in found.items() if nano]

    async def _mend_or_refuse(self, ask: Ask, budgets: list[Wire], limits: list[Wire], answer: list[object]) -> None:
        """After an answer that admits nothing: mend what can be, or raise what the caller is told."""
        match answer:
            case ["seed", *indexes]:
                try:
                    for at in indexes:
                        await self._seed_once(ask.organisation, ask.budgets[int(str(at)) - 1])
                except (Away, LedgerUnavailable, TimeoutError) as exc:
                    log.error("a budget's counter cannot be made from the ledger: %s", type(exc).__name__)
                    raise accounts_unready() from exc
            case ["slot", _]:
                self._slots.clear()  # the answer brought the server's clock along
            case ["budget", int(at), int(used)]:
                bound, (_, slot_s, _, _, length_s) = ask.budgets[at - 1], budgets[at - 1]
                self.used[bound.id] = used
                raise budget_used_up(bound, used, ask.amount, Slot(slot_s, slot_s + length_s))
            case ["rate", int(at), int(wait_us)]:
                limit, cost = _limit_of(ask, limits, at), int(limits[at - 1][2])
                if cost > MINUTE_US:
                    raise more_than_a_minute(limit, ask.tokens)
                raise over_rate(limit, str(limits[at - 1][0]).rpartition("|")[2], wait_us)
            case ["busy", int(at), int(most)]:
                raise too_many_at_once(_limit_of(ask, limits, at), most)
            case _:
                raise accounts_unready()

    def budget_wire(self, gate: Gate, bound: Bound) -> Wire:
        """A budget in the slot of now, as the scripts want it."""
        now_s = gate.now_us() // 1_000_000
        window = bound.budget.window
        slot = self._slots.get(bound.id)
        if slot is None or not slot.start_s <= now_s < slot.end_s:
            slot = self._slots[bound.id] = window.slot(now_s)
        limit = bound.budget.limit_nano if bound.budget.hard else -1
        return [bound.id, slot.start_s, limit, window.slots, slot.end_s - slot.start_s]

    def _admit_offline(self, ask: Ask, budgets: list[Wire], limits: list[Wire]) -> Admission:
        """The server is away: what has no hard budget goes on, what has one needs a slice of each."""
        needed = []
        for bound in ask.budgets:
            if bound.budget.hard:
                kept = self.slices.get(bound.id) if bound.budget.offline is Offline.SLICE else None
                if kept is None or kept.left < ask.amount:
                    raise accounts_away(bound)
                needed.append(kept)
        for kept in needed:
            kept.left -= ask.amount
        # In progress like any other: what lasts until the server is back is held there from then on.
        absence = self.gates[ask.organisation].absences
        admission = self.open[ask.hold] = Admission(ask=ask, budgets=budgets, limits=limits, absence=absence)
        return admission


def _limits_wire(ask: Ask) -> list[Wire]:
    """What admit.lua is told of the limits: how long an attempt keeps a rate busy, in whole microseconds rounded up."""
    wire: list[Wire] = []
    for bound in ask.limits:
        limit = bound.limit
        if limit.requests_per_minute is not None:
            busy_us = _busy_us(1, limit.requests_per_minute)
            wire.append([f"{bound.id}|requests", "a", busy_us, busy_us * limit.requests_per_minute])
        if limit.tokens_per_minute is not None:
            wire.append([f"{bound.id}|tokens", "a", _busy_us(ask.tokens, limit.tokens_per_minute), MINUTE_US])
        if limit.concurrency is not None:
            wire.append([bound.id, "c", 0, limit.concurrency])
    return wire


def _busy_us(count: int, per_minute: int) -> int:
    return -(-count * MINUTE_US // per_minute)


def _limit_of(ask: Ask, limits: list[Wire], at: int) -> Limit:
    name = str(limits[at - 1][0])
    return next(bound.limit for bound in ask.limits if name in (bound.id, f"{bound.id}|requests", f"{bound.id}|tokens"))


def _refunds(admission: Admission, record: SpendRecord) -> list[tuple[str, int]]:
    """Limits in tokens were charged what was expected; the difference to what was taken goes back, or is owed."""
    refunds = []
    for bound in admission.ask.limits:
        per_minute = bound.limit.tokens_per_minute
        if per_minute is not None:
            more = _busy_us(admission.ask.tokens, per_minute) - _busy_us(record.tokens, per_minute)
            if more:
                refunds.append((f"{bound.id}|tokens", more))
    return refunds
