"""Graded answers of several models to the same prompts, as a Parquet file of the evaluation holds them.

Columns: `prompt`, `category`, and for each model `correct|<model>` (0 or 1) and `out_chars|<model>`. Any of the last
two may miss a value: such an answer teaches nothing, and a prompt is tested on only when the whole pool answered it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import arro3.io
import numpy as np
import numpy.typing as npt

from gateway.kinds.features import Features, read

from .curve import Truth

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]

PRICES = {
    "gpt-4o-2024-05-13": (5.0, 15.0),
    "gemini-1.5-pro-002": (3.5, 10.5),
    "gemini-1.5-flash-002": (0.075, 0.3),
    "deepseek-v2-chat": (0.14, 0.28),
}
"""The pool, the dearest first: dollars for a million tokens of input and of output, as the data's README has them."""

CHARS_PER_TOKEN = 4


class OutcomesError(ValueError):
    """The file cannot be evaluated; the message says what it needs."""


@dataclass(frozen=True)
class Outcomes:
    """One row per prompt, one column per model of the pool. right: 0, 1 or NaN; written: characters, or NaN."""

    prompts: list[str]
    features: list[Features]
    kinds: list[str]
    right: Array
    written: Array

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(PRICES)

    @property
    def cost(self) -> Array:
        """Dollars for 1,000 such prompts."""
        return priced(self.chars, self.written)

    @property
    def chars(self) -> Array:
        return np.array([len(prompt) for prompt in self.prompts], float)

    def taken(self, rows: Rows) -> Outcomes:
        return Outcomes(
            prompts=[self.prompts[row] for row in rows],
            features=[self.features[row] for row in rows],
            kinds=[self.kinds[row] for row in rows],
            right=self.right[rows],
            written=self.written[rows],
        )


def complete(outcomes: Outcomes) -> Outcomes:
    """The prompts that the whole pool answered."""
    return outcomes.taken(np.flatnonzero(~np.isnan(outcomes.right + outcomes.written).any(1)))


def truth_of(outcomes: Outcomes) -> Truth:
    return Truth(outcomes.right, outcomes.cost)


def priced(chars: Array, written: Array) -> Array:
    """Dollars for 1,000 prompts of these sizes with answers of these, per model."""
    rates = np.array(list(PRICES.values()))
    return (chars[:, None] * rates[:, 0] + written * rates[:, 1]) / CHARS_PER_TOKEN / 1_000


def read_outcomes(path: Path) -> Outcomes:
    """Raises OutcomesError."""
    if not path.is_file():
        raise OutcomesError(
            f"{path} is not there. `make eval-routing DATA=...` takes a folder with mmlu_pro_multi.parquet, or a "
            "Parquet file with the columns prompt, category, and for each model correct|<model> and out_chars|<model>"
        )
    table = arro3.io.read_parquet(path).read_all()
    names = set(table.schema.names)
    needed = ["prompt", "category", *(f"{what}|{model}" for model in PRICES for what in ("correct", "out_chars"))]
    if missing := [name for name in needed if name not in names]:
        raise OutcomesError(f"{path} has no column {', '.join(missing)}")

    def figures(what: str) -> Array:
        columns = [table.column(f"{what}|{model}").to_pylist() for model in PRICES]
        return np.array([[np.nan if value is None else float(value) for value in column] for column in columns]).T

    prompts, kinds = table.column("prompt").to_pylist(), table.column("category").to_pylist()
    usable = [row for row, (prompt, kind) in enumerate(zip(prompts, kinds, strict=True)) if prompt and kind]
    if not usable:
        raise OutcomesError(f"{path} has no row with a prompt and a category")
    prompts = [prompts[row] for row in usable]
    return Outcomes(
        prompts=prompts,
        features=[read(prompt) for prompt in prompts],
        kinds=[kinds[row] for row in usable],
        right=figures("correct")[usable],
        written=figures("out_chars")[usable],
    )


def divided(count: int, shares: Sequence[float], seed: int) -> list[Rows]:
    """Row numbers in parts of these shares, by a seeded draw."""
    order = np.random.default_rng(seed).permutation(count)
    ends = np.cumsum([round(share * count) for share in shares[:-1]])
    return np.split(order, ends)
