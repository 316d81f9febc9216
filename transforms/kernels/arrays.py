"""Arrays: short names of their types (the kind of number, and its bits), offsets, and cuts by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]


def offsets_of(lengths: Any) -> I64:
    """Return int64[n + 1]: where each of n things begins that lie end to end, and the last one ends.

    >>> offsets_of([2, 0, 3]).tolist()
    [0, 2, 2, 5]
    """
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def read_only(values: Any, dtype: type[np.generic] | None = None) -> npt.NDArray[Any]:
    """Return a contiguous view that can't be written: kernels are compiled for either kind apart.

    Args:
        values: an array, or what makes one.
        dtype: what they become; None leaves them as they are.
    """
    out = np.ascontiguousarray(values, dtype).view()
    out.flags.writeable = False
    return out


def cuts(offsets: I64, *, limit: int, most: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield [begin, end) of stretches of things that lie end to end: as long as ``limit`` allows.

    A thing that is longer by itself is a stretch of its own.

    Args:
        offsets: int64[n + 1], as of ``offsets_of``; may begin anywhere.
        limit: the length of a stretch, in the offsets' unit.
        most: things of a stretch; None for any number.

    >>> list(cuts(offsets_of([2, 0, 3, 9, 1]), limit=5))
    [(0, 3), (3, 4), (4, 5)]
    """
    begin, count = 0, len(offsets) - 1
    while begin < count:
        end = int(np.searchsorted(offsets, offsets[begin] + limit, side="right")) - 1
        end = min(max(end, begin + 1), count if most is None else begin + most)
        yield begin, end
        begin = end
