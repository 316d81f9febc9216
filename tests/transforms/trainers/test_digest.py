"""The digest of rows: of what a reader sees of them, in order, and of nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transforms.trainers.support import dataset_of, make_rows
from transforms.kernels.packing.rows import Rows
from transforms.trainers import digest
from transforms.trainers.contract import Keeps
from transforms.trainers.digest import RowsDigest

ALL, ROWS, IDS = (
    Keeps(rows=True, pieces=True),
    Keeps(rows=True, pieces=False),
    Keeps(rows=False, pieces=False),
)


def digest_of(*batches: Rows, keeps: Keeps = ALL) -> str:
    state = RowsDigest(keeps)
    for rows in batches:
        state.add(rows)
    return state.hexdigest()


def rows_of(ids: list[int], offsets: list[int], lengths: list[int], pieces: list[int]) -> Rows:
    zeros = np.zeros(len(offsets) - 1, np.int64)
    return Rows(
        np.array(ids, np.uint16), np.array(offsets), np.array(lengths), np.array(pieces), zeros
    )


TWO = rows_of([5, 6, 7, 8], [0, 3, 4], [2, 1, 1], [0, 2, 3])


def test_it_is_what_the_module_says() -> None:
    def of(values: list[int], dtype: str) -> bytes:
        return xxhash.xxh3_128(np.array(values, dtype).tobytes()).digest()

    nothing = xxhash.xxh3_128(b"").digest()
    parts = of([5, 6, 7, 8], "<u4") + of([3, 1], "<i8") + of([2, 1], "<i8") + of([2, 1, 1], "<i8")
    assert digest_of(TWO) == xxhash.xxh3_128(parts + nothing + nothing).hexdigest()
    assert digest_of(TWO) == digest_of(TWO.slice(0, 1), TWO.slice(1, 1), TWO.slice(1, 2))
    assert len(digest_of()) == 32


def test_known_answer() -> None:
    assert digest_of(TWO) == "fe873916002486caaa1b9f17146cd0cf"


@pytest.mark.parametrize(
    ("other", "shown_by"),
    [
        (rows_of([5, 6, 8, 7], [0, 3, 4], [2, 1, 1], [0, 2, 3]), {ALL, ROWS, IDS}),
        (rows_of([5, 6, 7], [0, 3, 3], [2, 1], [0, 2, 2]), {ALL, ROWS, IDS}),
        (rows_of([5, 6, 7, 8], [0, 2, 4], [2, 1, 1], [0, 1, 3]), {ALL, ROWS}),
        (rows_of([5, 6, 7, 8], [0, 3, 4, 4], [2, 1, 1], [0, 2, 3, 3]), {ALL, ROWS}),
        (rows_of([5, 6, 7, 8], [0, 3, 4], [1, 2, 1], [0, 2, 3]), {ALL}),
        (rows_of([5, 6, 7, 8], [0, 3, 4], [3, 1], [0, 1, 2]), {ALL}),
    ],
)
def test_what_differs_shows_where_it_is_kept(other: Rows, shown_by: set[Keeps]) -> None:
    for keeps in (ALL, ROWS, IDS):
        same = digest_of(other, keeps=keeps) == digest_of(TWO, keeps=keeps)
        assert same != (keeps in shown_by)


def test_rows_in_another_order_show() -> None:
    assert digest_of(TWO.slice(1, 2), TWO.slice(0, 1)) != digest_of(TWO)


@given(cuts=st.lists(st.integers(0, 60), max_size=6), words=st.sampled_from([1, 7, 1 << 15]))
@settings(deadline=None)
def test_batches_and_the_type_of_ids_change_nothing(cuts: list[int], words: int) -> None:
    rows = make_rows(dataset_of("best_fit"), count=60)
    edges = sorted({0, 60, *cuts})
    batches = [rows.slice(begin, end) for begin, end in zip(edges, edges[1:], strict=False)]
    wide = [replace(one, ids=one.ids.astype(np.uint32)) for one in batches]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, "_WORDS", words)
        found = {digest_of(*batches), digest_of(*wide)}
    assert found == {digest_of(rows)}


def test_filler_is_none_of_it_until_a_format_writes_it() -> None:
    assert digest_of(replace(TWO, filler=np.array([3, 0]))) == digest_of(TWO)
