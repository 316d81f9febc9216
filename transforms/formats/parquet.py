"""Parquet files: rows, read by ranges of row groups, in batches; written with checksums of pages."""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.errors import DataError, UsageError
from transforms.formats.parquet_types import (
    INT96_UNIT,
    int96_columns,
    is_read,
    require_known,
    require_microseconds,
)
from transforms.formats.readers import Found, ReadTask
from transforms.formats.schemas import FAULTS, check_schema, faults_named, first_line
from transforms.formats.tables import Recut, RowReader
from transforms.kernels.records.rows import carried_schema, describe_difference, to_rows
from transforms.kernels.records.values import row_costs, row_sizes

COMPRESSIONS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
_GROUP_BYTES, _GROUP_ROWS = 16 << 20, 1 << 20  # of a row group that we write
_PROBE = 8  # rows that are read to learn how large rows are
_MOST_ROWS = 1 << 16  # that are read at a time
_BUFFER = 1 << 20  # of a column's pages that are read at a time
_BUFFERS, _LEAST_BUFFER = 16 << 20, 1 << 14  # of all columns together; of one, however many
_DICTIONARY = 2 << 20  # bytes of a column's dictionary: most writers give it up at 1 MiB
_END = 8  # bytes after a footer: its size, and the magic
_LONG_FOOTER = 1 << 20  # bytes, from which a footer is kept for the spans that follow
_INT96_ROWS = 1 << 14  # whose INT96 timestamps are looked at at a time
_INDEX = 16  # bytes that a value takes beside it, where it is likely an index


