"""One record of a dataset, by its number: found in its shard, of which little else is read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.datasets.find_row import Place, find
from pipelines.datasets.shard_files import line_format_of, opened
from transforms.datasets.manifest import Manifest, ShardEntry
from transforms.errors import DataError
from transforms.formats.detection import FileFormat
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import Buffered, open_span
from transforms.formats.schemas import faults_named
from transforms.kernels.records import blocks

_CHUNK = 1 << 20


def find_record(
    folder: str, manifest: Manifest, shards: Sequence[ShardEntry], row: int
) -> tuple[Place, bytes | dict[str, Any]]:
    """Return where a record stands, and the record: a line, or a row by its columns.

    Args:
        folder: the dataset's.
        manifest: its own.
        shards: over which records are counted.
        row: which one, from 0.

    Raises:
        UsageError: there is no such record.
        DataError: it can't be read.
    """
    counts = [shard.records for shard in shards]
    shard, inner = find(shards, counts, row, what="records")
    with opened(folder, shard.path) as file:
        if manifest.kind == "parquet":
            found: bytes | dict[str, Any] = _row_of_parquet(file, shard, inner)
        else:
            found = _streamed(file, shard, manifest, inner)
    return Place(shard.path, inner), found


def _row_of_parquet(file: Any, shard: ShardEntry, row: int) -> dict[str, Any]:
    """Read one row, of its row group alone."""
    with faults_named(lambda: f"{shard.path}: row {row} can't be read"):
        parquet = pq.ParquetFile(Buffered(file, shard.bytes))
        counts = [
            parquet.metadata.row_group(i).num_rows for i in range(parquet.metadata.num_row_groups)
        ]
        if row < sum(counts):
            group, inner = find(range(len(counts)), counts, row, what="rows")
            for batch in parquet.iter_batches(1024, row_groups=[group]):
                if inner < len(batch):
                    return _as_dict(batch, inner)
                inner -= len(batch)
    raise DataError(f"{shard.path}: it has {sum(counts)} rows, the manifest says {shard.records}")


def _streamed(file: Any, shard: ShardEntry, manifest: Manifest, row: int) -> bytes | dict[str, Any]:
    """Read a shard until a record comes."""
    line_format = line_format_of(file, shard.path, manifest)
    reader = open_span(
        file,
        ReadTask(
            name=shard.path,
            size=shard.bytes,
            stop=shard.bytes,
            options=ReadOptions(
                line_format=line_format,
                format="lines",
                rows=manifest.kind != "lines",
                chunk_bytes=_CHUNK,
                record_limit=sys.maxsize,
            ),
        ),
        told=FileFormat.told(manifest.kind, manifest.compression),
    )
    before = 0
    for block, bad, reasons in reader:
        if bad is not None:
            raise DataError(f"{shard.path}: a record can't be read: {reasons[0]}")
        if row < before + len(block):
            one = block.slice(row - before, 1)
            if manifest.kind == "lines":
                return blocks.records(one)[0]
            return _as_dict(pa.RecordBatch.from_struct_array(one.column("record")), 0)
        before += len(block)
    raise DataError(f"{shard.path}: it has {before} records, the manifest says {shard.records}")


def _as_dict(batch: pa.RecordBatch, row: int) -> dict[str, Any]:
    """Return a row by its columns, a list of numbers as an array."""
    return {
        name: column[row].values.to_numpy(zero_copy_only=False)
        if _is_ids(column.type) and column[row].is_valid and not column[row].values.null_count
        else column[row].as_py()
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def _is_ids(kind: pa.DataType) -> bool:
    return hasattr(kind, "value_type") and pa.types.is_integer(kind.value_type)
