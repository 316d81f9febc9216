"""One schema for files that differ in form: every value comes back, whatever the order of files."""

from __future__ import annotations

import itertools
from typing import Any

import pyarrow as pa
import pytest

from transforms.errors import DataError
from transforms.kernels.records.common_schema import common_type, describe, unify
from transforms.kernels.records.row_hashes import row_hashes
from transforms.kernels.records.rows import carried_schema, carried_type, to_rows

TEXT = ["a", None, "é"]
SIGNED, UNSIGNED = [-1, None, 100], [0, None, 255]
NESTED = [{"x": 1, "y": "a"}, None, {"x": None, "y": None}]
LISTS = [[1, None], None, []]

TOGETHER: dict[str, tuple[list[Any], list[pa.DataType], str]] = {
    "text": (TEXT, [pa.string(), pa.large_string(), pa.string_view()], "large_string"),
    "binary": ([b"\xff", None], [pa.binary(), pa.large_binary(), pa.binary_view()], "large_binary"),
    "dictionary": (
        TEXT,
        [pa.dictionary(pa.int8(), pa.string()), pa.large_string()],
        "large_string",
    ),
    "signed": (SIGNED, [pa.int8(), pa.int16(), pa.int32(), pa.int64()], "int64"),
    "unsigned": (UNSIGNED, [pa.uint8(), pa.uint16(), pa.uint64()], "uint64"),
    "integers": ([0, None, 100], [pa.uint8(), pa.int8()], "int16"),
    "wide integers": ([0, 7], [pa.uint32(), pa.int8()], "int64"),
    "floats": ([0.5, None, -0.0], [pa.float32(), pa.float64()], "double"),
    "nothing": ([None, None], [pa.null(), pa.list_(pa.int8())], "list<item: int8>"),
    "inside lists": (LISTS, [pa.list_(pa.int8()), pa.list_(pa.int32())], "list<item: int32>"),
    "lists": (LISTS, [pa.list_(pa.int8()), pa.large_list(pa.int8())], "large_list<item: int8>"),
    "lists of nothing": (
        [[], None],
        [pa.list_(pa.null()), pa.list_(pa.int8())],
        "list<item: int8>",
    ),
    "views": (LISTS, [pa.list_view(pa.int8()), pa.list_(pa.int16())], "list<item: int16>"),
    "fixed lists": (
        [[1, 2], None],
        [pa.list_(pa.int8(), 2), pa.list_(pa.int16(), 2)],
        "fixed_size_list<item: int16>[2]",
    ),
    "structs": (
        NESTED,
        [
            pa.struct({"x": pa.int8(), "y": pa.string()}),
            pa.struct([pa.field("y", pa.large_string()), pa.field("x", pa.int64())]),
        ],
        None,
    ),
    "maps": (
        [[("k", 1)], None, []],
        [pa.map_(pa.string(), pa.int8()), pa.map_(pa.large_string(), pa.int16())],
        "map<large_string, int16>",
    ),
}
APART = [
    (pa.string(), pa.binary()),
    (pa.uint64(), pa.int8()),
    (pa.int64(), pa.float64()),
    (pa.timestamp("us"), pa.timestamp("ns")),
    (pa.list_(pa.int8(), 2), pa.list_(pa.int8())),
    (pa.list_(pa.int8()), pa.int8()),
    (pa.struct({"x": pa.int8()}), pa.struct({"y": pa.int8()})),
    (pa.binary(3), pa.binary()),
    (pa.bool_(), pa.int8()),
    (pa.uuid(), pa.string()),
]


@pytest.mark.parametrize("name", TOGETHER)
def test_values_and_hashes_are_those_of_the_widest_type_in_every_order(name: str) -> None:
    values, kinds, word = TOGETHER[name]
    found = set()
    for order in itertools.permutations(kinds):
        schemas = [pa.schema({"v": kind}) for kind in order]
        schema = unify(schemas)
        if word is not None:
            found.add(str(carried_schema(schema).field("v").type))
        wide = to_rows(pa.record_batch([pa.array(values, schema.field("v").type)], schema=schema))
        for kind in order:
            batch = pa.record_batch({"v": pa.array([None, *values], kind)}).slice(1)
            rows = to_rows(batch, schema)
            assert rows.type == wide.type
            rows.validate(full=True)
            assert [dict(r["v"]) if name == "maps" and r["v"] else r for r in rows.to_pylist()] == [
                dict(r["v"]) if name == "maps" and r["v"] else r for r in wide.to_pylist()
            ]
            for mine, theirs in zip(row_hashes(rows), row_hashes(wide), strict=True):
                assert mine.tolist() == theirs.tolist()
    assert word is None or found == {word}


