"""Rows: carried in few types, and restored to what they were."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from tests.transforms.kernels.records import row_oracles as oracles
from tests.transforms.kernels.records.row_samples import SEEDS, drawn, hashes, of
from transforms.errors import DataError
from transforms.kernels.records.rows import (
    Dictionaries,
    carried_schema,
    carried_type,
    describe_difference,
    restore,
    to_rows,
)


class Unknown(pa.ExtensionType):  # type: ignore[misc]
    """Somebody's own type, registered nowhere."""

    def __init__(self) -> None:
        storage = pa.list_(pa.field("q", pa.string_view(), metadata={"inside": "1"}))
        super().__init__(storage, "tests.unknown")

    def __arrow_ext_serialize__(self) -> bytes:
        return b""


def dictionary(
    values: list[Any], kind: pa.DataType, index: str = "int8", *, ordered: bool = False
) -> pa.DictionaryArray:
    found = pa.array(values, kind).dictionary_encode()
    backwards = pa.array(range(len(found.dictionary) - 1, -1, -1), pa.int64())
    places = pa.array(
        [None if i is None else len(backwards) - 1 - i for i in found.indices.to_pylist()]
    )
    return pa.DictionaryArray.from_arrays(
        places.cast(index), found.dictionary.take(backwards), ordered=ordered
    )


def nested(inner: pa.Array, shape: str) -> pa.Array:
    """Nest six values to three."""
    offsets = pa.array([0, 2, 3, 6], pa.int32())
    mask = pa.array([False, True, False])
    if shape == "list":
        return pa.ListArray.from_arrays(offsets, inner, mask=mask)
    if shape == "large":
        return pa.LargeListArray.from_arrays(offsets.cast(pa.int64()), inner, mask=mask)
    if shape == "fixed":
        return pa.FixedSizeListArray.from_arrays(inner, 2, mask=mask)
    if shape == "struct":
        return pa.StructArray.from_arrays([inner[:3], inner[3:]], ["x", "y"], mask=mask)
    if shape == "map":
        return pa.MapArray.from_arrays(offsets, pa.array(list("abcdef")), inner)
    starts, sizes = pa.array([3, 0, 1], pa.int32()), pa.array([3, 2, 3], pa.int32())
    return pa.ListViewArray.from_arrays(starts, sizes, inner, mask=mask)


