"""Which models and providers are set aside, since when, and until when.

A model is one here, whatever the effort it is asked with. Faults in a row open its circuit for a pause that doubles
each time it opens again, to a bound that lets traffic return soon after a provider has recovered; so do faults that are
more than half of its recent outcomes. While it is open
further faults, of attempts that were under way, change nothing. After the pause one request may try (a probe); the
others wait for its outcome. Content that answers an attempt from after the opening closes the circuit; only a whole
answer makes the next pause a short one again.

A pause that a provider asked for (`Retry-After`), or that its refusal of our credentials or balance means, is *firm*:
no answer ends it early. What was only counted is a suspicion, so that a request whose candidates are all set aside by
counting may still ask the least bad of them (`suspects`).

What one worker finds out concerns all of them: `unsaid` and `hear` are how states are told and heard. Only durations
travel, for the clocks of machines differ. Every state has a mark, so that nobody ends an opening that it does not know.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.contracts import CircuitState
from gateway.core.errors import Blame, GatewayError
from gateway.core.market import Market
from gateway.core.routing import Decision

from .clock import chance, dice

log = logging.getLogger("gateway.health")

FAULTS_TO_OPEN = 5
MOST_FAULTS = 0.5
"""Of recent outcomes, with or without answers in between. Reached from nothing by eleven faults in a row, so by itself
it finds those that fail often and not always."""

RECENT = 16
"""About so many outcomes are recent: each new one weighs a sixteenth."""

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 20.0
CREDENTIALS_PAUSE_S = 20.0
PROBE_S = 5.0
"""How long the others wait for a probe's outcome before the next one may try."""

JITTER = 0.25
"""A counted pause is up to so much shorter, by chance; what is heard from others lasts up to a tenth longer. So workers
do not all try at the same moment, and mostly the first one's outcome is known before the next one's turn."""

_HEARD_LATER = 0.1
_DOUBLINGS = 6  # from the first pause past the longest
_FORGOTTEN = 0.02
_VIEW_S = 0.5
_ALL_WELL: Mapping[str, str] = {}


@dataclass(slots=True)
class _Circuit:
    """faults: in a row; share: of them among recent outcomes; mark: names this state, for all workers."""

    faults: int = 0
    share: float = 0.0
    openings: int = 0
    opened_at: float = 0.0
    open_until: float = 0.0
    reason: str = ""
    firm: bool = False
    probed: bool = False
    mark: str = ""


