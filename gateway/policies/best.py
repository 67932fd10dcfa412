"""Highest quality for the route's task kind first; among equals the cheaper. The cost cap is the route's own drop.

A model that nobody has measured comes last: an unknown is not a zero, but it is no promise either.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.candidate import Candidate, Signals
from gateway.core.route import Route


class Best:
    name = "best"

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]:
        return sorted(candidates, key=_rank)


def _rank(candidate: Candidate) -> tuple[bool, float, int]:
    score = candidate.score
    return (score is None, 0.0 if score is None else -score, candidate.expected_cost)
