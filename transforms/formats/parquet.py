"""Parquet files: rows, read by ranges of row groups, in batches; written with checksums of pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.formats.found import Found
from transforms.formats.tables import FAULTS, Recut, check_schema, require_schema, to_blocks
from transforms.kernels.digest import Digest
from transforms.kernels.rows import to_rows
from transforms.kernels.values import row_costs, row_sizes

COMPRESSIONS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
_GROUP_BYTES, _GROUP_ROWS = 16 << 20, 1 << 20  # of a row group that we write
_PROBE = 64  # rows that are read to learn how large rows are
_MOST_ROWS = 1 << 16  # that are read at a time
_BUFFER = 1 << 20  # of a column's pages that are read at a time
_DICTIONARY = 2 << 20  # bytes of a column's dictionary: most writers give it up at 1 MiB
_INDEX = 16  # bytes that a value takes beside it, where it is likely an index


def open_file(file: Any, *, name: str) -> pq.ParquetFile:
    """Open a Parquet file and read its footer.

    Raises:
        DataError: it has none that can be read.
    """
    try:
        parquet = _open(file)
        check_schema(parquet.schema_arrow, name=name)
        return parquet
    except FAULTS as error:
        raise DataError(
            f"{name}: expected Parquet, its footer can't be read: {_first_line(error)}; fetch or make "
            "the file again"
        ) from error


def _open(file: Any, **options: Any) -> pq.ParquetFile:
    return pq.ParquetFile(
        file, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True, **options
    )


def _repeated(metadata: Any) -> list[str]:
    """Return the columns whose strings are likely few and repeated, and may be large.

    A file says nothing of how large they get when decoded. Nested ones are left out: Arrow fails
    where their dictionary is given up inside a row group.
    """
    found = set()
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for i in range(group.num_columns):
            column = group.column(i)
            flat = "." not in column.path_in_schema and column.physical_type == "BYTE_ARRAY"
            few = column.total_uncompressed_size < _DICTIONARY + _INDEX * column.num_values
            if flat and few and column.has_dictionary_page:
                found.add(column.path_in_schema)
    return sorted(found)


def compression_of(parquet: pq.ParquetFile) -> str | None:
    """Return the compression of the first column of the first row group, None without one."""
    metadata = parquet.metadata
    if not metadata.num_row_groups or not metadata.num_columns:
        return None
    found = str(metadata.row_group(0).column(0).compression).lower()
    return {"uncompressed": "none", "lz4_raw": "lz4"}.get(found, found)


def mean_bytes(parquet: pq.ParquetFile, *, rows: int, name: str) -> float | None:
    """Return the mean logical bytes of the first row group's first rows, None where there are none.

    Raises:
        DataError: they can't be read.
    """
    try:
        groups = [0][: parquet.num_row_groups]  # Arrow can't join nested dictionaries of several
        batches = parquet.iter_batches(batch_size=rows, row_groups=groups, use_threads=False)
        probe = next(batches, None)
        return float(row_sizes(to_rows(probe)).mean()) if probe is not None and len(probe) else None
    except FAULTS as error:
        raise DataError(
            f"{name}: row group 0 can't be read from row 0 on: {_first_line(error)}; fetch or make "
            "the file again"
        ) from error


class Reader:
    """Reads the row groups that begin inside bytes [start, stop) of a file.

    Args:
        file: what pyarrow reads from.
        name: what errors call it.
        start, stop: the span, in bytes; spans that tile a file give each row group once.
        schema: that the file has to have.
        chunk_bytes: about how large a block may get.
        record_limit: the most bytes that a row may take.
        source: index for a ``source`` column.

    Attributes:
        whole: how many rows the file has.
        consumed: bytes of the file that were read so far.
    """

    def __init__(
        self,
        file: Any,
        *,
        name: str,
        start: int,
        stop: int,
        schema: pa.Schema | None,
        chunk_bytes: int,
        record_limit: int,
        source: int | None = None,
    ) -> None:
        self._parquet = open_file(file, name=name)
        self._name, self._start, self._stop = name, start, stop
        self._chunk_bytes, self._record_limit, self._source = chunk_bytes, record_limit, source
        self.whole: int = self._parquet.metadata.num_rows
        self.consumed = 0
        if schema is not None:
            require_schema(self._parquet.schema_arrow, schema, name=name)
        if repeated := _repeated(self._parquet.metadata):
            self._parquet = _open(file, metadata=self._parquet.metadata, read_dictionary=repeated)

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the records with this digest are."""
        return digest.records

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: a row group can't be read, or a row is too large.
        """
        metadata = self._parquet.metadata
        first = 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if self._start <= _offset(group) < self._stop:
                self.consumed = _offset(group) - self._start
                yield from self._read_group(number, group, first)
            first += group.num_rows
        self.consumed = self._stop - self._start

    def _read_group(self, number: int, group: Any, first: int) -> Iterator[Found]:
        row = first
        try:
            for batch in self._parquet.iter_batches(
                batch_size=self._rows_at_once(number, group), row_groups=[number], use_threads=False
            ):
                yield from to_blocks(
                    batch,
                    first=row,
                    chunk_bytes=self._chunk_bytes,
                    record_limit=self._record_limit,
                    name=self._name,
                    source=self._source,
                )
                row += len(batch)
        except FAULTS as error:
            raise DataError(
                f"{self._name}: row group {number} (at byte {_offset(group)}) can't be read from row "
                f"{row} on: {_first_line(error)}; fetch or make the file again"
            ) from error
        if row - first != group.num_rows:
            raise DataError(
                f"{self._name}: row group {number} (at byte {_offset(group)}): expected "
                f"{group.num_rows} rows, got {row - first}; fetch or make the file again"
            )

    def _rows_at_once(self, number: int, group: Any) -> int:
        """Choose how many rows to read at a time: encodings make rows larger than they look."""
        values = sum(group.column(i).num_values for i in range(group.num_columns))
        mean = max(group.total_byte_size, 8 * values) // max(group.num_rows, 1)
        rows = int(np.clip(self._chunk_bytes // max(mean, 1), 1, _PROBE))
        batches = self._parquet.iter_batches(
            batch_size=rows, row_groups=[number], use_threads=False
        )
        probe = next(batches, None)
        if probe is None or not len(probe):
            return _PROBE
        # dictionaries are decoded in steps, later
        plain = [i for i, field in enumerate(probe.schema) if not pt.is_dictionary(field.type)]
        seen = int(row_costs(to_rows(probe.select(plain))).max()) if plain else 0
        return int(np.clip(self._chunk_bytes // max(mean, seen, 1), 1, _MOST_ROWS))


def _offset(group: Any) -> int:
    """Return where a row group begins."""
    if not group.num_columns:
        return 0
    column = group.column(0)
    places = (column.dictionary_page_offset, column.data_page_offset)
    return int(min(place for place in places if place is not None))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


class Writer:
    """Writes rows to a file: row groups of 16 MiB of logical bytes or 2**20 rows.

    Args:
        sink: a binary file.
        schema: of the file.
        compression: one of COMPRESSIONS.
    """

    def __init__(self, sink: Any, schema: pa.Schema, *, compression: str) -> None:
        self._recut = Recut(schema, batch_bytes=_GROUP_BYTES, batch_rows=_GROUP_ROWS)
        self._writer = pq.ParquetWriter(
            sink, schema, compression=compression, write_page_checksum=True, store_schema=True
        )
        self._schema = schema

    def write(self, found: pa.StructArray) -> None:
        """Take rows."""
        self._emit(self._recut.add(found))

    def close(self) -> None:
        """Write what is left, and the footer."""
        self._emit(self._recut.rest())
        self._writer.close()

    def _emit(self, batches: Iterator[pa.RecordBatch]) -> None:
        for batch in batches:
            table = pa.Table.from_batches([batch], self._schema)
            self._writer.write_table(table, row_group_size=len(batch))
