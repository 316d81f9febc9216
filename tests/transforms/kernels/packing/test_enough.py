"""How many documents make so many rows, against packing them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.packing.enough import Filling, documents_for, fillings_of
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing
from transforms.kernels.randomness import KeyPair

KEY = KeyPair(1, 2)
PACKINGS = [
    Packing(kind="none", end=1),
    Packing(kind="concat", length=8, end=1),
    Packing(kind="best_fit", length=8, begin=2, end=1),
    Packing(kind="best_fit", length=8, end=1, long="drop"),
    Packing(kind="best_fit", length=8, begin=2, end=1, end_at_cuts=True, long="truncate"),
    Packing(kind="pad", length=8, end=1, end_at_cuts=True),
    Packing(kind="pad", length=8, long="truncate"),
    Packing(kind="buckets", length=8, end=1, long="drop"),
]


@pytest.mark.parametrize("packing", PACKINGS, ids=str)
@given(lengths=st.lists(st.integers(0, 40), max_size=30))
def test_what_documents_give_is_what_stands_in_rows(packing: Packing, lengths: list[int]) -> None:
    every = np.array(lengths, np.int64)
    found = int(fillings_of(every, packing).sum())
    pieces = pack(every, packing, key=KEY)
    if not packing.is_joined:
        assert pieces.rows == found
        return
    ends = pieces.begin + pieces.length
    before, behind = packing.begin is not None, packing.end is not None
    streams = every[pieces.document] + packing.special
    own = pieces.length - ((pieces.begin == 0) & (pieces.length > 0)) * before
    own -= ((ends == streams) & (pieces.length > 0)) * behind
    assert int(own.sum()) == found


@pytest.mark.parametrize("kind", ["best_fit", "pad"])
@pytest.mark.parametrize("long", ["split", "drop", "truncate"])
def test_so_many_documents_are_enough_and_not_many_more(kind: str, long: str) -> None:
    packing = Packing(kind=kind, length=16, end=1, long=long, window=1 << 20)  # type: ignore[arg-type]
    numbers = np.random.default_rng(3)
    short, mixed = numbers.integers(0, 15, 4000), numbers.integers(0, 60, 4000)
    laws = [(0.3, Filling.of(short, packing)), (0.7, Filling.of(mixed, packing))]
    for rows in (1, 100, 20_000):
        count = documents_for(rows, packing, laws)
        assert count is not None
        for _ in range(5):
            drawn = np.where(
                numbers.random(count) < 0.3,
                numbers.integers(0, 15, count),
                numbers.integers(0, 60, count),
            )
            made = pack(drawn, packing, key=KEY).rows
            assert made >= rows
        if rows > 10_000:
            assert made < 1.6 * rows


def test_none_is_said_of_documents_that_make_no_row() -> None:
    packing = Packing(kind="pad", length=4, long="drop")
    gone = Filling.of(np.array([0, 9, 9]), packing)
    assert documents_for(3, packing, [(1.0, gone), (0.0, Filling(1, 1, 1))]) is None
    assert documents_for(3, packing, [(1.0, Filling())]) is None
