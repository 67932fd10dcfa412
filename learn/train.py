"""Train the linear heads that tell kinds apart, and whatever else is asked of a text, into one small file.

Multinomial logistic regression on the features of gateway/kinds, which serving computes in the same way. Rows are
divided by a seeded draw: most teach, a part calibrates (the temperature and the guard), and a part is kept for the
figures that are printed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from scipy.sparse import csr_matrix, hstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from gateway.kinds.features import BUCKETS, SEEN_BITS, SHAPE, Features
from gateway.kinds.reader import FORMAT, Guard, KindFile, KindReader

Array = npt.NDArray[np.float64]

LEAST_POSTERIOR = 0.4
"""Below this the likeliest kind is wrong about as often as it is right."""

STEPS = np.linspace(0, 1, 65)[1:-1]
"""Which quantiles of the posterior the file keeps."""


@dataclass(frozen=True)
class Recipe:
    """strength: inverse of the regularisation; shape_share: how much a shape figure weighs beside the words; watch:
    the calibrating rows are like those that will be asked, so that others are told from them."""

    strength: float = 30.0
    head_strength: float = 1.0
    shape_share: float = 0.05
    least_posterior: float = LEAST_POSTERIOR
    novel_quantile: float = 0.99
    most_steps: int = 100
    watch: bool = True


def fit(
    taught: Sequence[Features],
    kinds: Sequence[str],
    calibrating: Sequence[Features],
    calibrating_kinds: Sequence[str],
    *,
    heads: Mapping[str, Sequence[float | None]] | None = None,
    recipe: Recipe = Recipe(),
    provenance: Mapping[str, str] | None = None,
) -> KindFile:
    """Heads: for each name a value of 0 or 1 per taught row, or None where nobody knows."""
    names = tuple(sorted(set(kinds)))
    if len(names) < 2:
        raise ValueError(f"at least two kinds are needed to tell them apart, and there is only {', '.join(names)!r}")
    mean, scale = _shape_scaling(taught, recipe.shape_share)
    idf = _idf(taught)
    rows = matrix(taught, idf, mean, scale)
    columns, bias = _kind_columns(rows, np.array([names.index(kind) for kind in kinds]), recipe)
    extra = [_head_column(rows, values, recipe) for values in (heads or {}).values()]
    weights = np.column_stack([columns, *(column for column, _ in extra)]).astype("<f2")
    file = KindFile(
        format=FORMAT,
        kinds=names,
        heads=tuple(heads or ()),
        idf=idf.astype("<f2").tobytes(),
        weights=weights[:BUCKETS].tobytes(),
        shape_mean=tuple(mean.tolist()),
        shape_scale=tuple(scale.tolist()),
        shape_weights=weights[BUCKETS:].tobytes(),
        bias=(*bias.tolist(), *(offset for _, offset in extra)),
        priors=tuple(float(np.mean([kind == name for kind in kinds])) for name in names),
        temperature=1.0,
        guard=Guard(least_posterior=0.0, most_novel=1.0),
        usual=(),
        seen=_seen(taught),
        provenance=dict(provenance or {}),
    )
    return _calibrated(file, calibrating, calibrating_kinds, recipe)


def matrix(found: Sequence[Features], idf: Array, mean: Array, scale: Array) -> csr_matrix:
    """The rows as a reader weighs them."""
    starts = np.cumsum([0, *(len(one.buckets) for one in found)])
    values = np.concatenate([_unit(one.weights * idf[one.buckets]) for one in found])
    words = csr_matrix((values, np.concatenate([one.buckets for one in found]), starts), shape=(len(found), BUCKETS))
    shape = (np.stack([one.shape for one in found]) - mean) / scale
    return hstack([words, csr_matrix(shape)], format="csr", dtype=np.float32)  # twice as fast to learn from


def _unit(values: Array) -> Array:
    return values / (np.sqrt(values @ values) or 1.0)


def _idf(found: Sequence[Features]) -> Array:
    counts = np.bincount(np.concatenate([one.buckets for one in found]), minlength=BUCKETS)
    return np.log((1 + len(found)) / (1 + counts)) + 1


def _seen(found: Sequence[Features]) -> bytes:
    bits = np.zeros(SEEN_BITS, bool)
    bits[np.concatenate([one.words for one in found])] = True
    return np.packbits(bits).tobytes()


def _shape_scaling(found: Sequence[Features], share: float) -> tuple[Array, Array]:
    shape = np.stack([one.shape for one in found]).astype(np.float64)
    spread = shape.std(0)
    assert len(spread) == len(SHAPE)
    return shape.mean(0), np.where(spread > 0, spread, 1.0) / share


def _kind_columns(rows: csr_matrix, labels: npt.NDArray[np.int64], recipe: Recipe) -> tuple[Array, Array]:
    model = _fitted(rows, labels, recipe.strength, recipe.most_steps)
    if len(model.coef_) == 1:  # of two kinds scikit-learn keeps one column, the second's against the first's
        return np.column_stack([-model.coef_[0] / 2, model.coef_[0] / 2]), np.array([-0.5, 0.5]) * model.intercept_
    return model.coef_.T, model.intercept_


def _head_column(rows: csr_matrix, values: Sequence[float | None], recipe: Recipe) -> tuple[Array, float]:
    known = np.array([value is not None for value in values])
    targets = np.array([value for value in values if value is not None], dtype=int)
    if len(set(targets.tolist())) < 2:
        # Always right, or never, or nobody knows: a constant near what was seen.
        share = (targets.sum() + 0.5) / (len(targets) + 1)
        return np.zeros(rows.shape[1]), float(np.log(share / (1 - share)))
    model = _fitted(rows[known], targets, recipe.head_strength, recipe.most_steps)
    return model.coef_[0], float(model.intercept_[0])


def _fitted(rows: csr_matrix, labels: npt.NDArray[np.int64], strength: float, most_steps: int) -> LogisticRegression:
    with warnings.catch_warnings():
        # A few steps short of the optimum is no fault of a classifier.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=strength, max_iter=most_steps, tol=1e-3).fit(rows, labels)


def _calibrated(file: KindFile, found: Sequence[Features], kinds: Sequence[str], recipe: Recipe) -> KindFile:
    """With the temperature that makes the posterior honest on rows that taught nothing, and the guard set there."""
    reader = KindReader(file)
    posteriors = np.array([reader.judge(one).posterior for one in found])
    logits = np.log(np.maximum(posteriors, 1e-12))
    labels = np.array([file.kinds.index(kind) for kind in kinds])
    temperature = float(min(np.geomspace(0.2, 5.0, 60), key=lambda one: _surprise(logits / one, labels)))
    file = replace(file, temperature=temperature)
    reader = KindReader(file)
    novel = float(np.quantile([reader.novel(one) for one in found], recipe.novel_quantile))
    usual = np.quantile([max(reader.judge(one).posterior) for one in found], STEPS).tolist() if recipe.watch else ()
    return replace(file, guard=Guard(least_posterior=recipe.least_posterior, most_novel=novel), usual=tuple(usual))


def _surprise(logits: Array, labels: npt.NDArray[np.int64]) -> float:
    """The mean negative log likelihood."""
    logits = logits - logits.max(1, keepdims=True)
    return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]))
