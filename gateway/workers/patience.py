"""How long to wait before a worker that failed is started again, and when to give up. Pure: moments come in."""

from __future__ import annotations

from dataclasses import dataclass

STEADY_S = 10.0
"""A worker that ended sooner than this after it was ready counts as failed."""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LAST_TRIES = 5
"""How many failed starts in a row are borne while no worker serves."""


@dataclass(slots=True)
class Patience:
    strikes: int = 0
    failed_starts: int = 0

    def started(self) -> None:
        self.failed_starts = 0

    def start_failed(self) -> None:
        self.strikes += 1
        self.failed_starts += 1

    def ended(self, lived_s: float) -> None:
        """A worker has ended that nobody told to, so long after it was ready."""
        self.strikes = self.strikes + 1 if lived_s < STEADY_S else 0

    @property
    def pause_s(self) -> float:
        return min(FIRST_PAUSE_S * 2.0 ** (self.strikes - 1), LONGEST_PAUSE_S) if self.strikes else 0.0

    @property
    def exhausted(self) -> bool:
        return self.failed_starts >= LAST_TRIES
