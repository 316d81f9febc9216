"""Packing: what is asked, and what comes of it: pieces of documents, and rows of their ids.

A document's ids are those that the tokenizer gave. Around them packing puts special ones: ``begin``
before and ``end`` behind, where they are asked for. Together they are the document's stream, and a
place in it counts from the first special id. A row is some pieces of streams, one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import UsageError
from transforms.kernels.arrays import I64, U16, offsets_of

Kind = Literal["none", "concat", "best_fit", "pad", "buckets"]
Long = Literal["split", "truncate", "drop", "fail"]

_ANY = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Packing:
    """What is asked.

    Attributes:
        kind: ``none`` a document a row, of any length; ``concat`` streams joined and cut every
            ``length`` ids; ``best_fit`` whole pieces packed into rows by best-fit decreasing, window by
            window; ``pad`` a document a row of ``length``; ``buckets`` the same, of the least power of
            two that holds it, ``length`` at most.
        length: ids of a row, L; None with ``none`` alone.
        begin, end: the special ids that are put around each document's; None for none.
        end_at_cuts: end a piece that is cut with ``end`` too, inside of ``length``.
        long: what is done with streams longer than ``length`` (of ``concat`` they are always cut).
        window: ids of the documents that ``best_fit`` packs together: a window holds those whose first
            id lies in its range of the global order.
    """

    kind: Kind = "none"
    length: int | None = None
    begin: int | None = None
    end: int | None = None
    end_at_cuts: bool = False
    long: Long = "split"
    window: int = 1 << 23

    def __post_init__(self) -> None:
        if self.kind == "none":
            return
        if self.length is None or self.length < 1:
            raise UsageError(
                f"packing {self.kind}: expected a length of 1 or more, got {self.length}"
            )
        if self.end_at_cuts and self.end is None:
            raise UsageError(
                f"packing {self.kind}: expected an id that ends documents for ends at cuts, "
                "got none"
            )
        if self.end_at_cuts and self.length < 2:
            raise UsageError(
                f"packing {self.kind}: expected a length of at least 2 for ends at cuts, got 1"
            )

    @property
    def special(self) -> int:
        """How many special ids a document gets."""
        return (self.begin is not None) + (self.end is not None)

    @property
    def is_joined(self) -> bool:
        """Whether rows hold several documents, so that they are filled up with them."""
        return self.kind in {"concat", "best_fit"}

    @property
    def is_lossless(self) -> bool:
        """Whether every id of a document stands in a row."""
        return self.kind in {"none", "concat"} or self.long not in {"truncate", "drop"}

    @property
    def most(self) -> int:
        """How many ids a row can have: ``length``, of ``none`` any number."""
        return _ANY if self.kind == "none" or self.length is None else self.length


@dataclass(frozen=True)
class Pieces:
    """Which pieces of which documents stand in the rows of a window.

    Attributes:
        document: int64[m], of each piece, an index into the window's documents.
        begin: int64[m], its first place in the document's stream.
        length: int64[m], its ids, without what ``cut_end`` adds; 0 where that is all of it.
        cut_end: bool[m], whether ``Packing.end`` follows, as the piece was cut.
        row_offsets: int64[rows + 1], the pieces of each row.
    """

    document: I64
    begin: I64
    length: I64
    cut_end: npt.NDArray[Any]
    row_offsets: I64

    @property
    def rows(self) -> int:
        """How many rows."""
        return len(self.row_offsets) - 1

    @property
    def ids(self) -> I64:
        """int64[m], how many ids each piece has in its row."""
        found: I64 = self.length + self.cut_end
        return found

    def slice(self, begin: int, end: int) -> Pieces:
        """Return those of rows [begin, end)."""
        low, high = int(self.row_offsets[begin]), int(self.row_offsets[end])
        return Pieces(
            self.document[low:high],
            self.begin[low:high],
            self.length[low:high],
            self.cut_end[low:high],
            self.row_offsets[begin : end + 1] - low,
        )


def row_lengths(pieces: Pieces, packing: Packing) -> tuple[I64, I64]:
    """Return int64[rows] twice: how many ids each row has, and how much filler.

    Filler makes a row of ``length``, of ``buckets`` of the least power of two that holds it, ``length``
    at most; of ``none`` there is none.
    """
    ends = offsets_of(pieces.ids)[pieces.row_offsets]
    ids = np.diff(ends)
    if packing.kind == "none" or packing.length is None:
        return ids, np.zeros(len(ids), np.int64)
    if packing.kind == "buckets":
        exponents = np.frexp(np.maximum(ids - 1, 0).astype(np.float64))[1].astype(np.int64)
        return ids, np.minimum(np.left_shift(1, exponents), packing.length) - ids
    return ids, packing.length - ids


@dataclass(frozen=True)
class Rows:
    """Rows of ids. Filler is counted, and never part of them.

    Attributes:
        ids: uint16[k] or uint32[k], of all rows one after another, special ids included.
        offsets: int64[rows + 1], where each row's ids begin.
        lengths: int64[m], of the pieces of documents in them, in order.
        piece_offsets: int64[rows + 1], the pieces of each row.
        filler: int64[rows], how many ids of filler fill each row up.
        sources: uint16[rows] where a row is one document and its source is kept, else None.
        kept: one row of the kept columns each where a row is one document, else None.
    """

    ids: npt.NDArray[Any]
    offsets: I64
    lengths: I64
    piece_offsets: I64
    filler: I64
    sources: U16 | None = None
    kept: pa.StructArray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def slice(self, begin: int, end: int) -> Rows:
        """Return rows [begin, end); the ids aren't copied."""
        first, last = int(self.offsets[begin]), int(self.offsets[end])
        low, high = int(self.piece_offsets[begin]), int(self.piece_offsets[end])
        return Rows(
            self.ids[first:last],
            self.offsets[begin : end + 1] - first,
            self.lengths[low:high],
            self.piece_offsets[begin : end + 1] - low,
            self.filler[begin:end],
            None if self.sources is None else self.sources[begin:end],
            None if self.kept is None else self.kept.slice(begin, end - begin),
        )
