"""What holds of every format: what is written is what any library reads, and spans tile a file."""

from __future__ import annotations

import gc
import io
import sys
from itertools import pairwise

import pyarrow as pa
import pytest

from tests.transforms.formats.samples import (
    Sample,
    block_of,
    draws,
    open_reader,
    positions,
    read,
    read_plainly,
    read_table,
    samples,
    write,
    write_plainly,
)
from transforms.errors import DataError, InputError
from transforms.formats import arrow, parquet
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.writing import open_writer
from transforms.kernels.records import blocks

SAMPLES = samples()
EVERY = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.id)
ROWS = pytest.mark.parametrize(
    "sample", [s for s in SAMPLES if s.kind != "lines"], ids=lambda sample: sample.id
)
PARQUET = next(s for s in SAMPLES if s.id == "parquet-zstd")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the files that we write have many row groups and batches."""
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 30)
    monkeypatch.setattr(arrow, "_BATCH_ROWS", 30)


@EVERY
def test_the_plain_library_reads_what_is_written(sample: Sample) -> None:
    assert read_plainly(sample, write(sample, [1, 77])) == sample.records


@ROWS
def test_the_schema_survives_with_all_its_metadata(sample: Sample) -> None:
    assert sample.table is not None
    found = read_table(sample, write(sample)).schema
    # Parquet itself calls the elements of lists "element", whatever they were called
    keeps = read_table(sample, write_plainly(sample)).schema
    assert found.equals(keeps, check_metadata=True), found
    if sample.kind != "parquet":
        assert found.equals(sample.table.schema, check_metadata=True), found


@EVERY
def test_a_file_depends_on_the_records_not_on_the_blocks_they_came_in(
    sample: Sample, small: None
) -> None:
    draw = draws(sample.id)
    count = len(sample.records)
    whole = write(sample)
    cuts = draw.choices(range(count + 1), k=9)
    assert write(sample, cuts) == whole, cuts
    assert write(sample, range(0, count, 3)) == whole


@EVERY
@pytest.mark.parametrize("by", ["us", "the plain library"])
def test_spans_of_any_size_give_each_record_once_from_its_place(
    sample: Sample, by: str, small: None
) -> None:
    data = write(sample) if by == "us" else write_plainly(sample, batch_rows=50)
    expected = list(zip(positions(sample, sample.records), sample.records, strict=True))
    draw = draws(sample.id)
    for cuts in ([], range(0, len(data), len(data) // 5), draw.choices(range(len(data) + 1), k=4)):
        edges = sorted({0, *cuts, len(data)})
        chunk = draw.choice([100, 3000, 1 << 20])
        spans = [read(sample, data, a, b, chunk_bytes=chunk) for a, b in pairwise(edges)]
        assert sorted(
            (pair for span in spans for pair in span.found), key=lambda pair: pair[0]
        ) == (expected), edges
        assert {span.whole for span in spans} - {None} == {sum(span.covered for span in spans)}


@EVERY
@pytest.mark.parametrize("by", ["us", "the plain library"])
def test_a_file_without_records_is_a_file(sample: Sample, by: str) -> None:
    empty = sample.head(0)
    data = write(empty) if by == "us" else write_plainly(empty)
    assert read_plainly(empty, data) == []
    found = read(empty, data)
    assert (found.found, found.covered, found.whole) == ([], 0, 0)


@pytest.mark.parametrize("chunk_bytes", [1, 5000, 1 << 20])
@pytest.mark.parametrize("group_rows", [1, 7, 10_000])
def test_rows_are_the_same_whatever_the_row_groups(group_rows: int, chunk_bytes: int) -> None:
    data = write_plainly(PARQUET, batch_rows=group_rows)
    found = read(PARQUET, data, chunk_bytes=chunk_bytes)
    assert found.found == list(enumerate(PARQUET.records))
    # a row of the sample takes at most some 200 bytes
    assert found.largest <= chunk_bytes + 1000
    if chunk_bytes < 1 << 20:
        assert found.largest < 1 << 15


_POOLS: list[pa.MemoryPool] = []  # arrays made from a pool must not outlive it


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow_stream"])
@pytest.mark.parametrize("first", ["small", "large"])
def test_rows_that_repeat_large_values_take_no_more_memory_than_others(
    kind: str, first: str
) -> None:
    """100 MB of text, of which the file has 200 kB: four values, and small ones before or after."""
    count, chunk = 2000, 1 << 20
    large = [letter * 50_000 for letter in "abcd"]
    values = [f"s{i}" for i in range(4)] + large
    places = [i % 4 for i in range(count)] + [4 + i % 4 for i in range(count)]
    if first == "large":
        places.reverse()
    text = pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(values))
    table = pa.table({"text": text, "n": range(2 * count), "deep": [[{"a": "x"}]] * (2 * count)})
    if kind == "parquet":
        table = table.set_column(0, "text", text.cast(pa.string()))
    sample = Sample(kind, "none", [], table)
    data = write_plainly(sample, batch_rows=2 * count)
    assert len(data) < 1 << 20
    del table, text
    before, pool = pa.default_memory_pool(), pa.proxy_memory_pool(pa.default_memory_pool())
    _POOLS.append(pool)
    pa.set_memory_pool(pool)
    seen, largest = 0, 0
    try:
        for block, _, _ in open_reader(sample, data, chunk_bytes=chunk):
            found = block.column("record").field("text")
            assert found[0].as_py() == values[places[seen]]
            seen, largest = seen + len(block), max(largest, blocks.payload_bytes(block))
    finally:
        pa.set_memory_pool(before)
    assert seen == 2 * count
    assert largest <= chunk + 51_000
    assert pool.max_memory() < 12 * chunk


def test_a_dictionary_may_be_given_up_inside_a_row_group() -> None:
    limits = {"dictionary_pagesize_limit": 60, "write_batch_size": 7, "data_page_size": 200}
    data = write_plainly(PARQUET, batch_rows=1000, **limits)
    assert read(PARQUET, data, chunk_bytes=3000).found == list(enumerate(PARQUET.records))


def _hiding(kind: str, under: str) -> Sample:
    """Make rows with nulls under which something stands that nobody sees."""
    text = pa.array([under if i % 3 == 0 else str(i) for i in range(90)])
    inside = pa.array([len(under) if i % 3 == 0 else i for i in range(90)])
    valid = pa.array([i % 3 != 0 for i in range(90)]).buffers()[1]
    number = pa.Array.from_buffers(pa.int64(), 90, [valid, inside.buffers()[1]])
    string = pa.Array.from_buffers(pa.string(), 90, [valid, *text.buffers()[1:]])
    table = pa.table({"number": number, "string": string})
    return Sample(kind, "none", table.to_pylist(), table)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow_stream"])
def test_what_stands_under_nulls_is_in_no_file(kind: str) -> None:
    one, other = _hiding(kind, "secret"), _hiding(kind, "private!")
    assert one.records == other.records
    data = write(one, [7, 31])
    assert data == write(other)
    assert b"secret" not in data


@pytest.mark.parametrize("cut", range(5))
def test_a_row_group_at_the_edge_of_a_span_belongs_to_one_of_them(cut: int) -> None:
    table = pa.concat_tables([PARQUET.head(30).table] * 4)
    data = write_plainly(Sample("parquet", "none", [], table), batch_rows=30)
    edges = sorted({0, len(data) * cut // 4, len(data)})  # the groups are of equal size
    spans = [[p for p, _ in read(PARQUET, data, a, b).found] for a, b in pairwise(edges)]
    assert [place for span in spans for place in span] == list(range(120))
    assert len(spans[0]) == 30 * (cut or 4)


def test_a_stream_that_ends_between_its_batches_is_truncated() -> None:
    sample = next(s for s in SAMPLES if s.id == "arrow_stream-none")
    data = write_plainly(sample, batch_rows=30)
    whole = pa.BufferReader(data)
    ends = []
    for _ in pa.ipc.MessageReader.open_stream(whole):
        ends.append(whole.tell())
    for end in [*(end for end in ends if end < len(data)), len(data) - 8, len(data) - 4]:
        with pytest.raises((DataError, InputError), match=r"some/file"):
            read(sample, data[:end])
    with pytest.raises(DataError, match="or other data follows"):
        read(sample, data + data)


@ROWS
def test_a_file_whose_writing_failed_is_left_alone_and_nothing_is_said(
    sample: Sample, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ignored: list[object] = []  # what Python would report as ignored, in finalizers
    monkeypatch.setattr(sys, "unraisablehook", ignored.append)
    sink = io.BytesIO()
    writer = open_writer(sink, sample.form, path="some/shard")
    writer.write(block_of(sample, 0, 9))
    sink.close()  # as a failed shard's file is
    del writer
    gc.collect()
    assert ignored == []
    assert capfd.readouterr().err == ""


def _map_with_a_null_key() -> pa.Table:
    keys = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["x", None]))
    pairs = pa.MapArray.from_arrays(pa.array([0, 1, 2], pa.int32()), keys, pa.array([1, 2]))
    return pa.table({"pairs": pairs})


@pytest.mark.parametrize("kind", ["arrow", "arrow_stream"])
@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"n": [1, 2]}).select([]), "at least one column"),
        (_map_with_a_null_key(), "keys in every map"),
    ],
    ids=["no columns", "a null among keys"],
)
def test_rows_that_cannot_be_carried_are_named_with_their_file(
    kind: str, table: pa.Table, says: str
) -> None:
    sample = Sample(kind, "none", [], table)
    data = write_plainly(sample)
    with pytest.raises(DataError, match=rf"^some/file\.arrow: .*{says}"):
        read(sample, data)
    task = ReadTask(name="some/file.arrow", size=len(data), stop=len(data), options=ReadOptions())
    reader = arrow.Reader(io.BytesIO(data), task, stream=kind != "arrow")
    with pytest.raises(DataError, match=rf"^some/file\.arrow: .*{says}"):
        reader.look(sample=True)


def test_token_ids_and_nothing_else_are_written_without_a_dictionary() -> None:
    columns = {
        "input_ids": pa.array([[1, 2, 70_000], None, []], pa.list_(pa.uint32())),
        "small": pa.array([[1], [2, 3], []], pa.list_(pa.uint16())),
        "name": pa.array(["a", "a", "b"]),
        "meta": pa.array([{"input_ids": [1]}] * 3),
        "labels": pa.array([[0], [1], [0]], pa.list_(pa.int64())),
    }
    rows = pa.table(columns).to_batches()[0]
    sink = io.BytesIO()
    writer = parquet.Writer(sink, rows.schema, compression="zstd")
    writer.write_batch(rows)
    writer.close()
    found = pa.parquet.ParquetFile(sink)
    assert found.read().to_pydict() == {
        name: values.to_pylist() for name, values in columns.items()
    }
    group = found.metadata.row_group(0)
    split = [
        group.column(i).path_in_schema
        for i in range(group.num_columns)
        if "BYTE_STREAM_SPLIT" in group.column(i).encodings
    ]
    assert split == ["input_ids.list.element", "small.list.element"]


def test_columns_whose_paths_look_alike_are_written_and_read_back() -> None:
    columns = {
        "input_ids": pa.array([[1, 2], [3]], pa.list_(pa.uint32())),
        "input_ids.list": pa.array([{"element": "a"}, {"element": "b"}]),
    }
    rows = pa.table(columns).to_batches()[0]
    sink = io.BytesIO()
    writer = parquet.Writer(sink, rows.schema, compression="zstd")
    writer.write_batch(rows)
    writer.close()
    found = pa.parquet.ParquetFile(sink).read()
    assert found.to_pydict() == {name: values.to_pylist() for name, values in columns.items()}
