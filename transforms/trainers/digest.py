"""The digest of a shard's rows as a reader of its format sees them.

It depends on the order of rows and on nothing else: not on how they are batched, and not on the type of
ids. Filler is part of it where a format writes it (``Format.seen``), boundaries of rows and of pieces
where a format keeps them (``Format.keeps``).

    XXH3-128 of: the XXH3-128 of all ids as little-endian 32-bit words; of the rows' lengths, of the
    counts of their pieces, of the pieces' lengths, each as 64-bit words; of the rows' sources, as 16-bit
    words; of the kept columns' row hashes (``kernels.records.row_hashes``)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from transforms.kernels.packing.rows import Rows
from transforms.kernels.records.row_hashes import row_hashes
from transforms.trainers.contract import Keeps

_WORDS = 1 << 15  # ids widened at a time: they stay in a core's cache


class RowsDigest:
    """Digests rows as they come.

    Args:
        keeps: what of them is read back.
    """

    def __init__(self, keeps: Keeps) -> None:
        self._keeps = keeps
        self._ids, self._rows, self._counts, self._pieces, self._sources, self._kept = (
            xxhash.xxh3_128() for _ in range(6)
        )

    def add(self, rows: Rows) -> None:
        """Take more rows, as ``Format.seen`` or ``Format.read`` gives them."""
        for begin in range(0, len(rows.ids), _WORDS):
            _update(self._ids, rows.ids[begin : begin + _WORDS], "<u4")
        if self._keeps.rows:
            _update(self._rows, np.diff(rows.offsets), "<i8")
        if self._keeps.pieces:
            _update(self._counts, np.diff(rows.piece_offsets), "<i8")
            _update(self._pieces, rows.lengths, "<i8")
        if rows.sources is not None:
            _update(self._sources, rows.sources, "<u2")
        if rows.kept is not None:
            _update(self._kept, np.stack(row_hashes(rows.kept), axis=1), "<u8")

    def hexdigest(self) -> str:
        """Return 32 hex digits."""
        parts = (self._ids, self._rows, self._counts, self._pieces, self._sources, self._kept)
        return xxhash.xxh3_128(b"".join(part.digest() for part in parts)).hexdigest()


def _update(state: Any, values: npt.NDArray[Any], dtype: str) -> None:
    """Take the bytes of values of one type on every machine."""
    words = np.ascontiguousarray(values, dtype)
    state.update(words.data.cast("B") if len(words) else b"")
