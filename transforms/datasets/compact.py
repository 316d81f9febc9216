"""Tables of many small things in little memory: Arrow record batches, compressed."""

from __future__ import annotations

import pyarrow as pa

_READING = pa.ipc.IpcReadOptions(use_threads=False)  # to hand over so little takes longer
_PACKED = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_PLAIN = pa.ipc.IpcWriteOptions(use_threads=False)
_WORTH = (
    16 << 10
)  # bytes from which packing saves more than setting a packer up for each column costs


def pack(batch: pa.RecordBatch) -> bytes:
    """Return a batch as an Arrow stream, compressed where it is large: names come to a fifteenth."""
    sink = pa.BufferOutputStream()
    options = _PACKED if batch.nbytes >= _WORTH else _PLAIN
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def unpack(packed: bytes) -> pa.RecordBatch:
    """Return what was packed."""
    with pa.ipc.open_stream(packed, options=_READING) as reader:
        return reader.read_next_batch()
