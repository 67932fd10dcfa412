"""Which models and providers are set aside, since when, and until when.

Consecutive faults open a model's circuit for a time that doubles with each reopening; a success closes it.
`Retry-After` is obeyed as given. Bad credentials or an empty balance set the whole provider aside at once.
When the time is over the next request is the probe. Kept in this process only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.errors import Blame, GatewayError

FAULTS_TO_OPEN = 5
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 300.0
CREDENTIALS_PAUSE_S = 30.0

_ALL_WELL: Mapping[str, str] = {}


@dataclass(slots=True)
class _Circuit:
    faults: int = 0
    pauses: int = 0
    closed_from: float = 0.0
    reason: str = ""


class Health:
    """Told of every attempt's outcome; asked for the models to leave out. Times are the injected monotonic clock's."""

    def __init__(self, clock: Callable[[], float], models_of: Callable[[str], tuple[str, ...]]) -> None:
        self._clock = clock
        self._models_of = models_of
        self._circuits: dict[str, _Circuit] = {}
        self._open: dict[str, _Circuit] = {}

    def unhealthy(self) -> Mapping[str, str]:
        """Model id -> reason, for the models set aside now."""
        if not self._open:
            return _ALL_WELL
        now = self._clock()
        for model in [model for model, circuit in self._open.items() if circuit.closed_from <= now]:
            del self._open[model]
        return {
            model: f"{circuit.reason}; set aside for {circuit.closed_from - now:.0f} s more"
            for model, circuit in self._open.items()
        }

    def recovers_in_s(self, models: tuple[str, ...]) -> float | None:
        """Seconds until the first of these models is tried again; None when none of them is set aside."""
        waits = [self._open[model].closed_from - self._clock() for model in models if model in self._open]
        return max(min(waits), 0.0) if waits else None

    def answered(self, model: str) -> None:
        self._circuits.pop(model, None)
        self._open.pop(model, None)

    def failed(self, model: str, provider: str, error: GatewayError) -> None:
        """The caller's own mistakes say nothing about a provider's health."""
        if error.trips_provider:
            for one in self._models_of(provider):
                self._set_aside(one, CREDENTIALS_PAUSE_S, error.outcome)
            return
        if error.blame is not Blame.UPSTREAM:
            return
        circuit = self._circuits.setdefault(model, _Circuit())
        circuit.faults += 1
        if error.retry_after_s is not None:
            self._set_aside(model, error.retry_after_s, error.outcome)
        elif circuit.faults >= FAULTS_TO_OPEN:
            pause = min(FIRST_PAUSE_S * 2**circuit.pauses, LONGEST_PAUSE_S)
            circuit.pauses += 1
            self._set_aside(model, pause, f"{circuit.faults} faults in a row, last {error.outcome}")

    def _set_aside(self, model: str, seconds: float, reason: str) -> None:
        circuit = self._circuits.setdefault(model, _Circuit())
        circuit.closed_from = self._clock() + seconds
        circuit.reason = reason
        self._open[model] = circuit
