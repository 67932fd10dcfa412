"""Most quality for the money: expected score divided by expected cost. The floor has left out who is not good enough.

A model that nobody has measured comes last.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.core.candidate import Candidate, Signals
from gateway.core.route import Route


class Value:
    name = "value"

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]:
        return sorted(candidates, key=_rank)


def _rank(candidate: Candidate) -> tuple[bool, float, int]:
    score = candidate.score
    # A free model has the most value there is; among such the better one.
    per_dollar = 0.0 if score is None else score / max(candidate.expected_cost, 1)
    return (score is None, -per_dollar, candidate.expected_cost)
