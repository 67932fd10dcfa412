"""The routers that are compared, each an expectation of quality and cost per prompt and model.

Everything a router knows comes from the rows that taught it; of the prompt it is asked about it sees the text alone
(but for the two that say so). Kinds are read by gateway/kinds as the gateway does, and scores are drawn towards the
whole by core/quality as the gateway's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression

from gateway.core.quality import shrunk
from gateway.kinds.reader import KindReader, Kinds

from .curve import Expected
from .outcomes import Array, Outcomes, priced
from .train import Recipe, fit

RECIPE = Recipe(strength=30.0, shape_share=0.02, novel_quantile=1.0)


@dataclass(frozen=True)
class ByShape:
    """Per model a regression on the kind and on the shape figures: how hard a prompt is for one of its kind.

    of_kind: one row per kind, one column per model; of_shape: one row per figure. Both in log odds.
    """

    mean: Array
    scale: Array
    of_kind: Array
    of_shape: Array

    def quality(self, shapes: Array, shares: Array) -> Array:
        """Weighed by how likely each kind is."""
        by_shape = (shapes - self.mean) / self.scale @ self.of_shape
        chances = 1 / (1 + np.exp(-(by_shape[:, None, :] + self.of_kind[None])))
        return np.einsum("nk,nkm->nm", shares, chances)


@dataclass(frozen=True)
class Knowledge:
    """What the taught rows say: per model on the whole, and per kind and model."""

    reader: KindReader
    quality: Array
    written: Array
    kind_quality: Array
    kind_written: Array
    by_length: Sequence[LogisticRegression | float]
    by_shape: ByShape


def learned(taught: Outcomes, calibrating: Outcomes, *, heads: bool) -> Knowledge:
    """heads: also a regression per model on whether its answer is right."""
    models = taught.models
    targets = {name: _known(taught.right[:, column]) for column, name in enumerate(models)} if heads else {}
    file = fit(taught.features, taught.kinds, calibrating.features, calibrating.kinds, heads=targets, recipe=RECIPE)
    quality, written = np.nanmean(taught.right, 0), np.nanmean(taught.written, 0)
    of_kind = [np.array([one == kind for one in taught.kinds]) for kind in file.kinds]
    return Knowledge(
        reader=KindReader(file),
        quality=quality,
        written=written,
        kind_quality=np.array([_drawn(taught.right[rows], quality) for rows in of_kind]),
        kind_written=np.array([_drawn(taught.written[rows], written) for rows in of_kind]),
        by_length=[_on_length(taught.chars, taught.right[:, column]) for column in range(len(models))],
        by_shape=_on_shape(taught, np.column_stack(of_kind), quality),
    )


def _known(values: Array) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _drawn(values: Array, whole: Array) -> Array:
    """Per model the mean, drawn towards that of the whole."""
    counts, totals = (~np.isnan(values)).sum(0), np.nansum(values, 0)
    return np.array([shrunk(*one) for one in zip(whole, counts, totals, strict=True)])


def _on_length(chars: Array, right: Array) -> LogisticRegression | float:
    known = ~np.isnan(right)
    if len(set(right[known].tolist())) < 2:
        return float(right[known].mean())
    return LogisticRegression().fit(np.log(chars[known, None] + 1), right[known].astype(int))


KIND_WEIGHT = 3.0
"""Beside shape figures of spread 1, so that the kinds are hardly drawn towards nought."""


def _on_shape(taught: Outcomes, of_kind: Array, whole: Array) -> ByShape:
    shapes = np.stack([one.shape for one in taught.features]).astype(float)
    mean, scale = shapes.mean(0), shapes.std(0) + 1e-6
    rows = np.hstack([of_kind * KIND_WEIGHT, (shapes - mean) / scale])
    columns = []
    for right, share in zip(taught.right.T, whole, strict=True):
        known = ~np.isnan(right)
        if 0 < share < 1:
            model = LogisticRegression(max_iter=300).fit(rows[known], right[known].astype(int))
            columns.append((model.coef_[0], float(model.intercept_[0])))
        else:
            columns.append((np.zeros(rows.shape[1]), 6.0 if share else -6.0))
    weights = np.column_stack([column for column, _ in columns])
    kinds = of_kind.shape[1]
    offsets = np.array([offset for _, offset in columns])
    return ByShape(mean, scale, weights[:kinds] * KIND_WEIGHT + offsets, weights[kinds:])


def static(known: Knowledge, asked: Outcomes) -> Expected:
    """One score per model; only the price of this prompt differs."""
    return Expected(np.tile(known.quality, (len(asked.prompts), 1)), _cost(asked, known.written))


def length_only(known: Knowledge, asked: Outcomes) -> Expected:
    """The chance of a right answer by the length of the prompt."""
    sizes = np.log(asked.chars[:, None] + 1)
    columns = [
        np.full(len(sizes), model) if isinstance(model, float) else model.predict_proba(sizes)[:, 1]
        for model in known.by_length
    ]
    return Expected(np.column_stack(columns), _cost(asked, known.written))


def kind_table(known: Knowledge, asked: Outcomes, read: Sequence[Kinds]) -> Expected:
    """What the kind's models are worth, weighed by how likely each kind is."""
    shares = np.array([one.posterior for one in read])
    return Expected(shares @ known.kind_quality, _cost(asked, shares @ known.kind_written))


def averaged(known: Knowledge, asked: Outcomes, read: Sequence[Kinds]) -> Expected:
    """The mean of the kind table and of two regressions per model: on the words, and on kind and shape."""
    table = kind_table(known, asked, read)
    words = np.array([one.heads for one in read])
    shapes = np.stack([one.shape for one in asked.features]).astype(float)
    by_shape = known.by_shape.quality(shapes, np.array([one.posterior for one in read]))
    return Expected((table.quality + words + by_shape) / 3, table.cost)


def true_kinds(known: Knowledge, asked: Outcomes) -> Expected:
    """The kind table, told the right kind."""
    numbers = [known.reader.kinds.index(kind) for kind in asked.kinds]
    return Expected(known.kind_quality[numbers], _cost(asked, known.kind_written[numbers]))


def oracle(asked: Outcomes) -> Expected:
    """Knows which answers will be right, and what they will cost."""
    return Expected(asked.right, asked.cost)


def _cost(asked: Outcomes, written: Array) -> Array:
    return priced(asked.chars, np.broadcast_to(written, asked.right.shape))
