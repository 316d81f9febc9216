"""A value is attached to each record, and nothing else of it changes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.kernels.records import row_oracles as oracles
from tests.transforms.kernels.records import row_samples
from tests.transforms.kernels.records.test_json_loops import objects
from transforms.errors import DataError
from transforms.kernels.records import attach as module
from transforms.kernels.records import blocks
from transforms.kernels.records.attach import attach, attached_type, unattachable
from transforms.kernels.records.compiling import use_loops

spaces = st.text(" \t", max_size=2)
lines = st.builds(
    lambda value, ascii_, indent, before, inside, after, cr: (
        before
        + json.dumps(value, ensure_ascii=ascii_, separators=indent)[:-1]
        + inside
        + "}"
        + after
        + cr
    ).encode(),
    objects,
    st.booleans(),
    st.sampled_from([None, (" ,", " : ")]),
    spaces,
    spaces,
    spaces,
    st.sampled_from(["", "\r"]),
)
scalars = (
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"])),
)


@pytest.fixture(autouse=True, params=["compiled", "parsed"])
def _way(request: Any) -> Iterator[None]:
    """Take the compiled loop, or the parser alone."""
    loops = use_loops() if request.param == "compiled" else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "loops_for", lambda _: loops)
        yield


def block_of(records: list[bytes], *, end: bytes = b"\n") -> pa.RecordBatch:
    positions = np.arange(len(records), dtype=np.uint64) * np.uint64(10)
    return blocks.from_records(records, positions, line_end=end)


def read(line: bytes) -> Any:
    return json.loads(line, object_pairs_hook=lambda pairs: pairs)


def put(line: bytes, name: str, value: Any) -> bytes:
    """Attach by hand."""
    brace = line.rindex(b"}")
    comma = b"" if line[:brace].strip() == b"{" else b","
    return line[:brace] + comma + json.dumps(name).encode() + b":" + value + line[brace:]


@given(st.data())
def test_a_line_gets_its_last_key_and_stays_the_same_elsewhere(data: st.DataObject) -> None:
    found = data.draw(st.lists(lines, max_size=5))
    kind = data.draw(st.sampled_from(scalars))
    values = data.draw(st.lists(st.none() | kind, min_size=len(found), max_size=len(found)))
    end = data.draw(st.sampled_from([b"\n", b"\0", b""]))
    block = block_of(found, end=end)
    name = "new name"
    got = attach(block, name, pa.array(values))
    made = blocks.records(got)
    for before, after, value in zip(found, made, values, strict=True):
        assert read(after) == [*read(before), (name, value)]
        assert type(read(after)[-1][1]) is type(value)
        brace = before.rindex(b"}")
        key = after[: len(after) - len(before) + brace]
        written = key[brace:].lstrip(b",").removeprefix(b'"new name":')
        assert after == put(before, name, written)
    assert blocks.terminator(got) == end
    assert got.schema.names == block.schema.names
    assert blocks.digests(got, sources=1) == blocks.digests(block_of(made, end=end), sources=1)


def test_sums_are_those_of_the_new_records_whether_hashed_or_not() -> None:
    block = block_of([b'{"a":1}', b"{}"])
    bare = attach(blocks.without_hashes(block), "b", pa.array([1, 2]))
    hashed = attach(block, "b", pa.array([1, 2]))
    assert "hash0" not in bare.schema.names
    assert hashed == blocks.with_hashes(bare)
    assert blocks.column(bare, "position").tolist() == [0, 10]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.1, b"0.1"),
        (1.0, b"1.0"),
        (-0.0, b"-0.0"),
        (1e22, b"1e+22"),
        (1e15, b"1000000000000000.0"),
        (0.00012, b"0.00012"),
        (0.000012, b"1.2e-05"),
        (5e-324, b"5e-324"),
        (np.uint64(2**64 - 1), b"18446744073709551615"),
        (True, b"true"),
        ('a"\\\n\x1f水', '"a\\"\\\\\\n\\u001f水"'.encode()),
    ],
)
def test_values_are_written_the_shortest_way_that_reads_back_the_same(
    value: Any, written: bytes
) -> None:
    (line,) = blocks.records(attach(block_of([b"{}"]), "v", pa.array([value])))
    assert line == b'{"v":' + written + b"}"


def test_a_float_of_32_bits_is_written_as_the_number_that_it_is() -> None:
    (line,) = blocks.records(attach(block_of([b"{}"]), "v", pa.array([0.1], pa.float32())))
    assert json.loads(line)["v"] == float(np.float32(0.1))


def test_floats_are_written_as_python_writes_them() -> None:
    values = np.sin(np.arange(5000.0)) * 10.0 ** (np.arange(5000) % 40 - 20)
    got = blocks.records(attach(block_of([b'{"a":1}'] * 5000), "v", pa.array(values)))
    assert got == [b'{"a":1,"v":%s}' % repr(value).encode() for value in values.tolist()]


@pytest.mark.parametrize(
    "line",
    [b'{"w":1}', b'{"a":"w","w" : "x"}', b'{"\\u0077":1}', b'{"w":1,"w":"b"}', b'{"w":"b","w":{}}'],
)
def test_a_key_that_is_there_is_refused_however_it_is_written(line: bytes) -> None:
    block = block_of([b'{"a":{"w":1}}', b'{"a":"\\"w\\":"}', line])
    with pytest.raises(
        DataError, match=r"^f\.jsonl, the record at byte 20: it has a key 'w' already"
    ):
        attach(block, "w", pa.array([1, 2, 3]), name_of=lambda _: "f.jsonl")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"[1]", "got an array"),
        (b'"a"', "got a string"),
        (b"", "isn't JSON"),
        (b'{"a":1', "isn't JSON"),
        (b'{"a":1]}', "isn't JSON"),
        (b'{"a":1}}', "isn't JSON"),
        (b'{"a":1} {}', "isn't JSON"),
        (b'{"a":"\xff"}', "isn't JSON: not UTF-8"),
        (b'{"a":1,}', "isn't JSON"),
    ],
)
def test_a_line_that_is_no_object_is_refused_by_name(line: bytes, why: str) -> None:
    with pytest.raises(DataError, match=rf"record at byte 10: expected a JSON object.*{why}"):
        attach(block_of([b"{}", line]), "w", pa.array([1, 2]))


def test_what_only_a_lenient_parser_reads_is_an_object_too() -> None:
    deep = b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"} "
    odd = [b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":1e999}', deep]
    got = blocks.records(attach(block_of(odd), "w", pa.array([1] * len(odd))))
    assert got == [put(line, "w", b"1") for line in odd]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_not_is_refused_by_name(value: float) -> None:
    with pytest.raises(DataError, match=f"record at byte 10: .*got {value}"):
        attach(block_of([b"{}", b"{}"]), "w", pa.array([1.0, value]))


def test_other_types_are_refused_of_lines_alone() -> None:
    with pytest.raises(DataError, match=re.escape("list<item: int64>")):
        attach(block_of([b"{}"]), "w", pa.array([[1]]))
    assert attached_type(pa.list_(pa.int64()), lines=False) == pa.list_(pa.int64())


@given(row_samples.SEEDS, st.data())
def test_rows_get_a_last_column(seed: int, data: st.DataObject) -> None:
    kind, rows, draw = row_samples.drawn(seed)
    record = oracles.lay(kind, rows, draw)
    begin = data.draw(st.integers(0, len(rows)))
    positions = np.arange(len(rows), dtype=np.uint64)
    block = blocks.from_rows(record, positions=positions).slice(begin)
    values = data.draw(
        st.lists(st.none() | st.floats(allow_nan=False), min_size=len(block), max_size=len(block))
    )
    got = attach(block, "w", pa.array(values, pa.float64()))
    whole = pa.StructArray.from_arrays(
        [*record.slice(begin).flatten(), pa.array(values, pa.float64())],
        fields=[*kind, pa.field("w", pa.float64())],
    )
    wanted = blocks.from_rows(whole, positions=positions[begin:])
    assert got.schema.equals(wanted.schema, check_metadata=True)
    for found, column in zip(got.columns, wanted.columns, strict=True):
        # as it is printed: NaN isn't equal to itself; all bits are in the hashes
        assert found.to_string(window=99, container_window=99) == column.to_string(
            window=99, container_window=99
        )


def test_a_column_that_is_there_is_refused() -> None:
    rows = pa.StructArray.from_arrays([pa.array([1])], names=["w"])
    block = blocks.from_rows(rows, positions=np.zeros(1, np.uint64))
    with pytest.raises(DataError, match=r"^f\.parquet: the rows have a column 'w' already"):
        attach(block, "w", pa.array([1]), name_of=lambda _: "f.parquet")


def test_as_many_values_as_records_are_asked_for() -> None:
    with pytest.raises(ValueError, match="expected 1 values"):
        attach(block_of([b"{}"]), "w", pa.array([1, 2]))


@pytest.mark.parametrize("loops", [False, True])
def test_what_can_not_take_a_key_is_found_with_the_reason(loops: bool) -> None:
    lines = [b"{}", b"[1]", b'{"w": 1}', b'{"v": {"w": 1}} \r', b"x", b'{"\\u0077": 0}']
    block = blocks.from_records(lines, np.arange(6, dtype=np.uint64), line_end=b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "transforms.kernels.records.attach.loops_for", lambda size: 1 if loops else None
        )
        bad = unattachable(block, name="w")
    assert list(bad) == [1, 2, 4, 5]
    assert "got an array" in bad[1]
    assert "it has a key 'w' already" in bad[2]
    assert "isn't JSON" in bad[4]


def test_a_block_without_records_stays_one() -> None:
    block = block_of([b"{}", b"[]"])
    for empty in (block.slice(0, 0), block.slice(1, 0), block.filter(pa.array([False, False]))):
        got = attach(empty, "w", pa.array([], pa.float64()))
        assert (len(got), got.schema) == (0, block.schema)


def test_a_slice_is_a_block_of_its_own() -> None:
    block = block_of([b"no JSON", b'{"a":1}', b"{ }", b"[]"]).slice(1, 2)
    got = attach(block, "w", pa.array([True, None]))
    assert blocks.records(got) == [b'{"a":1,"w":true}', b'{ "w":null}']
