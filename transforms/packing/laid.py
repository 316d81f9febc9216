"""What writers of a split's shards read: documents in their final order, and the rows made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.conservation import hash_pieces, rest_of
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.rows import Pieces, Rows
from transforms.packing.document_files import Documents
from transforms.packing.parts import Part, Window

_MOST = 1 << 20  # ids of the documents that are read at a time, beside one document


class Laid(Protocol):
    """A split, laid down: any range of its rows or documents can be read by any worker.

    Attributes:
        rows: how many rows there are.
        documents: how many documents, empty ones included where packing keeps them.
        hash: conservation hash of the bare ids that were yielded, and of those that belong to windows
            whose first row was and stand in no row; mod 2**64.
    """

    hash: int

    @property
    def rows(self) -> int:
        """How many rows."""

    @property
    def documents(self) -> int:
        """How many documents."""

    def read_rows(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield rows [begin, end), some at a time."""

    def read_documents(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield documents [begin, end) with their special ids, each as a row of one piece."""


@dataclass(frozen=True, eq=False)
class PackedPart:
    """A part whose windows are counted.

    Attributes:
        part: the part.
        rows_before, ids_before, filler_before: int64[windows + 1], of the windows before each.
        rows: how many of its rows are used, from the first on.
    """

    part: Part
    rows_before: I64
    ids_before: I64
    filler_before: I64
    rows: int

    def counted(self, rows: int) -> tuple[int, int]:
        """Return how many ids, and how much filler, the first rows have."""
        window = int(np.searchsorted(self.rows_before, rows, side="right")) - 1
        ids, filler = int(self.ids_before[window]), int(self.filler_before[window])
        more = rows - int(self.rows_before[window])
        if more:
            found = self.part.pieces(window)[2]
            lengths, fills = row_lengths(found, self.part.packing)
            ids, filler = ids + int(lengths[:more].sum()), filler + int(fills[:more].sum())
        return ids, filler


class LaidSplit:
    """A split's parts, one after another.

    Args:
        parts: in order.
        keep_sources: hand on the source of each row that is one document.
    """

    def __init__(self, parts: Sequence[PackedPart], *, keep_sources: bool = False) -> None:
        self.parts, self._keep_sources = tuple(parts), keep_sources
        self._rows = offsets_of([part.rows for part in parts])
        self._documents = offsets_of([part.part.documents for part in parts])
        self.hash = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _laid, (self.parts, self._keep_sources)

    @property
    def rows(self) -> int:
        """How many rows."""
        return int(self._rows[-1])

    @property
    def documents(self) -> int:
        """How many documents."""
        return int(self._documents[-1])

    def facts(self, begin: int, end: int) -> tuple[int, int]:
        """Return how many ids, and how much filler, rows [begin, end) have."""
        total = np.zeros(2, np.int64)
        for part, low, high in _inside(self.parts, self._rows, begin, end):
            total += np.array(part.counted(high)) - np.array(part.counted(low))
        return int(total[0]), int(total[1])

    def places_before(self, document: int) -> int:
        """Return how many ids, special ones included, the documents before one have."""
        total = 0
        for part, _, high in _inside(self.parts, self._documents, 0, document):
            total += part.part.index.place_of(high)
        return total

    def read_rows(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield rows [begin, end), a window's at a time, each proved to hold its documents' ids."""
        for part, low, high in _inside(self.parts, self._rows, begin, end):
            before = part.rows_before
            window = int(np.searchsorted(before, low, side="right")) - 1
            # windows of no rows before it belong to whoever has the row behind them
            while window and before[window - 1] == before[window] == low:
                window -= 1
            while window < part.part.windows and (before[window] < high or high == before[-1]):
                first = int(before[window])
                yield from self._read_window(part, window, low - first, high - first)
                window += 1

    def _read_window(self, packed: PackedPart, number: int, low: int, high: int) -> Iterator[Rows]:
        part = packed.part
        window, lengths, pieces = part.pieces(number)
        documents = _join(part.index.read(window.begin, window.end))
        require_lengths(documents, lengths, part)
        begin, end = max(low, 0), min(high, pieces.rows)
        every = hash_pieces(documents, pieces, part.packing, 0, pieces.rows)
        rest = rest_of(documents, pieces, part.packing)
        if (every + rest) % (1 << 64) != documents.hash:
            raise LosslessError(
                f"{part.key.split}, window {number}: its rows don't hold the ids of its documents; "
                "this is a fault of Dovetail, or memory is at fault: run again, and report it"
            )
        if end > begin:
            rows = fill(documents.ids, documents.offsets, pieces, part.packing, begin, end)
            yield self._with_kept(rows, documents, pieces, begin, end)

    def _with_kept(
        self, rows: Rows, documents: Documents, pieces: Pieces, begin: int, end: int
    ) -> Rows:
        if not self._keep_sources and documents.kept is None:
            return rows
        of = pieces.document[pieces.row_offsets[begin:end]]
        sources = documents.sources[of] if self._keep_sources else None
        kept = None if documents.kept is None else documents.kept.take(of)
        return Rows(
            rows.ids, rows.offsets, rows.lengths, rows.piece_offsets, rows.filler, sources, kept
        )

    def read_documents(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield documents [begin, end), some at a time, those without a stream left out."""
        for part, low, high in _inside(self.parts, self._documents, begin, end):
            packing = part.part.packing
            for documents in part.part.index.read(low, high):
                lengths = np.diff(documents.offsets)
                mine = np.flatnonzero(part.part.index.streams(lengths) > 0)
                pieces = Pieces(
                    mine,
                    np.zeros(len(mine), np.int64),
                    lengths[mine] + packing.special,
                    np.zeros(len(mine), bool),
                    np.arange(len(mine) + 1),
                )
                rows = fill(documents.ids, documents.offsets, pieces, packing, 0, len(mine))
                yield self._with_kept(rows, documents, pieces, 0, len(mine))


def _laid(parts: Sequence[PackedPart], keep_sources: bool) -> LaidSplit:
    return LaidSplit(parts, keep_sources=keep_sources)


def _inside(
    parts: Sequence[PackedPart], before: I64, begin: int, end: int
) -> Iterator[tuple[PackedPart, int, int]]:
    """Yield each part that has some of a range, and which of its own they are."""
    for number, part in enumerate(parts):
        first, beyond = int(before[number]), int(before[number + 1])
        low, high = max(begin, first), min(end, beyond)
        if low < high:
            yield part, low - first, high - first
