"""Least expected cost of this request at this instant; equal costs go to the quicker, then keep the route's order.

What a model's answers really cost is learned from its answers alone, so one that was thought too dear would never be
asked. Where the route allows it (`explore_percent`), some requests go to a candidate with few answers, as long as it is
not expected to cost many times the least: the price of finding out is bounded, and it ends once enough is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.candidate import Candidate, Signals
from gateway.core.route import Route

FEW_ANSWERS = 5
DEAREST_TRIED = 2
"""A candidate is tried while it is expected to cost at most so many times the least."""

_UNSEEN = float("inf")


class Cheapest:
    name = "cheapest"

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]:
        ranked = sorted(candidates, key=_rank)
        if route.explore_percent and ranked and signals.seed % 100 < route.explore_percent:
            most = DEAREST_TRIED * ranked[0].expected_cost
            unknown = [one for one in ranked if one.answers < FEW_ANSWERS and one.expected_cost <= most]
            if unknown:
                first = min(unknown, key=lambda one: one.answers)
                return [first, *(one for one in ranked if one is not first)]
        return ranked


def _rank(candidate: Candidate) -> tuple[int, float]:
    seconds = candidate.seconds
    return (candidate.expected_cost, _UNSEEN if seconds is None else seconds)
