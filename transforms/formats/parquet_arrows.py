"""Parquet files that Arrow's writer writes, row group by row group: which columns are encoded how."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from transforms.formats.parquet_ids import are_ids, without_rows
from transforms.kernels.records.arrow_values import is_bytes, plain_width

_SEEN, _SEEN_BYTES = 1 << 14, 1 << 20  # of a column, by which it gets a dictionary or not


class ArrowsWriter:
    """Writes a file of rows, a row group a batch; pages have checksums.

    The first row group says which columns get dictionaries. One of values that hardly repeat costs time
    and room, and is given up in each row group.

    Args:
        sink: a binary file.
        schema: of the file.
        compression: a codec of Parquet.
    """

    def __init__(self, sink: Any, schema: pa.Schema, *, compression: str) -> None:
        self._sink, self._schema, self._compression = sink, schema, compression
        self._writer: _Writer | None = None

    def write_group(self, batch: pa.RecordBatch) -> None:
        """Write a batch as a row group."""
        if self._writer is None:
            columns = zip(batch.schema.names, batch.columns, strict=True)
            self._writer = self._open({name for name, column in columns if hardly_repeats(column)})
        self._writer.write_table(pa.Table.from_batches([batch]), row_group_size=len(batch))

    def close(self) -> None:
        """Write the end."""
        (self._writer or self._open(set())).close()

    def _open(self, plain: set[str]) -> _Writer:
        return _Writer(
            self._sink,
            self._schema,
            compression=self._compression,
            write_page_checksum=True,
            store_schema=True,
            **_encodings(self._schema, plain),
        )


class _Writer(pq.ParquetWriter):  # type: ignore[misc]  # pyarrow is untyped
    """One that is left alone when a shard fails: pyarrow's would then write an end to its file,
    which is closed by now, and report that on standard error.
    """

    def __del__(self) -> None:
        pass


def hardly_repeats(column: pa.Array) -> bool:
    """Return whether most of a column's first values stand there once.

    Nothing is said of what is nested, or was in dictionaries before: those are False.
    """
    if not (plain_width(column.type) or is_bytes(column.type)):
        return False
    first = column.slice(0, min(_SEEN, len(column) * _SEEN_BYTES // max(column.nbytes, 1) + 1))
    return bool(2 * pc.count_distinct(first, mode="only_valid").as_py() > len(first))


def _encodings(schema: pa.Schema, plain: set[str]) -> dict[str, Any]:
    """Return how columns are encoded, where some have no dictionary, as of ParquetWriter; else nothing.

    Ids are as good as random, so a dictionary of them gains nothing: with their high bytes apart from
    their low ones they are written in three quarters of the time and are a tenth smaller.

    Args:
        schema: of the file.
        plain: columns whose values hardly repeat.
    """
    ids = {f"{field.name}.list.element" for field in schema if are_ids(field.type)}
    if not ids | plain:
        return {}
    leaves = pq.ParquetFile(without_rows(schema)).schema
    paths = [leaves.column(i).path for i in range(len(leaves.names))]
    if len(set(paths)) < len(paths):  # names with dots: a path may be that of two
        return {}
    return {
        "use_dictionary": [path for path in paths if path not in ids | plain],
        "use_byte_stream_split": [path for path in paths if path in ids] or False,
    }
