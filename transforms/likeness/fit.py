"""Fitting the discriminator: five models, each without what it will score, by scikit-learn.

Model f is fitted on three folds. The next one, (f + 1) mod 5, says when to stop, which regularization is
best, and how to calibrate. Fold f itself is scored, and has no part in any of it. Folds are of contents,
so duplicates, on whichever side, are in one fold.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version

import numpy as np
from pydantic import BaseModel, ConfigDict

from transforms.errors import DataError
from transforms.kernels.arrays import F64
from transforms.kernels.likeness.folds import FOLDS, folds_of
from transforms.kernels.likeness.spec import FeatureSpec
from transforms.likeness.auc import auc_by_folds
from transforms.likeness.fit_fold import fit_fold
from transforms.likeness.fit_sample import FitSample, in_order, sizes
from transforms.likeness.matrix import Matrix, featurized
from transforms.likeness.model import LikeModel, Sizes
from transforms.likeness.telling import LOOKED_AT, Telling, named, strongest
from transforms.workers.give_back import give_back

LEAST = 50
"""Contents of either set that a fit needs: ten a fold."""


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
    order = in_order(sample, seed)
    sides = order[sample.is_test[order]], order[~sample.is_test[order]]
    with threadpool_limits(1):
        matrix, kept = featurized(spec, sample.texts, sample.columns, sides)
        give_back()  # what it was put together of
        used = sample.without_texts().take(kept)
        _require_enough(used)
        folds = folds_of(used.hash0, used.hash1, seed)
        fitted = [
            fit_fold(fold, used, folds, matrix, spec=spec, seed=seed) for fold in range(FOLDS)
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


def _require_enough(sample: FitSample) -> None:
    counts = sizes(sample)
    for records, contents, what in (
        (counts.test, counts.test_contents, "test set"),
        (counts.input, counts.input_contents, "input"),
    ):
        if contents < LEAST:
            raise DataError(
                f"--like: expected at least {LEAST} different records in the {what}, some to "
                f"learn from and some to judge by, got {contents} (in {records} records); pass "
                "more"
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
