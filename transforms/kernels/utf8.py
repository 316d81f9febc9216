"""UTF-8, character by character or 64 bytes at a time, for kernels that are compiled.

What UTF-8 is: Table 3-7 of the Unicode Standard.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import first_bit, inlined, least_bytes

BLOCK = 64
"""Bytes that ``characters_at`` looks at."""

_80, _90, _A0, _C0, _C2, _E0, _E1 = (
    np.uint8(n) for n in (0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xE0, 0xE1)
)
_ED, _EE, _F0, _F1, _F4, _F5 = (np.uint8(n) for n in (0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5))
_LAST, _LAST_2, _LAST_3 = (np.uint64(n << (BLOCK - n.bit_length())) for n in (1, 3, 7))
_1, _2, _3 = np.uint64(1), np.uint64(2), np.uint64(3)


@inlined
def characters_at(values: Any, at: Any, stops: Any) -> Any:
    """Return how many bytes of whole characters begin a block, an int64; -1 where others stand before.

    Masks have a bit for each byte of the block, the lowest for the first.

    Args:
        values: uint8[size].
        at: where a block of them begins, and a character.
        stops: a mask, uint64, of bytes below 0x80: only what stands before the first is looked at.
    """
    high = least_bytes(values, at, _80)
    if not high & (stops - _1) & ~stops:
        return first_bit(stops)
    lead2, lead3 = least_bytes(values, at, _C0), least_bytes(values, at, _E0)
    lead4 = least_bytes(values, at, _F0)
    # a character that isn't whole here is left to the block that begins with it
    stops |= (lead2 & _LAST) | (lead3 & _LAST_2) | (lead4 & _LAST_3)
    wrong = ((lead2 << _1) | (lead3 << _2) | (lead4 << _3)) ^ (high & ~lead2)
    # some first bytes stand for nothing, others leave less for the second one
    wrong |= (lead2 & ~least_bytes(values, at, _C2)) | least_bytes(values, at, _F5)
    above_90, above_a0 = least_bytes(values, at, _90), least_bytes(values, at, _A0)
    e0 = lead3 & ~least_bytes(values, at, _E1)
    ed = least_bytes(values, at, _ED) & ~least_bytes(values, at, _EE)
    f0 = lead4 & ~least_bytes(values, at, _F1)
    f4 = least_bytes(values, at, _F4) & ~least_bytes(values, at, _F5)
    wrong |= ((e0 << _1) & ~above_a0) | ((ed << _1) & above_a0)
    wrong |= ((f0 << _1) & ~above_90) | ((f4 << _1) & above_90)
    # up to the first stop: a character that it cuts off is wrong there
    return np.int64(-1) if wrong & (stops ^ (stops - _1)) else first_bit(stops)


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
    """Return the bytes of the character of UTF-8 that begins here, 0 where none does."""
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
