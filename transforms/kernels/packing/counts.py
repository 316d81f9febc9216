"""What packing comes to: counts of a window, which add up over windows."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace

import numpy as np

from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing, Pieces, row_lengths
from transforms.kernels.randomness import KeyPair


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of rows and of what stands in them; ``+`` joins those of two windows.

    Attributes:
        rows: how many.
        ids: in rows, special ones included, filler not.
        tokens: documents' own ids in rows.
        special: special ids in rows, ends at cuts included.
        filler: ids of filler that fill rows up.
        joined_rows: rows that hold pieces of several documents.
        documents: whose streams begin in the window; those without ids up to where its places end.
        empty: those of them without ids.
        long: those of them whose streams are longer than a row.
        cut_documents: those of them that are cut, or cut off.
        truncated: tokens of documents that were cut off, which stand in no row.
        dropped: tokens of documents that were dropped.
        dropped_documents: how many.
    """

    rows: int = 0
    ids: int = 0
    tokens: int = 0
    special: int = 0
    filler: int = 0
    joined_rows: int = 0
    documents: int = 0
    empty: int = 0
    long: int = 0
    cut_documents: int = 0
    truncated: int = 0
    dropped: int = 0
    dropped_documents: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def count_window(
    lengths: I64, packing: Packing, *, key: KeyPair, first: int = 0, last: int | None = None
) -> Counts:
    """Count what ``pack`` makes of a window, of lengths alone; arguments and errors are its."""
    pieces = pack(lengths, packing, key=key, first=first, last=last)
    found = _count_rows(lengths, pieces, packing)
    of = _count_documents(lengths, packing, first, last)
    truncated = 0
    if packing.kind != "concat" and packing.long == "truncate":
        truncated = int(lengths.sum()) - found.tokens
    return replace(
        found,
        documents=of.documents,
        empty=of.empty,
        long=of.long,
        truncated=truncated,
        dropped=of.dropped,
        dropped_documents=of.dropped_documents,
    )


def count_pieces(lengths: I64, pieces: Pieces, packing: Packing, rows: int | None = None) -> Counts:
    """Count what stands in the first rows of a window of whole documents.

    Documents are those that have ids in these rows; what was cut off and dropped isn't counted.

    Args:
        lengths: int64[n], ids of the window's documents, without special ones.
        pieces: of the window.
        packing: how.
        rows: how many, None for all.
    """
    return _count_rows(lengths, pieces if rows is None else pieces.slice(0, rows), packing)


def _count_rows(lengths: I64, pieces: Pieces, packing: Packing) -> Counts:
    streams = lengths[pieces.document] + packing.special
    ends = pieces.begin + pieces.length
    begin, end = packing.begin is not None, packing.end is not None
    held = (pieces.length > 0) | (pieces.ids == 0)
    cut = ends < streams
    # special ids that a piece holds: the first of its stream, and the last
    put = int(((pieces.begin == 0) & (pieces.length > 0)).sum()) * begin
    put += int((~cut & (pieces.length > 0)).sum()) * end
    cut_ends = int(pieces.cut_end.sum())
    ids, filler = row_lengths(pieces, packing)
    several = np.diff(offsets_of(held)[pieces.row_offsets]) > 1
    stand = np.zeros(len(lengths), np.bool_)
    stand[pieces.document] = True
    own = lengths[stand]
    return Counts(
        rows=pieces.rows,
        ids=int(ids.sum()),
        tokens=int(ids.sum()) - put - cut_ends,
        special=put + cut_ends,
        filler=int(filler.sum()),
        joined_rows=int(several.sum()),
        documents=len(own),
        empty=int((own == 0).sum()),
        long=int((own + packing.special > packing.most).sum()),
        cut_documents=int((cut & (pieces.begin == 0)).sum()),
    )


def _count_documents(lengths: I64, packing: Packing, first: int, last: int | None) -> Counts:
    """Count the documents whose streams begin in a range of places."""
    streams = lengths + packing.special
    if packing.kind != "none":
        streams[lengths == 0] = 0
    begins = offsets_of(streams)[:-1]
    mine = begins >= first
    if last is not None:
        # those without ids that stand where the places end are given to one window alone
        mine &= (begins < last) | ((lengths == 0) & (begins == last))
    if packing.kind != "concat":
        mine[:] = True
    long = mine & (streams > packing.most)
    dropped = long & (packing.kind != "concat" and packing.long == "drop")
    return Counts(
        documents=int(mine.sum()),
        empty=int((lengths[mine] == 0).sum()),
        long=int(long.sum()),
        dropped=int(lengths[dropped].sum()),
        dropped_documents=int(dropped.sum()),
    )
