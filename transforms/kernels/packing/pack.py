"""Packing: which pieces of which documents stand in which row, by their lengths alone."""

from __future__ import annotations

import numpy as np

from transforms.kernels.arrays import I32, I64, U64, read_only
from transforms.kernels.packing import concat, cut
from transforms.kernels.packing.best_fit import arrange, fit
from transforms.kernels.packing.rows import Packing, Pieces
from transforms.kernels.randomness import KeyPair, record_keys

_LONG = {"split": cut.SPLIT, "truncate": cut.TRUNCATE, "drop": cut.DROP, "fail": cut.FAIL}
_PIECES = np.uint64(1 << 63)  # pieces are keyed from here on, rows from 0


class LongDocument(ValueError):
    """A document is longer than a row, and none may be.

    Attributes:
        document: its index.
        length: its ids, special ones included.
    """

    def __init__(self, document: int, length: int, most: int) -> None:
        super().__init__(f"document {document}: expected {most} ids at most, got {length}")
        self.document, self.length = document, length


def pack(
    lengths: I64, packing: Packing, *, key: KeyPair, first: int = 0, last: int | None = None
) -> Pieces:
    """Lay a window's documents into rows.

    Documents without ids make a row of ``none``, and are left out of all others.

    ``concat`` takes all or some places of the joined streams; the law of its rows, and of the ends that
    are put in at cuts, stands in ``concat.py``. Windows that begin where rows do give together what one
    window of all gives.

    ``none``, ``pad`` and ``buckets`` lay a document a row in order, and what is cut of it into rows
    right behind.

    ``best_fit`` sees lengths alone, so what it does would show in its rows: the first are full and hold
    the longest pieces, the last are short; inside of a row lengths fall; and of pieces of one length the
    first documents stand in the first rows. So rows are permuted by key, and so are the pieces inside of
    each (in the order of documents they would not do: of two lengths that fill rows up together, the
    rarer one comes later in them). No more is needed. Documents come in uniform order, so windows
    hold them by chance, and windows are alike but for the last; which of the documents of one length
    stands in which of the places for it follows from their order, and is by chance, too.

    Args:
        lengths: int64[n], ids of each document, without special ones.
        packing: how.
        key: of the window; ``best_fit`` alone uses it.
        first, last: which places of the joined streams are packed, counted from where the first
            document's stream begins; None for the end of all. Both may lie inside of documents with
            ``concat``; the other kinds take whole documents.

    Raises:
        LongDocument: there is one, and ``packing.long`` is ``fail``.
        ValueError: places that the kind can't take.
    """
    lengths = read_only(lengths, np.int64)
    if packing.kind == "concat":
        places = _places(lengths, packing)
        last = places if last is None else min(last, places)
        found = concat.cut_rows(
            lengths, packing.special, packing.most, first, last, int(packing.end_at_cuts)
        )
        return Pieces(*found)
    if first or (last is not None and last != _places(lengths, packing)):
        raise ValueError(
            f"{packing.kind} packs whole documents: expected places 0 to {_places(lengths, packing)}, "
            f"got {first} to {last}"
        )
    pieces = _cut(lengths, packing)
    if packing.kind != "best_fit":
        return pieces
    if len(pieces.document) >= 1 << 31:
        raise ValueError(f"expected fewer than 2^31 pieces of a window, got {len(pieces.document)}")
    row_of, rows = _fit(pieces, packing)
    place_of = np.empty(rows, np.int64)
    place_of[_by_key(key, np.arange(rows, dtype=np.uint64))] = np.arange(rows)
    in_turn = _by_key(key, np.arange(len(row_of), dtype=np.uint64) + _PIECES)
    order, offsets = arrange(read_only(row_of), read_only(place_of), read_only(in_turn))
    return Pieces(
        pieces.document[order],
        pieces.begin[order],
        pieces.length[order],
        pieces.cut_end[order],
        offsets,
    )


class RowScanner:
    """Finds where rows of ``concat`` begin in the joined streams, from lengths that come in batches.

    Args:
        packing: how.
        every: of rows 0, every, 2 * every and so on the beginnings are found.

    Attributes:
        rows: how many rows there are so far.
        places: of how many ids, without the ends that are put in at cuts.
    """

    def __init__(self, packing: Packing, *, every: int) -> None:
        if packing.kind != "concat":
            raise ValueError(f"rows of {packing.kind} don't begin at places of joined streams")
        self._length, self._at_cuts = packing.most, int(packing.end_at_cuts)
        self._every = every
        self._state = np.zeros(3, np.int64)

    @property
    def rows(self) -> int:
        """How many rows have begun."""
        return int(self._state[concat.ROWS])

    @property
    def places(self) -> int:
        """How many ids streams had so far."""
        return int(self._state[concat.PLACE])

    def feed(self, streams: I64) -> I64:
        """Take the lengths of the next documents' streams, 0 for none; return the beginnings in them."""
        most = int(streams.sum()) // (self._length - self._at_cuts) + 2
        out = np.empty(most // self._every + 1, np.int64)
        found = concat.scan_rows(
            read_only(streams, np.int64),
            self._length,
            self._at_cuts,
            self._every,
            self._state,
            out,
        )
        return out[:found]


def _places(lengths: I64, packing: Packing) -> int:
    """Return how many places the joined streams have."""
    streams = len(lengths) if packing.kind == "none" else int(np.count_nonzero(lengths))
    return int(lengths.sum()) + streams * packing.special


def _cut(lengths: I64, packing: Packing) -> Pieces:
    none = packing.kind == "none"
    at_cuts = 0 if none else int(packing.end_at_cuts)
    document, begin, taken, cut_end, failed = cut.cut_streams(
        lengths, packing.special, packing.most, at_cuts, _LONG[packing.long], none
    )
    if failed >= 0:
        raise LongDocument(failed, int(lengths[failed]) + packing.special, packing.most)
    return Pieces(document, begin, taken, cut_end, np.arange(len(document) + 1))


def _fit(pieces: Pieces, packing: Packing) -> tuple[I32, int]:
    """Find rows for pieces: as of ``fit``, whose memory goes with the length of rows, however long."""
    sizes = read_only(pieces.ids)
    # where all pieces fit one row, one as long as all of them does
    row_of, rows = fit(sizes, min(packing.most, int(sizes.sum())))
    return row_of, int(rows)


def _by_key(key: KeyPair, numbers: U64) -> I64:
    return np.argsort(record_keys(key, numbers))