WORDS = ["a", "b", None, "a", "long enough not to be inlined", ""]
ENCODED = dictionary(WORDS, pa.string())
COLUMNS: dict[str, Callable[[], pa.Array]] = {
    **{
        str(kind): lambda kind=kind: oracles.lay(
            kind,
            [None if i == 2 else oracles.any_value(kind, random.Random(i)) for i in range(9)],
            random.Random(9),
        )
        for kind in [*oracles.WIDTHS, pa.null(), pa.binary(), pa.binary(3)]
        if not str(kind).startswith(("date64", "time", "dur", "dec"))  # whose bits have a range
    },
    **{
        str(kind): lambda kind=kind: pa.array([Decimal("1.5"), None, Decimal("-0.25")], kind)
        for kind in (
            pa.decimal32(5, 2),
            pa.decimal64(12, 2),
            pa.decimal128(30, 4),
            pa.decimal256(60, 4),
        )
    },
    "duration": lambda: pa.array([0, None, -5], pa.duration("ms")),
    "timestamp": lambda: pa.array([0, None, 5], pa.timestamp("us", "Europe/Berlin")),
    "time": lambda: pa.array([0, None, 5], pa.time64("us")),
    "string_view": lambda: pa.array(WORDS, pa.string_view()),
    "binary_view": lambda: pa.array([b"\xff", None, b"b" * 40], pa.binary_view()),
    "dictionary": lambda: ENCODED,
    "ordered": lambda: dictionary(WORDS, pa.large_string(), "uint16", ordered=True),
    "dictionary of views": lambda: pa.DictionaryArray.from_arrays(
        pa.array([1, None, 0]), pa.array(["x" * 20, None], pa.string_view())
    ),
    **{
        f"dictionary of {kind}": lambda kind=kind: pa.DictionaryArray.from_arrays(
            pa.array([1, None, 0, 1], pa.uint8()), pa.array([1, 0], pa.int32()).cast(kind)
        )
        for kind in [pa.int32(), pa.bool_(), pa.float64(), pa.decimal128(12, 2), pa.decimal64(12)]
    },
    "dictionary of halves": lambda: pa.DictionaryArray.from_arrays(
        pa.array([1, None, 0]), pa.array([0.5, 2.0], pa.float16())
    ),
    "dictionary of uuids": lambda: pa.DictionaryArray.from_arrays(
        pa.array([1, None, 0]), pa.array([b"a" * 16, b"b" * 16], pa.uuid())
    ),
    "dictionary of nothing": lambda: pa.DictionaryArray.from_arrays(
        pa.array([None, None], pa.int8()), pa.array([], pa.string())
    ),
    "dictionary of null": lambda: pa.DictionaryArray.from_arrays(
        pa.array([None, None], pa.int8()), pa.nulls(1)
    ),
    **{
        f"{shape} of {name}": lambda shape=shape, inner=inner: nested(inner, shape)
        for shape in ("list", "large", "fixed", "struct", "map", "view")
        for name, inner in {
            "words": pa.array(WORDS),
            "views": pa.array(WORDS, pa.string_view()),
            "dictionary": ENCODED,
            "lists of dictionary": pa.ListArray.from_arrays(
                pa.array([0, 1, 2, 3, 4, 5, 6], pa.int32()), ENCODED
            ),
        }.items()
    },
    "keys": lambda: pa.MapArray.from_arrays(
        pa.array([0, 2, 2, 3], pa.int32()),
        dictionary(["a", "b", "a"], pa.string()),
        pa.array([1, 2, 3]),
    ),
    "uuid": lambda: pa.array([b"a" * 16, None, b"c" * 16], pa.uuid()),
    "json": lambda: pa.array(["{}", None, "[1]"], pa.json_()),
    "bool8": lambda: pa.bool8().wrap_array(pa.array([0, None, 1], pa.int8())),
    "tensor": lambda: pa.fixed_shape_tensor(pa.int32(), [2]).wrap_array(
        pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2))
    ),
    "opaque": lambda: pa.opaque(ENCODED.type, "type", "vendor").wrap_array(ENCODED),
    "unknown": lambda: Unknown().wrap_array(
        pa.array([["a"], None, ["b", "c"]], Unknown().storage_type)
    ),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_rows_taken_in_any_order_come_back_as_they_were(name: str) -> None:
    column = COLUMNS[name]()
    inner = pa.field("inner", column.type, metadata={"deep": "down"})
    schema = pa.schema(
        [
            pa.field("c", column.type, metadata={"unit": "m"}),
            pa.field("s", pa.struct([inner]), nullable=False),
            pa.field("c", pa.int64(), nullable=False),  # a second column of the name
        ],
        metadata={"pandas": "{}"},
    )
    columns = [column, pa.StructArray.from_arrays([column], fields=[inner])]
    batch = pa.RecordBatch.from_arrays([*columns, pa.array(range(len(column)))], schema=schema)
    order = np.random.default_rng(7).permutation(len(column))
    for begin in (0, 1):
        part = batch.slice(begin)
        places = [int(i) for i in order if i < len(part)]
        rows = to_rows(part)
        assert rows.type == pa.struct(list(carried_schema(schema)))
        rows.validate(full=True)
        restored = restore(rows.take(pa.array(places, pa.int64())), schema)
        restored.validate(full=True)
        assert restored.schema.equals(schema, check_metadata=True)
        for got, want in zip(restored.columns, part.columns, strict=True):
            assert got.type.equals(want.type, check_metadata=True)
            values = want.to_pylist()
            assert repr(got.to_pylist()) == repr([values[i] for i in places])
    none = restore(to_rows(batch.slice(0, 0)), schema)
    assert none.num_rows == 0
    assert none.schema.equals(schema, check_metadata=True)


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_rows_of_any_type_come_back_unchanged(seed: int) -> None:
    kind, values, draw = drawn(seed)
    batch = pa.RecordBatch.from_struct_array(oracles.lay(kind, values, draw))
    rows = to_rows(batch)
    assert hashes(rows) == [tuple(oracles.value_hash(kind, v, k) for k in (0, 1)) for v in values]
    back = restore(rows, batch.schema)
    assert back.schema.equals(batch.schema, check_metadata=True)
    assert hashes(to_rows(back)) == hashes(rows)


