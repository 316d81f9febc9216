"""Parquet files of token ids alone, which we write ourselves: Arrow reads what it would have written."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.formats import parquet
from transforms.formats.parquet import COMPRESSIONS
from transforms.formats.parquet_ids import IdsWriter, holds_ids_alone
from transforms.kernels.records import id_pages

TYPES = [pa.list_(pa.uint16()), pa.list_(pa.uint32()), pa.large_list(pa.uint32())]
IDS = st.one_of(st.none(), st.integers(0, 2**16 - 1))
LISTS = st.lists(st.one_of(st.none(), st.lists(IDS, max_size=9)), max_size=30)


def written(groups: list[pa.Array], *, compression: str = "zstd", name: str = "input_ids") -> bytes:
    schema = pa.schema([pa.field(name, groups[0].type)], metadata={"who": "we"})
    file = io.BytesIO()
    writer = IdsWriter(file, schema, compression=compression)
    for group in groups:
        writer.write_group(pa.record_batch([group], schema=schema))
    writer.close()
    return file.getvalue()


def opened(data: bytes) -> pq.ParquetFile:
    return pq.ParquetFile(io.BytesIO(data), page_checksum_verification=True)


@given(rows=LISTS, kind=st.sampled_from(TYPES), page=st.sampled_from([1, 5, 1 << 18]))
@settings(deadline=None)
def test_arrow_reads_the_lists_that_were_written(
    rows: list[Any], kind: pa.DataType, page: int
) -> None:
    array = pa.array([[7], *rows, [8, 9]], kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_pages, "PAGE_IDS", page)
        file = opened(written([array.slice(1), array]))
    table = file.read()
    table.validate(full=True)
    assert table.column(0).to_pylist() == array.to_pylist()[1:] + array.to_pylist()
    assert [file.metadata.row_group(i).num_rows for i in (0, 1)] == [len(rows) + 1, len(rows) + 2]


@given(rows=LISTS, kind=st.sampled_from(TYPES), cuts=st.lists(st.integers(0, 33), max_size=5))
@settings(deadline=None)
def test_pieces_in_which_rows_come_change_no_byte(
    rows: list[Any], kind: pa.DataType, cuts: list[int]
) -> None:
    array = pa.array([[7], *rows, [8, 9]], kind)
    schema = pa.schema([pa.field("input_ids", kind)])
    edges = [0, *sorted(min(cut, len(array)) for cut in cuts), len(array)]
    found = []
    for pieces in ([array], [array[a:b] for a, b in pairwise(edges)]):
        file = io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(id_pages, "PAGE_IDS", 5)
            writer = parquet.Writer(file, schema, compression="none")
            writer.write_rows(
                [pa.StructArray.from_arrays([p], names=["input_ids"]) for p in pieces]
            )
        writer.close()
        found.append(file.getvalue())
    assert found[0] == found[1]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_compression_is_read(compression: str) -> None:
    rows = [[1, 2, 3] * 40, [], [70_000, 2**32 - 1]]
    file = opened(written([pa.array(rows, TYPES[1])], compression=compression))
    assert file.read().column(0).to_pylist() == rows
    found = file.metadata.row_group(0).column(0).compression.lower()
    assert found == {"none": "uncompressed"}.get(compression, compression)


def test_what_the_footer_says_is_what_arrows_says() -> None:
    array = pa.array([[1, 2], [], [3]], TYPES[0])
    schema = pa.schema([pa.field("name.with.dots é", array.type)], metadata={"who": "we"})
    theirs = io.BytesIO()
    with pq.ParquetWriter(theirs, schema, compression="zstd") as writer:
        writer.write_batch(pa.record_batch([array], schema=schema))
    want, got = (opened(d) for d in (theirs.getvalue(), written([array], name=schema.names[0])))
    assert got.schema.equals(want.schema)
    assert got.schema_arrow.equals(want.schema_arrow, check_metadata=True)
    assert got.metadata.metadata == want.metadata.metadata
    for name in ("num_rows", "num_row_groups", "format_version"):
        assert getattr(got.metadata, name) == getattr(want.metadata, name)
    mine, arrows = (f.metadata.row_group(0).column(0) for f in (got, want))
    for name in ("num_values", "path_in_schema", "physical_type"):
        assert getattr(mine, name) == getattr(arrows, name)


def test_a_file_without_rows_is_read() -> None:
    schema = pa.schema([pa.field("input_ids", TYPES[1])])
    file = io.BytesIO()
    IdsWriter(file, schema, compression="zstd").close()
    assert opened(file.getvalue()).read().num_rows == 0


def test_pages_of_many_lists_and_of_one_long_list_are_read() -> None:
    """Sizes at which numbers in headers take more bytes."""
    ids = np.arange(700_000, dtype=np.uint32)
    offsets = np.array([0, 0, 600_000, 600_001, 699_999, 700_000], np.int32)
    array = pa.ListArray.from_arrays(pa.array(offsets), pa.array(ids))
    many = pa.array([[]] * 300_000, TYPES[1])
    found = opened(written([array, many])).read().column(0).combine_chunks()
    assert found.flatten().equals(pa.array(ids))
    assert np.array_equal(found.offsets.to_numpy()[:6], offsets)
    assert len(found) == 300_005


def test_a_damaged_page_is_found_by_its_checksum() -> None:
    data = bytearray(written([pa.array([list(range(1000))], TYPES[0])], compression="none"))
    data[len(data) // 4] ^= 1
    with pytest.raises(OSError, match="CRC"):
        opened(bytes(data)).read()


@pytest.mark.parametrize(
    "field",
    [
        pa.field("ids", pa.list_(pa.uint32()), nullable=False),
        pa.field("ids", pa.list_(pa.field("item", pa.uint32(), nullable=False))),
        pa.field("ids", pa.list_(pa.uint32()), metadata={"PARQUET:field_id": "3"}),
        pa.field("ids", pa.list_(pa.int64())),
        pa.field("ids", pa.uint32()),
    ],
)
def test_other_columns_are_left_to_arrow(field: pa.Field) -> None:
    ids = pa.field("input_ids", pa.list_(pa.uint16()))
    assert holds_ids_alone(pa.schema([ids]))
    assert not holds_ids_alone(pa.schema([field]))
    assert not holds_ids_alone(pa.schema([ids, field]))


def test_a_list_too_long_for_a_page_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transforms.formats.parquet_ids._MOST", 100)
    schema = pa.schema([pa.field("input_ids", TYPES[0])])
    writer = parquet.Writer(io.BytesIO(), schema, compression="zstd")
    batch = pa.record_batch([pa.array([list(range(1000))], TYPES[0])], schema=schema)
    with pytest.raises(Exception, match="takes 4138 bytes, a page at most 100; pass --output_for"):
        writer.write_batch(batch)


@given(rows=LISTS, page=st.sampled_from([1, 5, 1 << 18]))
@settings(deadline=None)
def test_several_columns_are_read_as_they_were_written(rows: list[Any], page: int) -> None:
    kinds = [pa.list_(pa.int32()), pa.list_(pa.int8()), pa.list_(pa.uint32())]
    schema = pa.schema([pa.field(name, kind) for name, kind in zip("abc", kinds, strict=True)])
    wide = pa.array([[7], *rows], pa.list_(pa.uint16()))  # narrower than the file says
    small = pa.array([[-1, None], *[None if r is None else [1] for r in rows]], kinds[1])
    file = io.BytesIO()
    writer = IdsWriter(file, schema, compression="zstd")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(id_pages, "PAGE_IDS", page)
        writer.write_columns([[wide, wide], [small, small], [wide, wide]])
        writer.write_columns([[wide], [small], [wide]])
    writer.close()
    table = opened(file.getvalue()).read()
    table.validate(full=True)
    assert table.schema.equals(schema)
    expected = [wide.to_pylist() * 3, small.to_pylist() * 3, wide.to_pylist() * 3]
    assert [table.column(i).to_pylist() for i in range(3)] == expected
