"""Rows of ids that are none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.kernels.records.bad_ids import find_bad_ids

ROWS = [[0, 6], None, [], [7, 8], [1, None], [-1], [6]]


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.large_list(pa.int32())])
def test_each_is_found_with_its_reason(kind: pa.DataType) -> None:
    found = find_bad_ids(pa.array([[5], *ROWS], kind).slice(1), ids=7)
    assert {place: why.partition(";")[0] for place, why in found.items()} == {
        1: "expected ids, got null",
        3: "expected ids from 0 to 6, got 7",
        4: "expected ids, got null among them",
        5: "expected ids from 0 to 6, got -1",
    }


def test_ids_without_a_sign_are_not_wrapped() -> None:
    lists = pa.array([[2**63 + 1], [3]], pa.list_(pa.uint64()))
    assert list(find_bad_ids(lists, ids=2**32)) == [0]
    assert find_bad_ids(pa.array([], pa.list_(pa.int8())), ids=1) == {}
