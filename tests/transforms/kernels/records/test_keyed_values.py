"""Keyed values: a table that finds what a dict does, and refuses what a dict would forget."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.errors import DataError
from transforms.kernels.arrays import U64
from transforms.kernels.records.contents import value_hashes
from transforms.kernels.records.keyed_values import KEY_BYTES, KeyedValues

keys = st.tuples(st.integers(0, 5), st.integers(0, 5))  # many of one first hash


def halves(found: list[tuple[int, int]]) -> tuple[U64, U64]:
    pairs = np.array(found, np.uint64).reshape(len(found), 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def table(found: dict[tuple[int, int], Any]) -> KeyedValues:
    return KeyedValues.of(halves(list(found)), pa.array(found.values(), pa.int64()))


@given(st.lists(st.dictionaries(keys, st.none() | st.integers(0, 9)), max_size=3), st.lists(keys))
def test_what_is_found_is_what_a_dict_finds(
    parts: list[dict[tuple[int, int], Any]], asked: list[tuple[int, int]]
) -> None:
    merged: dict[tuple[int, int], Any] = {}
    for part in parts:
        merged = part | merged
    agreeing = [{key: merged[key] for key in part} for part in parts]
    joined = KeyedValues.join([table(part) for part in agreeing])
    places = joined.places(halves(asked)).tolist()
    assert [place >= 0 for place in places] == [key in merged for key in asked]
    values = joined.values.to_pylist()
    found = [values[place] for place in places if place >= 0]
    assert found == [merged[key] for key in asked if key in merged]
    assert len(joined) == len(merged)


@given(st.lists(st.tuples(keys, st.integers(0, 1)), max_size=8))
def test_a_key_of_two_values_is_refused_wherever_they_stand(
    pairs: list[tuple[tuple[int, int], int]],
) -> None:
    several = len(set(pairs)) > len({key for key, _ in pairs})
    tables = [table({key: value}) for key, value in pairs]
    if not several:
        assert len(KeyedValues.join(tables)) == len({key for key, _ in pairs})
        return
    with pytest.raises(DataError, match="expected one value for each key"):
        KeyedValues.join(tables)


def test_values_may_be_of_any_type_that_rows_have() -> None:
    values = pa.array([["a"], None, ["a"]], pa.list_(pa.string()))
    found = KeyedValues.of(halves([(3, 0), (1, 0), (3, 0)]), values)
    assert found.values.to_pylist() == [None, ["a"]]
    with pytest.raises(DataError, match=r"such as \['a'\] and None"):
        KeyedValues.of(halves([(3, 0), (3, 0)]), values[:2])


def test_integers_and_floats_join_and_text_and_numbers_do_not() -> None:
    one, other, text = (
        KeyedValues.of(halves([(place, 0)]), pa.array([value]))
        for place, value in enumerate([1, 0.5, "a"])
    )
    assert KeyedValues.join([one, other]).values.to_pylist() == [1.0, 0.5]
    with pytest.raises(DataError, match="one type, got int64 and string"):
        KeyedValues.join([one, text])


def test_it_is_as_large_as_it_says() -> None:
    found = KeyedValues.of(value_hashes(pa.array(range(1000)), name="id"), pa.array(range(1000)))
    assert found.nbytes == 1000 * (KEY_BYTES + 8)