def open_file(file: Any, *, name: str, metadata: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Open a Parquet file and read its footer, unless its ``metadata`` are known.

    Raises:
        DataError: it has none that can be read.
    """
    with faults_named(lambda: f"{name}: expected Parquet, its footer can't be read"):
        parquet = _open(file, metadata=metadata)
        check_schema(parquet.schema_arrow, name=name)
        return parquet


class Groups(NamedTuple):
    """Where a file's row groups begin, by bytes as its footer counts them and by rows; and its end."""

    before: list[int]
    rows: list[int]

    @classmethod
    def of(cls, metadata: pq.FileMetaData) -> Groups:
        """Look at each row group once."""
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        sizes, rows = ([max(g.total_byte_size, 0) for g in groups], [g.num_rows for g in groups])
        return cls(*(list(itertools.accumulate(each, initial=0)) for each in (sizes, rows)))


class _Footer(NamedTuple):
    """A long footer, known again by the digest of its bytes."""

    digest: bytes
    metadata: pq.FileMetaData
    groups: Groups


_last: list[_Footer] = []  # one or none


def _long_footer(file: Any, size: int) -> _Footer | None:
    """Return a file's footer where it is long, parsed once for the spans that follow each other.

    To parse it in each span of a file of very many row groups would take the square of them.

    Raises:
        one of FAULTS: it can't be parsed.
    """
    file.seek(max(size - _END, 0))
    length = int.from_bytes(file.read(_END)[:4], "little")
    if not _LONG_FOOTER <= length <= size - _END:
        return None
    file.seek(size - _END - length)
    digest = hashlib.blake2b(file.read(length)).digest()
    for known in _last:
        if known.digest == digest:
            return known
    _last.clear()  # two would lie there at once
    metadata = pq.ParquetFile(file, pre_buffer=False).metadata
    found = _Footer(digest, metadata, Groups.of(metadata))
    _last[:] = [found]
    return found


def _open(file: Any, **options: Any) -> pq.ParquetFile:
    options = {"coerce_int96_timestamp_unit": INT96_UNIT, **options}
    found = pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True, **options)
    buffer = min(_BUFFER, _BUFFERS // max(found.metadata.num_columns, 1))
    return pq.ParquetFile(
        file,
        buffer_size=max(buffer, _LEAST_BUFFER),
        pre_buffer=False,
        page_checksum_verification=True,
        **{**options, "metadata": found.metadata},
    )


def _repeated(columns: list[Any]) -> tuple[str, ...]:
    """Return those whose strings are likely few and repeated, and may be large.

    A file says nothing of how large they get when decoded. Nested ones are left out: Arrow fails
    where their dictionary is given up inside a row group.
    """
    return tuple(
        column.path_in_schema
        for column in columns
        if column.physical_type == "BYTE_ARRAY"
        and "." not in column.path_in_schema
        and column.has_dictionary_page
        and column.total_uncompressed_size < _DICTIONARY + _INDEX * column.num_values
    )


def compression_of(parquet: pq.ParquetFile, *, name: str) -> str | None:
    """Return the compression of the first column of the first row group, None without one.

    Raises:
        DataError: it can't be read.
    """
    metadata = parquet.metadata
    with faults_named(lambda: f"{name}: what its footer says of row group 0 can't be read"):
        if (
            not metadata.num_row_groups
            or not metadata.num_columns
            or not metadata.row_group(0).num_rows
        ):
            return None
        _first_rows(parquet, rows=1, name=name, columns=parquet.schema_arrow.names[:1])
        found = str(metadata.row_group(0).column(0).compression).lower()
    return {"uncompressed": "none", "lz4_raw": "lz4"}.get(found, found)


def _first_rows(
    parquet: pq.ParquetFile, *, rows: int, name: str, number: int = 0, **options: Any
) -> pa.RecordBatch | None:
    """Read the first rows of a row group, None where it has none.

    pyarrow ends the process where what a footer says of a column is damaged (its size statistics,
    for one), unless the column was read first: that is an error.

    Raises:
        DataError: they can't be read.
    """
    with faults_named(lambda: f"{name}: row group {number} can't be read"):
        batches = parquet.iter_batches(
            batch_size=rows, row_groups=[number], use_threads=False, **options
        )
        found = next(batches, None)
    return found if found is not None and len(found) else None


def mean_bytes(
    parquet: pq.ParquetFile, *, rows: int, name: str, columns: list[str] | None = None
) -> float | None:
    """Return the mean logical bytes of the first row group's first rows, None where there are none.

    Args:
        columns: that count alone.

    Raises:
        DataError: they can't be read.
    """
    if not parquet.num_row_groups:
        return None
    probe = _first_rows(parquet, rows=rows, name=name, columns=columns)
    with faults_named(lambda: f"{name}: row group 0 can't be read"):
        return None if probe is None else float(row_sizes(to_rows(probe)).mean())


def check_int96(
    file: Any,
    parquet: pq.ParquetFile,
    columns: Sequence[str] | None,
    *,
    name: str,
    number: int = 0,
    rows: int = _INT96_ROWS,
    batches: int | None = None,
) -> None:
    """Raise DataError where the INT96 timestamps of a row group don't go into microseconds.

    Args:
        file, parquet: a file, and opened.
        columns: that are read; None for all.
        name: of the file.
        number: of the row group.
        rows: to read at a time.
        batches: how many of them to look at; None for all.
    """
    paths = int96_columns(parquet.schema, columns)
    if not paths or number >= parquet.num_row_groups:
        return
    with faults_named(lambda: f"{name}: row group {number} can't be read"):
        readings = [
            _open(file, metadata=parquet.metadata, coerce_int96_timestamp_unit=unit).iter_batches(
                batch_size=rows, row_groups=[number], use_threads=False, columns=paths
            )
            for unit in ("s", "ns")
        ]
        for seconds, nanoseconds in itertools.islice(zip(*readings, strict=True), batches):
            require_microseconds(seconds, nanoseconds, name=name)


class Reader(RowReader):
    """Reads the row groups that belong to a span of a file.

    A row group stands about where the sizes of those before it put it, in proportion to all.

    Args:
        file: what pyarrow reads from.
        task: the span, and how to read it.

    Attributes:
        whole: how many rows the file has.
        consumed: bytes of the file that were read so far.
    """

    def __init__(self, file: Any, task: ReadTask) -> None:
        # decoding holds pages, and rows more than once
        super().__init__(task, record_limit=task.options.record_limit // 2)
        try:
            footer = _long_footer(file, task.size)
        except FAULTS:  # is told when it is opened
            footer = None
        metadata = None if footer is None else footer.metadata
        self._parquet = open_file(file, name=task.name, metadata=metadata)
        with faults_named(lambda: f"{task.name}: its footer can't be read"):
            self._groups = Groups.of(self._parquet.metadata) if footer is None else footer.groups
        self.whole: int = self._parquet.metadata.num_rows
        self.consumed = 0
        self._columns = self._choose_columns(self._parquet.schema_arrow)
        require_known(self._parquet, self._columns.paths, name=task.name)
        self._file = file
        self._opened: dict[tuple[str, ...], pq.ParquetFile] = {(): self._parquet}

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: a row group can't be read, or a row is too large.
        """
        task, groups, paths = self._task, self._groups, self._columns.paths

        def place(number: int) -> int:
            total = max(groups.before[-1], 1)
            return min(task.size * groups.before[number] // total, task.size - 1)

        every = range(self._parquet.metadata.num_row_groups)
        begin, end = (bisect_left(every, at, key=place) for at in (task.start, task.stop))
        for number in range(begin, end):
            self.consumed = place(number) - task.start
            check_int96(self._file, self._parquet, paths, name=self._name, number=number)
            group = self._parquet.metadata.row_group(number)
            yield from self._read_group(number, group, groups.rows[number])
        self.consumed = task.stop - task.start

    def _read_group(self, number: int, group: Any, first: int) -> Iterator[Found]:
        row = first
        with faults_named(
            lambda: f"{self._name}: row group {number} can't be read from row {row} on"
        ):
            parquet, rows = self._choose(number, group)
            for batch in parquet.iter_batches(
                batch_size=rows,
                row_groups=[number],
                use_threads=False,
                columns=self._columns.paths,
            ):
                # what is nested in a struct may have the name of a column: then both are read
                mine, known = self._columns.take(batch), self._task.options.text_known
                yield from self._to_blocks(mine, first=row, text_known=known)
                row += len(batch)
        if row - first != group.num_rows:
            raise DataError(
                f"{self._name}: row group {number}: expected {group.num_rows} rows, got "
                f"{row - first}; fetch or make the file again"
            )

    def _choose(self, number: int, group: Any) -> tuple[pq.ParquetFile, int]:
        """Choose columns to be left in dictionaries, and how many rows to read at a time.

        Encodings make rows larger than they look.
        """
        paths, chunk_bytes = self._columns.paths, self._task.options.chunk_bytes
        mean = max(group.total_byte_size // max(group.num_rows, 1), 1)
        rows = int(np.clip(chunk_bytes // mean, 1, _PROBE))
        probe = _first_rows(self._parquet, rows=rows, name=self._name, number=number, columns=paths)
        if probe is None:
            return self._parquet, 1
        columns = [group.column(i) for i in range(group.num_columns)]
        if paths is not None:
            columns = [c for c in columns if is_read(c.path_in_schema, paths)]
            mean = max(sum(c.total_uncompressed_size for c in columns) // group.num_rows, 1)
        repeated = _repeated(columns)
        if repeated not in self._opened:
            self._opened[repeated] = _open(
                self._file, metadata=self._parquet.metadata, read_dictionary=repeated
            )
        plain = [i for i, column in enumerate(probe.schema.names) if column not in repeated]
        seen = int(row_costs(to_rows(probe.select(plain))).max()) if plain else 0
        values = sum(column.num_values for column in columns)
        each = max(mean, seen, 8 * values // group.num_rows)
        return self._opened[repeated], int(np.clip(chunk_bytes // each, 1, _MOST_ROWS))


class _ParquetWriter(pq.ParquetWriter):  # type: ignore[misc]  # pyarrow is untyped
    """One that is left alone when a shard fails: pyarrow's would then write an end to its file,
    which is closed by now, and report that on standard error.
    """

    def __del__(self) -> None:
        pass


class Writer:
    """Writes rows to a file: row groups of 16 MiB of logical bytes or 2**20 rows.

    Args:
        sink: a binary file.
        schema: of the file.
        compression: one of COMPRESSIONS.

    Attributes:
        recut: cuts rows into the batches to be written.
    """

    def __init__(self, sink: Any, schema: pa.Schema, *, compression: str) -> None:
        self.recut = Recut(schema, batch_bytes=_GROUP_BYTES, batch_rows=_GROUP_ROWS)
        self._writer = _ParquetWriter(
            sink,
            schema,
            compression=compression,
            write_page_checksum=True,
            store_schema=True,
            **_encodings(schema),
        )
        self._schema = schema

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write a batch that ``recut`` gave."""
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if _has_null_list(column):
                raise DataError(
                    f"column {name}: expected lists of a fixed size without nulls, got a null, "
                    "which Parquet can't hold; give --output_format=arrow"
                )
        table = pa.Table.from_batches([batch], self._schema)
        try:
            self._writer.write_table(table, row_group_size=len(batch))
        except pa.ArrowException as error:
            raise DataError(
                f"rows that can't be written as Parquet: {first_line(error)}; give "
                "--output_format=arrow"
            ) from error

    def close(self) -> None:
        """Write the end."""
        self._writer.close()


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Return how columns are encoded, where there are token ids, as of ParquetWriter; else nothing.

    Ids are as good as random, so a dictionary of them gains nothing: with their high bytes apart from
    their low ones they are written in three quarters of the time and are a tenth smaller.
    """
    ids = {f"{field.name}.list.element" for field in schema if _are_tokens(field.type)}
    if not ids:
        return {}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema):
        pass
    leaves = pq.ParquetFile(pa.BufferReader(sink.getvalue())).schema
    paths = [leaves.column(i).path for i in range(len(leaves.names))]
    split = [path for path in paths if path in ids]
    if len(set(paths)) < len(paths):  # names with dots: a path may be that of two
        return {}
    return {
        "use_dictionary": [path for path in paths if path not in split],
        "use_byte_stream_split": split,
    }


def _are_tokens(kind: pa.DataType) -> bool:
    is_list = pt.is_list(kind) or pt.is_large_list(kind)
    return is_list and kind.value_type in (pa.uint16(), pa.uint32())


def _has_null_list(array: pa.Array) -> bool:
    """Return whether a list of fixed size is null, also inside of something that is."""
    if isinstance(array, pa.ExtensionArray):
        return _has_null_list(array.storage)
    if pt.is_fixed_size_list(array.type):
        return bool(array.null_count) or _has_null_list(array.flatten())
    if pt.is_struct(array.type):
        return any(_has_null_list(child) for child in array.flatten())
    if pt.is_nested(array.type) and not pt.is_map(array.type):
        return _has_null_list(array.flatten())
    return False


def check_writable(schema: pa.Schema) -> None:
    """Raise UsageError where rows of a schema would come back from Parquet as something else."""
    sink = pa.BufferOutputStream()
    try:
        with pq.ParquetWriter(sink, schema, store_schema=True):
            pass
        got = carried_schema(pq.read_schema(pa.BufferReader(sink.getvalue())))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"--output_format=parquet: such rows can't be written: {first_line(error)}; give "
            "--output_format=arrow"
        ) from None
    want = carried_schema(schema)
    if got != want:
        raise UsageError(
            "--output_format=parquet: rows would not come back as they are: what is written "
            f"{describe_difference(want, got)}; give --output_format=arrow, or cast in the input"
        )