@pytest.mark.parametrize(
    "kind",
    [
        pa.run_end_encoded(pa.int32(), pa.string()),
        pa.sparse_union([pa.field("a", pa.int8())]),
        pa.dense_union([pa.field("a", pa.int8())]),
        pa.dictionary(pa.int8(), pa.list_(pa.int8())),
    ],
    ids=str,
)
def test_types_that_cannot_be_carried_are_refused_by_name(kind: pa.DataType) -> None:
    inside = pa.struct([("tags", pa.list_(kind))])
    with pytest.raises(DataError, match=r"column meta\.tags\.item: expected .*, got ") as caught:
        carried_schema(pa.schema([("ok", pa.int8()), ("meta", inside)]))
    assert str(kind) in str(caught.value)


def test_a_null_among_the_values_of_a_maps_keys_is_refused() -> None:
    keys = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["a", None]))
    maps = pa.MapArray.from_arrays(pa.array([0, 2], pa.int32()), keys, pa.array([1, 2]))
    with pytest.raises(DataError, match="keys in every map"):
        to_rows(pa.record_batch([maps], names=["c"]))


def test_a_table_without_columns_is_refused() -> None:
    with pytest.raises(DataError, match="without columns"):
        to_rows(pa.RecordBatch.from_arrays([], names=[]))


def test_schemas_that_differ_in_encoding_alone_are_carried_alike() -> None:
    one = pa.schema([pa.field("a", pa.dictionary(pa.int8(), pa.string()))], metadata={"x": "y"})
    two = pa.schema([pa.field("a", pa.string(), metadata={"x": "y"})])
    assert carried_schema(one).equals(carried_schema(two), check_metadata=True)
    lists = [
        pa.list_(pa.field(name, pa.int8(), metadata={"x": "y"})) for name in ("item", "element")
    ]
    assert carried_type(lists[0]).equals(carried_type(lists[1]), check_metadata=True)
    assert carried_type(pa.list_(pa.field("x", pa.int8(), nullable=False))) != carried_type(
        lists[0]
    )


BASE = pa.schema([("a", pa.int64()), ("b", pa.string()), ("m", pa.struct([("x", pa.int8())]))])


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (BASE.remove(0), "lacks a"),
        (BASE.append(pa.field("z", pa.int8())), "has z in addition"),
        (BASE.set(0, pa.field("a", pa.string())), "a is string, not int64"),
        (BASE.set(0, pa.field("a", pa.int64(), nullable=False)), "a is int64 not null, not int64"),
        (BASE.set(2, pa.field("m", pa.struct([("x", pa.int16())]))), "m.x is int16, not int8"),
        (
            BASE.set(2, pa.field("m", pa.struct([("y", pa.int8())]))),
            "lacks m.x; has m.y in addition",
        ),
        (
            pa.schema([BASE.field(1), BASE.field(0), BASE.field(2)]),
            "has its columns in another order (b, a, m, m.x, not a, b, m, m.x)",
        ),
        (
            pa.schema([(f"c{i}", pa.int8()) for i in range(9)]),
            "lacks a, b, m, m.x; has c0, c1, c2, c3, c4 and 4 more in addition",
        ),
    ],
)
def test_a_difference_of_schemas_names_the_columns(got: pa.Schema, said: str) -> None:
    assert describe_difference(BASE, got) == said


