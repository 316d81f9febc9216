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
from transforms.kernels.likeness.columns import category_codes, column_of, dense_columns
from transforms.kernels.likeness.features import bytes_of, require_features
from transforms.kernels.likeness.spec import FeatureSpec

SCORES = 1 << 20
"""What a score is a part of: a probability of one half is SCORES / 2."""

_BITS = 30  # of a weight; a text of up to 2**32 n-grams can't overflow 63
_FAR = 64.0  # e**-64 is far below half a score


class Scorer:
    """Linear models of features, ready to score records.

    Weights of n-grams are rounded to whole multiples of a power of two, 2**-30 of the largest one's or
    less, so that their sums are exact in whatever order they are taken.
    """

    def __init__(self, spec: FeatureSpec, weights: F64, calibration: F64) -> None:
        """Take models.

        Args:
            spec: which features.
            weights: float64[k, spec.width], finite: a row for each model.
            calibration: float64[k, 4]: a, b, low and high of each model; D is
                low + (high - low) / (1 + exp(-(a * z + b))), and b holds the model's own intercept.
        """
        require_features(spec)
        if (
            weights.ndim != 2
            or weights.shape[1] != spec.width
            or calibration.shape != (len(weights), 4)
        ):
            raise ValueError(
                f"expected {spec.width} weights and a calibration for each model, got weights "
                f"{weights.shape} and calibrations {calibration.shape}"
            )
        self._spec, self._calibration = spec, calibration
        hashed = sum(kind[2] for kind in spec.kinds)
        self._whole = np.empty((len(weights), hashed), np.int32)
        self._units = np.empty(len(weights))
        for model, row in enumerate(weights[:, :hashed]):
            _, exponent = np.frexp(np.abs(row).max(initial=0.0))
            self._whole[model] = np.rint(np.ldexp(row, _BITS - int(exponent)))
            self._units[model] = np.ldexp(1.0, int(exponent) - _BITS)
        self._others, self._first = weights[:, hashed:].copy(), hashed

    def logits(
        self,
        texts: pa.Array | Sequence[str] | None,
        columns: Mapping[str, pa.Array] | None = None,
        *,
        folds: U8 | None = None,
    ) -> F64:
        """Return float64[n]: each record's features times its model's weights, before calibration.

        Args:
            texts: as of ``featurize``.
            columns: as of ``featurize``.
            folds: uint8[n], below k: which model is each record's; None where there is one alone.
        """
        parts = []
        if self._spec.has_text:
            parts.append(self._of_texts(texts, folds))
        if self._spec.columns:
            parts.append(self._of_columns(columns or {}, folds))
        z = parts[0]
        for part in parts[1:]:
            z = z + part
        return z

    def score(
        self,
        texts: pa.Array | Sequence[str] | None,
        columns: Mapping[str, pa.Array] | None = None,
        *,
        folds: U8 | None = None,
    ) -> U32:
        """Return uint32[n]: each record's score, from 1 to 2**20 - 1. Arguments as of ``logits``."""
        z = self.logits(texts, columns, folds=folds)
        models = np.zeros(len(z), np.uint8) if folds is None else folds
        a, b, low, high = self._calibration[models].T
        return to_scores(a * z + b, low, high)

    def _of_texts(self, texts: pa.Array | Sequence[str] | None, folds: U8 | None) -> F64:
        from transforms.kernels.likeness.texts import multiply_texts

        values, offsets = bytes_of(texts)
        models = np.zeros(len(offsets) - 1, np.uint8) if folds is None else folds
        products, squares = multiply_texts(values, offsets, self._spec.kinds, self._whole, models)
        sums = products.astype(np.float64) * self._units[models][:, np.newaxis]
        if self._spec.normed:
            sums /= np.sqrt(np.maximum(squares, 1).astype(np.float64))
        z: F64 = sums[:, 0] + sums[:, 1]
        return z

    def _of_columns(self, columns: Mapping[str, pa.Array], folds: U8 | None) -> F64:
        dense, begin = dense_columns(self._spec, columns)
        models = np.zeros(len(dense), np.uint8) if folds is None else folds
        z = np.zeros(len(dense))
        for name in self._spec.categories:
            codes = category_codes(name, column_of(columns, name), self._spec.category_buckets)
            weights = self._others[models, (codes >> 1).astype(np.int64)]
            z += np.where(codes & 1, -weights, weights)
        for place in range(dense.shape[1]):
            z += dense[:, place] * self._others[models, begin - self._first + place]
        return z


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
