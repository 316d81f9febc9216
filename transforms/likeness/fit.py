"""Fitting the discriminator: five models, each without what it will score, by scikit-learn.

Model f is fitted on three folds. The next one, (f + 1) mod 5, says when to stop, which regularization is
best, and how to calibrate. Fold f itself is scored, and has no part in any of it. Folds are of contents,
so duplicates, on whichever side, are in one fold.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from transforms.errors import DataError
from transforms.kernels.arrays import F64, I64, U8, U64
from transforms.kernels.likeness.folds import FOLDS, folds_of
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.kernels.randomness import content_keys, record_keys, split_pair
from transforms.likeness.auc import auc_by_folds
from transforms.likeness.calibration import calibrate, platt
from transforms.likeness.matrix import Matrix, featurized
from transforms.likeness.model import FoldModel, LikeModel, Packed, Sizes
from transforms.likeness.scale import scale_of
from transforms.likeness.telling import LOOKED_AT, Telling, named, strongest
from transforms.workers.give_back import give_back

REGULARIZATIONS = (1e-3, 1e-4, 1e-5)
"""Those that are tried: alpha of scikit-learn's SGDClassifier."""

_EPOCHS = 12  # at most
_PATIENCE = 2  # epochs without a smaller loss, then it stops
_BETTER = 1e-3  # of the loss: less isn't smaller
_STEP = 1.0  # times a record's squares: at 8 a step may overshoot what it is to mend
_BATCH = 1 << 21  # features that are not zero, about, of a batch
LEAST = 50
"""Contents of either set that a fit needs: ten a fold."""

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

    def without_texts(self) -> FitSample:
        """Return which records there are, and nothing of what is in them."""
        return replace(self, texts=None, columns={})

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


class FitReport(BaseModel):
    """What fitting came to.

    Attributes:
        auc: of held-out scores, fold by fold: how likely a test record's score is above an input
            record's.
        loss: held-out, calibrated, in nats; the mean over folds.
        sample: what was given.
        fitted: what of it was used (``MOST_VALUES``).
        toward_test, toward_input: the features that speak most for either set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    auc: float
    loss: float
    sample: Sizes
    fitted: Sizes
    toward_test: list[Telling]
    toward_input: list[Telling]


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
    order = _order(sample, seed)
    sides = order[sample.is_test[order]], order[~sample.is_test[order]]
    with threadpool_limits(1):
        matrix, kept = featurized(spec, sample.texts, sample.columns, sides)
        give_back()  # what it was put together of
        used = sample.without_texts().take(kept)
        folds = folds_of(used.hash0, used.hash1, seed)
        fitted = [
            _fit_fold(fold, used, folds, matrix, spec=spec, seed=seed) for fold in range(FOLDS)
        ]
        z = np.empty(len(kept))
        for fold in range(FOLDS):
            rows = np.flatnonzero(folds == fold)
            z[rows] = matrix.sums(rows, fitted[fold].weights)
        weights = np.mean([one.weights for one in fitted], axis=0)
        telling = _tell(
            matrix, weights, spec, [sample.take(side[:LOOKED_AT]) for side in sides], used
        )
    model = LikeModel(
        features=spec,
        seed=seed,
        folds=[one.model for one in fitted],
        versions={name: version(name) for name in ("numpy", "scikit-learn", "scipy")},
        processor=_processor(),
    )
    return model, FitReport(
        auc=auc_by_folds(z, used.is_test, folds),
        loss=float(np.mean([one.model.loss for one in fitted])),
        sample=sizes(sample),
        fitted=sizes(used),
        toward_test=telling[0],
        toward_input=telling[1],
    )


def has_enough(sample: FitSample) -> bool:
    """Say whether there is enough of either set to fit a discriminator."""
    counts = sizes(sample)
    return min(counts.test_contents, counts.input_contents) >= LEAST


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
    model: FoldModel


def _fit_fold(
    fold: int, sample: FitSample, folds: U8, matrix: Matrix, *, spec: FeatureSpec, seed: int
) -> _Fitted:
    """Fit the model that scores a fold: stopped, chosen and calibrated by another fold's loss."""
    stopping = (fold + 1) % FOLDS
    held = np.flatnonzero(folds == stopping)
    seen = (folds != stopping) & (folds != fold)
    scale = scale_of(spec, matrix, seen, sample.is_test)
    step = _STEP / matrix.mean_square(seen, scale)
    tries = [_Try(alpha, step, scale) for alpha in REGULARIZATIONS]
    for_stopping = matrix.rows(held)
    for epoch in range(1, _EPOCHS + 1):
        going = [one for one in tries if not one.stands_still]
        for rows in _batches(seen, sample.is_test, matrix.sizes, seed=seed, fold=fold, epoch=epoch):
            batch = matrix.rows(rows, scale)
            for one in going:
                one.learn(batch, sample.is_test[rows])
        for one in going:
            one.judge(epoch, for_stopping, sample.is_test[held])
    calibrations = [calibrate(one.sums, sample.is_test[held]) for one in tries]
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
        held_out=sizes(sample, folds == stopping),
    )
    return _Fitted(best.weights, model)


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
    counts = sizes(sample)
    for records, contents, what in (
        (counts.test, counts.test_contents, "test set"),
        (counts.input, counts.input_contents, "input"),
    ):
        if contents < LEAST:
            raise DataError(
                f"--like: expected at least {LEAST} different records in the {what}, to learn from a "
                f"part of them and judge by another; got {contents} (in {records} records)"
            )


def _tell(
    matrix: Matrix, weights: F64, spec: FeatureSpec, some: Sequence[FitSample], sample: FitSample
) -> tuple[list[Telling], list[Telling]]:
    """Return the features that speak most for the test set, and for the input.

    Args:
        matrix: features of the sample's records.
        weights: float64[width].
        spec: which features there are.
        some: records of either set, in which names are looked for; the test set's first.
        sample: which record is of which set.
    """
    further = matrix.means(sample.is_test) - matrix.means(~sample.is_test)
    effects = weights * further
    shares = [matrix.counts(mine) / mine.sum() for mine in (sample.is_test, ~sample.is_test)]
    # an n-gram's feature may be -1 as well as 1, by its hash: what counts is where it is more often
    more = np.where(shares[0] == shares[1], further, shares[0] - shares[1]) > 0
    test, other = (
        named(
            spec,
            strongest(effects, more == toward_test),
            texts=looked_at.texts,
            columns=looked_at.columns,
            effects=effects,
            shares=(shares[0], shares[1]),
        )
        for looked_at, toward_test in zip(some, (True, False), strict=True)
    )
    return test, other


def _processor() -> str:
    """Return the kind of processor, as compilers call it."""
    from llvmlite import binding

    return f"{platform.machine()} {binding.get_host_cpu_name()}"
