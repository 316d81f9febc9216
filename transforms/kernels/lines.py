"""Splitting a buffer into lines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.kernels.digest import U8

I64 = npt.NDArray[np.int64]

_STEP = 1 << 20  # the mask of one step stays in cache


def line_offsets(values: U8, separator: int) -> I64:
    r"""Find the lines that end inside a buffer that begins with a line.

    Args:
        values: uint8[size].
        separator: the byte that ends a line, 0 to 255.

    Returns:
        int64[n + 1]: where each whole line begins, and the end of the last one; what lies after
        that is a line that has not ended. ``[0]`` where no line ends.

    >>> line_offsets(np.frombuffer(b"ab\n\ncd", np.uint8), 10).tolist()
    [0, 3, 4]
    """
    parts = [np.zeros(1, np.int64)]
    for low in range(0, len(values), _STEP):
        ends = np.flatnonzero(values[low : low + _STEP] == separator)
        ends += low + 1
        parts.append(ends)
    return np.concatenate(parts)


def first_line(values: U8, separator: int) -> int | None:
    """Return where the first line that begins after a separator begins, None where none does."""
    for low in range(0, len(values), _STEP):
        ends = np.flatnonzero(values[low : low + _STEP] == separator)
        if len(ends):
            return low + int(ends[0]) + 1
    return None
