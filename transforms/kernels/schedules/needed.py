"""How much of a source's first pass a mixture needs, so that no more of it is spilled.

Ranks follow keys, so a mixture that takes the first tenth of a source's order takes a tenth of the
range of keys. How many buckets that is, is guessed before anything is counted, with a margin; the
records beyond are counted and digested, not spilled. Once all is counted it is known exactly which
buckets are needed, and where the guess fell short the source is read once more for those it lacks.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence

import numpy as np

from transforms.kernels.arrays import I64
from transforms.kernels.schedules.mixture import Mixture
from transforms.kernels.schedules.schedule import Schedule

LEAST_BUCKET = 1 << 20
"""Bytes of a bucket below which none is cut finer so as to spill less."""
_FINE = 16  # buckets that are needed, where they are large enough
_WORTH = 0.8  # of a source: where more is needed, all of it is spilled
_UNSURE = 0.2  # of what is expected, where sizes were estimated from samples
_SIGMAS = 6  # deviations of keys and draws, of which each has one: a miss costs time alone


def needed_share(
    mixture: Mixture, *, expected: float, records: int, fewest: int, exact: bool
) -> float:
    """Return the share of a source's keys, 1.0 at most, that a mixture needs and hardly ever exceeds.

    Args:
        mixture: what is asked.
        expected: how many of the source's records come out, about.
        records: that the source has, about.
        fewest: that any of the sources has.
        exact: whether the records of all sources are known, not estimated.
    """
    if not records or expected >= records:
        return 1.0
    margin = max(0.0 if exact else _UNSURE * expected, _SIGMAS * math.sqrt(max(expected, 1.0)))
    if mixture.is_weighted and not mixture.repeats_as_needed:
        # the end is where draws exhaust one of them
        margin = max(margin, _SIGMAS / math.sqrt(max(fewest, 1)) * expected)
    return min(1.0, (expected + margin) / records)


def cut_needed(share: float, *, buckets: int, size: int) -> tuple[int, int]:
    """Return into how many buckets to cut a source, and how many of them to spill.

    Args:
        share: of ``needed_share``.
        buckets: that memory asks for; there may be more of them.
        size: bytes of the source.
    """
    if share >= _WORTH:
        return buckets, buckets
    finer = min(math.ceil(_FINE / max(share, 1e-6)), size // LEAST_BUCKET)
    cut = max(buckets, finer)
    needed = math.ceil(cut * share) + 1  # a stop by bytes or tokens is found to within a bucket
    return (buckets, buckets) if needed > cut * _WORTH else (cut, needed)


def surely_below(share: float) -> int:
    """Return below which key ``cut_needed`` spills all records, whatever else it is told.

    >>> surely_below(0.9) == 2**64, surely_below(0.25) == 2**62
    (True, True)
    """
    return 1 << 64 if share >= _WORTH else int(share * 2.0**64)


def buckets_holding(counts: I64, wanted: int) -> int:
    """Return how many buckets, in order, hold so many records; all where they are fewer.

    Args:
        counts: int64[buckets], records of each.

    >>> buckets_holding(np.array([4, 0, 5, 3]), 5)
    3
    """
    held = np.cumsum(counts)
    return min(int(np.searchsorted(held, wanted)) + 1, len(counts)) if wanted else 0


def length_of_size(
    schedule: Schedule,
    most: int,
    *,
    bound: int,
    records: Sequence[int],
    sizes: Sequence[int],
    counts: Sequence[I64],
    sizes_of: Sequence[I64],
) -> int | None:
    """Return a number of positions whose records have more bytes, or tokens, than ``most``; about the
    least.

    Args:
        schedule: counted up to ``bound``.
        most: bytes or tokens.
        bound: positions to look at.
        records, sizes: of each stream, and its bytes or tokens.
        counts, sizes_of: int64[buckets] of each stream's first pass: the same of each bucket.

    Returns:
        None where they may have fewer, up to ``bound``.
    """
    starts = [np.concatenate([[0], np.cumsum(count)]) for count in counts]
    sums = [np.concatenate([[0], np.cumsum(size)]) for size in sizes_of]

    def exceeds(position: int) -> bool:
        total = 0
        for i, used in enumerate(schedule.counts_before(position).tolist()):
            if used:
                whole, rank = divmod(used, records[i])
                total += whole * sizes[i]
                if not whole:  # of later passes nothing is known
                    total += int(sums[i][np.searchsorted(starts[i], rank, side="right") - 1])
        return total > most

    return bisect.bisect_left(range(bound), True, key=exceeds) if exceeds(bound) else None
