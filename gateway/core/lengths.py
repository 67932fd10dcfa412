"""How long answers are, from few of them: a length that is stated, a factor of the model, a factor of the kind of task.

A model that thinks at length does so in every kind, and a kind that takes long answers takes them from every model. So
what was seen of one model in one kind says something about both, and a model is judged in a kind in which it never
answered. The two factors are found in turns (iterative proportional fitting: Deming and Stephan, 1940), each drawn
towards 1 as if SHRINK answers had been as long as stated.

Five and not twenty answers, as for quality: answers of one model to one kind differ by about their own mean, while a
stated length is often off by half; so a few answers say more than the statement does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

SHRINK = 5.0
ROUNDS = 4
"""After so many the factors move by less than the rounding of what is made of them."""


class Seen(msgspec.Struct, frozen=True, gc=False):
    """Answers and their tokens; those of days past count less, so these are no whole numbers."""

    answers: float
    tokens: float


class Factors(msgspec.Struct, frozen=True):
    """1.0 for what is not in them."""

    models: Mapping[str, float]
    kinds: Mapping[str, float]

    def length(self, stated: float, model: str, kind: str, seen: Seen) -> float:
        """The tokens to expect of this model in this kind, where this was seen of just these two."""
        fitted = stated * self.models.get(model, 1.0) * self.kinds.get(kind, 1.0)
        return (SHRINK * fitted + seen.tokens) / (SHRINK + seen.answers)


def fit(here: Mapping[tuple[str, str], Seen], elsewhere: Mapping[str, Seen], stated: Mapping[str, float]) -> Factors:
    """The factors of a route.

    here: what was seen on it, by model and kind. elsewhere: on other routes, by model. stated: each model's length.
    """
    models = dict.fromkeys((*elsewhere, *(model for model, _ in here)), 1.0)
    kinds = dict.fromkeys((kind for _, kind in here), 1.0)
    for _ in range(ROUNDS):
        expected, found = dict.fromkeys(kinds, SHRINK), dict.fromkeys(kinds, SHRINK)
        for (model, kind), seen in here.items():
            expected[kind] += seen.answers
            found[kind] += seen.tokens / (stated[model] * models[model])
        kinds = _centred({kind: found[kind] / expected[kind] for kind in kinds}, expected)
        expected, found = dict.fromkeys(models, SHRINK), dict.fromkeys(models, SHRINK)
        for (model, kind), seen in here.items():
            expected[model] += seen.answers
            found[model] += seen.tokens / (stated[model] * kinds[kind])
        for model, seen in elsewhere.items():
            expected[model] += seen.answers
            found[model] += seen.tokens / stated[model]
        models = {model: found[model] / expected[model] for model in models}
    return Factors(models, kinds)


def _centred(kinds: Mapping[str, float], answers: Mapping[str, float]) -> dict[str, float]:
    """The same with a geometric mean of 1 over all answers."""
    if not kinds:
        return {}
    mean = sum(answers[kind] * math.log(factor) for kind, factor in kinds.items()) / sum(answers.values())
    return {kind: factor / math.exp(mean) for kind, factor in kinds.items()}
