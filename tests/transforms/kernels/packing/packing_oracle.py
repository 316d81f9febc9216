"""Packing by brute force: lists of ids, one after another, and no arithmetic that could be skipped."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from tests.transforms.kernels import oracles
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.rows import Packing, Pieces, Rows
from transforms.kernels.randomness import KeyPair

BEGIN, END = 60_001, 60_002
FIRST_ID = 100


class Piece(NamedTuple):
    document: int
    begin: int
    length: int
    cut_end: bool


def pieces_as_rows(pieces: Pieces) -> list[list[Piece]]:
    every = [
        Piece(*map(int, piece[:3]), bool(piece[3]))
        for piece in zip(pieces.document, pieces.begin, pieces.length, pieces.cut_end, strict=True)
    ]
    return [every[a:b] for a, b in itertools.pairwise(pieces.row_offsets.tolist())]


def pack(
    lengths: Sequence[int],
    packing: Packing,
    *,
    key: KeyPair,
    first: int = 0,
    last: int | None = None,
) -> list[list[Piece]]:
    """Rows of pieces; None of a length that must not be is raised as an IndexError of its document."""
    if packing.kind == "concat":
        return _concat(lengths, packing, first, last)
    pieces = _cut(lengths, packing)
    if packing.kind != "best_fit":
        return [[piece] for piece in pieces]
    rows = _best_fit(pieces, packing)
    for row in rows:
        row.sort(key=lambda index: record_key(key, index + (1 << 63)))
    turns = sorted(range(len(rows)), key=lambda row: record_key(key, row))
    return [[pieces[index] for index in rows[row]] for row in turns]


def record_key(key: KeyPair, number: int) -> int:
    return oracles.mix((oracles.mix(number ^ key.k0) + key.k1) % 2**64)


def _concat(
    lengths: Sequence[int], packing: Packing, first: int, last: int | None
) -> list[list[Piece]]:
    """By the joined stream, place by place; where a row ends is seen by looking ahead."""
    assert packing.length is not None
    joined = [
        (document, place)
        for document, bare in enumerate(lengths)
        if bare
        for place in range(bare + packing.special)
    ]
    last = len(joined) if last is None else min(last, len(joined))
    ends = {i + 1 for i, (d, p) in enumerate(joined) if p == lengths[d] + packing.special - 1}
    rows, at = [], first
    while at < last:
        full = at + packing.length
        if not packing.end_at_cuts or (full in ends and full <= last):
            to = min(full, last)
        else:
            to = min(full - 1, last)
        row = [
            Piece(document, places[0][1], len(places), False)
            for document, group in itertools.groupby(joined[at:to], key=lambda pair: pair[0])
            for places in [list(group)]
        ]
        if packing.end_at_cuts and to not in ends:
            row[-1] = row[-1]._replace(cut_end=True)
        elif packing.end_at_cuts and to == full - 1:
            last_piece = row[-1]
            row.append(Piece(last_piece.document, last_piece.begin + last_piece.length, 0, True))
        rows.append(row)
        at = to
    return rows


def _cut(lengths: Sequence[int], packing: Packing) -> list[Piece]:
    pieces = []
    for document, bare in enumerate(lengths):
        stream = bare + packing.special
        if packing.kind == "none":
            pieces.append(Piece(document, 0, stream, False))
            continue
        assert packing.length is not None
        if bare == 0 or (stream > packing.length and packing.long == "drop"):
            continue
        if stream > packing.length and packing.long == "fail":
            raise IndexError(document)
        at = 0
        while stream - at > packing.length:
            size = packing.length - packing.end_at_cuts
            pieces.append(Piece(document, at, size, packing.end_at_cuts))
            at += size
            if packing.long == "truncate":
                break
        else:
            pieces.append(Piece(document, at, stream - at, False))
    return pieces


def _best_fit(pieces: list[Piece], packing: Packing) -> list[list[int]]:
    """Every piece looks at every row."""
    assert packing.length is not None
    sizes = [piece.length + piece.cut_end for piece in pieces]
    rows: list[list[int]] = []
    changed: list[int] = []
    for turn, index in enumerate(sorted(range(len(pieces)), key=lambda i: (-sizes[i], i))):
        room = [packing.length - sum(sizes[i] for i in row) for row in rows]
        holds = [row for row in range(len(rows)) if room[row] >= sizes[index]]
        if holds:
            row = min(holds, key=lambda row: (room[row], changed[row]))
            rows[row].append(index)
            changed[row] = turn
        else:
            rows.append([index])
            changed.append(turn)
    return rows


def ids_of(lengths: Sequence[int], dtype: type[np.generic] = np.uint16) -> tuple[np.ndarray, I64]:
    """Ids that are all different (in uint16 up to 60,000), and none of the special ones."""
    offsets = offsets_of(lengths)
    return np.arange(FIRST_ID, FIRST_ID + offsets[-1]).astype(dtype), offsets


def fill(
    ids: np.ndarray, offsets: I64, rows: list[list[Piece]], packing: Packing
) -> list[list[list[int]]]:
    """The ids of each piece of each row."""
    begin = [] if packing.begin is None else [packing.begin]
    end = [] if packing.end is None else [packing.end]
    streams = [begin + ids[a:b].tolist() + end for a, b in itertools.pairwise(offsets.tolist())]
    return [
        [streams[p.document][p.begin : p.begin + p.length] + end * p.cut_end for p in row]
        for row in rows
    ]


def rows_as_lists(rows: Rows) -> list[list[list[int]]]:
    """The ids of each piece of each row, cut by ``rows.lengths``."""
    out = []
    for row in range(len(rows)):
        mine = rows.ids[rows.offsets[row] : rows.offsets[row + 1]].tolist()
        lengths = rows.lengths[rows.piece_offsets[row] : rows.piece_offsets[row + 1]].tolist()
        assert sum(lengths) == len(mine), "lengths aren't those of what is written"
        ends = list(itertools.accumulate(lengths))
        out.append([mine[end - size : end] for end, size in zip(ends, lengths, strict=True)])
    return out


@st.composite
def packings(draw: st.DrawFn, *kinds: str) -> Packing:
    """Any packing of short rows."""
    kind = draw(st.sampled_from(kinds or ("none", "concat", "best_fit", "pad", "buckets")))
    end = draw(st.sampled_from([END, None]))
    length = draw(st.integers(2, 9) | st.sampled_from([16, 64, 65, 200]))
    return Packing(
        kind=kind,  # type: ignore[arg-type]
        length=None if kind == "none" and draw(st.booleans()) else length,
        begin=draw(st.sampled_from([BEGIN, None])),
        end=end,
        end_at_cuts=end is not None and draw(st.booleans()),
        long=draw(st.sampled_from(["split", "split", "truncate", "drop"])),  # type: ignore[arg-type]
    )


def lengths_for(packing: Packing, *, most: int = 12) -> st.SearchStrategy[list[int]]:
    """Documents of lengths about those of rows, and of their multiples."""
    length = packing.length or 8
    edges = {0, 1, 2, length - 1, length, length + 1, length + 2, 2 * length}
    edges |= {n - packing.special for n in edges if n > packing.special}
    some = st.sampled_from(sorted(edges)) | st.integers(0, 3 * length)
    return st.lists(some, max_size=most)


def both(*kinds: str, most: int = 12) -> st.SearchStrategy[tuple[Packing, list[int]]]:
    """A packing, and documents' lengths."""
    return packings(*kinds).flatmap(
        lambda packing: st.tuples(st.just(packing), lengths_for(packing, most=most))
    )
