"""Reading a Parquet file of ours again that holds token ids alone: what ``parquet_ids`` wrote.

Every page is read, its checksum compared, decompressed, and its ids digested as any reader's would be.
Arrow's reader makes two levels of every id, as its writer does, which takes twice as long: here it reads
the footer and the first rows, which have to be ours, and under ``dovetail verify`` all of them.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import DataError
from transforms.formats import thrift
from transforms.formats.parquet_files import first_rows, reopen
from transforms.formats.parquet_ids import MAGIC, codec_of, page_header
from transforms.formats.reading import Buffered
from transforms.formats.schemas import faults_named
from transforms.kernels.arrays import I64, U8, U32
from transforms.kernels.records.arrow_values import row_sizes
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.id_pages import BodyError, read_page
from transforms.kernels.records.row_hashes import row_hashes
from transforms.storage import files as storage

_FIRST = 8  # rows that Arrow reads, too
_END = 8  # bytes behind a footer


def ids_digest(
    file: io.RawIOBase | BinaryIO, *, schema: pa.Schema, compression: str, path: str, size: int
) -> Digest | None:
    """Digest the rows of a file; None where a list or an id is null, which is left to Arrow.

    Args:
        file: the shard, seekable.
        schema: of the file.
        compression: with which it was written.
        path: what errors call it.
        size: of it, in bytes.

    Raises:
        DataError: it isn't as it was written.
    """
    with faults_named(lambda: f"{path}: expected Parquet, its footer can't be read"):
        parquet = reopen(Buffered(file, size))
    metadata, name = parquet.metadata, schema.names[0]
    total, at = Digest(), len(MAGIC)
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        first = first_rows(parquet, rows=_FIRST, name=path) if not number else None
        with faults_named(lambda: f"{path}: row group {number} can't be read"):  # noqa: B023
            rows, begin = total.records, at
            for page in _pages(file, group.column(0), at, codec_of(compression)):
                found = read_page(*page)
                if found is None:
                    return None
                lists = _lists(*found, schema.field(0).type)
                if first is not None:
                    _require_same(first, lists)
                    first = None
                made = pa.StructArray.from_arrays([lists], names=[name])
                total += Digest.of_hashes(*row_hashes(made), row_sizes(made))
            at = begin + group.column(0).total_compressed_size
            if total.records - rows != group.num_rows:
                raise BodyError(f"expected {group.num_rows} rows, got {total.records - rows}")
    if at + metadata.serialized_size + _END != size or metadata.num_rows != total.records:
        raise DataError(
            f"{path}: expected a footer of {metadata.num_rows} rows from byte {at} on, got "
            f"{total.records} rows and {size - at} bytes; fetch or make the file again"
        )
    return total


def _pages(
    file: Any, column: pq.ColumnChunkMetaData, at: int, codec: Any
) -> Iterator[tuple[U8, int]]:
    """Yield bodies of the pages of a column, and how many levels each has."""
    if column.data_page_offset != at:
        raise BodyError(f"expected its pages at byte {at}, got {column.data_page_offset}")
    size, expanded = column.total_compressed_size, column.total_uncompressed_size
    data = np.frombuffer(storage.read_from(file, at, size), np.uint8)
    if len(data) != size:
        raise BodyError(f"expected {size} bytes of pages, got {len(data)}")
    place = levels = 0
    while place < size:
        begin = place
        numbers, place = thrift.read_numbers(data, place)
        count, long, short = (numbers.get(n, 0) for n in ((5, 1), (2,), (3,)))
        packed = data[place : place + short]
        want = page_header(zlib.crc32(packed.data), levels=count, long=long, short=short)
        if len(packed) != short or data[begin:place].tobytes() != want:
            raise BodyError(f"the page at byte {at + begin} isn't what its header says")
        expanded -= place - begin + long
        if expanded < 0:
            raise BodyError(f"the page at byte {at + begin} is longer than its column")
        body = packed.data if codec is None else codec.decompress(packed, decompressed_size=long)
        place += short
        levels += count
        yield np.frombuffer(body, np.uint8), count
    if expanded or levels != column.num_values:
        raise BodyError(f"expected {column.num_values} levels, got {levels}")


def _lists(ids: U32, offsets: I64, kind: pa.DataType) -> pa.Array:
    bits = kind.value_type.bit_width
    if bits < 32 and len(ids) and int(ids.max()) >> bits:
        raise BodyError(f"expected ids of {bits} bits, got {ids.max()}")
    values = pa.array(ids.astype(f"u{bits // 8}", copy=False))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values)


def _require_same(rows: pa.RecordBatch, lists: pa.Array) -> None:
    """Raise BodyError where Arrow reads other first rows than ours, of those in the first page."""
    theirs = list(islice(rows.column(0), len(lists)))
    if [row.as_py() for row in theirs] != lists[: len(theirs)].to_pylist():
        raise BodyError("Arrow reads other ids")
