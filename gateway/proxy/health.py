"""Which models and providers are set aside, since when, and until when.

Faults in a row open a model's circuit for a pause that doubles each time it opens again. While it is open further
faults, of attempts that were under way, change nothing. After the pause one request may try (a probe); the others
wait for its outcome. An answer to an attempt that began after the opening closes the circuit. `Retry-After` is obeyed
as given, and the longer of two pauses holds. Bad credentials or an empty balance set the whole provider aside at
once. Kept in this process only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.errors import Blame, GatewayError

FAULTS_TO_OPEN = 5
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
CREDENTIALS_PAUSE_S = 30.0
PROBE_S = 5.0
"""How long the others wait for a probe's outcome before the next one may try."""

_DOUBLINGS = 6  # from the first pause to the longest
_ALL_WELL: Mapping[str, str] = {}


@dataclass(slots=True)
class _Circuit:
    faults: int = 0
    openings: int = 0
    opened_at: float = 0.0
    open_until: float = 0.0
    reason: str = ""
    probed: bool = False


class Health:
    """Told of every attempt's outcome; asked for the models to leave out. Times are the injected monotonic clock's."""

    def __init__(self, clock: Callable[[], float], models_of: Callable[[str], tuple[str, ...]]) -> None:
        self._clock = clock
        self._models_of = models_of
        self._circuits: dict[str, _Circuit] = {}
        self._open: dict[str, _Circuit] = {}

    def unhealthy(self) -> Mapping[str, str]:
        """Model id -> reason, for the models set aside now. Looking changes nothing."""
        if not self._open:
            return _ALL_WELL
        now = self._clock()
        return {
            model: f"{circuit.reason}; set aside for {circuit.open_until - now:.0f} s more"
            for model, circuit in self._open.items()
            if circuit.open_until > now
        }

    def began(self, model: str) -> None:
        """An attempt at this model begins: after a pause it is the probe, and the others wait for its outcome."""
        circuit = self._open.get(model)
        if circuit is not None and circuit.open_until <= self._clock():
            circuit.open_until = self._clock() + PROBE_S
            circuit.reason = "being tried again"
            circuit.probed = True

    def recovers_in_s(self, models: tuple[str, ...]) -> float | None:
        """Seconds until the first of these models is tried again; None when none of them is set aside."""
        waits = [self._open[model].open_until - self._clock() for model in models if model in self._open]
        return max(min(waits), 0.0) if waits else None

    def answered(self, model: str, began: float) -> None:
        """An attempt that began then, by this clock, was answered."""
        circuit = self._open.get(model)
        if circuit is not None and began < circuit.opened_at:
            return  # it was under way before the faults; it says nothing about now
        self._circuits.pop(model, None)
        self._open.pop(model, None)

    def failed(self, model: str, provider: str, error: GatewayError) -> None:
        """The caller's own mistakes, and ours, say nothing about a provider's health."""
        if error.trips_provider:
            for one in self._models_of(provider):
                self._set_aside(self._circuit(one), one, CREDENTIALS_PAUSE_S, error.outcome)
        elif error.blame in (Blame.UPSTREAM, Blame.OPERATOR):
            self._count(model, error)

    def _count(self, model: str, error: GatewayError) -> None:
        circuit = self._circuit(model)
        circuit.faults += 1
        pause, reason = error.retry_after_s or 0.0, error.outcome
        if circuit.faults >= FAULTS_TO_OPEN and (circuit.probed or model not in self._open):
            pause = max(pause, min(FIRST_PAUSE_S * 2 ** min(circuit.openings, _DOUBLINGS), LONGEST_PAUSE_S))
            circuit.openings += 1
            reason = f"{circuit.faults} faults in a row, last {error.outcome}"
        if pause:
            self._set_aside(circuit, model, pause, reason)

    def _circuit(self, model: str) -> _Circuit:
        return self._circuits.setdefault(model, _Circuit())

    def _set_aside(self, circuit: _Circuit, model: str, seconds: float, reason: str) -> None:
        now = self._clock()
        if model not in self._open or now + seconds > circuit.open_until:
            circuit.open_until = now + seconds
            circuit.reason = reason
        circuit.probed = False
        if model not in self._open:
            circuit.opened_at = now
        self._open[model] = circuit
