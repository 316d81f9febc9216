"""Double arrays of Darts-clone: keys of bytes, each with a value, as SentencePiece's files have them.

A unit of 32 bits is the offset to its children (with a bit that scales it), its label, and whether a
key ends there, whose value is then the child with the label 0 (its ``darts.h``: ``DoubleArrayUnit``,
``commonPrefixSearch``). Nothing is read beyond the array, whatever the units say.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, kernel

_LABEL = np.uint32(0x800000FF)  # of a unit: with the bit that says that it is a value, and no label


@kernel
def longest_key(units: Any, text: Any, at: Any, end: Any) -> Any:
    """Return how many bytes the longest key that begins here has, 0 without one, and its value.

    Args:
        units: uint32[n], may be empty.
        text: uint8[m], of which at to end are looked at.
    """
    size, value = np.int64(0), np.int64(0)
    if len(units) == 0:
        return size, value
    place = _children(units[0])
    for i in range(at, end):
        place ^= np.int64(text[i])
        if place >= len(units) or units[place] & _LABEL != text[i]:
            break
        unit = units[place]
        place ^= _children(unit)
        if (unit >> 8) & 1:
            if place >= len(units):
                break
            size, value = i + 1 - at, np.int64(units[place]) & 0x7FFFFFFF
    return size, value


@inlined
def _children(unit: Any) -> Any:
    """Return what is xored to a unit's place, and to a label, to come to a child."""
    wide = np.int64(unit)
    return (wide >> 10) << ((wide & 0x200) >> 6)


@inlined
def goes_on(units: Any, text: Any, at: Any, size: Any) -> Any:
    """Say whether a key begins so."""
    return _node(units, text, at, size) >= 0


@inlined
def has_more(units: Any, text: Any, at: Any, end: Any) -> Any:
    """Say whether a longer key begins so: a child other than the value, whose label is no byte's."""
    place = _node(units, text, at, end - at)
    if place >= 0:
        for label in range(1, 256):
            child = place ^ label
            if child < len(units) and units[child] & _LABEL == label:
                return True
    return False


@inlined
def _node(units: Any, text: Any, at: Any, size: Any) -> Any:
    """Return what is xored to a label to come to a child of where some bytes lead, -1 where nowhere."""
    if len(units) == 0:
        return np.int64(-1)
    place = _children(units[0])
    for i in range(at, at + size):
        place ^= np.int64(text[i])
        if place >= len(units) or units[place] & _LABEL != text[i]:
            return np.int64(-1)
        place ^= _children(units[place])
    return place
