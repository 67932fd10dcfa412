"""What one worker says of itself, and the sum over the workers of a machine.

Every worker keeps its own counts and reports them; whoever is asked for the metrics adds the others' reports to its
own. What a worker has counted outlives it (`Report.outlive`), what it was doing does not.
"""

from __future__ import annotations

import msgspec

from .counts import Counts

Number = int | float

LEAST = frozenset({"process_start_time_seconds", "process_max_fds"})
"""Of these the least one is told and not the sum: since when all of them run, how many files each may open."""


class Report(msgspec.Struct, tag="report"):
    """totals: what other parts have counted, by the metric's name. levels: what is now, and goes with its worker."""

    counts: Counts = msgspec.field(default_factory=Counts)
    totals: dict[str, Number] = msgspec.field(default_factory=dict)
    levels: dict[str, Number] = msgspec.field(default_factory=dict)

    def add(self, other: Report) -> None:
        """Take a worker that runs into the sum."""
        self.outlive(other)
        for name, level in other.levels.items():
            if name in LEAST:
                self.levels[name] = min(level, self.levels.get(name, level))
            else:
                self.levels[name] = self.levels.get(name, 0) + level

    def outlive(self, other: Report) -> None:
        """Keep what a worker has counted now that it is gone."""
        self.counts.add(other.counts)
        for name, total in other.totals.items():
            self.totals[name] = self.totals.get(name, 0) + total
