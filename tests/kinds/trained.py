"""A tiny file of kinds of its own, trained in a second: what the tests read with."""

from __future__ import annotations

import random
from functools import cache

from gateway.kinds.features import read
from gateway.kinds.reader import KindFile
from learn.train import Recipe, fit

SUBJECTS = {
    "animals": "cat dog horse elephant zoo feeds paws tail fur barks mouse wild".split(),
    "kitchens": "pan oven stove bake salt pepper fry soup spoon dough boil recipe".split(),
    "ships": "harbour sail anchor captain deck cargo rope port mast tide crew hull".split(),
}


def prompts(count: int, seed: int) -> list[tuple[str, str]]:
    """Texts with their kinds."""
    dice = random.Random(seed)
    kinds = [kind for kind in SUBJECTS for _ in range(count)]
    return [(" ".join(dice.choices(SUBJECTS[kind], k=8)), kind) for kind in kinds]


@cache
def file() -> KindFile:
    taught, calibrating = prompts(40, 1), prompts(20, 2)
    right = [1.0 if kind == "ships" else None if number % 5 == 0 else 0.0 for number, (_, kind) in enumerate(taught)]
    return fit(
        [read(text) for text, _ in taught],
        [kind for _, kind in taught],
        [read(text) for text, _ in calibrating],
        [kind for _, kind in calibrating],
        heads={"some/model": right},
        recipe=Recipe(novel_quantile=1.0),
    )
