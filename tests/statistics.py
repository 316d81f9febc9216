"""Statistics for tests of randomness: each gives a p-value, ``require_chance`` judges it.

All are two-sided. A shuffle that spreads records too evenly is as wrong as one that clusters them,
and a one-sided chi-square would praise it.

An order is an int64[n]: the input index of the record at each place of the output.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from scipy import stats

I64 = npt.NDArray[np.int64]

ALPHA = 0.001
"""How often a family of tests may reject a perfect shuffle."""


def require_chance(p: float, *, cases: int, what: str) -> None:
    """Raise AssertionError, printing p, where chance alone hardly ever gives such a sample.

    Args:
        p: a p-value.
        cases: how many p-values the family compares; ALPHA is shared out among them.
        what: names the sample and its seed.
    """
    alpha = ALPHA / cases
    assert p >= alpha, f"{what}: p = {p:.3g} is below alpha = {ALPHA} / {cases} = {alpha:.3g}"


def uniform_p(counts: I64) -> float:
    """Chi-square of counts, all equally likely; at least 5 expected in each."""
    return _chi_square_p(counts, freedom=counts.size - 1)


def law_p(counts: I64, law: npt.NDArray[np.float64], *, freedom: int | None = None) -> float:
    """Chi-square of counts against probabilities; at least 5 expected in each.

    Freedom is one less than there are cells, where nothing else about the counts is fixed.
    """
    freedom = counts.size - 1 if freedom is None else freedom
    return _chi_square_p(counts, freedom=freedom, expected=law * counts.sum())


def normal_p(z: float) -> float:
    """How likely a sum of many independent things is so many standard deviations off."""
    return _two_sided(stats.norm.cdf(z), stats.norm.sf(z))


def permutations_p(orders: I64) -> float:
    """Chi-square over all n! permutations of int64[trials, n] orders, n <= 6."""
    n = orders.shape[1]
    place = n ** np.arange(n)
    counts = np.bincount(orders @ place, minlength=n**n)
    every = np.array(list(itertools.permutations(range(n))))
    assert counts[every @ place].sum() == len(orders), "some orders are not permutations"
    return uniform_p(counts[every @ place])


def positions_p(order: I64, *, cells: int = 10) -> float:
    """Chi-square of where records come from by where they go, both in ``cells`` equal parts."""
    n = len(order)
    cell = np.arange(n) * cells // n
    counts = np.bincount(cell[order] * cells + cell, minlength=cells**2)
    # rows and columns have fixed sums: what is left is a contingency table's freedom
    return _chi_square_p(counts, freedom=(cells - 1) ** 2)


def neighbours_p(orders: I64) -> float:
    """Poisson test of how many input neighbours are neighbours still, over int64[trials, n]."""
    trials, n = orders.shape
    found = int((np.abs(np.diff(orders, axis=1)) == 1).sum())
    return poisson_p(found, mean=trials * 2 * (n - 1) / n)


def poisson_p(found: int, *, mean: float) -> float:
    """How likely a count is so far from its mean, where many rare things are counted."""
    return _two_sided(stats.poisson.cdf(found, mean), stats.poisson.sf(found - 1, mean))


def correlation_p(left: I64, right: I64) -> float:
    """Spearman's rank correlation of two samples without ties, against none."""
    rho = np.corrcoef(stats.rankdata(left), stats.rankdata(right))[0, 1]
    z = float(rho) * np.sqrt(len(left) - 1)
    return normal_p(z)


def _chi_square_p(
    counts: I64, *, freedom: int, expected: npt.NDArray[np.float64] | None = None
) -> float:
    expected = np.array(counts.sum() / counts.size) if expected is None else expected
    least = expected.min()
    assert least >= 5, f"{least:.1f} expected a cell are too few for a chi-square"
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return _two_sided(stats.chi2.cdf(statistic, freedom), stats.chi2.sf(statistic, freedom))


def _two_sided(below: float, above: float) -> float:
    return float(min(1.0, 2 * min(below, above)))
