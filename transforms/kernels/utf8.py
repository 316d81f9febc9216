"""UTF-8, character by character, for kernels that are compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined


@inlined
def write_character(texts: Any, to: Any, point: Any) -> Any:
    """Write a character in UTF-8; return where it ends."""
    if point < 0x80:
        texts[to] = point
        return to + 1
    if point < 0x800:
        texts[to] = 0xC0 | (point >> 6)
        texts[to + 1] = 0x80 | (point & 0x3F)
        return to + 2
    if point < 0x10000:
        texts[to] = 0xE0 | (point >> 12)
        texts[to + 1] = 0x80 | ((point >> 6) & 0x3F)
        texts[to + 2] = 0x80 | (point & 0x3F)
        return to + 3
    texts[to] = 0xF0 | (point >> 18)
    texts[to + 1] = 0x80 | ((point >> 12) & 0x3F)
    texts[to + 2] = 0x80 | ((point >> 6) & 0x3F)
    texts[to + 3] = 0x80 | (point & 0x3F)
    return to + 4


@inlined
def size_at(values: Any, at: Any, end: Any) -> Any:
    """Return the bytes of the character of UTF-8 that begins here, 0 where none does (Table 3-7 of
    the Unicode Standard).
    """
    first = values[at]
    if first < 0x80:
        return 1
    size, low, high = 0, 0x80, 0xBF  # between which the second byte has to be
    if 0xC2 <= first < 0xE0:
        size = 2
    elif 0xE0 <= first < 0xF0:
        size = 3
        if first == 0xE0:
            low = 0xA0
        elif first == 0xED:
            high = 0x9F
    elif 0xF0 <= first < 0xF5:
        size = 4
        if first == 0xF0:
            low = 0x90
        elif first == 0xF4:
            high = 0x8F
    if size == 0 or at + size > end or values[at + 1] < low or values[at + 1] > high:
        return 0
    for i in range(2, size):
        if values[at + i] & 0xC0 != 0x80:
            return 0
    return size


@inlined
def point_at(values: Any, at: Any, size: Any) -> Any:
    """Return the character of UTF-8 that begins here and has so many bytes."""
    point = np.int64(values[at])
    if size > 1:
        point &= 0x7F >> size
    for i in range(1, size):
        point = (point << 6) | (np.int64(values[at + i]) & 0x3F)
    return point
