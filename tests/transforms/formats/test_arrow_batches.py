"""A record batch that doesn't fit is refused by its header, before it is read."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pytest

from transforms.errors import DataError
from transforms.formats import arrow
from transforms.formats.arrow_messages import first_batch

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


@pytest.mark.parametrize(
    ("stream", "dictionary"), [(False, False), (True, False), (True, True)]
)  # a file's dictionaries are all read when its first batch is
def test_a_batch_over_the_limit_is_refused_unread(stream: bool, dictionary: bool) -> None:
    file = write(stream=stream, dictionary=dictionary)
    size = len(file.getvalue())
    reader = arrow.Reader(file, name="x.arrow", size=size, stream=stream, batch_limit=1 << 20)
    with pytest.raises(DataError, match=r"x\.arrow: record batch 1 has 3\d{6} bytes"):
        list(reader)
    assert file.count < LARGE // 4


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_below_the_limit_is_read(stream: bool) -> None:
    file = write(stream=stream, dictionary=False)
    size = len(file.getvalue())
    reader = arrow.Reader(file, name="x.arrow", size=size, stream=stream, batch_limit=4 << 20)
    assert sum(len(found.block) for found in reader) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_batch_is_described_from_its_header_alone(stream: bool) -> None:
    file = write(stream=stream, dictionary=False)
    found = first_batch(file, stream=stream, name="x")
    assert found.compression == "none"
    assert 0 < found.body < 100
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
    reader = arrow.Reader(file, name="x", size=size, stream=stream, batch_limit=1 << 20)
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
    assert first_batch(io.BytesIO(sink.getvalue()), stream=stream, name="x").body == 8000
