"""Parquet files: rows, read by ranges of row groups, in batches; written with checksums of pages."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.errors import DataError, UsageError
from transforms.formats.parquet_arrows import ArrowsWriter
from transforms.formats.parquet_files import (
    Groups,
    check_int96,
    compression_of,
    first_rows,
    long_footer,
    reopen,
)
from transforms.formats.parquet_ids import IdsWriter, holds_ids_alone, without_rows
from transforms.formats.parquet_types import dropped, is_read, require_known
from transforms.formats.readers import Found, ReadTask
from transforms.formats.schemas import check_schema, faults_named, first_line
from transforms.formats.tables import RowReader, RowsLook, RowWriter
from transforms.kernels.records.arrow_values import row_costs, row_sizes
from transforms.kernels.records.rows import carried_schema, describe_difference, to_rows

COMPRESSIONS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
GROUP_BYTES = 16 << 20
"""Logical bytes of a row group that we write; the row that fills it may reach beyond."""
_GROUP_ROWS = 1 << 20
_SAMPLE_ROWS = 32  # by which a file is judged
_PROBE = 8  # rows that are read to learn how large rows are
_MOST_ROWS = 1 << 16  # that are read at a time
_FULL = 7  # eighths of a chunk to read at a time: the next one would be a little block of its own
_DICTIONARY = 2 << 20  # bytes of a column's dictionary: most writers give it up at 1 MiB
_INDEX = 16  # bytes that a value takes beside it, where it is likely an index


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
        footer = long_footer(file, task.size)
        with faults_named(lambda: f"{task.name}: expected Parquet, its footer can't be read"):
            self._parquet = reopen(file, metadata=None if footer is None else footer.metadata)
            check_schema(self._parquet.schema_arrow, name=task.name)
            self._groups = Groups.of(self._parquet.metadata) if footer is None else footer.groups
        self.whole: int = self._parquet.metadata.num_rows
        self.consumed = 0
        self._choose_columns(self._parquet.schema_arrow)
        require_known(self._parquet, self._columns.paths, name=task.name)
        self._file = file
        self._opened: dict[tuple[str, ...], pq.ParquetFile] = {(): self._parquet}

    def look(self, *, sample: bool, lists: str | None = None) -> RowsLook:
        """Say what the file looks like, by its footer, and by its first rows where a sample is wanted.

        Args:
            sample: look at some rows.
            lists: a column whose lists' lengths are wanted, which the footer has.

        Raises:
            DataError: they can't be read.
        """
        parquet, name, paths, mean = self._parquet, self._name, self._columns.paths, None
        if sample and parquet.num_row_groups:
            check_int96(self._file, parquet, paths, name=name, rows=_SAMPLE_ROWS, batches=1)
            probe = first_rows(parquet, rows=_SAMPLE_ROWS, name=name, columns=paths)
            with faults_named(lambda: f"{name}: row group 0 can't be read"):
                mean = None if probe is None else float(row_sizes(to_rows(probe)).mean())
        is_text = self._task.options.text_field is not None
        return RowsLook(
            compression_of(parquet, name=name) or "zstd",
            records=self.whole,
            record_bytes=mean,
            record_tokens=None if lists is None else _mean_length(parquet.metadata, lists),
            notes=tuple(dropped(parquet, self.schema.names[is_text:])),
        )

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
        if self._task.options.group_bytes is not None:
            share = chunk_bytes / self._task.options.group_bytes
            return self._parquet, int(np.clip(group.num_rows * share + 1, 1, _MOST_ROWS))
        mean = max(group.total_byte_size // max(group.num_rows, 1), 1)
        rows = int(np.clip(chunk_bytes // mean, 1, _PROBE))
        probe = first_rows(self._parquet, rows=rows, name=self._name, number=number, columns=paths)
        if probe is None:
            return self._parquet, 1
        columns = [group.column(i) for i in range(group.num_columns)]
        if paths is not None:
            columns = [c for c in columns if is_read(c.path_in_schema, paths)]
            mean = max(sum(c.total_uncompressed_size for c in columns) // group.num_rows, 1)
        repeated = _repeated(columns)
        if repeated not in self._opened:
            self._opened[repeated] = reopen(
                self._file, metadata=self._parquet.metadata, read_dictionary=repeated
            )
        plain = [i for i, column in enumerate(probe.schema.names) if column not in repeated]
        seen = int(row_costs(to_rows(probe.select(plain))).max()) if plain else 0
        values = sum(column.num_values for column in columns)
        each = max(mean, seen, 8 * values // group.num_rows)
        fit = chunk_bytes * _FULL // 8 // each
        return self._opened[repeated], int(np.clip(fit, 1, _MOST_ROWS))


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


class Writer(RowWriter):
    """Writes rows to a file: row groups of 16 MiB of logical bytes or 2**20 rows.

    Args:
        sink: a binary file.
        schema: of the file.
        compression: one of COMPRESSIONS.
    """

    def __init__(self, sink: Any, schema: pa.Schema, *, compression: str) -> None:
        own = holds_ids_alone(schema)
        writer = (IdsWriter if own else ArrowsWriter)(sink, schema, compression=compression)
        super().__init__(writer, schema, batch_bytes=GROUP_BYTES, batch_rows=_GROUP_ROWS)

    def write_rows(self, pieces: list[pa.StructArray]) -> None:
        """Write rows as a row group; ids are copied together a page at a time.

        Raises:
            DataError: Parquet can't hold them.
        """
        if isinstance(self._writer, IdsWriter):
            with _refused():
                self._writer.write_lists([rows.field(0) for rows in pieces])
        else:
            super().write_rows(pieces)

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write a batch as a row group.

        Raises:
            DataError: Parquet can't hold it.
        """
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if _has_null_list(column):
                raise DataError(
                    f"column {name}: expected lists of a fixed size without nulls, got a null, "
                    "which Parquet can't hold; pass --output_format=arrow"
                )
        with _refused():
            self._writer.write_group(batch)


@contextlib.contextmanager
def _refused() -> Iterator[None]:
    """Raise a DataError in the place of Arrow's errors where rows can't be written."""
    try:
        yield
    except pa.ArrowException as error:
        raise DataError(
            f"these rows can't be written as Parquet: {first_line(error)}; pass "
            "--output_format=arrow"
        ) from error


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
    try:
        got = carried_schema(pq.read_schema(without_rows(schema)))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UsageError(
            f"--output_format=parquet: these rows can't be written: {first_line(error)}; pass "
            "--output_format=arrow"
        ) from None
    want = carried_schema(schema)
    if got != want:
        raise UsageError(
            "--output_format=parquet: rows would change when they are read back: what is written "
            f"{describe_difference(want, got)}; pass --output_format=arrow, or cast in the input"
        )


def _mean_length(metadata: Any, column: str) -> float | None:
    """Return the mean length of a column's lists, where an empty one counts as one value; None where
    there are no rows, or no such lists.
    """
    total = found = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for place in range(group.num_columns):
            chunk = group.column(place)
            if chunk.path_in_schema.startswith(f"{column}."):
                total, found = total + chunk.num_values, found + 1
    return total / metadata.num_rows if found and metadata.num_rows else None
