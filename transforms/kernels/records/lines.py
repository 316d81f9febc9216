"""Splitting a buffer into lines, or into rows of CSV, whose quoted fields may hold newlines."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from transforms.kernels.arrays import I64, U8
from transforms.kernels.records import compiling

_STEP = 1 << 20  # the mask of one step stays in cache
_QUOTE = ord('"')
# what may stand before the quote that begins a field, and behind the one that ends it
_BESIDE_A_FIELD = np.zeros(256, bool)
_BESIDE_A_FIELD[list(b",;|\t \r\n")] = True


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
    loops = compiling.loops_for(len(values))
    if loops is not None:
        found: I64 = loops.line_offsets(np.ascontiguousarray(values), separator)
        return found
    return np.concatenate([np.zeros(1, np.int64), *_behind(values, separator)])


def row_offsets(values: U8, separator: int) -> tuple[I64, int | None]:
    r"""Find the rows of CSV that end inside a buffer that begins with a row.

    Quotes open and close in turns, as RFC 4180 has it; a separator between them ends no row.

    Args:
        values, separator: as of ``line_offsets``.

    Returns:
        As of ``line_offsets``; and where the first quote is that opens or closes inside a field, None
        without one: from there on, nobody knows what is quoted.

    >>> row_offsets(np.frombuffer(b'1,"a\n""b"\n2,c\n3', np.uint8), 10)[0].tolist()
    [0, 10, 14]
    """
    offsets = line_offsets(values, separator)
    quotes = line_offsets(values, _QUOTE)[1:] - 1
    if not len(quotes):
        return offsets, None
    offsets = offsets[np.searchsorted(quotes, offsets) % 2 == 0]
    quotes = quotes[: np.searchsorted(quotes, offsets[-1])]  # behind each stands something
    beside = np.where(np.arange(len(quotes)) % 2 == 0, quotes - 1, quotes + 1)
    found = values[beside]
    fine = _BESIDE_A_FIELD[found] | (found == _QUOTE) | (found == separator) | (beside < 0)
    stray = quotes[~fine]
    return offsets, int(stray[0]) if len(stray) else None


def open_quote(values: U8, offsets: I64) -> int | None:
    r"""Return the first line that ends inside of a quoted field of CSV, None where none does.

    Such a line has an odd number of quotes, of which the first begins a field.

    Args:
        values: uint8[size].
        offsets: int64[n + 1], where lines begin.

    >>> values = np.frombuffer(b'5" x\n1,"a\nb"\n', np.uint8)
    >>> open_quote(values, line_offsets(values, 10))
    1
    """
    low = int(offsets[0])
    quotes = line_offsets(values[low : int(offsets[-1])], _QUOTE)[1:] + (low - 1)
    first = np.searchsorted(quotes, offsets)
    odd = np.flatnonzero(np.diff(first) % 2)
    at = quotes[first[odd]]
    begins = (at == offsets[odd]) | _BESIDE_A_FIELD[values[np.maximum(at - 1, 0)]]
    found = odd[begins]
    return int(found[0]) if len(found) else None


def _behind(values: U8, byte: int) -> Iterator[I64]:
    """Yield the places behind each such byte, of one step after the other."""
    for low in range(0, len(values), _STEP):
        found = np.flatnonzero(values[low : low + _STEP] == byte)
        found += low + 1
        yield found


def first_line(values: U8, separator: int) -> int | None:
    """Return where the first line that begins after a separator begins, None where none does."""
    return next((int(begins[0]) for begins in _behind(values, separator) if len(begins)), None)
