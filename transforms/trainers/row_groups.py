"""Rows gathered into groups whose cut depends on the rows alone, not on the batches they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa

from transforms.kernels.arrays import I64, cuts, offsets_of
from transforms.kernels.packing.rows import Rows
from transforms.kernels.records.arrow_values import row_sizes

_ID = 4  # bytes of an id, whatever its type here
_AT_ONCE = 1 << 22  # ids and filler of rows that are written at once


class RowGroups:
    """Holds rows until a group is full.

    Args:
        most_bytes: of a group, ids of 4 bytes and the kept columns' values; the row that fills it may
            reach beyond.
        most_rows: of a group.
    """

    def __init__(self, *, most_bytes: int, most_rows: int) -> None:
        self._most_bytes, self._most_rows = most_bytes, most_rows
        self._held: list[Rows] = []
        self._bytes = self._rows = 0

    def add(self, rows: Rows) -> Iterator[list[Rows]]:
        """Take rows; yield the groups that they fill, in the pieces that they came in."""
        ends, begin = _ends(rows), 0
        while begin < len(rows):
            room = self._most_bytes - self._bytes
            end = int(np.searchsorted(ends, ends[begin] + room, side="left"))
            end = min(end, begin + self._most_rows - self._rows, len(rows))
            self._held.append(rows.slice(begin, end))
            self._bytes += int(ends[end] - ends[begin])
            self._rows += end - begin
            if self._bytes >= self._most_bytes or self._rows == self._most_rows:
                yield self._take()
            begin = end

    def rest(self) -> Iterator[list[Rows]]:
        """Yield what is left, if anything."""
        if self._held:
            yield self._take()

    def _take(self) -> list[Rows]:
        taken, self._held = self._held, []
        self._bytes = self._rows = 0
        return taken


def few_at_once(batches: Iterable[Rows]) -> Iterator[Rows]:
    """Cut batches where their rows have many ids once they are filled up.

    A window's rows are few ids, and may be a thousand times as many with their filler: a document of one
    id is a row of ``pad``.
    """
    for rows in batches:
        filled = offsets_of(np.diff(rows.offsets) + rows.filler)
        for begin, end in cuts(filled, limit=_AT_ONCE):
            yield rows.slice(begin, end)


def _ends(rows: Rows) -> I64:
    """Return int64[rows + 1], how many bytes there are before each row."""
    ends: I64 = (rows.offsets - rows.offsets[0]) * _ID
    return ends if rows.kept is None else ends + offsets_of(row_sizes(rows.kept))


def join(pieces: Sequence[Rows]) -> Rows:
    """Return the rows of all pieces as one, at least one piece."""
    if len(pieces) == 1:
        return pieces[0]
    sources = [piece.sources for piece in pieces if piece.sources is not None]
    kept = [piece.kept for piece in pieces if piece.kept is not None]
    return Rows(
        np.concatenate([piece.ids for piece in pieces]),
        offsets_of(np.concatenate([np.diff(piece.offsets) for piece in pieces])),
        np.concatenate([piece.lengths for piece in pieces]),
        offsets_of(np.concatenate([np.diff(piece.piece_offsets) for piece in pieces])),
        np.concatenate([piece.filler for piece in pieces]),
        np.concatenate(sources) if sources else None,
        pa.concat_arrays(kept) if kept else None,
    )
