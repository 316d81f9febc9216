"""One pass over texts that says what is UTF-8, what is surely in NFC already, and where lines end.

A text is in Unicode's NFC if all its characters are settled: a settled character has the combining
class 0 and the property NFC_Quick_Check=Yes, so that it neither changes, nor moves, nor joins the one
before it (Unicode Standard Annex 15, section 9, "Detecting Normalization Forms").
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U8, read_only
from transforms.kernels.compiled import first_bit, inlined, kernel, load_word
from transforms.kernels.utf8 import point_at, size_at

KNOWN = 0x30000
"""Characters from here on (ideographs of plane 3, tags, private use) are never called settled."""

_LINE = 24  # bytes of a line, about: room for the first attempt
_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_NEWLINE = np.uint8(0x0A)
_NEWLINES = _ONES * np.uint64(_NEWLINE)
# three bytes from E4 8x 8x to E9 Bx Bx: U+4000 to U+9FFF, which are settled in every Unicode
_TWO_MORE, _ARE_THERE = np.uint64(0xC0C000), np.uint64(0x808000)
_LEAD, _FIRST, _MOST = np.uint64(0xFF), np.uint64(0xE4), np.uint64(5)
_24 = np.uint64(24)


class Lines(NamedTuple):
    """What was found of r records."""

    segments: I64
    """int64[s + 1], where each segment begins, and the last one ends; none is empty."""

    records: I64
    """int64[r + 1]: record i is the segments records[i] to records[i + 1]."""

    unsettled: npt.NDArray[np.intp]
    """The numbers of records that may have to be normalized."""


def cut_lines(text: U8, offsets: I64, settled: U8) -> Lines | None:
    r"""Cut records after each run of newlines, which stays with the line before.

    Args:
        text: uint8[m].
        offsets: int64[r + 1], from 0 to m: record i is text[offsets[i]:offsets[i + 1]].
        settled: uint8[KNOWN / 8], a bit for each character that is settled, the lowest first.

    Returns:
        The lines; None where a record isn't UTF-8.

    >>> text = np.frombuffer("a\n\nb\u0301".encode(), np.uint8)
    >>> cut_lines(text, np.array([0, 3, 6]), np.zeros(KNOWN // 8, np.uint8))
    Lines(segments=array([0, 3, 6]), records=array([0, 1, 2]), unsettled=array([1]))
    """
    count = len(offsets) - 1
    records, unsettled = np.zeros(count + 1, np.int64), np.zeros(count, np.bool_)
    room = count + len(text) // _LINE + 1
    text, offsets, settled = map(read_only, (text, offsets, settled))
    while True:
        segments = np.empty(room, np.int64)
        found = _cut_lines(text, offsets, settled, segments, records, unsettled)
        if found >= 0:
            return Lines(segments[: found + 1], records, np.flatnonzero(unsettled))
        if found == _NOT_UTF8:
            return None
        room = count + int(np.count_nonzero(text == _NEWLINE)) + 1


_NOT_UTF8, _NO_ROOM = np.int64(-1), np.int64(-2)


@kernel
def _cut_lines(
    text: Any, offsets: Any, settled: Any, segments: Any, records: Any, unsettled: Any
) -> Any:
    """Fill the last three; return how many segments there are, or what went wrong."""
    count = np.int64(0)
    last = np.int64(len(text)) - 8  # where the last whole word begins
    for record in range(len(offsets) - 1):
        at, end = offsets[record], offsets[record + 1]
        if at < end:
            if count + 1 >= len(segments):
                return _NO_ROOM
            segments[count] = at
            count += 1
        while at < end:
            if at <= last:
                word = load_word(text, at)
                # the lowest bit that is set is that of the first byte that is no plain ASCII
                special = (word | ((word ^ _NEWLINES) - _ONES)) & _HIGH
                plain = first_bit(special) >> 3
                if plain:
                    at += plain
                    continue
                if _is_ideograph(word) and at + 3 <= end:
                    at += 3
                    if _is_ideograph(word >> _24) and at + 3 <= end:
                        at += 3
                    continue
            byte = text[at]
            if byte == _NEWLINE:
                at += 1
                while at < end and text[at] == _NEWLINE:
                    at += 1
                if at < end:
                    if count + 1 >= len(segments):
                        return _NO_ROOM
                    segments[count] = at
                    count += 1
                continue
            size = size_at(text, at, end)
            if size == 0:
                return _NOT_UTF8
            if size > 1:
                point = point_at(text, at, size)
                if point >= KNOWN or not (settled[point >> 3] >> (point & 7)) & 1:
                    unsettled[record] = True
            at += size
        records[record + 1] = count
        at = end  # words of plain ASCII may run into the next record
    segments[count] = len(text)
    return count


@inlined
def _is_ideograph(word: Any) -> Any:
    return (word & _TWO_MORE) == _ARE_THERE and (word & _LEAD) - _FIRST <= _MOST
