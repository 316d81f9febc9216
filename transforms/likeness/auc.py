"""AUC: how well scores set two sets apart; one half is not at all, 1 wholly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import F64, U8

Bools = npt.NDArray[np.bool_]


def auc_by_folds(values: F64, is_test: Bools, folds: U8) -> float:
    """Return how likely a test record's value is above an input record's; ties count one half.

    Pairs of records are compared that one model scored, as values of two aren't comparable.

    Args:
        values: float64[n].
        is_test: bool[n].
        folds: uint8[n], which model scored each.

    >>> values, is_test = np.array([1.0, 2.0, 2.0, 3.0]), np.array([False, True, False, True])
    >>> auc_by_folds(values, is_test, np.zeros(4, np.uint8))
    0.875
    """
    found = [_wins(values[folds == fold], is_test[folds == fold]) for fold in np.unique(folds)]
    pairs = sum(one[1] for one in found)
    return sum(one[0] for one in found) / pairs if pairs else 0.5


def _wins(values: F64, is_test: Bools) -> tuple[float, int]:
    """Return how many pairs have the test record above, and how many there are (Mann and Whitney)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    twice = 2 * ends - counts + 1  # ranks, from 1, the mean of those of equals; twice, to be whole
    tests = int(is_test.sum())
    above = int(twice[place[is_test]].sum()) - tests * (tests + 1)
    return above / 2, tests * (len(values) - tests)
