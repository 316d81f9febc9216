"""Draws with replacement, in proportion to whole-numbered weights, exactly.

Records lie end to end in their order, each as long as its weight; a draw is a point of the whole length,
every one equally likely, and takes the record that it falls on. Points come sorted, so that one walk
along the records, in pieces of any size, finds what was drawn.
"""

from __future__ import annotations

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import I64, U64
from transforms.kernels.randomness import record_keys, split_pair

_HALF = np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


def points(count: int, *, total: int, seed: int) -> U64:
    """Draw points, each of [0, total) equally likely: uint64[count], sorted.

    The i-th trial is a key of (seed, "draw", i), u, and its point u * total / 2**64, rounded down.
    Trials whose u * total mod 2**64 is below 2**64 mod total are passed over: without them each point
    has just as many u. (D. Lemire, "Fast Random Integer Generation in an Interval", 2019.)

    Args:
        count: of points.
        total: below 2**64; the length of all records.
        seed: of the split.

    Raises:
        UsageError: points are asked for where there is no weight.
    """
    if not 0 <= total < 1 << 64:
        raise ValueError(f"expected weights that sum to less than 2**64, got {total}")
    if count and not total:
        raise UsageError(f"expected records to draw from, got none: {count} draws were asked for")
    pair = split_pair(seed, "like", "draw")
    refused = np.uint64((1 << 64) % total) if total else np.uint64(0)
    found: list[U64] = []
    begin, left = 0, count
    while left:
        high, low = _products(
            record_keys(pair, np.arange(begin, begin + left, dtype=np.uint64)), np.uint64(total)
        )
        found.append(high[low >= refused])
        begin, left = begin + left, left - len(found[-1])
    return np.sort(np.concatenate([np.zeros(0, np.uint64), *found]))


def drawn(units: U64, *, begin: int, points: U64) -> tuple[I64, I64]:
    """Return which of some records were drawn, rising, and how often: int64[k] each.

    Args:
        units: uint64[n], the records' weights.
        begin: the sum of the weights of all records before them.
        points: uint64[m], sorted, of ``points``.
    """
    ends = np.cumsum(units, dtype=np.uint64) + np.uint64(begin)
    if not len(ends):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first, last = np.searchsorted(points, np.array([begin, ends[-1]], np.uint64), side="left")
    places = np.searchsorted(ends, points[first:last], side="right")
    found, times = np.unique(places, return_counts=True)
    return found.astype(np.int64), times.astype(np.int64)


def _products(keys: U64, total: np.uint64) -> tuple[U64, U64]:
    """Return the upper and lower 64 bits of each key times the total."""
    key_high, key_low = keys >> _HALF, keys & _LOW
    high, low = total >> _HALF, total & _LOW
    lowest = key_low * low
    middle = key_high * low + (lowest >> _HALF)  # below 2**64: (2**32 - 1)**2 + 2**32 - 1
    second = key_low * high + (middle & _LOW)
    upper: U64 = key_high * high + (middle >> _HALF) + (second >> _HALF)
    return upper, keys * total
