"""The proof: documents are what stands in rows, was cut off and was dropped; damage is seen."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels import oracles
from tests.transforms.kernels.packing import packing_oracle as oracle
from tests.transforms.kernels.packing.packing_oracle import BEGIN, END
from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, U64
from transforms.kernels.packing import conservation
from transforms.kernels.packing.conservation import (
    document_hashes,
    hash_documents,
    rest_of,
    row_hashes,
    total,
)
from transforms.kernels.packing.fill import fill
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing, Pieces, Rows
from transforms.kernels.randomness import derive, record_keys

KEY = derive(18, "conservation")
Both = tuple[Packing, list[int]]


def piece_hashes(documents: Any, pieces: Pieces, packing: Packing) -> U64:
    """Return uint64[m], the hash of each piece, from its document's ids."""
    place, count = conservation.bare_ranges(pieces, np.diff(documents.offsets), packing)
    begins = documents.offsets[pieces.document] + place
    keys = documents.keys[pieces.document]
    return conservation._hash(documents.ids, begins, count, place, keys)


def hash_pieces(documents: Any, pieces: Pieces, packing: Packing) -> int:
    """Return the sum of ``piece_hashes``, mod 2**64."""
    return conservation.total(piece_hashes(documents, pieces, packing))


class Documents(NamedTuple):
    ids: np.ndarray
    offsets: I64
    keys: U64


def documents_of(lengths: list[int], dtype: Any = np.uint16) -> Documents:
    ids, offsets = oracle.ids_of(lengths, dtype)
    return Documents(ids, offsets, record_keys(KEY, np.arange(len(lengths), dtype=np.uint64)))


def laid(packing: Packing, lengths: list[int]) -> tuple[Documents, Pieces, Rows]:
    documents = documents_of(lengths)
    pieces = pack(np.array(lengths, np.int64), packing, key=KEY)
    return documents, pieces, fill(documents.ids, documents.offsets, pieces, packing)


def hash_by_hand(documents: Documents) -> list[int]:
    out = []
    constant = int(conservation._C)
    for key, (begin, end) in zip(
        documents.keys.tolist(), itertools.pairwise(documents.offsets.tolist()), strict=True
    ):
        mixed = oracles.mix(key ^ constant)
        hashes = [
            oracles.mix(mixed ^ (place << 32 | number))
            for place, number in enumerate(documents.ids[begin:end].tolist())
        ]
        out.append(sum(hashes) % 2**64)
    return out


@given(st.lists(st.integers(0, 40), max_size=6), st.sampled_from([np.uint16, np.uint32]))
def test_hashes_are_those_that_the_docstring_says(lengths: list[int], dtype: Any) -> None:
    documents = documents_of(lengths, dtype)
    assert document_hashes(*documents).tolist() == hash_by_hand(documents)
    assert hash_documents(*documents) == sum(hash_by_hand(documents)) % 2**64


@given(oracle.both())
def test_documents_are_their_pieces_and_the_rest(both: Both) -> None:
    packing, lengths = both
    documents, pieces, rows = laid(packing, lengths)
    in_rows = hash_pieces(documents, pieces, packing)
    rest = rest_of(documents, pieces, packing)
    assert (in_rows + rest) % 2**64 == hash_documents(*documents)
    written = row_hashes(rows, pieces, np.diff(documents.offsets), documents.keys, packing)
    assert written.tolist() == piece_hashes(documents, pieces, packing).tolist()
    if packing.kind in {"none", "concat"} or packing.long == "split":
        assert rest == 0


@given(oracle.both("concat"), st.data())
def test_places_outside_of_a_window_are_the_rest(both: Both, data: st.DataObject) -> None:
    packing, lengths = both
    documents = documents_of(lengths)
    place = st.integers(0, sum(lengths) + 2 * len(lengths))
    first, last = sorted(data.draw(st.tuples(place, place)))
    pieces = pack(np.array(lengths, np.int64), packing, key=KEY, first=first, last=last)
    in_rows = hash_pieces(documents, pieces, packing)
    rest = rest_of(documents, pieces, packing)
    assert (in_rows + rest) % 2**64 == hash_documents(*documents)


@given(oracle.both(), st.data())
def test_rows_add_up_from_any_ranges(both: Both, data: st.DataObject) -> None:
    packing, lengths = both
    documents, pieces, rows = laid(packing, lengths)
    cuts = sorted(data.draw(st.lists(st.integers(0, pieces.rows), max_size=3)))
    found = 0
    for begin, end in itertools.pairwise([0, *cuts, pieces.rows]):
        part = row_hashes(
            rows.slice(begin, end),
            pieces.slice(begin, end),
            np.diff(documents.offsets),
            documents.keys,
            packing,
        )
        found += total(part)
    assert found % 2**64 == hash_pieces(documents, pieces, packing)


def swap(ids: np.ndarray, a: int, b: int) -> None:
    ids[[a, b]] = ids[[b, a]]


