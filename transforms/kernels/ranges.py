"""Ranges of keys: the 64-bit space cut into equal parts.

Part i of n holds the keys k with ``ceil(i * 2**64 / n) <= k < ceil((i + 1) * 2**64 / n)``. Parts of
2 n lie inside those of n, two in each, so a range is halved without moving any boundary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.kernels.randomness import U64

SPACE = 2**64


@dataclass(frozen=True, order=True, slots=True)
class KeyRange:
    """Part ``index`` of ``count`` equal parts of the 64-bit space."""

    index: int
    count: int

    @property
    def low(self) -> int:
        """The first key inside."""
        return -(-self.index * SPACE // self.count)

    @property
    def high(self) -> int:
        """The first key beyond; 2**64 for the last part."""
        return -(-(self.index + 1) * SPACE // self.count)

    def halves(self) -> tuple[KeyRange, KeyRange]:
        """Return the two parts that it is made of."""
        return (
            KeyRange(2 * self.index, 2 * self.count),
            KeyRange(2 * self.index + 1, 2 * self.count),
        )


WHOLE = KeyRange(0, 1)


def cut(sorted_keys: U64, count: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return int64[count + 1]: where each of ``count`` equal parts begins among sorted keys."""
    bounds = np.array([KeyRange(i, count).low for i in range(count)], np.uint64)
    places = np.searchsorted(sorted_keys, bounds)
    return np.append(places, len(sorted_keys))


def find(sorted_keys: U64, part: KeyRange) -> slice:
    """Return the slice of sorted keys that lies inside one part."""
    begin = int(np.searchsorted(sorted_keys, np.uint64(part.low)))
    if part.high == SPACE:
        return slice(begin, len(sorted_keys))
    return slice(begin, int(np.searchsorted(sorted_keys, np.uint64(part.high))))
