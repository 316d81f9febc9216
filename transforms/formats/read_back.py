"""Reading a shard of ours again, to see what it holds."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import BinaryIO

import pyarrow as pa

from transforms.errors import DataError
from transforms.formats.detection import FileFormat
from transforms.formats.parquet import GROUP_BYTES
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import open_span
from transforms.formats.tables import text_digest
from transforms.formats.writing import ShardFormat
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest

_CHUNK, _CHUNK_OF_ROWS = 2 << 20, 8 << 20


def shard_digest(
    file: io.RawIOBase | BinaryIO,
    *,
    path: str,
    size: int,
    form: ShardFormat,
    just_written: bool = False,
    progress: Callable[[int, int], None] = lambda bytes_, records: None,
    seen: Callable[[pa.RecordBatch], None] = lambda block: None,
) -> Digest:
    """Digest a shard's records as they were digested when they were read.

    Args:
        file: the shard, seekable.
        path: what errors call it.
        size: in bytes.
        form: what it is; told, not found out, as lines may begin with a record that looks like
            another format.
        just_written: that it is known how its rows were grouped; one that has lain somewhere may have
            been made to take memory.
        progress: is called with bytes and records as they are read.
        seen: is called with each block.

    Raises:
        DataError: it is damaged or truncated, or holds a record that can't be read.
    """
    reader = open_span(
        file,
        ReadTask(
            name=path,
            size=size,
            stop=size,
            options=ReadOptions(
                line_format=form.line_format,
                format="lines",
                rows=form.kind != "lines",
                chunk_bytes=_CHUNK if form.kind == "lines" else _CHUNK_OF_ROWS,
                record_limit=sys.maxsize,
                text_known=True,  # what changed since, the digest shows
                group_bytes=GROUP_BYTES if just_written else None,
                text_field="text" if form.records_are == "texts" else None,
            ),
        ),
        told=FileFormat.told(form.kind, form.compression),
    )
    as_lines = form.records_are == "lines" and form.kind != "lines"
    total, counted = Digest(), 0
    for block, bad, reasons in reader:
        if bad is not None:
            raise DataError(f"{path}: a record can't be read: {reasons[0]}")
        total += text_digest(block) if as_lines else blocks.digests(block, sources=1)[0]
        seen(block)
        progress(reader.consumed - counted, len(block))
        counted = reader.consumed
    progress(size - counted, 0)
    return total
