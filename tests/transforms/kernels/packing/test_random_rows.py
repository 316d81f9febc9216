"""Rows of best fit are in uniform order: nothing of the algorithm's is left, in rows or between them.

Every statistic gives a p-value a seed, over documents that are in another uniform order for each; the
p-values have to be uniform. The controls are the rows as best fit makes them, and pieces laid in the
order of their documents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from tests import statistics
from transforms.kernels.arrays import I64, read_only
from transforms.kernels.packing.best_fit import arrange, fit
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing, Pieces
from transforms.kernels.randomness import derive, record_keys

LENGTH = 64
SEEDS = range(150)
PACKING = Packing(kind="best_fit", length=LENGTH)
MANY = np.arange(900) % 47 + 2  # of each length from 2 to 48 some twenty documents
FEW = np.repeat([30, 17, 20, 33], [300, 350, 60, 200])  # few lengths, of which some are rarer

Lay = Callable[[I64, int], Pieces]
Statistic = Callable[[Pieces], float]


def in_uniform_order(lengths: I64, seed: int) -> I64:
    keys = record_keys(derive(seed, "documents"), np.arange(len(lengths), dtype=np.uint64))
    return lengths[np.argsort(keys)]


def by_key(lengths: I64, seed: int) -> Pieces:
    return pack(lengths, PACKING, key=derive(seed, "rows"))


def as_they_are_made(lengths: I64, _: int) -> Pieces:
    """The control: rows in the order of best fit, the longest pieces first."""
    row_of, rows = fit(read_only(lengths), LENGTH)
    return _arranged(lengths, row_of, np.arange(rows), np.argsort(-lengths, kind="stable"))


def in_order_of_documents(lengths: I64, seed: int) -> Pieces:
    """The control: rows permuted, but the pieces inside of them in the order of their documents."""
    row_of, rows = fit(read_only(lengths), LENGTH)
    place_of = np.argsort(record_keys(derive(seed, "rows"), np.arange(rows, dtype=np.uint64)))
    return _arranged(lengths, row_of, place_of, np.arange(len(lengths)))


def _arranged(lengths: I64, row_of: I64, place_of: I64, in_turn: I64) -> Pieces:
    order, offsets = arrange(read_only(row_of), read_only(place_of), read_only(in_turn))
    nothing = np.zeros(len(order), np.int64)
    return Pieces(order, nothing, lengths[order], nothing.astype(bool), offsets)


def correlation(left: I64, right: I64) -> float:
    """p-value of the correlation of ranks, with ties: its variance is 1 / (n - 1) whatever they are."""
    ranks = stats.rankdata(left), stats.rankdata(right)
    z = float(np.corrcoef(*ranks)[0, 1]) * np.sqrt(len(left) - 1)
    return statistics.normal_p(z)


def of_lengths_and_places(pieces: Pieces) -> float:
    """Whether rows of some length stand early."""
    lengths = np.add.reduceat(pieces.length, pieces.row_offsets[:-1])
    return correlation(lengths, np.arange(pieces.rows))


def of_longest_and_places(pieces: Pieces) -> float:
    """Whether rows with long pieces stand early."""
    longest = np.maximum.reduceat(pieces.length, pieces.row_offsets[:-1])
    return correlation(longest, np.arange(pieces.rows))


def of_ranks_and_places(pieces: Pieces) -> float:
    """Whether the first documents stand early."""
    return correlation(pieces.document[pieces.row_offsets[:-1]], np.arange(pieces.rows))


def of_neighbours(pieces: Pieces) -> float:
    """Whether rows next to each other hold documents that were near each other."""
    firsts = pieces.document[pieces.row_offsets[:-1]]
    pairs = len(firsts) // 2
    return correlation(firsts[: 2 * pairs : 2], firsts[1 : 2 * pairs : 2])


def of_falling_lengths(pieces: Pieces) -> float:
    """Whether the first piece of a row is longer than its last one: as often as not."""
    first = pieces.length[pieces.row_offsets[:-1]]
    last = pieces.length[pieces.row_offsets[1:] - 1]
    differ = int((first != last).sum())
    longer = int((first > last).sum())
    return statistics.normal_p((2 * longer - differ) / np.sqrt(differ))


STATISTICS = (
    of_lengths_and_places,
    of_longest_and_places,
    of_ranks_and_places,
    of_neighbours,
    of_falling_lengths,
)
DOCUMENTS = {"many lengths": MANY, "few lengths": FEW}
CASES = [(statistic, what) for statistic in STATISTICS for what in DOCUMENTS]
require_chance = functools.partial(statistics.require_chance, cases=len(CASES))


@functools.cache
def packed(lay: Lay, what: str, seed: int) -> Pieces:
    return lay(in_uniform_order(DOCUMENTS[what], seed), seed)


def uniform_p(statistic: Statistic, lay: Lay, what: str) -> float:
    """Kolmogorov-Smirnov of the p-values of all seeds."""
    found = [statistic(packed(lay, what, seed)) for seed in SEEDS]
    return float(stats.kstest(found, "uniform").pvalue)


@pytest.mark.parametrize(("statistic", "what"), CASES)
def test_rows_are_in_uniform_order(statistic: Statistic, what: str) -> None:
    p = uniform_p(statistic, by_key, what)
    require_chance(p, what=f"{statistic.__name__}, {what}, seeds below {len(SEEDS)}")


@pytest.mark.parametrize(
    ("statistic", "lay", "what"),
    [
        (of_lengths_and_places, as_they_are_made, "many lengths"),
        (of_longest_and_places, as_they_are_made, "many lengths"),
        (of_ranks_and_places, as_they_are_made, "few lengths"),
        (of_neighbours, as_they_are_made, "few lengths"),
        (of_falling_lengths, as_they_are_made, "many lengths"),
        (of_falling_lengths, in_order_of_documents, "few lengths"),
    ],
)
def test_rows_that_are_not_permuted_fail(statistic: Statistic, lay: Lay, what: str) -> None:
    with pytest.raises(AssertionError, match="is below alpha"):
        require_chance(uniform_p(statistic, lay, what), what="the control")


def test_which_documents_stand_together_follows_from_chance() -> None:
    """Of documents of one length each is as likely to stand with each of another length."""
    lengths = np.repeat([40, 24], [4, 4])
    seeds = range(2000)
    together = np.zeros((4, 4), np.int64)
    for seed in seeds:
        keys = record_keys(derive(seed, "together"), np.arange(8, dtype=np.uint64))
        order = np.argsort(keys)
        pieces = pack(lengths[order], PACKING, key=derive(seed, "rows"))
        for row in range(pieces.rows):
            a, b = sorted(order[pieces.document[2 * row : 2 * row + 2]].tolist())
            together[a, b - 4] += 1
    # cells of permutations: rows and columns have fixed sums, so 9 are free, and vary as 1 / (n - 1)
    mean = len(seeds) / 4
    statistic = float(((together - mean) ** 2).sum() / mean) * 3 / 4
    p = 2 * min(stats.chi2.cdf(statistic, 9), stats.chi2.sf(statistic, 9))
    require_chance(p, what=f"pairs, seeds below {len(seeds)}")
