"""Files of every format: sample records, written by our writers and by the plain libraries."""

from __future__ import annotations

import bz2
import datetime
import decimal
import gzip
import io
import lzma
import random
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import lz4.frame
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd

from transforms.formats.readers import Found, Reader, ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.formats.writing import ShardFormat, open_writer
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.rows import to_rows

PACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
    "lz4": lambda data: lz4.frame.compress(data, content_checksum=True),
}
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.decompress,
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
    "zstd": zstd.decompress,
    "lz4": lz4.frame.decompress,
}
SUFFIX = {"none": "", "gzip": ".gz", "bzip2": ".bz2", "xz": ".xz", "zstd": ".zst", "lz4": ".lz4"}
INSIDE = {
    "parquet": ("none", "snappy", "zstd", "gzip", "lz4", "brotli"),
    "arrow": ("none", "lz4", "zstd"),
    "arrow_stream": ("none", "lz4", "zstd"),
}


def make_lines(count: int = 600) -> list[bytes]:
    """Make lines of many lengths and bytes, some empty, some alike."""
    return [b"%d,\xff\r\0" % i * (i * i % 11) if i % 7 else b"" for i in range(count)]


def make_table(count: int = 120) -> pa.Table:
    """Make rows of many types, with nulls, nesting, dictionaries, extension types and metadata."""

    def maybe(every: int, value: Callable[[int], Any]) -> list[Any]:
        return [None if i % every == 0 else value(i) for i in range(count)]

    day = datetime.datetime(2020, 2, 29, tzinfo=datetime.UTC)
    tag = pa.field("tag", pa.dictionary(pa.int8(), pa.string()))
    point = pa.struct([pa.field("x", pa.float64(), nullable=False), tag])
    columns: list[tuple[pa.Field, list[Any]]] = [
        (pa.field("id", pa.int64(), nullable=False, metadata={"unit": "none"}), list(range(count))),
        (pa.field("text", pa.string()), maybe(5, lambda i: "wört " * (i % 9))),
        (pa.field("long", pa.large_string()), maybe(7, lambda i: str(i) * 3)),
        (pa.field("tags", pa.list_(pa.string())), maybe(6, lambda i: [None, "a", str(i)][: i % 4])),
        (pa.field("point", point), maybe(4, lambda i: {"x": i / 8, "tag": None if i % 3 else "t"})),
        (
            pa.field("kind", pa.dictionary(pa.int16(), pa.string())),
            maybe(9, lambda i: f"k{i * i % 13}"),
        ),
        (pa.field("price", pa.decimal128(20, 3)), maybe(8, lambda i: decimal.Decimal(i) / 8)),
        (pa.field("flag", pa.bool_()), maybe(3, lambda i: i % 2 == 0)),
        (pa.field("raw", pa.binary()), maybe(10, lambda i: bytes([i % 256, 0]) * (i % 3))),
        (pa.field("pairs", pa.map_(pa.string(), pa.int32())), maybe(5, lambda i: [("k", i)])),
        (
            pa.field("at", pa.timestamp("us", "UTC")),
            maybe(6, lambda i: day + datetime.timedelta(seconds=i)),
        ),
        (pa.field("vector", pa.list_(pa.float32(), 2)), [[i / 4, None] for i in range(count)]),
        (pa.field("uuid", pa.uuid()), maybe(11, lambda i: i.to_bytes(16, "big"))),
    ]
    schema = pa.schema([field for field, _ in columns], metadata={"made by": "a test"})
    return pa.Table.from_arrays(
        [pa.array(values, field.type) for field, values in columns], schema=schema
    )


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    """Return rows in Python's types, those of extension types as what they are stored as."""
    return [
        {name: v.bytes if isinstance(v, uuid.UUID) else v for name, v in row.items()}
        for row in table.to_pylist()
    ]


class Sample(NamedTuple):
    """A kind of file and the records to put in it.

    Attributes:
        records: lines as bytes, or rows as dicts.
        table: the rows.
    """

    kind: Any
    compression: str
    records: list[Any]
    table: pa.Table | None

    @property
    def form(self) -> ShardFormat:
        """What our writer is told."""
        schema = None if self.table is None else self.table.schema
        return ShardFormat(
            kind=self.kind,
            compression=self.compression,
            schema=schema,
            records_are="lines" if schema is None else "rows",
        )

    @property
    def name(self) -> str:
        """A file's name that fits."""
        if self.kind == "lines":
            return f"some/file.txt{SUFFIX[self.compression]}"
        return f"some/file.{'parquet' if self.kind == 'parquet' else 'arrow'}"

    @property
    def id(self) -> str:
        """What a test calls it."""
        return f"{self.kind}-{self.compression}"

    def head(self, count: int) -> Sample:
        """The same with fewer records."""
        table = None if self.table is None else self.table.slice(0, count)
        return self._replace(records=self.records[:count], table=table)


def samples() -> list[Sample]:
    """Every format, with every compression."""
    lines, table = make_lines(), make_table()
    rows = rows_of(table)
    return [Sample("lines", name, lines, None) for name in PACK] + [
        Sample(kind, name, rows, table) for kind, names in INSIDE.items() for name in names
    ]


