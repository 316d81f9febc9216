"""The coders of blocks and of small tables. Importing this module registers them."""

from __future__ import annotations

from typing import Any

import apache_beam as beam
import pyarrow as pa

from transforms.datasets.compact import pack, unpack
from transforms.datasets.reports import SpanReports
from transforms.datasets.spans import Spans


class BlockCoder(beam.coders.Coder):
    """A block as an Arrow IPC stream: a slice costs what it holds, not what it was cut from."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        """Return the stream's bytes."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_batch(value)
        encoded: bytes = sink.getvalue().to_pybytes()
        return encoded

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        """Return the block, a view of ``encoded``."""
        with pa.ipc.open_stream(encoded) as reader:
            return reader.read_next_batch()

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """Return about the encoded size; Beam samples it, and must not encode a block for it."""
        size: int = value.nbytes
        return size

    def to_type_hint(self) -> Any:
        """Return the type that this coder is for."""
        return pa.RecordBatch


class _TableCoder(beam.coders.Coder):
    """What is little but a table, packed: the runner holds very many of them."""

    of: Any

    def encode(self, value: Any) -> bytes:
        """Return the table, packed."""
        return pack(value.table)

    def decode(self, encoded: bytes) -> Any:
        """Return the value."""
        return self.of(unpack(encoded))

    def to_type_hint(self) -> Any:
        """Return the type that this coder is for."""
        return self.of

    def estimate_size(self, value: Any) -> int:
        """Return at least about the encoded size, without encoding."""
        return 100 * len(value)


class SpansCoder(_TableCoder):
    """Of Spans."""

    of = Spans


class SpanReportsCoder(_TableCoder):
    """Of SpanReports, which stay packed until somebody looks: Beam keeps all of a side input."""

    of = SpanReports

    def encode(self, value: SpanReports) -> bytes:
        """Return the table, packed."""
        return value.packed

    def decode(self, encoded: bytes) -> SpanReports:
        """Return the reports, still packed."""
        return SpanReports(encoded)


beam.coders.registry.register_coder(pa.RecordBatch, BlockCoder)
beam.coders.registry.register_coder(Spans, SpansCoder)
beam.coders.registry.register_coder(SpanReports, SpanReportsCoder)
