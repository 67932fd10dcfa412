"""Least expected cost of this request at this instant; equal costs keep the route's own order."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.routing import Candidate, Route, Signals


class Cheapest:
    name = "cheapest"

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]:
        return sorted(candidates, key=lambda candidate: candidate.expected_cost)