PACKING = Packing(kind="best_fit", length=8, begin=BEGIN, end=END, end_at_cuts=True)
LENGTHS = [6, 3, 0, 17, 2, 1, 6]


def own_places(rows: Rows) -> I64:
    """Where documents' own ids stand."""
    return np.flatnonzero(~np.isin(rows.ids, [BEGIN, END]))


DAMAGE: dict[str, Callable[[np.ndarray, I64], None]] = {
    "an id is another": lambda ids, own: ids.__setitem__(own[3], 1),
    "an id's high byte is lost": lambda ids, own: ids.__setitem__(own[3], ids[own[3]] ^ 0x100),
    "ids next to each other are swapped": lambda ids, own: swap(ids, own[0], own[1]),
    "ids of two documents are swapped": lambda ids, own: swap(ids, own[0], own[-1]),
    "an id is doubled over another": lambda ids, own: ids.__setitem__(own[5], ids[own[6]]),
    "all is reversed": lambda ids, own: ids.__setitem__(own, ids[own[::-1]]),
    "all is moved by one": lambda ids, own: ids.__setitem__(own, np.roll(ids[own], 1)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_ids_are_seen(damage: str) -> None:
    documents, pieces, rows = laid(PACKING, LENGTHS)
    DAMAGE[damage](rows.ids, own_places(rows))
    found = row_hashes(rows, pieces, np.diff(documents.offsets), documents.keys, PACKING)
    assert total(found) != hash_documents(*documents)


def test_documents_of_equal_lengths_that_are_swapped_are_seen() -> None:
    documents, pieces, rows = laid(PACKING, LENGTHS)
    begins = np.cumsum(pieces.ids) - pieces.ids
    whole = [begins[pieces.document == document][0] for document in (0, 6)]
    for k in range(1, 7):
        swap(rows.ids, whole[0] + k, whole[1] + k)
    found = row_hashes(rows, pieces, np.diff(documents.offsets), documents.keys, PACKING)
    assert total(found) != hash_documents(*documents)


def test_blocks_of_ids_that_are_swapped_crosswise_are_seen() -> None:
    """As a sum of products would not: what one document gains the other loses."""
    packing = Packing(kind="pad", length=4)
    documents = Documents(
        np.array([1, 2, 2, 1], np.uint16), np.array([0, 2, 4]), np.array([5, 6], np.uint64)
    )
    crossed = documents._replace(ids=np.array([2, 1, 1, 2], np.uint16))
    pieces = pack(np.array([2, 2]), packing, key=KEY)
    assert hash_documents(*documents) != hash_pieces(crossed, pieces, packing)


@pytest.mark.parametrize("packing", [PACKING, replace(PACKING, long="truncate"), Packing()])
def test_pieces_that_are_lost_or_come_twice_are_seen(packing: Packing) -> None:
    documents, pieces, _ = laid(packing, LENGTHS)
    rows = np.arange(len(pieces.document))
    for piece in np.flatnonzero(pieces.length > packing.special).tolist():
        for kept in (np.delete(rows, piece), np.append(rows, piece)):
            damaged = Pieces(
                pieces.document[kept],
                pieces.begin[kept],
                pieces.length[kept],
                pieces.cut_end[kept],
                np.arange(len(kept) + 1),
            )
            found = hash_pieces(documents, damaged, packing)
            found += rest_of(documents, damaged, packing)
            assert found % 2**64 != hash_documents(*documents)


@pytest.mark.parametrize("special", [BEGIN, END])
def test_special_ids_that_are_others_are_seen(special: int) -> None:
    documents, pieces, rows = laid(PACKING, LENGTHS)
    lengths = np.diff(documents.offsets)
    for place in np.flatnonzero(rows.ids == special).tolist():
        damaged = replace(rows, ids=rows.ids.copy())
        damaged.ids[place] = 7
        with pytest.raises(LosslessError, match=f"expected the id {special} that .* got 7"):
            row_hashes(damaged, pieces, lengths, documents.keys, PACKING)


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: replace(rows, lengths=rows.lengths[::-1].copy()),
        lambda rows: replace(rows, offsets=rows.offsets + 1),
        lambda rows: replace(rows, ids=rows.ids[:-1]),
        lambda rows: rows.slice(0, len(rows) - 1),
    ],
)
def test_rows_of_other_lengths_than_their_pieces_are_seen(
    damage: Callable[[Rows], Rows],
) -> None:
    documents, pieces, rows = laid(PACKING, LENGTHS)
    with pytest.raises(LosslessError, match="expected rows as long as their pieces together"):
        row_hashes(damage(rows), pieces, np.diff(documents.offsets), documents.keys, PACKING)


def test_stretches_outside_of_the_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="expected stretches within 3 ids"):
        document_hashes(np.arange(3, dtype=np.uint16), np.array([0, 4]), np.zeros(1, np.uint64))
