"""Scores of records by linear models of their features: how surely each is one of the other set.

A score is D * 2**20, a whole number from 1 to 2**20 - 1, where D is the probability that a calibrated
discriminator gives. It is a function of the record and the models alone: all sums are taken in a fixed
order, each rounded as IEEE 754 says, so that it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from transforms.kernels.arrays import F64, U8, U32
from transforms.kernels.elementary import exp_parts
from transforms.kernels.likeness.features import FeatureSpec, featurize

SCORES = 1 << 20
"""What a score is a part of: a probability of one half is SCORES / 2."""

_FAR = 64.0  # e**-64 is far below half a score


def logits(
    spec: FeatureSpec,
    weights: F64,
    texts: pa.Array | Sequence[str] | None,
    columns: Mapping[str, pa.Array] | None = None,
    *,
    folds: U8 | None = None,
) -> F64:
    """Return float64[n]: each record's features times the weights of its fold's model.

    Args:
        spec: which features.
        weights: float64[k, spec.width]: a row for each model.
        texts: as of ``featurize``.
        columns: as of ``featurize``.
        folds: uint8[n], below k: which model is each record's; None where there is one alone.
    """
    made = featurize(spec, texts, columns)
    count = len(made.indptr) - 1
    models = np.zeros(count, np.uint8) if folds is None else folds
    rows = np.repeat(np.arange(count), np.diff(made.indptr))
    out = np.zeros(count)
    np.add.at(out, rows, made.data * weights[models[rows], made.indices])
    return out


def to_scores(z: F64, low: F64 | float = 0.0, high: F64 | float = 1.0) -> U32:
    """Return uint32[n]: the scores of calibrated logits, float64[n]; NaN isn't one of them.

    Args:
        z: see above.
        low, high: float64[n], or one for all: the least D and the largest that there is.

    >>> to_scores(np.array([0.0, -1000.0, 1000.0])).tolist()
    [524288, 1, 1048575]
    """
    m, k = exp_parts(-np.clip(z, -_FAR, _FAR))
    d = low + (high - low) * (1.0 / (1.0 + np.ldexp(m, k.astype(np.int64))))
    scores: U32 = np.clip(np.rint(d * SCORES), 1, SCORES - 1).astype(np.uint32)
    return scores


def score(
    spec: FeatureSpec,
    weights: F64,
    calibration: F64,
    texts: pa.Array | Sequence[str] | None,
    columns: Mapping[str, pa.Array] | None = None,
    *,
    folds: U8 | None = None,
) -> U32:
    """Return uint32[n]: each record's score, from 1 to 2**20 - 1.

    Args:
        spec: which features.
        weights: float64[k, spec.width]: a row for each model.
        calibration: float64[k, 4]: a, b, low and high of each model; D is
            low + (high - low) / (1 + exp(-(a * z + b))), and b holds the model's own intercept.
        texts: as of ``featurize``.
        columns: as of ``featurize``.
        folds: uint8[n], below k: which model is each record's; None where there is one alone.
    """
    z = logits(spec, weights, texts, columns, folds=folds)
    models = np.zeros(len(z), np.uint8) if folds is None else folds
    a, b, low, high = calibration[models].T
    return to_scores(a * z + b, low, high)
