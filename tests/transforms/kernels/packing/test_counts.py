"""Counts are those of the ids in rows, add up over windows, and give three figures."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels.packing import packing_oracle as oracle
from tests.transforms.kernels.packing.packing_oracle import BEGIN, END
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.counts import Counts, count_pieces, count_window
from transforms.kernels.packing.figures import figures
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import RowScanner, pack
from transforms.kernels.packing.rows import Packing
from transforms.kernels.randomness import derive

KEY = derive(18, "counting")
Both = tuple[Packing, list[int]]


def counted(packing: Packing, lengths: list[int]) -> Counts:
    return count_window(np.array(lengths, np.int64), packing, key=KEY)


@given(oracle.both())
def test_counts_are_those_of_the_ids_in_rows(both: Both) -> None:
    packing, lengths = both
    ids, offsets = oracle.ids_of(lengths)
    rows = oracle.pack(lengths, packing, key=KEY)
    written = oracle.fill(ids, offsets, rows, packing)
    flat = [number for row in written for piece in row for number in piece]
    rows = [[piece for piece in row if not (piece.length == 0 and piece.cut_end)] for row in rows]
    pieces = [piece for row in rows for piece in row]
    stands = {piece.document for piece in pieces}
    streams = [n + packing.special for n in lengths]
    cut = [p for p in pieces if p.begin + p.length < streams[p.document]]
    found = counted(packing, lengths)
    assert found.rows == len(rows)
    assert found.ids == len(flat)
    assert found.special == sum(number in {BEGIN, END} for number in flat)
    assert found.tokens == found.ids - found.special
    assert found.joined_rows == sum(len({piece.document for piece in row}) > 1 for row in rows)
    assert found.documents == len(lengths)
    assert found.empty == lengths.count(0)
    long = [n for n, s in zip(lengths, streams, strict=True) if n and s > packing.most]
    assert found.long == len(long)
    assert found.cut_documents == len({piece.document for piece in cut})
    dropped = [n for d, n in enumerate(lengths) if n and d not in stands]
    assert (found.dropped, found.dropped_documents) == (sum(dropped), len(dropped))
    assert found.tokens + found.truncated + found.dropped == sum(lengths)
    if packing.kind == "concat" or packing.long == "split":
        assert (found.truncated, found.dropped) == (0, 0)
    if packing.kind == "none":
        assert found.filler == 0
    elif packing.kind != "buckets":
        assert found.filler == found.rows * packing.most - found.ids


@given(oracle.both("concat"), st.integers(1, 3))
def test_counts_of_windows_add_up(both: Both, every: int) -> None:
    packing, lengths = both
    streams = np.array([n + packing.special if n else 0 for n in lengths], np.int64)
    scanner = RowScanner(packing, every=every)
    edges = [*scanner.feed(streams).tolist(), scanner.places]
    begins = offsets_of(streams)
    total = Counts()
    for first, last in itertools.pairwise(edges):
        low = int(np.searchsorted(begins, first, side="right")) - 1 if first else 0
        # those without ids before the next document with some are the window's
        behind = (i for i, n in enumerate(lengths) if n and begins[i] >= last)
        high = next(behind, len(lengths))
        window = np.array(lengths[low:high], np.int64)
        at = int(begins[low])
        total += count_window(window, packing, key=KEY, first=first - at, last=last - at)
    if any(lengths):  # else there is no window
        assert total == counted(packing, lengths)


@given(oracle.both(), st.data())
def test_the_first_rows_are_counted_as_if_there_were_no_more(
    both: Both, data: st.DataObject
) -> None:
    packing, lengths = both
    pieces = pack(np.array(lengths, np.int64), packing, key=KEY)
    rows = data.draw(st.integers(0, pieces.rows))
    ids, offsets = oracle.ids_of(lengths)
    written = fill(ids, offsets, pieces, packing, 0, rows)
    found = count_pieces(np.array(lengths, np.int64), pieces, packing, rows)
    assert (found.rows, found.ids, found.filler) == (rows, len(written.ids), written.filler.sum())
    assert found.special == int(np.isin(written.ids, [BEGIN, END]).sum())
    assert found.documents == len(set(pieces.slice(0, rows).document.tolist()))


@pytest.mark.parametrize(
    ("packing", "padding", "truncation", "concatenation"),
    [
        # documents of 3, 0, 11 and 2 ids: streams of 4, 12 and 3
        (Packing(end=END), 0, 0, 0),
        (Packing(kind="concat", length=8, end=END), 5 / 24, 1 / 3, 1 / 3),
        (Packing(kind="pad", length=8, end=END), 13 / 32, 1 / 3, 0),
        (Packing(kind="buckets", length=8, end=END), 1 / 20, 1 / 3, 0),
        (Packing(kind="best_fit", length=8, end=END), 5 / 24, 1 / 3, 1 / 3),
        (Packing(kind="pad", length=8, end=END, long="drop"), 9 / 16, 0, 0),
        (Packing(kind="pad", length=8, end=END, long="truncate"), 9 / 24, 1 / 3, 0),
    ],
)
def test_three_figures_say_what_a_packing_does(
    packing: Packing, padding: float, truncation: float, concatenation: float
) -> None:
    found = figures(counted(packing, [3, 0, 11, 2]), packing)
    assert (found.padding, found.truncation) == (padding, truncation)
    assert found.concatenation == concatenation


def test_figures_of_nothing_are_zero() -> None:
    assert figures(Counts(), Packing()).padding == 0