class Health:
    """Told of every attempt's outcome; asked for the models to leave out. Times are the injected monotonic clock's.

    Implements contracts.CircuitBook.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        models_of: Callable[[str], tuple[str, ...]],
        *,
        chance: Callable[[], float] = chance,
    ) -> None:
        self._clock = clock
        self._models_of = models_of
        self._chance = chance
        self._circuits: dict[str, _Circuit] = {}
        self._open: dict[str, _Circuit] = {}
        self._view: Mapping[str, str] = _ALL_WELL
        self._view_until = 0.0
        self._who = f"{dice():x}"
        self._marks = 0
        self._unsaid: set[str] = set()
        self._known: dict[str, str] = {}

    # What a decision asks ----------------------------------------------------------------------------------------

    def unhealthy(self) -> Mapping[str, str]:
        """Model id -> reason, for the models set aside now. Looking changes nothing."""
        if not self._open:
            return _ALL_WELL
        now = self._clock()
        if now >= self._view_until:
            shut = {model: circuit for model, circuit in self._open.items() if circuit.open_until > now}
            self._view = {
                model: f"{circuit.reason}; set aside for {circuit.open_until - now:.0f} s more"
                for model, circuit in shut.items()
            }
            self._view_until = min((one.open_until for one in shut.values()), default=now + _VIEW_S)
            self._view_until = min(self._view_until, now + _VIEW_S)
        return self._view

    def suspects(self) -> list[str]:
        """The models that are set aside now because faults were counted, least bad first."""
        now = self._clock()
        shut = [(one.openings, one.open_until, model) for model, one in self._open.items()
                if one.open_until > now and not one.firm]  # fmt: skip
        return [model for _, _, model in sorted(shut)]

    def recovers_in_s(self, models: Collection[str]) -> float | None:
        """Seconds until the first of these models is tried again; None when none of them is set aside."""
        waits = [self._open[model].open_until - self._clock() for model in models if model in self._open]
        return max(min(waits), 0.0) if waits else None

    # What attempts tell ------------------------------------------------------------------------------------------

    def began(self, model: str) -> None:
        """An attempt at this model begins: after a pause it is the probe, and the others wait for its outcome."""
        circuit = self._open.get(model)
        if circuit is not None and circuit.open_until <= self._clock():
            circuit.open_until = self._clock() + PROBE_S
            circuit.reason = "being tried again"
            circuit.firm = False
            circuit.probed = True
            self._changed(model)

    def content(self, model: str, began: float) -> None:
        """The first content for an attempt that began then: it is answered, if not yet to the end."""
        circuit = self._open.get(model)
        if circuit is not None and self._answers(model, began):
            circuit.share = 0.0
            self._close(model)

    def answered(self, model: str, began: float) -> None:
        """An attempt that began then, by this clock, was answered."""
        circuit = self._circuits.get(model)
        if circuit is None or not self._answers(model, began):
            return
        circuit.faults, circuit.openings = 0, 0
        circuit.share -= circuit.share / RECENT
        if model in self._open or circuit.share < _FORGOTTEN:  # what has recovered begins anew
            self._circuits.pop(model)
            self._close(model)

    def failed(self, model: str, provider: str, error: GatewayError) -> None:
        """The caller's own mistakes, and ours, say nothing about a provider's health."""
        if error.trips_provider:
            for one in self._models_of(provider):
                self._set_aside(self._circuit(one), one, CREDENTIALS_PAUSE_S, error.outcome, firm=True)
        elif error.blame in (Blame.UPSTREAM, Blame.OPERATOR):
            self._count(model, error)

    def _answers(self, model: str, began: float) -> bool:
        """Whether an answer to an attempt that began then speaks against what is known of the model."""
        circuit = self._open.get(model)
        if circuit is None:
            return True
        if began < circuit.opened_at:
            return False  # it was under way before the faults; it says nothing about now
        return not (circuit.firm and circuit.open_until > self._clock())

    def _count(self, model: str, error: GatewayError) -> None:
        circuit = self._circuit(model)
        circuit.faults += 1
        circuit.share += (1 - circuit.share) / RECENT
        asked, counted, reason = error.retry_after_s or 0.0, 0.0, error.outcome
        many = circuit.faults >= FAULTS_TO_OPEN or circuit.share > MOST_FAULTS
        if many and (circuit.probed or model not in self._open):
            longest = min(FIRST_PAUSE_S * 2 ** min(circuit.openings, _DOUBLINGS), LONGEST_PAUSE_S)
            counted = longest * (1 - JITTER * self._chance())
            circuit.openings += 1
            in_a_row = f"{circuit.faults} faults in a row"
            often = f"{circuit.share:.0%} of recent attempts failed"
            reason = f"{in_a_row if circuit.faults >= FAULTS_TO_OPEN else often}, last {error.outcome}"
        if asked or counted:
            self._set_aside(circuit, model, max(asked, counted), reason, firm=asked >= counted)

    def _circuit(self, model: str) -> _Circuit:
        return self._circuits.setdefault(model, _Circuit())

    def _set_aside(self, circuit: _Circuit, model: str, seconds: float, reason: str, *, firm: bool) -> None:
        now = self._clock()
        if model not in self._open or now + seconds > circuit.open_until:
            circuit.open_until = now + seconds
            circuit.reason = reason
            circuit.firm = firm
            log.warning("%s is set aside for %.1f s: %s", model, seconds, reason)
        circuit.probed = False
        if model not in self._open:
            circuit.opened_at = now
        self._open[model] = circuit
        self._changed(model)

    def _close(self, model: str) -> None:
        if self._open.pop(model, None) is not None:
            log.info("%s answers again", model)
            self._changed(model)

    def _changed(self, model: str) -> None:
        self._view_until = 0.0
        self._unsaid.add(model)
        circuit = self._open.get(model)
        if circuit is not None:
            self._marks += 1
            circuit.mark = f"{self._who}.{self._marks}"

    # What workers tell one another ---------------------------------------------------------------------------------

    def unsaid(self) -> list[CircuitState]:
        """What has changed here and the others have not been told. It stays unsaid until `hear` confirms it."""
        now = self._clock()
        said = []
        for model in self._unsaid:
            circuit, replaces = self._open.get(model), self._known.get(model, "")
            if circuit is not None:
                said.append(CircuitState(
                    model=model, mark=circuit.mark, replaces=replaces, open=True,
                    opened_ago_ms=_ms(now - circuit.opened_at), left_ms=_ms(circuit.open_until - now),
                    openings=circuit.openings, firm=circuit.firm, reason=circuit.reason,
                ))  # fmt: skip
            else:
                said.append(CircuitState(model=model, mark="", replaces=replaces, open=False))
        return said

    def hear(self, said: Sequence[CircuitState], states: Sequence[CircuitState]) -> None:
        """The others have been told what was `said`; `states` are all the circuits that are known to be open now."""
        for one in said:
            circuit = self._open.get(one.model)
            if one.mark == ("" if circuit is None else circuit.mark):  # nothing has changed since it was said
                self._unsaid.discard(one.model)
        before, self._known = self._known, {state.model: state.mark for state in states}
        for state in states:
            circuit = self._open.get(state.model)
            if state.model not in self._unsaid and (circuit is None or circuit.mark != state.mark):
                self._adopt(state)
        for model, circuit in list(self._open.items()):
            if before.get(model) == circuit.mark and model not in self._known and model not in self._unsaid:
                self._open.pop(model)  # somebody else had an answer
                self._circuits.pop(model, None)
                self._view_until = 0.0

    def _adopt(self, state: CircuitState) -> None:
        now, left = self._clock(), state.left_ms / 1e3
        circuit = self._circuit(state.model)
        if state.openings:
            circuit.faults = max(circuit.faults, FAULTS_TO_OPEN)
        circuit.openings, circuit.reason, circuit.firm = state.openings, state.reason, state.firm
        circuit.opened_at = now - state.opened_ago_ms / 1e3
        circuit.open_until = now + left * (1 + _HEARD_LATER * self._chance() if left > 0 else 1)
        circuit.mark, circuit.probed = state.mark, False
        self._open[state.model] = circuit
        self._view_until = 0.0


def set_aside(decision: Decision, market: Market) -> set[str]:
    """The models, without their efforts, that a decision left out for their health."""
    return {market.models[drop.model].base for drop in decision.drops if drop.code == "unhealthy"}


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