@pytest.mark.parametrize(("left", "right"), APART, ids=str)
def test_what_would_lose_something_does_not_go_together(left: Any, right: Any) -> None:
    for one, other in ((left, right), (right, left)):
        assert common_type(one, other) is None
        with pytest.raises(DataError, match=r"v is |lacks v\.[xy]"):
            unify([pa.schema({"v": one}), pa.schema({"v": other})])


def test_schemas_that_are_alike_keep_the_first_with_its_metadata() -> None:
    first = pa.schema([pa.field("a", pa.dictionary(pa.int8(), pa.string()), metadata={"m": "1"})])
    first = first.with_metadata({"s": "2"})
    assert unify([first, pa.schema({"a": pa.string()})]).equals(first, check_metadata=True)


def test_nulls_are_allowed_where_one_file_allows_them_and_order_is_the_firsts() -> None:
    strict = pa.schema([pa.field("a", pa.int8(), False), pa.field("b", pa.int8(), False)])
    loose = pa.schema([pa.field("b", pa.int8()), pa.field("a", pa.int8(), False)])
    found = unify([strict, loose])
    assert found.names == ["a", "b"]
    assert [field.nullable for field in found] == [False, True]
    batch = pa.record_batch([pa.array([1], pa.int8()), pa.array([2], pa.int8())], schema=loose)
    assert to_rows(batch, found).to_pylist() == [{"a": 2, "b": 1}]


def test_an_index_of_pandas_is_null_where_a_file_lacks_it_and_other_columns_have_to_be_there() -> (
    None
):
    plain = pa.schema([pa.field("t", pa.string())])
    index = plain.append(pa.field("__index_level_0__", pa.int64(), False))
    for schemas in ([plain, index], [index, plain]):
        found = unify(schemas)
        assert found.names == ["t", "__index_level_0__"]
        assert found.field(1).nullable
    assert to_rows(pa.record_batch({"t": ["a"]}), found).to_pylist() == [
        {"t": "a", "__index_level_0__": None}
    ]
    with pytest.raises(DataError, match=r"^has id in addition$"):
        unify([plain, plain.append(pa.field("id", pa.int64()))])


def test_two_columns_of_one_name_go_with_their_like_alone() -> None:
    twice = pa.schema([("a", pa.int8()), ("a", pa.int16())])
    assert unify([twice, twice]) == twice
    with pytest.raises(DataError, match=r"int"):
        unify([twice, pa.schema([("a", pa.int8()), ("a", pa.int32())])])


def test_the_plan_says_what_differed() -> None:
    files = {
        "0": pa.schema({"a": pa.int32(), "t": pa.string()}),
        "1": pa.schema({"t": pa.string(), "a": pa.int64(), "__index_level_0__": pa.int64()}),
    }
    assert describe(files, unify(list(files.values()))) == [
        "column a: int32 and int64 in the files, read as int64",
        "column __index_level_0__: null for the rows of 0, which lack it",
        "columns in another order in 1: read as a, t, __index_level_0__",
    ]
    alike = {"0": files["0"], "1": files["0"].with_metadata({"m": "1"})}
    assert describe(alike, files["0"]) == []
    twice = pa.schema([("a", pa.int8()), ("a", pa.dictionary(pa.int8(), pa.large_string()))])
    plain = pa.schema([("a", pa.int8()), ("a", pa.large_string())])
    assert describe({"0": twice, "1": plain}, unify([twice, plain])) == []


def test_every_type_that_goes_together_goes_with_nulls() -> None:
    for _, kinds, _ in TOGETHER.values():
        for kind in kinds:
            both = common_type(pa.null(), kind)
            assert both == common_type(kind, pa.null())
            assert carried_type(both) == carried_type(kind)
