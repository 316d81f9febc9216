"""Documents put together again from rows are what they were; special ids stand where they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels.packing import packing_oracle as oracle
from tests.transforms.kernels.packing.packing_oracle import BEGIN, END
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing, Pieces, Rows
from transforms.kernels.randomness import derive

KEY = derive(18, "filling")
Both = tuple[Packing, list[int]]


def laid(packing: Packing, lengths: list[int], dtype: Any = np.uint16) -> tuple[Pieces, Rows]:
    ids, offsets = oracle.ids_of(lengths, dtype)
    pieces = pack(np.array(lengths, np.int64), packing, key=KEY)
    return pieces, fill(ids, offsets, pieces, packing)


def put_together(packing: Packing, pieces: Pieces, rows: Rows) -> dict[int, list[int]]:
    """Each document's own ids, from its pieces in rows; special ids are taken off."""
    parts = [piece for row in oracle.rows_as_lists(rows) for piece in row]
    found: dict[int, list[int]] = {}
    for index in np.lexsort((pieces.begin, pieces.document)).tolist():
        part = parts[index]
        if pieces.cut_end[index]:
            assert part.pop() == packing.end
        found.setdefault(int(pieces.document[index]), []).extend(part)
    for stream in found.values():
        if packing.begin is not None:
            assert stream.pop(0) == packing.begin
    return found


@given(oracle.both(), st.sampled_from([np.uint16, np.uint32]))
def test_documents_put_together_again_are_exactly_what_they_were(both: Both, dtype: Any) -> None:
    packing, lengths = both
    ids, offsets = oracle.ids_of(lengths, dtype)
    pieces, rows = laid(packing, lengths, dtype)
    assert rows.ids.dtype == dtype
    assert all(row for row in oracle.rows_as_lists(rows)) or packing.kind == "none"
    found = put_together(packing, pieces, rows)
    for document, bare in enumerate(lengths):
        mine = ids[offsets[document] : offsets[document + 1]].tolist()
        fits = bare + packing.special <= packing.most or packing.kind == "concat"
        if (bare == 0 and packing.kind != "none") or not (fits or packing.long != "drop"):
            assert document not in found
            continue
        stream = found[document]
        if fits or packing.long == "split":
            assert stream == mine + ([] if packing.end is None else [packing.end])
        else:
            begun = [*mine, packing.end][: packing.most - packing.end_at_cuts]
            assert stream == begun[: len(stream)]
            assert len(stream) == packing.most - packing.end_at_cuts - (packing.begin is not None)


@given(oracle.both())
def test_rows_are_filled_as_by_brute_force(both: Both) -> None:
    packing, lengths = both
    ids, offsets = oracle.ids_of(lengths)
    _, rows = laid(packing, lengths)
    expected = oracle.fill(ids, offsets, oracle.pack(lengths, packing, key=KEY), packing)
    assert oracle.rows_as_lists(rows) == expected


@given(oracle.both(), st.data())
def test_a_range_of_rows_is_that_of_all(both: Both, data: st.DataObject) -> None:
    packing, lengths = both
    ids, offsets = oracle.ids_of(lengths)
    pieces, rows = laid(packing, lengths)
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, pieces.rows)] * 2)))
    found = fill(ids, offsets, pieces, packing, begin, end)
    assert oracle.rows_as_lists(found) == oracle.rows_as_lists(rows)[begin:end]
    assert found.filler.tolist() == rows.filler[begin:end].tolist()


def test_documents_may_lie_anywhere_in_the_ids() -> None:
    packing = Packing(kind="concat", length=4, end=9)
    pieces = pack(np.array([2, 3]), packing, key=KEY)
    rows = fill(np.arange(20, dtype=np.uint32), np.array([5, 7, 10]), pieces, packing)
    assert oracle.rows_as_lists(rows) == [[[5, 6, 9], [7]], [[8, 9, 9]]]


def test_an_end_among_a_documents_own_ids_is_no_boundary() -> None:
    packing = Packing(kind="concat", length=8, end=5)
    pieces = pack(np.array([3, 2]), packing, key=KEY)
    rows = fill(np.array([5, 5, 1, 5, 2], np.uint16), np.array([0, 3, 5]), pieces, packing)
    assert rows.ids.tolist() == [5, 5, 1, 5, 5, 2, 5]
    assert rows.lengths.tolist() == [4, 3]


@pytest.mark.parametrize("ids", [255, 256, 257, 65_499, 65_500, 65_535, 65_536, 65_537])
def test_the_largest_id_of_any_vocabulary_is_kept_or_refused(ids: int) -> None:
    packing = Packing(kind="concat", length=4, begin=ids - 1, end=ids - 1, end_at_cuts=True)
    pieces = pack(np.array([5]), packing, key=KEY)
    for dtype in (np.uint16, np.uint32):
        document = np.full(5, min(ids - 1, np.iinfo(dtype).max), dtype)
        if ids - 1 > np.iinfo(dtype).max:
            with pytest.raises(
                ValueError, match=r"expected special ids of 0 to 65535, .* got 65536"
            ):
                fill(document, np.array([0, 5]), pieces, packing)
        else:
            rows = fill(document, np.array([0, 5]), pieces, packing)
            assert rows.ids.tolist() == [ids - 1] * (7 + 1)
            assert rows.lengths.tolist() == [4, 4]


@pytest.mark.parametrize(
    ("document", "begin", "length"),
    [(0, 0, 6), (0, 6, 1), (0, -1, 2), (1, 0, 1), (-1, 0, 1)],
)
def test_pieces_that_do_not_lie_in_their_documents_are_refused(
    document: int, begin: int, length: int
) -> None:
    packing = Packing(kind="pad", length=8, begin=BEGIN, end=END)

    def fill_one(*piece: int) -> Rows:
        one = [np.array([number]) for number in piece]
        pieces = Pieces(*one, np.zeros(1, bool), np.array([0, 1]))
        return fill(np.arange(3, dtype=np.uint16), np.array([0, 3]), pieces, packing)

    assert fill_one(0, 0, 5).ids.tolist() == [BEGIN, 0, 1, 2, END]
    with pytest.raises(ValueError, match=r"piece 0: expected ids within document"):
        fill_one(document, begin, length)


def test_pieces_that_have_more_ids_than_their_rows_are_refused() -> None:
    packing = Packing(kind="pad", length=8)
    document, begin, cut = np.array([0, 0]), np.array([0, 0]), np.zeros(2, bool)
    for lengths, offsets, wrong in (([3, -2], [0, 2], 0), ([1, 2], [0, 1], 1)):
        pieces = Pieces(document, begin, np.array(lengths), cut, np.array(offsets))
        with pytest.raises(
            ValueError, match=rf"piece {wrong}: expected ids within .* got \d ids from 0 on"
        ):
            fill(np.arange(3, dtype=np.uint16), np.array([0, 3]), pieces, packing)


def test_offsets_beyond_the_ids_are_refused() -> None:
    packing = Packing(kind="pad", length=8)
    pieces = pack(np.array([4]), packing, key=KEY)
    with pytest.raises(ValueError, match="expected offsets within 3 ids, got 0 to 4"):
        fill(np.arange(3, dtype=np.uint16), np.array([0, 4]), pieces, packing)
