"""Which pieces stand in which row: every kind against brute force, and laws that hold for all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels.packing import packing_oracle as oracle
from tests.transforms.kernels.packing.packing_oracle import END
from transforms.errors import UsageError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.pack import LongDocument, RowScanner, pack
from transforms.kernels.packing.rows import Packing, row_lengths
from transforms.kernels.randomness import derive

KEY = derive(18, "packing")
Both = tuple[Packing, list[int]]


def streams(lengths: list[int], packing: Packing) -> list[int]:
    return [n + packing.special if n else 0 for n in lengths]


@given(oracle.both())
def test_rows_are_those_of_brute_force(both: Both) -> None:
    packing, lengths = both
    found = pack(np.array(lengths, np.int64), packing, key=KEY)
    assert oracle.pieces_as_rows(found) == oracle.pack(lengths, packing, key=KEY)


@given(oracle.both("concat"), st.data())
def test_places_of_a_window_may_begin_and_end_inside_of_documents(
    both: Both, data: st.DataObject
) -> None:
    packing, lengths = both
    places = st.integers(0, sum(streams(lengths, packing)) + 2)
    first, last = sorted([data.draw(places), data.draw(places)])
    found = pack(np.array(lengths, np.int64), packing, key=KEY, first=first, last=last)
    assert oracle.pieces_as_rows(found) == oracle.pack(
        lengths, packing, key=KEY, first=first, last=last
    )


@given(oracle.both("concat"), st.data())
def test_windows_that_begin_where_rows_do_make_the_rows_of_the_whole(
    both: Both, data: st.DataObject
) -> None:
    packing, lengths = both
    whole = oracle.pieces_as_rows(pack(np.array(lengths, np.int64), packing, key=KEY))
    every = data.draw(st.integers(1, 4))
    scanner = RowScanner(packing, every=every)
    edges = [*scanner.feed(np.array(streams(lengths, packing), np.int64)).tolist(), scanner.places]
    begins = offsets_of(streams(lengths, packing))
    rows = []
    for first, last in itertools.pairwise(edges):
        # the documents that have places in the window, as whoever packs it alone reads them
        low = int(np.searchsorted(begins, first, side="right")) - 1
        high = int(np.searchsorted(begins, last, side="left"))
        at = int(begins[low])
        found = pack(
            np.array(lengths[low:high], np.int64),
            packing,
            key=KEY,
            first=first - at,
            last=last - at,
        )
        assert found.rows == every or last == edges[-1]
        rows += [
            [piece._replace(document=piece.document + low) for piece in row]
            for row in oracle.pieces_as_rows(found)
        ]
    assert rows == whole


@given(oracle.both("concat"), st.data())
def test_a_scanner_finds_where_rows_begin_however_lengths_come(
    both: Both, data: st.DataObject
) -> None:
    packing, lengths = both
    every = data.draw(st.integers(1, 5))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(lengths)), max_size=4)))
    scanner = RowScanner(packing, every=every)
    found: list[int] = []
    for low, high in itertools.pairwise([0, *cuts, len(lengths)]):
        found += scanner.feed(np.array(streams(lengths[low:high], packing), np.int64)).tolist()
    begins = offsets_of(streams(lengths, packing))
    rows = oracle.pack(lengths, packing, key=KEY)
    expected = [int(begins[row[0].document]) + row[0].begin for row in rows]
    assert found == expected[::every]
    assert (scanner.rows, scanner.places) == (len(rows), begins[-1])
    if not packing.end_at_cuts:
        assert expected == [row * packing.most for row in range(len(rows))]


@given(oracle.both("concat", "best_fit", "pad", "buckets"))
def test_rows_are_never_longer_than_asked_for_nor_empty(both: Both) -> None:
    packing, lengths = both
    ids, filler = row_lengths(pack(np.array(lengths, np.int64), packing, key=KEY), packing)
    assert ((ids > 0) & (ids <= packing.most) & (filler >= 0)).all()
    if packing.kind == "buckets":
        powers = [min(1 << (n - 1).bit_length(), packing.most) for n in ids.tolist()]
        assert (ids + filler).tolist() == powers
    else:
        assert (ids + filler == packing.most).all()
    if packing.kind == "concat":
        assert not filler[:-1].any()


@pytest.mark.parametrize("kind", ["none", "concat", "best_fit", "pad", "buckets"])
def test_documents_without_ids_make_rows_of_none_alone(kind: str) -> None:
    length = None if kind == "none" else 8
    packing = Packing(kind=kind, length=length, end=END)  # type: ignore[arg-type]
    found = pack(np.zeros(3, np.int64), packing, key=KEY)
    assert found.rows == (3 if kind == "none" else 0)
    assert pack(np.zeros(0, np.int64), packing, key=KEY).rows == 0


def test_by_default_nothing_of_long_documents_is_lost() -> None:
    for kind in ("concat", "best_fit", "pad", "buckets"):
        packing = Packing(kind=kind, length=8, end=END)  # type: ignore[arg-type]
        found = pack(np.array([100]), packing, key=KEY)
        assert found.length.sum() == 101


@pytest.mark.parametrize("kind", ["best_fit", "pad", "buckets"])
def test_documents_that_must_not_be_longer_are_named(kind: str) -> None:
    packing = Packing(kind=kind, length=8, end=END, long="fail")  # type: ignore[arg-type]
    assert pack(np.array([7, 7]), packing, key=KEY).rows == 2
    with pytest.raises(LongDocument, match="document 2: expected 8 ids at most, got 9") as error:
        pack(np.array([7, 0, 8, 9]), packing, key=KEY)
    assert (error.value.document, error.value.length) == (2, 9)


def test_memory_goes_with_the_documents_where_rows_are_longer_than_all_of_them() -> None:
    """With tables as long as the longest row that can be asked for it would take 34 GB."""
    lengths = np.array([3, 0, 5, 2])
    found = [
        pack(lengths, Packing(kind="best_fit", length=length, end=9), key=derive(1, "pack"))
        for length in (2**31 - 1, 10_000, 13)
    ]
    assert [one.rows for one in found] == [1, 1, 1]
    assert all((one.document == found[0].document).all() for one in found)


def test_whole_documents_can_not_be_cut_by_places() -> None:
    packing = Packing(kind="pad", length=8, end=END)
    assert pack(np.array([3, 0, 4]), packing, key=KEY, last=9).rows == 2
    for first, last in ((1, None), (0, 8)):
        with pytest.raises(ValueError, match="pad packs whole documents: expected places 0 to 9"):
            pack(np.array([3, 0, 4]), packing, key=KEY, first=first, last=last)


def test_a_scanner_is_of_joined_streams_alone() -> None:
    with pytest.raises(ValueError, match="rows of pad don't begin at places"):
        RowScanner(Packing(kind="pad", length=8), every=1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"length": None}, "expected a length of 1 or more, got None"),
        ({"length": 0}, "expected a length of 1 or more, got 0"),
        ({"length": 8, "end_at_cuts": True}, "expected an id that ends documents"),
        ({"length": 1, "end_at_cuts": True, "end": 0}, "expected a length of at least 2"),
    ],
)
def test_packings_that_can_not_be_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Packing(kind="concat", **wrong)  # type: ignore[arg-type]


def test_rows_are_those_of_the_key_and_of_known_answers() -> None:
    packing = Packing(kind="best_fit", length=8, end=END)
    lengths = np.array([3, 0, 9, 1, 6, 2, 2])
    found = pack(lengths, packing, key=KEY)
    assert oracle.pieces_as_rows(found) != oracle.pieces_as_rows(
        pack(lengths, packing, key=derive(19, "packing"))
    )
    assert found.document.tolist() == [4, 5, 0, 2, 2, 6, 3]
    assert found.row_offsets.tolist() == [0, 1, 3, 4, 7]
