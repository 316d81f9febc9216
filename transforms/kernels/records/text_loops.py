"""Whether texts are UTF-8, compiled: 64 bytes at a time, by masks with a bit for each of them.

Imported where compiled loops are (``compiling``). What UTF-8 is: Table 3-7 of the Unicode Standard.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.arrays import I64, U8, read_only
from transforms.kernels.compiled import inlined, kernel, least_bytes

_80, _90, _A0, _C0, _C2, _E0, _E1 = (
    np.uint8(n) for n in (0x80, 0x90, 0xA0, 0xC0, 0xC2, 0xE0, 0xE1)
)
_ED, _EE, _F0, _F1, _F4, _F5 = (np.uint8(n) for n in (0xED, 0xEE, 0xF0, 0xF1, 0xF4, 0xF5))
_BLOCK = 64


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
    # the masks of the block before, whose last bytes' characters go on in this one
    before = np.zeros(7, np.uint64)
    bad = np.uint64(0)
    whole = len(values) - len(values) % _BLOCK
    for at in range(0, whole, _BLOCK):
        bad |= _faults(values, at, before)
        if bad:
            return False
    rest = np.zeros(
        _BLOCK, np.uint8
    )  # what is cut off is followed by no more bytes of its character
    for i in range(whole, len(values)):
        rest[i - whole] = values[i]
    return (bad | _faults(rest, 0, before)) == 0


@inlined
def _faults(values: Any, at: Any, before: Any) -> Any:
    """Return a mask that isn't 0 where a block is no UTF-8; ``before``, uint64[7], is carried on."""
    high = least_bytes(values, at, _80)
    if not high:
        open_before = (before[0] >> np.uint64(63)) | (before[1] >> np.uint64(62))
        open_before |= before[2] >> np.uint64(61)
        before[:] = 0
        return open_before
    lead2, lead3 = least_bytes(values, at, _C0), least_bytes(values, at, _E0)
    lead4 = least_bytes(values, at, _F0)
    inner = high & ~lead2
    wanted = _behind(lead2, before[0], 1) | _behind(lead3, before[1], 2)
    wanted |= _behind(lead4, before[2], 3)
    # some first bytes stand for nothing, others leave less for the second one
    never = (lead2 & ~least_bytes(values, at, _C2)) | least_bytes(values, at, _F5)
    above_90, above_a0 = least_bytes(values, at, _90), least_bytes(values, at, _A0)
    e0 = lead3 & ~least_bytes(values, at, _E1)
    ed = least_bytes(values, at, _ED) & ~least_bytes(values, at, _EE)
    f0 = lead4 & ~least_bytes(values, at, _F1)
    f4 = least_bytes(values, at, _F4) & ~least_bytes(values, at, _F5)
    narrow = _behind(e0, before[3], 1) & ~above_a0
    narrow |= _behind(ed, before[4], 1) & above_a0
    narrow |= _behind(f0, before[5], 1) & ~above_90
    narrow |= _behind(f4, before[6], 1) & above_90
    before[0], before[1], before[2], before[3] = lead2, lead3, lead4, e0
    before[4], before[5], before[6] = ed, f0, f4
    return (wanted ^ inner) | never | narrow


@inlined
def _behind(mask: Any, before: Any, bytes_: Any) -> Any:
    """Return the places so many bytes behind those of a mask, and of the mask of the block before."""
    return (mask << np.uint64(bytes_)) | (before >> np.uint64(64 - bytes_))
