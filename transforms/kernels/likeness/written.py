"""A text as its n-grams are cut from it, compiled: in lower case, white space as scikit-learn has it.

Each stretch of two or more white spaces is one blank (``_VectorizerMixin`` of scikit-learn 1.9,
``feature_extraction/text.py``); what is lower case and white, ``characters`` says.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, unowning_part
from transforms.kernels.likeness.characters import CASED, IGNORED, LOWER, SPACE
from transforms.kernels.utf8 import point_at, size_at, write_character

PADDING = 64
"""Bytes that have to lie behind a written text."""

_BLANK = 0x20
_STRAY = 0x1A  # the control character for what can't be shown
_DOTTED_I, _DOT_ABOVE = 0x130, 0x307
_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2


def room_for(longest: int) -> int:
    """Return the bytes that a written text needs, of one that has so many: some grow in lower case."""
    return longest + longest // 2 + PADDING


@unowning_part
def write_text(values: Any, begin: Any, end: Any, table: Any, out: Any) -> Any:
    """Write values[begin:end] as what n-grams are cut from.

    A byte that is no UTF-8 counts as the control character U+001A.

    Args:
        values: uint8[...]: texts.
        begin: where this one begins.
        end: where it ends.
        table: ``characters()``.
        out: uint8[room_for(end - begin)] or more.

    Returns:
        Bytes written, and whether they are ASCII alone.
    """
    high = np.uint8(0)
    for at in range(begin, end):
        high |= values[at]
    if high < 0x80:
        return _write_plain(values, begin, end, out), True
    to, blanks, last = 0, 0, 0
    cased = False  # as a capital sigma sees it
    at = begin
    while at < end:
        size = size_at(values, at, end)
        point = point_at(values, at, size) if size else _STRAY
        at += max(size, 1)
        found = np.int64(table[point])
        if found & SPACE:
            if blanks:
                out[last] = _BLANK
                to = last + 1
                continue
            blanks, last = 1, to
        else:
            blanks = 0
        if point == _SIGMA and cased and _ends_word(values, at, end, table):
            to = write_character(out, to, _FINAL_SIGMA)
        elif point == _DOTTED_I:
            to = write_character(out, write_character(out, to, 0x69), _DOT_ABOVE)
        else:
            to = write_character(out, to, found & LOWER)
        if not found & IGNORED:
            cased = (found & CASED) != 0
    return to, False


@inlined
def _write_plain(values: Any, begin: Any, end: Any, out: Any) -> Any:
    """Write a text of ASCII alone; return its bytes."""
    size = end - begin
    for i in range(size):
        byte = values[begin + i]
        out[i] = np.uint8(byte + (np.uint8(np.uint8(byte - 65) < 26) << np.uint8(5)))
    stretches = np.uint8(0)
    for i in range(size - 1):
        stretches |= np.uint8(_is_white(out[i]) & _is_white(out[i + 1]))
    if not stretches:
        return size
    to, blanks = 0, 0
    for i in range(size):
        byte = out[i]
        if _is_white(byte):
            if blanks:
                out[to - 1] = _BLANK
                continue
            blanks = 1
        else:
            blanks = 0
        out[to] = byte
        to += 1
    return to


@inlined
def _is_white(byte: Any) -> Any:
    r"""Return whether a character of ASCII is of ``\s``."""
    return (np.uint8(byte - 9) < 5) | (np.uint8(byte - 28) < 5)


@inlined
def _ends_word(values: Any, at: Any, end: Any, table: Any) -> Any:
    """Return whether what follows makes a capital sigma a final one."""
    while at < end:
        size = size_at(values, at, end)
        if size == 0:
            return True
        found = table[point_at(values, at, size)]
        if not found & IGNORED:
            return (found & CASED) == 0
        at += size
    return True


@inlined
def step_of(lead: Any) -> Any:
    """Return the bytes of a character of UTF-8 by its first."""
    if lead < 0x80:
        return 1
    return 2 + (lead >= 0xE0) + (lead >= 0xF0)