def test_a_difference_that_names_cannot_tell_shows_both_schemas() -> None:
    twice = pa.schema([("a", pa.int8()), ("a", pa.int8())])
    said = describe_difference(twice, pa.schema([("a", pa.int8())]))
    assert said == "has the schema a: int8, not a: int8 a: int8"


def read_file(data: bytes) -> list[pa.RecordBatch]:
    reader = pa.ipc.open_file(data)
    places = reversed(range(reader.num_record_batches))  # not even in order
    return [reader.get_batch(i) for i in places][::-1]


def read_stream(data: bytes) -> list[pa.RecordBatch]:
    return list(pa.ipc.open_stream(data))


BATCHES = [
    [None] * 6,
    ["b", "b", None, "c", "b", ""],
    ["c"] * 6,
    [None, "a", "a", "d", "b", "longer " * 9],
    [None] * 6,
]


@pytest.mark.parametrize("shape", ["list", "large", "fixed", "struct", "map", "keys", "flat"])
@pytest.mark.parametrize("kind", ["file", "stream"])
def test_dictionaries_grow_over_the_batches_of_one_file(shape: str, kind: str) -> None:
    def batch(values: list[str | None]) -> pa.RecordBatch:
        own = dictionary(values, pa.string(), ordered=True)
        if shape == "keys":
            keys = dictionary([value or "" for value in values], pa.string())
            column = pa.MapArray.from_arrays(pa.array([0, 2, 6], pa.int32()), keys, own)
        else:
            column = own if shape == "flat" else nested(own, shape)
        return pa.record_batch([column, column], names=["c", "twin"])

    batches = [batch(values) for values in BATCHES]
    schema, seen, sink = batches[0].schema, Dictionaries(), io.BytesIO()
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    new = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with new(sink, schema, options=options) as writer:
        for each in batches:
            writer.write_batch(restore(to_rows(each), schema, seen))
    got = (read_file if kind == "file" else read_stream)(sink.getvalue())
    assert [each.to_pylist() for each in got] == [each.to_pylist() for each in batches]
    assert got[0].schema.equals(schema)
    assert writer.stats.num_replaced_dictionaries == 0
    for each in got:
        each.validate(full=True)


def test_a_dictionary_holds_values_in_the_order_of_their_appearance() -> None:
    schema = pa.schema([("c", pa.dictionary(pa.int8(), pa.string()))])
    seen = Dictionaries()
    for values, expected in [
        (["b", None, "a", "b"], ["b", "a"]),
        (["a", "c"], ["b", "a", "c"]),
        ([None], ["b", "a", "c"]),
    ]:
        column = restore(of(*values, kind=pa.string()), schema, seen).column(0)
        assert column.dictionary.to_pylist() == expected
    alone = restore(of("a", "c"), schema).column(0)
    assert alone.dictionary.to_pylist() == ["a", "c"]


def test_zeros_of_either_sign_and_nans_keep_their_bits_in_a_dictionary() -> None:
    bits = np.array([0, 1 << 63, 0x7FF8000000000000, 0x7FF8000000000001], np.uint64)
    values = pa.array(bits).view(pa.float64())
    schema = pa.schema([("c", pa.dictionary(pa.int8(), pa.float64()))])
    rows = pa.StructArray.from_arrays([values], ["c"])
    assert hashes(to_rows(restore(rows, schema))) == hashes(rows)


@pytest.mark.parametrize(("index", "limit"), [(pa.int8(), 128), (pa.uint8(), 256)])
def test_more_values_than_indices_can_count_are_refused_by_name(
    index: pa.DataType, limit: int
) -> None:
    field = pa.field("tag", pa.list_(pa.dictionary(index, pa.int32())))
    schema, seen = pa.schema([field]), Dictionaries()
    kind = pa.list_(pa.int32())
    rows = of(list(range(limit)), kind=kind)
    assert restore(rows, schema, seen).to_pylist() == [{"tag": list(range(limit))}]
    with pytest.raises(
        DataError, match=rf"column tag\.item: expected at most {limit} .* {index}, "
    ):
        restore(of([limit], kind=kind), schema, seen)
