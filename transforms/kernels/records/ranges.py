"""Ranges of keys: the 64-bit space cut into equal parts.

Part i of n holds the keys k with ``ceil(i * 2**64 / n) <= k < ceil((i + 1) * 2**64 / n)``. Parts of
2 n lie inside those of n, two in each, so a range is halved without moving any boundary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from transforms.kernels.arrays import I64, U64

SPACE = 2**64
_S32 = np.uint64(32)


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


def parts_of(keys: U64, count: int) -> I64:
    """Return int64[n]: in which of ``count`` equal parts each key lies, ``floor(key * count / 2**64)``.

    Args:
        keys: uint64[n], in any order.
        count: below 2**32.

    >>> parts_of(np.array([0, 2**63 - 1, 2**63], np.uint64), 2).tolist()
    [0, 0, 1]
    """
    many, low = np.uint64(count), np.uint64(2**32 - 1)
    carried = (keys & low) * many >> _S32  # of the product's lower half; neither product overflows
    return ((keys >> _S32) * many + carried >> _S32).astype(np.int64)


def overlapping(part: KeyRange, count: int) -> range:
    """Return which of ``count`` equal parts share keys with another part.

    >>> list(overlapping(KeyRange(1, 3), 4))
    [1, 2]
    """
    return range(part.low * count // SPACE, (part.high - 1) * count // SPACE + 1)


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
