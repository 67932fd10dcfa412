"""Least expected cost of this request at this instant; equal costs go to the quicker, then keep the route's order."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.candidate import Candidate, Signals
from gateway.core.route import Route

_UNSEEN = float("inf")


class Cheapest:
    name = "cheapest"

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]:
        return sorted(candidates, key=_rank)


def _rank(candidate: Candidate) -> tuple[int, float]:
    seconds = candidate.seconds
    return (candidate.expected_cost, _UNSEEN if seconds is None else seconds)
