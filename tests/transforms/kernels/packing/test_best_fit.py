"""Best-fit decreasing is as good as its bound, and better than first fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.kernels.arrays import I64, read_only
from transforms.kernels.packing.best_fit import fit
from transforms.kernels.packing.pack import pack
from transforms.kernels.packing.rows import Packing
from transforms.kernels.randomness import derive, record_keys


def draws(seed: int, count: int, label: str) -> I64:
    """Numbers from 0 to below 2**31."""
    keys = record_keys(derive(seed, "best fit", label), np.arange(count, dtype=np.uint64))
    return (keys >> np.uint64(33)).astype(np.int64)


def full_rows(seed: int, *, rows: int, length: int, pieces: int) -> I64:
    """Pieces that fill rows to the last id, so that it is known how few rows do, in some order."""
    inner = draws(seed, rows * (pieces - 1), "cuts").reshape(rows, -1) % (length - 1) + 1
    edges = np.sort(np.pad(inner, ((0, 0), (1, 1)), constant_values=((0, 0), (0, length))), axis=1)
    sizes = np.diff(edges, axis=1).ravel()
    sizes = sizes[sizes > 0]
    return sizes[np.argsort(draws(seed, len(sizes), "order"), kind="stable")]


def fitted(sizes: I64, length: int) -> tuple[I64, int]:
    row_of, rows = fit(read_only(sizes), length)
    return row_of.astype(np.int64), rows


def first_fit(sizes: list[int], length: int) -> int:
    room: list[int] = []
    for size in sizes:
        row = next((row for row, left in enumerate(room) if left >= size), None)
        if row is None:
            room.append(length - size)
        else:
            room[row] -= size
    return len(room)


@pytest.mark.parametrize("pieces", [2, 3, 6])
@pytest.mark.parametrize("length", [10, 97, 4096])
def test_rows_are_at_most_eleven_ninths_of_the_fewest(length: int, pieces: int) -> None:
    # Johnson et al. 1974: BFD <= 11/9 OPT + 4, as FFD
    for seed in range(3):
        fewest = 300
        sizes = full_rows(seed, rows=fewest, length=length, pieces=pieces)
        _, rows = fitted(sizes, length)
        assert fewest <= rows <= 11 * fewest / 9 + 4


@pytest.mark.parametrize(("length", "shortest", "longest"), [(2048, 1, 700), (100, 20, 60)])
def test_rows_are_fewer_than_those_of_first_fit(length: int, shortest: int, longest: int) -> None:
    sizes = draws(1, 2000, "lengths") % (longest - shortest) + shortest
    _, rows = fitted(sizes, length)
    assert rows < first_fit(sizes.tolist(), length)


def test_rows_of_documents_as_they_are_have_hardly_any_filler() -> None:
    packing = Packing(kind="best_fit", length=2048, end=0)
    sizes = np.exp(draws(2, 20_000, "log") / 2**31 * 8).astype(np.int64)  # 1 to 2980
    total = int(sizes.sum()) + len(sizes)
    assert pack(sizes, packing, key=derive(2, "pack")).rows <= -(-total // 2048) + 2


@given(st.sampled_from([63, 64, 65, 4095, 4096, 4097, 300_000]), st.data())
def test_rooms_are_found_across_all_words_of_the_tree(length: int, data: st.DataObject) -> None:
    edges = [n for n in (1, 2, 63, 64, 65, 4095, 4096, 4097, 262_145, length) if n <= length]
    sizes = data.draw(
        st.lists(st.sampled_from(edges) | st.integers(1, length), min_size=1, max_size=30)
    )
    row_of, rows = fitted(np.array(sizes, np.int64), length)
    held = np.bincount(row_of, weights=sizes, minlength=rows)
    assert held.max() <= length
    # a piece goes into a new row only where no row holds it
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    room: dict[int, int] = {}
    for index in order:
        row = int(row_of[index])
        holding = [left for left in room.values() if left >= sizes[index]]
        assert room.get(row, length) == (min(holding) if holding else length)
        assert (row in room) == bool(holding)
        room[row] = room.get(row, length) - sizes[index]
