"""Rows: hashed and measured as slow oracles say, however they lie."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.transforms.kernels.records import row_oracles as oracles
from tests.transforms.kernels.records.row_samples import SEEDS, drawn, hashes, of
from transforms.kernels.records import compiling
from transforms.kernels.records.arrow_values import row_costs, row_sizes
from transforms.kernels.records.row_hashes import row_hashes, value_hashes
from transforms.kernels.records.rows import (
    to_rows,
)


def hashes_by_numpy(rows: pa.StructArray) -> list[tuple[int, int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "loops_for", lambda size: None)
        return hashes(rows)


@settings(max_examples=300, deadline=None)
@given(SEEDS)
def test_hashes_and_sizes_are_the_oracles_however_rows_lie(seed: int) -> None:
    compiling.use_loops()
    kind, values, draw = drawn(seed)
    rows = oracles.lay(kind, values, draw)
    expected = [tuple(oracles.value_hash(kind, v, k) for k in (0, 1)) for v in values]
    assert hashes(rows) == expected, kind
    assert hashes_by_numpy(rows) == expected, kind
    assert row_sizes(rows).tolist() == [oracles.value_size(kind, v) for v in values], kind


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_one_changed_value_changes_both_hashes_of_its_row_alone(seed: int) -> None:
    kind, values, draw = drawn(seed)
    if not values:
        return
    at, column = draw.randrange(len(values)), draw.randrange(kind.num_fields)
    other = oracles.any_value(kind[column].type, draw)
    if other == values[at][column]:
        return
    changed = list(values)
    changed[at] = (*values[at][:column], other, *values[at][column + 1 :])
    before = hashes(oracles.lay(kind, values, draw))
    after = hashes(oracles.lay(kind, changed, draw))
    assert [a == b for a, b in zip(before, after, strict=True)] == [
        i != at for i in range(len(values))
    ]
    assert all(a != b for a, b in zip(before[at], after[at], strict=True))


LISTS = pa.list_(pa.string())


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (pa.int64(), [None, 0, 1, -1, 2**63 - 1, -(2**63), 1 << 32]),
        (pa.string(), [None, "", "\0", "\0\0", "a", "a\0", "b"]),
        (pa.bool_(), [None, False, True]),
        (pa.float64(), [None, 0.0, -0.0, 1.0, float("inf"), float("nan")]),
        (pa.list_(pa.int8()), [None, [], [None], [0], [0, 0], [0, None], [None, 0], [None, None]]),
        (pa.list_(pa.int32()), [[1, 2], [2, 1], [513], [1], [2]]),
        (LISTS, [None, [], [None], [""], ["", ""], ["ab"], ["a", "b"], ["b", "a"], ["a", None]]),
        (
            pa.list_(pa.list_(pa.int8())),
            [None, [], [[]], [None], [[1], [2]], [[1, 2]], [[], [1, 2]]],
        ),
        (pa.struct([("a", pa.int8())]), [None, {"a": None}, {"a": 0}]),
        (
            pa.struct([("a", LISTS), ("b", LISTS)]),
            [{"a": ["x"]}, {"b": ["x"]}, {"a": [], "b": ["x"]}],
        ),
        (
            pa.map_(pa.string(), pa.int8()),
            [None, [], [("a", 1)], [("a", None)], [("a", 1), ("a", 1)]],
        ),
        (pa.decimal128(20, 2), [None, 0, 1, -1, 2**40]),
        (pa.null(), [None]),
    ],
    ids=str,
)
def test_near_values_have_different_hashes(kind: pa.DataType, values: list[Any]) -> None:
    found = hashes(of(*values, kind=kind))
    for k in (0, 1):
        assert len({pair[k] for pair in found}) == len(values)
    assert all(first != second for first, second in found)


def test_columns_that_change_places_are_seen() -> None:
    one, two = pa.array([1, 2]), pa.array([2, 1])
    before = pa.StructArray.from_arrays([one, two], ["a", "b"])
    after = pa.StructArray.from_arrays([two, one], ["a", "b"])
    assert set(hashes(before)) & set(hashes(after)) == set(hashes(before))  # the rows swapped
    assert hashes(before)[0] != hashes(after)[0]


def test_hashes_give_their_known_answers() -> None:
    # pinned: they stand in manifests
    rows = pa.StructArray.from_arrays(
        [pa.array([7, None]), pa.array(["dovetail", ""]), pa.array([[1, None], []])],
        ["a", "b", "c"],
    )
    assert hashes(rows) == [
        (0x4318D1E6A1B6B7DA, 0xAFD4328A0A1F3474),
        (0xEBFBDA51A21CD876, 0xE2205E097870C8FC),
    ]


def test_text_hashes_alike_in_every_type_that_holds_it() -> None:
    text = pa.array(["a", None, "", "a", "long enough not to be inlined"])
    kinds = [pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view()]
    arrays = [text, *map(text.cast, kinds), text.dictionary_encode()]
    found = [hashes(to_rows(pa.record_batch([array], names=["c"]))) for array in arrays]
    assert found == [found[0]] * len(arrays)


def test_many_rows_hash_as_each_alone_does() -> None:
    draw = random.Random(5)
    rows = of(
        *[None if draw.random() < 0.1 else draw.randbytes(draw.randrange(40)) for _ in range(40000)]
    )
    found = hashes(rows)
    for at in [0, 1, 16383, 16384, 16385, 32768, 39999, *draw.sample(range(40000), 50)]:
        assert hashes(rows.slice(at, 1)) == [found[at]], at
    assert row_hashes(rows.slice(0, 0))[0].shape == (0,)


def ordinary() -> dict[str, pa.Array]:
    draw = np.random.default_rng(6)
    n = 2000
    words = pa.array(["word" * int(i) for i in draw.integers(1, 30, n)])
    numbers = pa.array(draw.integers(0, 9, n), mask=draw.random(n) < 0.2)
    offsets = pa.array(np.linspace(0, n, 101).astype(np.int32))
    return {
        "text": words,
        "large text": words.cast(pa.large_string()),
        "numbers": numbers,
        "narrow": pa.StructArray.from_arrays(
            [pa.array(draw.integers(0, 9, n, dtype=np.uint8))] * 8, list("abcdefgh")
        ),
        "tokens": pa.ListArray.from_arrays(offsets, numbers.cast(pa.int32())),
        "lists of text": pa.ListArray.from_arrays(offsets, words),
        "structs": pa.StructArray.from_arrays([words, numbers], ["a", "b"]),
    }


@pytest.mark.parametrize("name", ordinary())
def test_costs_sum_to_what_arrow_takes(name: str) -> None:
    column = ordinary()[name]
    rows = pa.StructArray.from_arrays([column], ["c"])
    assert 0.8 < row_costs(rows).sum() / rows.nbytes <= 1.25
    part = rows[len(rows) // 3 :]
    assert row_costs(part).tolist() == row_costs(rows)[len(rows) // 3 :].tolist()
    assert np.all(row_costs(rows) >= row_sizes(rows))


def test_hashes_of_lists_in_pieces_are_those_of_the_whole() -> None:
    draw = random.Random(8)
    kind = pa.list_(pa.list_(pa.int16()))
    values = [oracles.any_value(kind, draw) for _ in range(300)]
    whole = value_hashes(oracles.lay(kind, values, draw))
    parts = [value_hashes(oracles.lay(kind, values[i : i + 7], draw)) for i in range(0, 300, 7)]
    for k in (0, 1):
        assert np.array_equal(whole[k], np.concatenate([part[k] for part in parts]))
