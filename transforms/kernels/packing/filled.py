"""Rows with their filler among the ids, as files that know of no lengths hold them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from transforms.kernels.arrays import offsets_of, read_only
from transforms.kernels.compiled import kernel
from transforms.kernels.packing.rows import Rows


def filled(rows: Rows, filler: int) -> Rows:
    """Return rows whose ids are followed by their filler, which counts for no piece.

    Args:
        rows: any; where they have no filler they are returned as they are.
        filler: an id that the type of theirs holds.

    >>> two = np.array([7, 8, 9], np.uint16), np.array([0, 1, 3]), np.array([1, 2])
    >>> filled(Rows(*two, np.array([0, 1, 2]), np.array([2, 1])), 0).ids.tolist()
    [7, 0, 0, 8, 9, 0]
    """
    if not rows.filler.any():
        return rows
    if not 0 <= filler <= np.iinfo(rows.ids.dtype).max:
        raise ValueError(f"expected a filler that fits {rows.ids.dtype}, got {filler}")
    offsets = offsets_of(np.diff(rows.offsets) + rows.filler)
    ids = np.full(int(offsets[-1]), filler, rows.ids.dtype)
    _lay(read_only(rows.ids), read_only(rows.offsets), read_only(offsets), ids)
    return replace(rows, ids=ids, offsets=offsets, filler=np.zeros(len(rows), np.int64))


@kernel
def _lay(ids: Any, offsets: Any, places: Any, out: Any) -> None:
    """Copy each row's ids to its place."""
    for row in range(len(offsets) - 1):
        begin, size, place = offsets[row], offsets[row + 1] - offsets[row], places[row]
        for i in range(size):
            out[place + i] = ids[begin + i]
