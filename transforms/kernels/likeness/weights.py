"""Weights from scores, in whole numbers: the same on every machine.

A score s is the discriminator's D, in steps of 2**-20 (``ONE``): how likely a record is one of the
test set's, were there as many of either. So w(s) = D / (1 - D) = s / (2**20 - s) estimates how much
denser the test set lies where the record is. A weight is a count of ``UNIT``-ths of the mean weight.

Source: kexue.fm/archives/7805; the ratio by a discriminator is that of Sugiyama, Suzuki and Kanamori,
"Density Ratio Estimation in Machine Learning" (2012), chapter 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import F64, I64, U32, U64

ONE = 1 << 20
"""The score of D = 1, which no record has: scores are from 1 to ONE - 1."""

UNIT = 1 << 32
"""A weight of 1, the mean."""

_SCALE = 1 << 43  # w(s) * _SCALE is below 2**63 for every s, and above 2**22
_AT_ONCE = 1 << 14  # scores that are worked on as Python's numbers
_SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True, eq=False)
class Weighing:
    """The weight of each score that was counted.

    Attributes:
        scores: uint32[k], rising.
        counts: int64[k], how many records have each.
        units: uint64[k], the weight of each, in UNIT-ths; at least 1.
        clipped: records whose weight was cut down to the largest.
        limit: what weights were clipped at, in terms of their mean before; None where they weren't.
        mean: of D / (1 - D), before anything was normalised: 1 where D is right, and there are records
            of the input wherever the test set has any; else the part of the test set where there are.
    """

    scores: U32
    counts: I64
    units: U64
    clipped: int = 0
    limit: Fraction | None = None
    mean: float = 1.0

    @cached_property
    def records(self) -> int:
        """How many records were counted."""
        return int(self.counts.sum())

    @cached_property
    def total(self) -> int:
        """The sum of all records' units, below 2**64."""
        return sum(c * u for c, u in _whole(self.counts, self.units))

    @cached_property
    def effective(self) -> float:
        """The effective sample size, (sum of weights)**2 / sum of their squares (Kish, 1965)."""
        squares = sum(c * u * u for c, u in _whole(self.counts, self.units))
        return float(Fraction(self.total**2, squares)) if squares else 0.0

    def units_of(self, scores: U32) -> U64:
        """Return uint64[n]: the weights of records by their scores, in UNIT-ths.

        Raises:
            ValueError: a score that wasn't counted.
        """
        places = np.minimum(np.searchsorted(self.scores, scores), max(len(self.scores) - 1, 0))
        if len(scores) and (not len(self.scores) or (self.scores[places] != scores).any()):
            raise ValueError("expected scores that were counted, got one that wasn't")
        return self.units[places]

    def weights_of(self, scores: U32) -> F64:
        """Return float64[n]: the weights of records by their scores, correctly rounded."""
        out: F64 = self.units_of(scores).astype(np.float64) / UNIT
        return out

    def quantiles(self) -> dict[float, float]:
        """Return how large the weights are below which a share of the records lies, by share.

        >>> even = weigh(np.array([ONE // 2], np.uint32), np.array([7]))
        >>> even.quantiles()[0.5]
        1.0
        """
        if not self.records:
            return {}
        ends = np.cumsum(self.counts)  # weights rise with scores
        ranks = [min(int(share * (self.records - 1)), self.records - 1) for share in _SHARES]
        places = np.searchsorted(ends, ranks, side="right")
        return {
            share: int(self.units[place]) / UNIT
            for share, place in zip(_SHARES, places.tolist(), strict=True)
        }

    def by_size(self) -> list[tuple[int, int, float]]:
        """Return for each k, rising, that a weight is from 2**k to below 2**(k + 1): k, how many records
        have such, and which part of the whole weight is theirs.

        >>> weigh(np.array([ONE // 2], np.uint32), np.array([7])).by_size()
        [(0, 7, 1.0)]
        """
        records: dict[int, int] = {}
        held: dict[int, int] = {}
        for count, unit in _whole(self.counts, self.units):
            size = unit.bit_length() - UNIT.bit_length()
            records[size] = records.get(size, 0) + count
            held[size] = held.get(size, 0) + count * unit
        return [(size, records[size], held[size] / self.total) for size in sorted(records)]

    def share_of_heaviest(self, share: Fraction = Fraction(1, 100)) -> float:
        """Return which part of the whole weight lies on a share of the records, the heaviest."""
        left = most = -(-self.records * share.numerator // share.denominator)
        held = 0
        for count, unit in _whole(self.counts[::-1], self.units[::-1]):
            held += min(count, left) * unit
            left -= min(count, left)
            if not left:
                break
        return held / self.total if most else 0.0


def weigh(scores: U32, counts: I64, *, max_weight: Fraction | None = None) -> Weighing:
    """Weigh scores: D / (1 - D), normalised to mean 1, clipped and normalised again.

    After that the largest weight is above ``max_weight`` where clipping took weight away, since all
    that is left is scaled up to mean 1 once more. Sums and ratios are of whole numbers of any size.

    Args:
        scores: uint32[k], rising, each from 1 to ONE - 1.
        counts: int64[k], how many records have each, at least 1; all together below 2**31.
        max_weight: over 0, in terms of the mean; None leaves all as they are.

    Raises:
        ValueError: scores or counts out of their ranges.
        UsageError: a ``max_weight`` of 0 or less.
    """
    if max_weight is not None and max_weight <= 0:
        raise UsageError(f"expected a max_weight above 0, got {max_weight}")
    if len(scores) and not (
        scores[0] >= 1 and scores[-1] < ONE and (np.diff(scores.astype(np.int64)) > 0).all()
    ):
        raise ValueError(f"expected scores of 1 to {ONE - 1} in rising order, got others")
    records = int(counts.sum())
    if len(scores) != len(counts) or (counts < 1).any() or records >= 1 << 31:
        raise ValueError(
            "expected counts of at least 1 for each score, below 2**31 in total, got others"
        )
    many = len(scores)
    raw = np.fromiter(
        ((s * _SCALE + (ONE - s) // 2) // (ONE - s) for (s,) in _whole(scores)), np.uint64, many
    )
    total = sum(c * w for c, w in _whole(counts, raw))
    clipped, mean = 0, float(Fraction(total, max(records, 1) * _SCALE))
    if max_weight is not None and records:
        most = max(int(max_weight * total / records), 1)
        clipped = sum(c for c, w in _whole(counts, raw) if w > most)
        raw = np.minimum(raw, np.uint64(min(most, (1 << 64) - 1)))
        total = sum(c * w for c, w in _whole(counts, raw))
    factor = records * UNIT
    units = np.fromiter(
        (max((w * factor + total // 2) // total, 1) for (w,) in _whole(raw)), np.uint64, many
    )
    return Weighing(scores, counts, units, clipped, max_weight, mean)


def _whole(*arrays: Any) -> Iterator[tuple[int, ...]]:
    """Yield rows of arrays as whole numbers of any size: a million of them at once take 100 MB."""
    for begin in range(0, len(arrays[0]), _AT_ONCE):
        yield from zip(*(array[begin : begin + _AT_ONCE].tolist() for array in arrays), strict=True)


def counted(scores: U32) -> tuple[U32, I64]:
    """Count scores: return those that occur, rising, and how often each does; uint32[k], int64[k]."""
    found, counts = np.unique(scores, return_counts=True)
    return found.astype(np.uint32), counts.astype(np.int64)


def joined(tables: list[tuple[U32, I64]]) -> tuple[U32, I64]:
    """Join counts of scores that were taken apart."""
    if not tables:
        return np.zeros(0, np.uint32), np.zeros(0, np.int64)
    scores, counts = (np.concatenate(parts) for parts in zip(*tables, strict=True))
    found, places = np.unique(scores, return_inverse=True)
    out = np.zeros(len(found), np.int64)
    np.add.at(out, places, counts)
    return found.astype(np.uint32), out
