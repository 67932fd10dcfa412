"""Shares by weight: a draw without replacement, so the rest of the draw is the fallback order.

A weight of 0 drains a model: it is not drawn, not even as a fallback. A route without weights, which a request's own
header may have brought here, has equal shares.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from gateway.core.candidate import Candidate, Signals
from gateway.core.route import Route


class Split:
    name = "split"

    def order(self, candidates: Sequence[Candidate], route: Route, signals: Signals) -> Sequence[Candidate]:
        # Efraimidis and Spirakis (2006): ordering by u**(1/weight) is a weighted draw without replacement.
        dice = random.Random(signals.seed)  # noqa: S311 - shares, not secrets
        drawn = []
        for candidate in candidates:
            # A request that asks for an effort itself meets a model at that effort under the share of the plain one.
            model = candidate.model
            weight = route.weights.get(model.id, route.weights.get(model.base, 0)) if route.weights else 1
            if weight > 0:
                drawn.append((dice.random() ** (1 / weight), candidate))
        drawn.sort(key=lambda pair: pair[0], reverse=True)
        return [candidate for _, candidate in drawn]
