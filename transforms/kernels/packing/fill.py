"""Rows filled with their documents' ids, and with the special ids around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U8, offsets_of, read_only
from transforms.kernels.compiled import copy_bytes, kernel
from transforms.kernels.packing.rows import Packing, Pieces, Rows, row_lengths


def fill(
    ids: npt.NDArray[Any],
    offsets: I64,
    pieces: Pieces,
    packing: Packing,
    begin: int = 0,
    end: int | None = None,
) -> Rows:
    """Lay ids into rows [begin, end) of a window, all of them by default.

    Args:
        ids: uint16[k] or uint32[k], of documents without special ones.
        offsets: int64[n + 1], where each of the window's documents begins in them.
        pieces: of the window, as ``pack`` gave them.
        packing: as it was given.

    Returns:
        Rows of ids of the same type.

    Raises:
        ValueError: pieces that don't lie in their documents; special ids that the type can't hold.
    """
    if begin or end is not None:
        pieces = pieces.slice(begin, pieces.rows if end is None else end)
    special = np.concatenate([special_id(packing.begin, ids), special_id(packing.end, ids)])
    width = ids.dtype.itemsize
    if len(offsets) and not 0 <= offsets[0] <= offsets[-1] <= len(ids):
        raise ValueError(
            f"expected offsets within {len(ids)} ids, got {offsets[0]} to {offsets[-1]}"
        )
    lengths, filler = row_lengths(pieces, packing)
    ends = offsets_of(lengths)
    out = np.empty(int(ends[-1]), ids.dtype)
    held = read_only(ids)
    wrong = _lay(
        held.view(np.uint8),
        np.uint64(held.ctypes.data),
        width,
        read_only(offsets, np.int64),
        *(read_only(a) for a in (pieces.document, pieces.begin, pieces.length, pieces.cut_end)),
        read_only(special.view(np.uint8)),
        packing.begin is not None,
        packing.end is not None,
        out.view(np.uint8),
    )
    if wrong >= 0:
        raise ValueError(
            f"piece {wrong}: expected ids within document {pieces.document[wrong]} and a row, "
            f"got {pieces.length[wrong]} ids from {pieces.begin[wrong]} on"
        )
    return Rows(out, ends, pieces.ids, pieces.row_offsets, filler)


def special_id(value: int | None, ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a special id, 0 where there is none, as an array of one of the type of others.

    Raises:
        ValueError: the type can't hold it.
    """
    most = int(np.iinfo(ids.dtype).max)
    if value is not None and not 0 <= value <= most:
        raise ValueError(
            f"expected special ids of 0 to {most}, the range of {ids.dtype}, got {value}"
        )
    return np.array([value or 0], ids.dtype)


@kernel
def _lay(
    ids: U8,
    address: Any,
    width: Any,
    offsets: Any,
    document: Any,
    begin: Any,
    length: Any,
    cut_end: Any,
    special: Any,
    has_begin: Any,
    has_end: Any,
    out: Any,
) -> Any:
    """Lay pieces end to end, in bytes; return the first piece that doesn't lie in its document, or
    for which there is no place, or -1.

    ``address`` is where ``ids`` lie, which are given to be held. Ids have ``width`` bytes each, and
    ``special`` holds two of them, the first and the last of a document.
    """
    before, behind = int(has_begin), int(has_end)
    at = 0
    for piece in range(len(document)):
        if not 0 <= document[piece] < len(offsets) - 1:
            return piece
        first = offsets[document[piece]]
        bare = offsets[document[piece] + 1] - first
        low, high = begin[piece] - before, begin[piece] + length[piece] - before
        if bare < 0 or low < -before or high < low or high > bare + behind:
            return piece
        if at + (high - low + cut_end[piece]) * width > len(out):
            return piece
        if low < 0 and high > low:
            for k in range(width):
                out[at + k] = special[k]
            at += width
            low = 0
        size = (min(high, bare) - low) * width
        if size > 0:
            copy_bytes(out, at, address + np.uint64((first + low) * width), size)
            at += size
        if (high > bare and high > low) or cut_end[piece]:
            for k in range(width):
                out[at + k] = special[width + k]
            at += width
    return -1
