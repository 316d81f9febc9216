"""Fitting the discriminator: five models, each without what it will score, by scikit-learn.

Model f is fitted on three folds. The next one, (f + 1) mod 5, says when to stop, which regularization is
best, and how to calibrate. Fold f itself is scored, and has no part in any of it. Folds are of contents,
so duplicates, on whichever side, are in one fold.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import DataError
from transforms.kernels.arrays import F64, I64, U8, U64
from transforms.kernels.likeness.features import FeatureSpec
from transforms.kernels.likeness.folds import FOLDS, folds_of
from transforms.kernels.randomness import content_keys, record_keys, split_pair
from transforms.likeness.auc import auc_by_folds
from transforms.likeness.matrix import Matrix, featurized
from transforms.likeness.model import FoldModel, LikeModel, Packed, Sizes
from transforms.likeness.platt import Calibration, calibrate

REGULARIZATIONS = (1e-4, 1e-5, 1e-6)
"""Those that are tried: alpha of scikit-learn's SGDClassifier."""

_EPOCHS = 12  # at most
_PATIENCE = 2  # epochs without a smaller loss, then it stops
_BATCH = 1 << 21  # features that are not zero, about, of a batch
_LEAST = 50  # contents of either set: ten a fold

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False, kw_only=True)
class FitSample:
    """Records of the input and of the test set, in any order.

    Attributes:
        texts: n, of any string or binary type; None where the features are of columns alone.
        columns: those that the features ask for, n values each.
        is_test: bool[n].
        hash0, hash1: uint64[n], the hashes of contents.
    """

    texts: pa.Array | None
    columns: Mapping[str, pa.Array]
    is_test: Bools
    hash0: U64
    hash1: U64

    def take(self, places: I64) -> FitSample:
        """Return the records at some places, in that order; a place may come more than once."""
        chosen = pa.array(places)
        return FitSample(
            texts=None if self.texts is None else self.texts.take(chosen),
            columns={name: column.take(chosen) for name, column in self.columns.items()},
            is_test=self.is_test[places],
            hash0=self.hash0[places],
            hash1=self.hash1[places],
        )


class FitReport(NamedTuple):
    """What fitting came to.

    Attributes:
        auc: of held-out scores, fold by fold: how likely a test record's score is above an input
            record's.
        loss: held-out, calibrated, in nats; the mean over folds.
        sample: what was given.
        fitted: what of it was used (``MOST_VALUES``).
        effects: float64[features]: how far each feature sets the two apart: its calibrated weight, the
            mean over folds, times the difference of its means, test less input. Their sum is the
            distance of the sets' mean sums.
        weights: float64[features]: those weights; above 0 speaks for the test set.
    """

    auc: float
    loss: float
    sample: Sizes
    fitted: Sizes
    effects: F64
    weights: F64


