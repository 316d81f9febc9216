"""Spans: what one worker reads at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.datasets.identity import FileId
from transforms.datasets.source_files import FIELDS, Files, SourceFile, rows_of, table_of
from transforms.formats.codecs import codec_of_name
from transforms.kernels.arrays import I64

MOST, MOST_BYTES = 1000, 4 << 20
"""Spans that are handed out together, and their bytes: a key of its own for each costs 12 kB."""

SCHEMA = pa.schema(
    [
        *FIELDS,
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("pass_number", pa.int32()),
        ("buckets", pa.int64()),
        ("number", pa.int64()),
    ]
)
"""Columns of a table of spans: those of its file, then a span's other fields in their order."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of one input file that one worker reads: bytes [start, stop); else as FileId.

    ``number`` is the file's place in the listing.
    """

    file: SourceFile
    start: int
    stop: int
    pass_number: int = 0
    buckets: int = 0
    number: int = 0

    @property
    def id(self) -> FileId:
        """Whose records it holds."""
        return FileId(self.file.source, self.file.name, self.pass_number, self.buckets)

    @property
    def is_whole(self) -> bool:
        """Whether it is all of its file."""
        return self.start == 0 and self.stop == self.file.size


@dataclass(frozen=True, eq=False)
class Spans:
    """Spans that are handed out together, as a table with the columns of SCHEMA."""

    table: pa.RecordBatch

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Spans:
        """Put spans into a table."""
        rows = ((*s.file.row, s.start, s.stop, s.pass_number, s.buckets, s.number) for s in spans)
        return cls(table_of(rows, SCHEMA))

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[Span]:
        for row in rows_of(self.table):
            yield Span(SourceFile.of_row(row), *row[len(FIELDS) :])

    @property
    def source(self) -> str:
        """Of spans of one source, its name."""
        name: str = self.table.column("source")[0].as_py()
        return name

    def first(self) -> tuple[int, int]:
        """Return number and start of the first span, by which groups are sorted; none is the least."""
        if not len(self):
            return -1, 0
        number, start = (self.table.column(name)[0].as_py() for name in ("number", "start"))
        return number, start

    @property
    def sizes(self) -> I64:
        """Bytes of each span."""
        sizes: I64 = self.table.column("stop").to_numpy() - self.table.column("start").to_numpy()
        return sizes

    def of_pass(self, number: int, *, buckets: int = 0) -> Spans:
        """Return the same spans in another pass."""
        table = self.table
        for name, value in (("pass_number", number), ("buckets", buckets)):
            at = table.schema.get_field_index(name)
            kind = table.schema.field(at)
            table = table.set_column(at, kind, pa.array(np.full(len(table), value), kind.type))
        return Spans(table)


Whole = Callable[[SourceFile], bool]
"""Says whether a file that isn't compressed can't be entered in its middle."""


def cut_files(
    files: pa.RecordBatch, numbers: I64, span_bytes: int, *, whole: Whole | None = None
) -> Spans:
    """Cut a table of files into spans of equal size, ``span_bytes`` at most; an empty file is one.

    A file whose name says that it is compressed is one span, however large.

    Args:
        files: with the columns of ``files.FIELDS``.
        numbers: int64[n], their places in the listing.
        span_bytes: of one span.
        whole: asked of larger files, where there are others of which a span has to be the whole. (One
            that begins in their middle holds nothing.)
    """
    sizes: I64 = files.column("size").to_numpy()
    counts = np.maximum(-(-sizes // span_bytes), 1)
    for place in np.flatnonzero(counts > 1).tolist():
        file = SourceFile.of_row(next(rows_of(files.slice(place, 1))))
        if codec_of_name(file.url) is not None or (whole is not None and whole(file)):
            counts[place] = 1
    index = np.repeat(np.arange(len(files)), counts)
    starts, stops = np.zeros(len(index), np.int64), sizes[index]
    begins = np.cumsum(counts) - counts
    for place in np.flatnonzero(counts > 1).tolist():
        size, count, begin = int(sizes[place]), int(counts[place]), int(begins[place])
        cuts = [size * i // count for i in range(count + 1)]  # ints, which never overflow
        starts[begin : begin + count], stops[begin : begin + count] = cuts[:-1], cuts[1:]
    nothing = np.zeros(len(index), np.int64)
    more = (starts, stops, nothing.astype(np.int32), nothing, numbers[index])
    columns = files.take(pa.array(index)).select([name for name, _ in FIELDS]).columns
    return Spans(pa.RecordBatch.from_arrays([*columns, *map(pa.array, more)], schema=SCHEMA))


def cut_spans(
    files: Iterable[SourceFile], span_bytes: int, *, whole: Whole | None = None
) -> Iterator[Spans]:
    """Cut files into spans as of ``cut_files``, some thousand at a time."""
    begin = 0
    for table in Files.of(files).tables():
        numbers = np.arange(begin, begin + len(table), dtype=np.int64)
        yield cut_files(table, numbers, span_bytes, whole=whole)
        begin += len(table)


def group_spans(spans: Spans) -> Iterator[Spans]:
    """Cut spans into groups that are handed out together: MOST of one source, and of MOST_BYTES."""
    sources = spans.table.column("source").dictionary_encode().indices.to_numpy()
    ends = np.cumsum(spans.sizes)
    begin = 0
    while begin < len(spans):
        before = int(ends[begin - 1]) if begin else 0
        fits = int(np.searchsorted(ends, before + MOST_BYTES, side="right"))
        stop = min(max(fits, begin + 1), begin + MOST)
        others = np.flatnonzero(sources[begin:stop] != sources[begin])
        if len(others):
            stop = begin + int(others[0])
        yield Spans(spans.table.slice(begin, stop - begin))
        begin = stop
