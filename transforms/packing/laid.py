"""What writers of a split's shards read: documents in their final order, and the rows made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.conservation import bare_ranges, rest_of, row_hashes, total
from transforms.kernels.packing.counts import Counts
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.rows import Packing, Pieces, Rows, row_lengths
from transforms.packing.documents import Documents, join
from transforms.packing.parts import Part


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
        counts: of each window.
        used_of_last: of the rows of the last window that are used; None where all are.
    """

    part: Part
    rows_before: I64
    ids_before: I64
    filler_before: I64
    rows: int
    counts: tuple[Counts, ...]
    used_of_last: Counts | None = None

    @property
    def used(self) -> Counts:
        """What the rows that are used come to."""
        return sum(self._used(), start=Counts())

    def _used(self) -> Iterator[Counts]:
        if self.used_of_last is None:
            yield from self.counts
            return
        yield from self.counts[:-1]
        last = self.counts[-1]
        yield replace(
            self.used_of_last,
            documents=last.documents,
            empty=last.empty,
            long=last.long,
            truncated=last.truncated,
            dropped=last.dropped,
            dropped_documents=last.dropped_documents,
        )

    @property
    def tokens(self) -> int:
        """Tokens of the documents that are used."""
        return self.part.index.tokens_before(self.part.documents)

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
        self.parts, self.keep_sources = tuple(parts), keep_sources
        self._rows = offsets_of([part.rows for part in parts])
        self._documents = offsets_of([part.part.documents for part in parts])
        self.hash = 0

    def __reduce__(self) -> tuple[object, ...]:
        return _laid, (self.parts, self.keep_sources)

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
        found = np.zeros(2, np.int64)
        for part, low, high in _inside(self.parts, self._rows, begin, end):
            found += np.array(part.counted(high)) - np.array(part.counted(low))
        return int(found[0]), int(found[1])

    def places_before(self, document: int) -> int:
        """Return how many ids, special ones included, the documents before one have."""
        places = 0
        for part, _, high in _inside(self.parts, self._documents, 0, document):
            index, packing = part.part.index, part.part.packing
            skipped = index.empty_before(high) if _skips_empty(packing) else 0
            places += index.tokens_before(high) + packing.special * (high - skipped)
        return places

    def streams_between(self, begin: int, end: int) -> int:
        """Return how many of documents [begin, end) have ids, special ones included."""
        found = 0
        for part, low, high in _inside(self.parts, self._documents, begin, end):
            found += high - low
            if _skips_empty(part.part.packing):
                index = part.part.index
                found -= index.empty_before(high) - index.empty_before(low)
        return found

    def read_rows(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield rows [begin, end), a window's at a time, each proved to hold its documents' ids."""
        for part, low, high, last in self._parts_of(begin, end):
            before = part.rows_before
            window = max(int(np.searchsorted(before, low, side="left")) - 1, 0)
            while before[window + 1] < low or (before[window + 1] == low and before[window] < low):
                window += 1
            while window < part.part.windows and (before[window] < high or last):
                first = int(before[window])
                yield from self._read_window(part, window, low - first, high - first)
                window += 1

    def _parts_of(self, begin: int, end: int) -> Iterator[tuple[PackedPart, int, int, bool]]:
        """Yield each part that has some of a range of rows, which of its own they are, and whether
        nothing of it follows. A part without rows is there once too: its ids stand in none.
        """
        for number, part in enumerate(self.parts):
            first, beyond = int(self._rows[number]), int(self._rows[number + 1])
            low, high = max(begin, first), min(end, beyond)
            empty = first == beyond and part.part.windows > 0
            mine = begin <= first < end or first == end == self.rows
            if low < high or (empty and mine):
                yield part, low - first, high - first, high == beyond

    def _read_window(self, packed: PackedPart, number: int, low: int, high: int) -> Iterator[Rows]:
        part, packing = packed.part, packed.part.packing
        window, lengths, pieces = part.pieces(number)
        if window.begin == window.end:  # in the midst of a document that is longer
            return
        documents = join(part.index.read(window.begin, window.end))
        if not np.array_equal(np.diff(documents.offsets), lengths):
            raise LosslessError(
                f"{part.key.split}, window {number}: the lengths of its documents aren't those "
                "written; check memory and disk, then run again"
            )
        used = min(pieces.rows, packed.rows - int(packed.rows_before[number]))
        begin, end = max(low, 0), min(high, used)
        rows = fill(documents.ids, documents.offsets, pieces, packing)
        hashes = row_hashes(rows, pieces, lengths, documents.keys, packing)
        rest = rest_of(documents, pieces, packing)
        if (total(hashes) + rest - documents.hash) % (1 << 64):
            raise LosslessError(
                f"{part.key.split}, window {number}: its rows don't hold the ids of its "
                "documents: a bug in Dovetail, or faulty memory; run again, and report it"
            )
        at = pieces.row_offsets
        if low <= 0:  # whoever has a window's first row accounts for what stands in no row
            self.hash += total(hashes[at[used] :])
            if packing.kind != "concat":
                self.hash += rest
            elif number == part.windows - 1:
                self.hash += rest - _hash_before(documents, pieces, lengths, packing)
        if end > begin:
            self.hash += total(hashes[at[begin] : at[end]])
            yield self._with_kept(rows.slice(begin, end), documents, pieces, begin, end)

    def _with_kept(
        self, rows: Rows, documents: Documents, pieces: Pieces, begin: int, end: int
    ) -> Rows:
        if not self.keep_sources and documents.kept is None:
            return rows
        of = pieces.document[pieces.row_offsets[begin:end]]
        sources = documents.sources[of] if self.keep_sources else None
        kept = None if documents.kept is None else documents.kept.take(of)
        return Rows(
            rows.ids, rows.offsets, rows.lengths, rows.piece_offsets, rows.filler, sources, kept
        )

    def read_documents(self, begin: int, end: int) -> Iterator[Rows]:
        """Yield documents [begin, end), some at a time, those without a stream left out."""
        for part, low, high in _inside(self.parts, self._documents, begin, end):
            skips_empty = _skips_empty(part.part.packing)
            packing = replace(part.part.packing, kind="none", length=None)  # no row, no filler
            for documents in part.part.index.read(low, high):
                lengths = np.diff(documents.offsets)
                mine = np.flatnonzero(lengths if skips_empty else lengths + 1)
                pieces = Pieces(
                    mine,
                    np.zeros(len(mine), np.int64),
                    lengths[mine] + packing.special,
                    np.zeros(len(mine), bool),
                    np.arange(len(mine) + 1),
                )
                rows = fill(documents.ids, documents.offsets, pieces, replace(packing, kind="none"))
                self.hash += total(row_hashes(rows, pieces, lengths, documents.keys, packing))
                yield self._with_kept(rows, documents, pieces, 0, len(mine))


def _skips_empty(packing: Packing) -> bool:
    """Return whether documents without ids have none with special ones either."""
    return packing.kind != "none" or not packing.special


def _hash_before(documents: Documents, pieces: Pieces, lengths: I64, packing: Packing) -> int:
    """Return the hash of the first document's ids that stand in rows before the window's."""
    if not len(pieces.document) or pieces.document[0]:
        return 0
    before = int(bare_ranges(pieces, lengths, packing)[0][0])
    return documents.slice(0, 1).head(before).hash


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
