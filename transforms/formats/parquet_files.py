"""Parquet files opened: what their footers say, and what their first rows show."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from transforms.formats.parquet_types import INT96_UNIT, is_read, require_microseconds
from transforms.formats.schemas import FAULTS, faults_named

_BUFFER = 1 << 20  # of a column's pages that are read at a time
_BUFFERS, _LEAST_BUFFER = 16 << 20, 1 << 14  # of all columns together; of one, however many
_END = 8  # bytes after a footer: its size, and the magic
_LONG_FOOTER = 1 << 20  # bytes, from which a footer is kept for the spans that follow
_INT96_ROWS = 1 << 14  # whose INT96 timestamps are looked at at a time


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


class Footer(NamedTuple):
    """A long footer, known again by the digest of its bytes."""

    digest: bytes
    metadata: pq.FileMetaData
    groups: Groups


_last: list[Footer] = []  # one or none


def long_footer(file: Any, size: int) -> Footer | None:
    """Return a file's footer where it is long, parsed once for the spans that follow each other.

    To parse it in each span of a file of very many row groups would take the square of them.
    None where it can't be parsed: whoever opens the file says so.
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
    try:
        metadata = pq.ParquetFile(file, pre_buffer=False).metadata
        found = Footer(digest, metadata, Groups.of(metadata))
    except FAULTS:
        return None
    _last[:] = [found]
    return found


def reopen(file: Any, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file whose pages are checked, and read a little of each column at a time."""
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
        first_rows(parquet, rows=1, name=name, columns=parquet.schema_arrow.names[:1])
        found = str(metadata.row_group(0).column(0).compression).lower()
    return {"uncompressed": "none", "lz4_raw": "lz4"}.get(found, found)


def first_rows(
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
    found = map(parquet.schema.column, range(len(parquet.schema.names)))
    paths = [c.path for c in found if c.physical_type == "INT96" and is_read(c.path, columns)]
    if not paths or number >= parquet.num_row_groups:
        return
    with faults_named(lambda: f"{name}: row group {number} can't be read"):
        readings = [
            reopen(file, metadata=parquet.metadata, coerce_int96_timestamp_unit=unit).iter_batches(
                batch_size=rows, row_groups=[number], use_threads=False, columns=paths
            )
            for unit in ("s", "ns")
        ]
        for seconds, nanoseconds in itertools.islice(zip(*readings, strict=True), batches):
            require_microseconds(seconds, nanoseconds, name=name)