def block_of(sample: Sample, begin: int, end: int) -> pa.RecordBatch:
    """Make a block of some of the records."""
    positions = np.arange(begin, end, dtype=np.uint64)
    if sample.table is None:
        return blocks.from_records(sample.records[begin:end], positions, line_end=b"\n")
    batch = sample.table.slice(begin, end - begin).combine_chunks().to_batches()
    found = batch[0] if batch else pa.RecordBatch.from_pylist([], sample.table.schema)
    return blocks.from_rows(to_rows(found), positions=positions)


def write(sample: Sample, cuts: Iterable[int] = ()) -> bytes:
    """Write the records with our writer, in blocks that are cut in these places."""
    sink = io.BytesIO()
    writer = open_writer(sink, sample.form, path="some/shard")
    count = len(sample.records)
    edges = [0, *sorted(min(cut, count) for cut in cuts), count]
    for begin, end in zip(edges, edges[1:], strict=False):
        writer.write(block_of(sample, begin, end))
    writer.close()
    return sink.getvalue()


def write_plainly(sample: Sample, *, batch_rows: int = 100, **options: Any) -> bytes:
    """Write the records with the library that everybody uses."""
    if sample.table is None:
        return PACK[sample.compression](b"".join(line + b"\n" for line in sample.records))
    sink = io.BytesIO()
    if sample.kind == "parquet":
        pq.write_table(
            sample.table,
            sink,
            row_group_size=batch_rows,
            compression=sample.compression,
            **options,
        )
    else:
        new = pa.ipc.new_file if sample.kind == "arrow" else pa.ipc.new_stream
        codec = None if sample.compression == "none" else sample.compression
        ipc = pa.ipc.IpcWriteOptions(compression=codec)
        with new(sink, sample.table.schema, options=ipc) as writer:
            writer.write_table(sample.table, batch_rows)
    return sink.getvalue()


def read_table(sample: Sample, data: bytes) -> pa.Table:
    """Read rows as the plain library does."""
    if sample.kind == "parquet":
        return pq.read_table(io.BytesIO(data))
    return (pa.ipc.open_file if sample.kind == "arrow" else pa.ipc.open_stream)(data).read_all()


def read_plainly(sample: Sample, data: bytes) -> list[Any]:
    """Read the records as the plain library does."""
    if sample.table is None:
        return UNPACK[sample.compression](data).split(b"\n")[:-1]
    return rows_of(read_table(sample, data))


class Bad(Exception):
    """A reader found bad records."""


class NoValue(Exception):
    """A row can't be said in Python: a time zone that there isn't, a date out of its range."""


def _python(rows: pa.StructArray) -> list[Any]:
    try:
        found: list[Any] = rows.to_pylist()
    except Exception as error:
        raise NoValue from error
    return found


class Span(NamedTuple):
    """What our reader finds in a span: (position, record) of each record, and what it reports."""

    found: list[tuple[int, Any]]
    covered: int
    whole: int | None
    largest: int


def open_reader(
    sample: Sample, data: bytes, start: int = 0, stop: int | None = None, **options: Any
) -> Reader:
    """Open a span with our reader."""
    return open_span(
        io.BytesIO(data),
        ReadTask(
            name=sample.name,
            size=len(data),
            start=start,
            stop=len(data) if stop is None else stop,
            options=ReadOptions(rows=sample.kind != "lines", **options),
        ),
    )


def read(
    sample: Sample,
    data: bytes,
    start: int = 0,
    stop: int | None = None,
    **options: Any,
) -> Span:
    """Read a span with our reader."""
    reader = open_reader(sample, data, start, stop, **options)
    found: list[tuple[int, Any]] = []
    digest, largest = Digest(), 0
    for block, bad, reasons in reader:
        if bad is not None:
            raise Bad(reasons)
        record = block.column("record")
        values = _python(record) if blocks.is_rows(block) else blocks.records(block)
        found += zip(block.column("position").to_pylist(), values, strict=True)
        digest += Digest.total(blocks.digests(block, sources=1))
        largest = max(largest, blocks.payload_bytes(block))
    return Span(found, reader.covered(digest), reader.whole, largest)


def read_spans(
    data: bytes, name: str, *, spans: int = 1, source: int | None = None, **options: Any
) -> Iterator[Found]:
    """Yield what our reader finds in each span of a file; in the end all has to cover the file."""
    covered, whole = 0, set()
    for i in range(spans):
        reader = open_span(
            io.BytesIO(data),
            ReadTask(
                name=name,
                size=len(data),
                start=len(data) * i // spans,
                stop=len(data) * (i + 1) // spans,
                options=ReadOptions(**options),
                source=source,
            ),
        )
        digest = Digest()
        for found in reader:
            digest += blocks.digests(found.block, sources=1)[0]
            if found.bad is not None:
                digest += blocks.digests(found.bad, sources=1)[0]
            yield found
        covered += reader.covered(digest)
        whole.add(reader.whole)
    assert whole - {None} == {covered}


def positions(sample: Sample, records: list[Any]) -> list[int]:
    """Where the records are: rows by number, lines by their offset in the decompressed stream."""
    if sample.kind != "lines":
        return list(range(len(records)))
    return np.cumsum([0, *(len(line) + 1 for line in records)])[:-1].tolist()


def draws(label: str) -> random.Random:
    """A generator whose seed is shown where a test fails."""
    print(f"seed {label!r}")
    return random.Random(label)
