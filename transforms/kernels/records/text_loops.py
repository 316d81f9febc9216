"""Whether texts are UTF-8, compiled.

Imported where compiled loops are (``compiling``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.arrays import I64, U8, read_only
from transforms.kernels.compiled import kernel
from transforms.kernels.utf8 import BLOCK, characters_at, size_at


def are_utf8(values: U8, offsets: I64) -> bool:
    """Return whether each of the texts that lie one after another is UTF-8, and their offsets rise.

    Args:
        values: uint8[size].
        offsets: int64[n + 1], where each text begins; the first and the last lie inside.
    """
    begin, end = int(offsets[0]), int(offsets[-1])
    if not 0 <= begin <= end <= len(values):
        return False
    return bool(
        _begin_characters(read_only(values), read_only(offsets))
        and _is_utf8(read_only(values[begin:end]))
    )


def load() -> None:
    """Load all of it, or compile what wasn't yet."""
    are_utf8(np.zeros(1, np.uint8), np.arange(2))


@kernel
def _begin_characters(values: Any, offsets: Any) -> Any:
    """Return whether offsets rise, and no text begins inside of a character."""
    size = offsets[-1]
    for i in range(len(offsets) - 1):
        at = offsets[i]
        if at > offsets[i + 1] or (at < size and values[at] & 0xC0 == 0x80):
            return False
    return True


@kernel
def _is_utf8(values: Any) -> Any:
    at, end = np.int64(0), np.int64(len(values))
    while at < end:
        size = np.int64(0)
        if at + BLOCK <= end:
            size = characters_at(values, at, np.uint64(0))
        else:
            size = np.int64(size_at(values, at, end))
        if size <= 0:
            return False
        at += size
    return True
