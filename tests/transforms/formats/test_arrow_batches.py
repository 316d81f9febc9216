"""A record batch that doesn't fit is refused by its header, before it is read."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest

from transforms.errors import DataError, InputError
from transforms.formats import arrow
from transforms.formats.arrow_messages import first_batch
from transforms.formats.detection import detect
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span

LARGE = 3 << 20


class _Counted(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.count += len(data)
        return data


def write(*, stream: bool, dictionary: bool) -> _Counted:
    """Write a small batch and one of 3 MiB, which lie in its dictionary or in itself."""
    sink = io.BytesIO()
    kind: Any = pa.dictionary(pa.int32(), pa.string()) if dictionary else pa.string()
    schema = pa.schema([("text", kind)])
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, schema, options=options) as writer:
        for values in (["a"], ["a", "x" * LARGE]):
            writer.write_batch(pa.record_batch([pa.array(values).cast(kind)], schema))
    return _Counted(sink.getvalue())


def task(size: int, *, limit: int) -> ReadTask:
    return ReadTask(name="x.arrow", size=size, stop=size, options=ReadOptions(record_limit=limit))


@pytest.mark.parametrize(
    ("stream", "dictionary"), [(False, False), (True, False), (True, True)]
)  # a file's dictionaries are all read when its first batch is
def test_a_batch_over_the_limit_is_refused_unread(stream: bool, dictionary: bool) -> None:
    file = write(stream=stream, dictionary=dictionary)
    size = len(file.getvalue())
    reader = arrow.Reader(file, task(size, limit=1 << 20), stream=stream)
    with pytest.raises(DataError, match=r"x\.arrow: record batch 1 has 3,\d{3},\d{3} bytes"):
        list(reader)
    assert file.count < LARGE // 4


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_below_the_limit_is_read(stream: bool) -> None:
    file = write(stream=stream, dictionary=False)
    size = len(file.getvalue())
    reader = arrow.Reader(file, task(size, limit=4 << 20), stream=stream)
    assert sum(len(found.block) for found in reader) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_batch_is_described_from_its_header_alone(stream: bool) -> None:
    file = write(stream=stream, dictionary=False)
    compression, body = first_batch(file, stream=stream, name="x")
    assert compression == "none"
    assert 0 < body < 100
    assert file.count < 4096


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
def test_a_compressed_batch_is_refused_by_its_decompressed_size(stream: bool, codec: str) -> None:
    sink = io.BytesIO()
    schema = pa.schema([("text", pa.string())])
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as writer:
        writer.write_batch(pa.record_batch([pa.array(["x" * LARGE])], schema))
    assert len(sink.getvalue()) < LARGE // 4
    file = _Counted(sink.getvalue())
    size = len(sink.getvalue())
    reader = arrow.Reader(file, task(size, limit=1 << 20), stream=stream)
    before = pa.total_allocated_bytes()
    with pytest.raises(DataError, match="record batch 0 has 3"):
        list(reader)
    assert pa.total_allocated_bytes() - before < LARGE


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_of_the_old_framing_is_described_too(stream: bool) -> None:
    sink = io.BytesIO()
    schema = pa.schema([("n", pa.int64())])
    options = pa.ipc.IpcWriteOptions(
        use_legacy_format=True, metadata_version=pa.ipc.MetadataVersion.V4
    )
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, schema, options=options) as writer:
        writer.write_batch(pa.record_batch([pa.array(range(1000))], schema))
    assert first_batch(io.BytesIO(sink.getvalue()), stream=stream, name="x") == ("none", 8000)


def arrow_bytes(table: pa.Table, new: Any = pa.ipc.new_file, **options: Any) -> bytes:
    sink = io.BytesIO()
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
        writer.write_table(table)
    return sink.getvalue()


def rows_of(data: bytes, name: str = "x.arrow") -> list[Any]:
    reader = open_span(
        io.BytesIO(data),
        ReadTask(name=name, size=len(data), stop=len(data), options=ReadOptions(rows=True)),
    )
    return [row for block, *_ in reader for row in block.column("record").to_pylist()]


TABLE = pa.table({"a": [1, None], "s": ["x", "yy"]})


@pytest.mark.parametrize("place", [-8, -(1 << 63), (1 << 63) - 1])
def test_a_footer_that_names_a_place_which_cannot_be_is_an_error_that_names_the_file(
    place: int,
) -> None:
    data = arrow_bytes(TABLE)
    length = int.from_bytes(data[-10:-6], "little")
    footer = data[-10 - length : -10]
    (first,) = (b for b in bodies(data) if footer.count(b) == 1)
    broken = footer.replace(first, place.to_bytes(8, "little", signed=True))
    with pytest.raises(DataError, match=r"^x\.arrow: .*footer"):
        rows_of(data[: -10 - length] + broken + data[-10:])


def bodies(data: bytes) -> list[bytes]:
    """Return where the first record batch lies, as a footer says it: behind the schema's message."""
    return [(8 + 8 + int.from_bytes(data[12:16], "little")).to_bytes(8, "little")]


@pytest.mark.parametrize("version", [pa.ipc.MetadataVersion.V4, pa.ipc.MetadataVersion.V5])
@pytest.mark.parametrize("name", ["x.arrow", "nameless"])
def test_a_stream_of_before_arrow_0_15_is_read_to_its_end(version: Any, name: str) -> None:
    data = arrow_bytes(TABLE, pa.ipc.new_stream, use_legacy_format=True, metadata_version=version)
    assert data[:4] != b"\xff\xff\xff\xff"
    assert rows_of(data, name) == 2 * TABLE.to_pylist()
    for end in range(len(data) - 1, len(data) - 16, -1):
        with pytest.raises((DataError, InputError), match=name):
            rows_of(data[:end], name)
    with pytest.raises(DataError, match=r"or other data follows"):
        rows_of(data + bytes(8), name)


@pytest.mark.parametrize(
    "data", [b"\x20\0\0\0" + bytes(60), b"\x10\0\0\0" * 20, bytes(70), b"ab\0\0" * 9]
)
def test_what_only_begins_with_a_small_number_is_no_stream(data: bytes) -> None:
    assert detect(io.BytesIO(data), name="nameless", size=len(data)).kind == "lines"


def test_an_interval_without_values_in_python_is_refused_by_column() -> None:
    data = arrow_bytes(pa.table({"m": pa.array([None], pa.month_day_nano_interval())}))
    unit = b"\x02\0"  # of the schema, which stands in the footer too: 0 for months
    places = [i for i in range(len(data)) if data[i : i + 2] == unit]
    for place in places:
        changed = data[:place] + b"\0\0" + data[place + 2 :]
        if "month_interval" in str(_schema_of(changed)):
            with pytest.raises(
                DataError, match=r"x\.arrow: column m: .* got month_interval; .* cast"
            ):
                rows_of(changed)
            return
    pytest.fail("no place makes it an interval of months")


def _schema_of(data: bytes) -> Any:
    try:
        return pa.ipc.open_file(io.BytesIO(data)).schema
    except (pa.ArrowException, OSError, KeyError):
        return None


def test_a_date64_of_half_a_day_is_to_be_cast() -> None:
    half = pa.Array.from_buffers(pa.date64(), 1, [None, pa.py_buffer(bytes(4) + b"\1\0\0\0")])
    with pytest.raises(DataError, match=r"x\.arrow: .*whole number of days; .*cast .*timestamp"):
        rows_of(arrow_bytes(pa.table({"d": half})))
