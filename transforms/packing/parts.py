"""Parts: sequences of documents that rows never cross, cut into windows that any worker packs alone.

A window is a range of places in the documents' streams, one after another. It follows from prefix sums
of lengths, so from the global order alone: nobody's files, workers or memory have a say in it. But of
``concat``, every document has some more places than ids, as a window's memory goes with its documents,
too: there may be millions of one id, or of none.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from transforms.errors import DataError
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.pack import LongDocument, RowScanner, pack
from transforms.kernels.packing.rows import Packing, Pieces
from transforms.kernels.randomness import KeyPair, derive
from transforms.packing.document_files import DocumentFile, DocumentIndex

_CONCAT = 1 << 21
"""Ids of the rows that ``concat`` makes at a time; no row depends on it."""
_IN_ORDER = 1 << 22
"""Places of a window at most, where rows stand in the order of documents; no row depends on it."""
OF_DOCUMENT = 16
"""Places that a document has beside its ids in windows that aren't of ``concat``."""


class Window(NamedTuple):
    """Documents [begin, end) that are packed together, and which places of their streams.

    ``first`` and ``last`` count from where the first document's stream begins; None is the end of all.
    """

    begin: int
    end: int
    first: int
    last: int | None


@dataclass(frozen=True, kw_only=True)
class PartKey:
    """What keys the packing of a part: the labels of its draws."""

    seed: int
    epoch: int
    split: str
    stage: int = 0

    def of_window(self, number: int) -> KeyPair:
        """Return what keys the order of a window's rows."""
        return derive(self.seed, "packing", self.epoch, self.split, self.stage, number)


class Part:
    """A part's documents, and its windows.

    Args:
        files: its document files, in order.
        documents: how many of their documents are used, from the first on.
        packing: how they are packed.
        key: what keys that.
        starts: int64[windows + 1], the place at which each window begins, and the last one ends; None
            for them to be found.
    """

    def __init__(
        self,
        files: Sequence[DocumentFile],
        *,
        documents: int,
        packing: Packing,
        key: PartKey,
        starts: I64 | None = None,
    ) -> None:
        self.files, self.documents, self.packing, self.key = tuple(files), documents, packing, key
        concat = packing.kind == "concat"
        special = packing.special + (0 if concat else OF_DOCUMENT)
        self.index = DocumentIndex(files, special=special, skip_empty=concat)
        self.starts = self._find_starts() if starts is None else starts

    def __reduce__(self) -> tuple[object, ...]:
        return _part, (self.files, self.documents, self.packing, self.key, self.starts)

    @functools.cached_property
    def places(self) -> int:
        """Of all its documents; not read before it is asked for, as parts travel through runners."""
        return self.index.place_of(self.documents)

    @property
    def windows(self) -> int:
        """How many."""
        return len(self.starts) - 1

    def _find_starts(self) -> I64:
        packing = self.packing
        if packing.kind != "concat":
            window = packing.window
            window = window if packing.kind == "best_fit" else min(window, _IN_ORDER)
            edges = np.arange(0, self.places, window, dtype=np.int64)
            return np.append(edges, self.places)
        assert packing.length is not None
        rows = max(_CONCAT // packing.length, 1)
        if not packing.end_at_cuts:
            edges = np.arange(0, self.places, rows * packing.length, dtype=np.int64)
            return np.append(edges, self.places)
        scanner = RowScanner(packing, every=rows)
        found = [
            scanner.feed(self.index.streams(lengths))
            for lengths in self.index.walk_lengths(0, self.documents)
        ]
        return np.concatenate([*found, np.array([self.places], np.int64)])

    def window(self, number: int) -> Window:
        """Return a window."""
        start, stop = self.starts[number : number + 2].tolist()
        if self.packing.kind == "concat":
            # documents without ids before the first that has some are the first window's
            begin, at = self.index.holding(start) if start else (0, 0)
            end, _ = self.index.first_from(stop)
            return Window(begin, min(end, self.documents), start - at, stop - at)
        begin, _ = self.index.first_from(start)
        end, _ = self.index.first_from(stop)
        return Window(begin, min(end, self.documents), 0, None)

    def lengths(self, number: int) -> tuple[Window, I64]:
        """Return a window, and the bare lengths of its documents."""
        window = self.window(number)
        return window, self.index.lengths(window.begin, window.end)

    def pieces(self, number: int) -> tuple[Window, I64, Pieces]:
        """Pack a window; return it, the bare lengths of its documents, and the pieces.

        Raises:
            DataError: a document is longer than a row, and none may be.
        """
        window, lengths = self.lengths(number)
        with self.naming_long(window):
            found = pack(
                lengths,
                self.packing,
                key=self.key.of_window(number),
                first=window.first,
                last=window.last,
            )
        return window, lengths, found

    def place_of_row(self, number: int, row: int) -> int:
        """Return the place, of ``concat``, where a window's row begins, or its last one ends."""
        window, lengths, found = self.pieces(number)
        piece = int(found.row_offsets[row])
        if piece == len(found.document):
            return int(self.starts[number + 1])
        at = offsets_of(self.index.streams(lengths))[found.document[piece]] + found.begin[piece]
        return int(self.starts[number]) - window.first + int(at)

    @contextlib.contextmanager
    def naming_long(self, window: Window) -> Iterator[None]:
        """Name the document that is longer than a row where none may be."""
        try:
            yield
        except LongDocument as error:
            raise DataError(
                f"document {window.begin + error.document} of {self.key.split}: expected at most "
                f"{self.packing.length:,} ids (--long=fail), got {error.length:,}; pass "
                "--long=split, truncate or drop, or a longer --sequence_length"
            ) from None


def _part(
    files: Sequence[DocumentFile], documents: int, packing: Packing, key: PartKey, starts: I64
) -> Part:
    return Part(files, documents=documents, packing=packing, key=key, starts=starts)


def window_groups(part: Part, *, ids: int = 1 << 26) -> Iterator[range]:
    """Yield numbers of windows, those of about so many ids at a time."""
    begin = 0
    while begin < part.windows:
        stop = int(np.searchsorted(part.starts, part.starts[begin] + ids, side="right"))
        end = min(max(stop - 1, begin + 1), part.windows)
        yield range(begin, end)
        begin = end
