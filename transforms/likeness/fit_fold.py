"""Fitting the model of one fold: on three others, stopped, chosen and calibrated by the fourth."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import F64, I64, U8
from transforms.kernels.likeness.folds import FOLDS
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.kernels.randomness import record_keys, split_pair
from transforms.likeness.calibration import calibrate, platt
from transforms.likeness.fit_sample import Bools, FitSample, sizes
from transforms.likeness.matrix import Matrix
from transforms.likeness.model import FoldModel, Packed
from transforms.likeness.scale import scale_of

REGULARIZATIONS = (1e-3, 1e-4, 1e-5)
"""Those that are tried: alpha of scikit-learn's SGDClassifier."""

_EPOCHS = 12  # at most
_PATIENCE = 2  # epochs without a smaller loss, then it stops
_BETTER = 1e-3  # of the loss: less isn't smaller
_STEP = 1.0  # times a record's squares: at 8 a step may overshoot what it is to mend
_BATCH = 1 << 21  # features that are not zero, about, of a batch


class FoldFit(NamedTuple):
    """The model of a fold, and its weights: float64[width]."""

    weights: F64
    model: FoldModel


def fit_fold(
    fold: int, sample: FitSample, folds: U8, matrix: Matrix, *, spec: FeatureSpec, seed: int
) -> FoldFit:
    """Fit the model that scores a fold: stopped, chosen and calibrated by another fold's loss.

    Args:
        fold: its number.
        sample: n records of both sets.
        folds: uint8[n], which fold each record is in.
        matrix: features of the records.
        spec: what the features are.
        seed: of the order in which records are learned from.
    """
    stopping = (fold + 1) % FOLDS
    held = np.flatnonzero(folds == stopping)
    seen = (folds != stopping) & (folds != fold)
    scale = scale_of(spec, matrix, seen, sample.is_test)
    step = _STEP / matrix.mean_square(seen, scale)
    tries = [_Try(alpha, step, scale) for alpha in REGULARIZATIONS]
    for_stopping = matrix.rows(held)
    for epoch in range(1, _EPOCHS + 1):
        going = [one for one in tries if not one.stands_still]
        for rows in batches(seen, sample.is_test, matrix.sizes, seed=seed, fold=fold, epoch=epoch):
            batch = matrix.rows(rows, scale)
            for one in going:
                one.learn(batch, sample.is_test[rows])
        for one in going:
            one.judge(epoch, for_stopping, sample.is_test[held])
    held_out = sizes(sample, folds == stopping)
    contents = held_out.test_contents, held_out.input_contents
    calibrations = [calibrate(one.sums, sample.is_test[held], contents=contents) for one in tries]
    chosen = min(range(len(tries)), key=lambda i: calibrations[i].loss)
    best, calibration = tries[chosen], calibrations[chosen]
    model = FoldModel(
        weights=Packed.of(best.weights),
        a=calibration.a,
        b=calibration.b,
        low=calibration.low,
        high=calibration.high,
        regularization=best.alpha,
        epochs=best.epochs,
        loss=calibration.loss,
        losses={repr(one.alpha): each.loss for one, each in zip(tries, calibrations, strict=True)},
        fitted_on=sizes(sample, seen),
        held_out=held_out,
    )
    return FoldFit(best.weights, model)


class _Try:
    """A model with one regularization, as it was when its held-out loss was least.

    Attributes:
        alpha: the regularization.
        epochs: after how many it was so.
        weights: float64[features], as they are stored.
        sums: of the held-out records.
    """

    def __init__(self, alpha: float, step: float, scale: F64) -> None:
        from sklearn.linear_model import SGDClassifier

        self.alpha, self._scale = alpha, scale
        self._classifier = SGDClassifier(
            loss="log_loss",
            alpha=alpha,
            learning_rate="constant",
            eta0=step,
            average=True,
            shuffle=False,  # batches come in the order of our own keys
            random_state=0,
        )
        self._least, self._last, self.epochs = np.inf, 0, 0

    @property
    def stands_still(self) -> bool:
        """Whether it has learned nothing for a while."""
        return self._last - self.epochs >= _PATIENCE

    def learn(self, batch: Any, is_test: Bools) -> None:
        self._classifier.partial_fit(batch, is_test, classes=[False, True])

    def judge(self, epoch: int, held: Any, is_test: Bools) -> None:
        weights = (self._classifier.coef_[0] * self._scale).astype(np.float32).astype(np.float64)
        sums = held @ weights
        loss = platt(sums, is_test).loss
        self._last = epoch
        if loss < self._least * (1 - _BETTER):
            self._least, self.epochs = loss, epoch
            self.weights, self.sums = weights, sums


def batches(
    seen: Bools, is_test: Bools, sizes: I64, *, seed: int, fold: int, epoch: int
) -> Iterator[I64]:
    """Yield the places of records, of either set in turn, until the larger set was seen whole.

    The smaller begins again, in another order, until it has as many.
    """
    sides = [np.flatnonzero(seen & is_test), np.flatnonzero(seen & ~is_test)]
    most = max(len(side) for side in sides)
    order = np.empty(2 * most, np.int64)
    for number, side in enumerate(sides):
        passes = -(-most // len(side))
        drawn = [
            side[_shuffled(len(side), seed, fold, epoch, number, again)] for again in range(passes)
        ]
        order[number::2] = np.concatenate(drawn)[:most]
    ends = np.cumsum(sizes[order])
    cuts = np.flatnonzero(np.diff(ends // _BATCH)) + 1
    yield from np.split(order, cuts)


def _shuffled(count: int, seed: int, *labels: int) -> I64:
    pair = split_pair(seed, "like", "batch", *labels)
    return np.argsort(record_keys(pair, np.arange(count, dtype=np.uint64)), kind="stable")
