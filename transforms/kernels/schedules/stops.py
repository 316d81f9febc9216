"""Where a mixture ends: found from a schedule's counts, exactly.

Counts grow with the position, so each rule's stop is found by bisection. A random schedule has to
be counted first: ``bound_first`` and ``bound_all`` say how far will hardly ever be too short.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.schedules.schedule import Schedule
from transforms.kernels.schedules.weights import WHOLE

MISS_BITS = 40
"""A bound is too short with a probability under 2**-40."""


def stop_first(schedule: Schedule, sizes: Sequence[int]) -> int | None:
    """Return the length that ends before the first draw that can't be served.

    Args:
        sizes: how many records each source has.

    Returns:
        None where all draws within ``schedule.counted_to`` can be served: count on (or, of a schedule
        with a length, all of it can be served).
    """
    have = np.array(sizes, np.int64)
    after = _first(schedule, lambda position: bool((schedule.counts_before(position) > have).any()))
    return None if after is None else after - 1


def stop_all(schedule: Schedule, sizes: Sequence[int]) -> int | None:
    """Return the length that ends when the last source has been seen whole.

    Returns:
        None where some source isn't within ``schedule.counted_to``: count on.
    """
    have = np.array(sizes, np.int64)
    return _first(schedule, lambda position: bool((schedule.counts_before(position) >= have).all()))


def bound_first(weights: Sequence[int], sizes: Sequence[int]) -> int:
    """Return a number of random draws that holds the stop of ``stop_first``, save once in 2**40.

    Args:
        weights: integers that sum to 2**64.
        sizes: how many records each source has.
    """
    return min(
        _draws_beyond(size, weight, bits=MISS_BITS)
        for weight, size in zip(weights, sizes, strict=True)
        if weight
    )


def bound_all(weights: Sequence[int], sizes: Sequence[int]) -> int:
    """Return a number of random draws that holds the stop of ``stop_all``, save once in 2**40.

    Raises:
        UsageError: a source with records has weight zero, and would never be seen.
    """
    pairs = list(zip(weights, sizes, strict=True))
    unseen = [i for i, (weight, size) in enumerate(pairs) if size and not weight]
    if unseen:
        raise UsageError(
            "expected weights above zero, as every source must be exhausted, got 0 for source "
            f"{unseen[0] + 1} of {len(weights)}; leave it out, or pass --stop=first_exhausted"
        )
    bits = MISS_BITS + len(weights).bit_length()  # each source may miss its part
    return max(_draws_beyond(size - 1, weight, bits=bits) if size else 0 for weight, size in pairs)


def _draws_beyond(count: int, weight: int, *, bits: int) -> int:
    """Return n such that n draws hold at most ``count`` of a source with P < 2**-bits.

    Chernoff: with mean m that is at most exp(-(m - count)**2 / (2 * m)), which is at most
    exp(-bits) < 2**-bits where m >= count + bits + sqrt(2 * count * bits + bits**2).
    """
    mean = count + bits + math.isqrt(2 * count * bits + bits * bits) + 1
    return -(-mean * WHOLE // weight)


def _first(schedule: Schedule, holds: Callable[[int], bool]) -> int | None:
    """Return the least position, of those that are counted, from which on something holds."""
    last = schedule.counted_to
    return bisect.bisect_left(range(last), True, key=holds) if holds(last) else None
