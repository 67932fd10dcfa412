"""The route's own order: each candidate is asked only when those before it cannot serve."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.candidate import Candidate, Signals
from gateway.core.route import Route


class Ordered:
    name = "ordered"

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]:
        return candidates