def fit(sample: FitSample, spec: FeatureSpec, seed: int) -> tuple[LikeModel, FitReport]:
    """Fit the five models on one thread. Equal for equal samples, versions and kinds of processor.

    Args:
        sample: in any order: it is put into one by the seed first.
        spec: which features.
        seed: of the split.

    Raises:
        DataError: too few distinct contents to part them into folds.
    """
    from threadpoolctl import threadpool_limits

    _require_enough(sample)
    sample = sample.take(_order(sample, seed))
    with threadpool_limits(1):
        matrix, kept = featurized(spec, sample.texts, sample.columns, sample.is_test)
        used = sample.take(kept)
        folds = folds_of(used.hash0, used.hash1, seed)
        fitted = [_fit_fold(fold, used, folds, matrix, seed) for fold in range(FOLDS)]
        z = np.empty(len(kept))
        for fold in range(FOLDS):
            rows = np.flatnonzero(folds == fold)
            z[rows] = matrix.sums(rows, fitted[fold].weights)
        means = matrix.means(used.is_test), matrix.means(~used.is_test)
    weights = np.mean([one.calibration.a * one.weights for one in fitted], axis=0)
    model = LikeModel(
        features=spec,
        seed=seed,
        folds=[one.model for one in fitted],
        versions={name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
        processor=_processor(),
    )
    calibrated = model.calibration[folds, 0] * z + model.calibration[folds, 1]
    return model, FitReport(
        auc=auc_by_folds(calibrated, used.is_test, folds),
        loss=float(np.mean([one.model.loss for one in fitted])),
        sample=sizes(sample),
        fitted=sizes(used),
        effects=weights * (means[0] - means[1]),
        weights=weights,
    )


def sizes(sample: FitSample, mine: Bools | None = None) -> Sizes:
    """Count records and contents of either set, of those that are ``mine`` (None: all)."""
    tests = sample.is_test if mine is None else sample.is_test & mine
    inputs = ~sample.is_test if mine is None else ~sample.is_test & mine
    return Sizes(
        input=int(inputs.sum()),
        test=int(tests.sum()),
        input_contents=_contents(sample, inputs),
        test_contents=_contents(sample, tests),
    )


class _Fitted(NamedTuple):
    weights: F64
    calibration: Calibration
    model: FoldModel


def _fit_fold(fold: int, sample: FitSample, folds: U8, matrix: Matrix, seed: int) -> _Fitted:
    """Fit the model that scores a fold: choose among regularizations by held-out loss."""
    stopping = (fold + 1) % FOLDS
    held = np.flatnonzero(folds == stopping)
    seen = (folds != stopping) & (folds != fold)
    tries = [
        _fit_one(matrix, sample.is_test, alpha=alpha, fold=fold, seen=seen, held=held, seed=seed)
        for alpha in REGULARIZATIONS
    ]
    best = min(tries, key=lambda one: one.calibration.loss)
    model = FoldModel(
        weights=Packed.of(best.weights),
        a=best.calibration.a,
        b=best.calibration.b,
        regularization=best.alpha,
        epochs=best.epochs,
        loss=best.calibration.loss,
        losses={repr(one.alpha): one.calibration.loss for one in tries},
        fitted_on=sizes(sample, seen),
        held_out=sizes(sample, folds == stopping),
    )
    return _Fitted(best.weights, best.calibration, model)


class _Try(NamedTuple):
    alpha: float
    epochs: int
    weights: F64
    calibration: Calibration


def _fit_one(
    matrix: Matrix, is_test: Bools, *, alpha: float, fold: int, seen: Bools, held: I64, seed: int
) -> _Try:
    """Fit with one regularization until the held-out loss, calibrated, falls no more."""
    from sklearn.linear_model import SGDClassifier

    classifier = SGDClassifier(
        loss="log_loss",
        alpha=alpha,
        learning_rate="constant",
        eta0=2.0 / matrix.mean_square,  # half of what keeps a step from overshooting, on average
        average=True,
        shuffle=False,  # batches come in the order of our own keys
        random_state=0,
    )
    best: _Try | None = None
    for epoch in range(1, _EPOCHS + 1):
        for rows in _batches(seen, is_test, matrix.sizes, seed=seed, fold=fold, epoch=epoch):
            classifier.partial_fit(matrix.rows(rows), is_test[rows], classes=[False, True])
        weights = classifier.coef_[0].astype(np.float32).astype(np.float64)  # as they are stored
        found = calibrate(matrix.sums(held, weights), is_test[held])
        if best is None or found.loss < best.calibration.loss:
            best = _Try(alpha, epoch, weights, found)
        elif epoch - best.epochs >= _PATIENCE:
            break
    assert best is not None
    return best


def _batches(
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


def _order(sample: FitSample, seed: int) -> I64:
    """Return places in an order of the seed's: by content, and number among equals of a side."""
    order = np.lexsort((sample.hash1, sample.hash0, sample.is_test))
    keys = content_keys(split_pair(seed, "like", "order"), sample.hash0, sample.hash1)[order]
    tests = sample.is_test[order]
    new = np.ones(len(keys), bool)
    new[1:] = (keys[1:] != keys[:-1]) | (tests[1:] != tests[:-1])
    begins = np.flatnonzero(new)
    among = np.arange(len(keys)) - np.repeat(begins, np.diff([*begins, len(keys)]))
    pair = split_pair(seed, "like", "order", "among equals")
    places = np.lexsort((record_keys(pair, keys + among.astype(np.uint64)), tests))
    return order[places]


def _contents(sample: FitSample, mine: Bools) -> int:
    pairs = np.stack([sample.hash0[mine], sample.hash1[mine]], axis=1)
    return len(np.unique(pairs, axis=0))


def _require_enough(sample: FitSample) -> None:
    for mine, what in ((sample.is_test, "test set"), (~sample.is_test, "input")):
        found = _contents(sample, mine)
        if found < _LEAST:
            raise DataError(
                f"--like: expected at least {_LEAST} different records in the {what}, to learn from a "
                f"part of them and judge by another; got {found} (in {int(mine.sum())} records)"
            )


def _processor() -> str:
    """Return the kind of processor, as compilers call it."""
    from llvmlite import binding

    return f"{platform.machine()} {binding.get_host_cpu_name()}"
