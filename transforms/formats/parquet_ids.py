"""Parquet files of columns of token ids alone, written page by page.

Arrow's writer makes two 16-bit levels of every id and encodes them one by one, which takes longer than
all else it does with ids (``bench/token_shards.py``). What is written here, any reader of Parquet reads:
each shard is read back by Arrow's before it appears. Source: README.md, Encodings.md and parquet.thrift
of the Parquet format.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from backports import zstd

from transforms.formats import thrift
from transforms.formats.thrift import binary, int8, int16, int32, int64, several, struct
from transforms.kernels.arrays import U8
from transforms.kernels.records.id_pages import id_pages

MAGIC = b"PAR1"
_CREATED_BY = "dovetail version 1"  # of how pages are written: a release alone changes no byte
_CODECS = {"none": 0, "snappy": 1, "gzip": 2, "brotli": 4, "zstd": 6, "lz4": 7}  # of parquet.thrift
_ARROW_CODECS = {"lz4": "lz4_raw"}  # where Arrow calls it otherwise
_INT32, _RLE, _BYTE_STREAM_SPLIT, _DATA_PAGE = 1, 3, 9, 0
_REQUIRED, _OPTIONAL, _REPEATED = 0, 1, 2
_LIST, _CONVERTED_LIST, _INTEGER = 3, 3, 10
_CONVERTED = {pa.uint16(): 12, pa.uint32(): 13, pa.int8(): 15}  # int32 is what it is stored as
_MOST = 2**31 - 1  # bytes of a page


def are_ids(kind: pa.DataType) -> bool:
    """Return whether values are lists of token ids."""
    is_list = pt.is_list(kind) or pt.is_large_list(kind)
    return is_list and kind.value_type in (pa.uint16(), pa.uint32())


def holds_ids_alone(schema: pa.Schema) -> bool:
    """Return whether rows of a schema can be written by an ``IdsWriter``."""
    if len(schema) != 1 or not are_ids(schema.field(0).type):
        return False
    fields = schema.field(0), schema.field(0).type.value_field
    return all(field.nullable and field.metadata is None for field in fields)


def codec_of(compression: str) -> Any:
    """Return Arrow's codec of a compression, None for none."""
    arrow = _ARROW_CODECS.get(compression, compression)
    return None if compression == "none" else pa.Codec(arrow)


def _compressor(compression: str) -> Callable[[U8], Any]:
    """Return what compresses a page.

    zstd's table of places seen is made small, as ids seldom come again in the same order: a tenth to a
    fifth of its time goes, and at most 3% is added.
    """
    if compression == "zstd":
        frames = zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: 1,
                zstd.CompressionParameter.hash_log: 11,
            }
        )
        return lambda body: frames.compress(body.data, frames.FLUSH_FRAME)
    codec = codec_of(compression)
    return (lambda body: body.data) if codec is None else codec.compress


def page_header(crc: int, *, levels: int, long: int, short: int) -> bytes:
    """Return a page's header.

    Args:
        crc: of the body as it is compressed.
        levels: of the page.
        long, short: bytes of the body, before and after it is compressed.
    """
    inner = {1: levels, 2: _BYTE_STREAM_SPLIT, 3: _RLE, 4: _RLE}
    outer = {1: _DATA_PAGE, 2: long, 3: short, 4: crc - (crc >> 31 << 32)}
    fields = {number: int32(value) for number, value in outer.items()}
    data_page = struct({number: int32(value) for number, value in inner.items()})
    return struct({**fields, 5: data_page}).data


class IdsWriter:
    """Writes a file of columns of token ids, a row group a batch; pages have checksums.

    Args:
        sink: a binary file.
        schema: for which ``holds_ids_alone``; or any number of columns of lists of uint16, uint32,
            int32 or int8, without metadata. What is written may come in narrower types.
        compression: a codec of Parquet.
    """

    def __init__(self, sink: Any, schema: pa.Schema, *, compression: str) -> None:
        self._sink, self._schema, self._compression = sink, schema, compression
        self._compress = _compressor(compression)
        self._at = self._rows = 0
        self._groups: list[thrift.Value] = []
        self._write(MAGIC)

    def _write(self, data: Any) -> None:
        self._sink.write(data)
        self._at += len(data)

    def write_group(self, batch: pa.RecordBatch) -> None:
        """Write a batch as a row group; as of ``write_lists``."""
        self.write_lists([batch.column(0)])

    def write_lists(self, pieces: Sequence[pa.Array]) -> None:
        """Write a row group of at least one row, of a file of one column, which come in pieces.

        Raises:
            pa.ArrowInvalid: a list is longer than a page can be.
        """
        self.write_columns([pieces])

    def write_columns(self, columns: Sequence[Sequence[pa.Array]]) -> None:
        """Write a row group of at least one row; as of ``write_lists``.

        Args:
            columns: the pieces of each.
        """
        begin, rows = self._at, sum(map(len, columns[0]))
        written = [
            self._write_chunk(name, pieces)
            for name, pieces in zip(self._schema.names, columns, strict=True)
        ]
        self._rows += rows
        group = {
            1: several([chunk for chunk, _ in written]),
            2: int64(sum(expanded for _, expanded in written)),
            3: int64(rows),
            5: int64(begin),
            6: int64(self._at - begin),
            7: int16(len(self._groups) % 2**15),
        }
        self._groups.append(struct(group))

    def _write_chunk(self, name: str, pieces: Sequence[pa.Array]) -> tuple[thrift.Value, int]:
        """Write a column of a row group; return what the footer says of it, and its size unpacked."""
        begin, levels, expanded = self._at, 0, 0
        for page in id_pages(pieces):
            expanded += self._write_page(page.body, page.levels)
            levels += page.levels
        chunk = struct(
            {
                1: int32(_INT32),
                2: several([int32(_RLE), int32(_BYTE_STREAM_SPLIT)]),
                3: several([binary(part) for part in (name, "list", "element")]),
                4: int32(_CODECS[self._compression]),
                5: int64(levels),
                6: int64(expanded),
                7: int64(self._at - begin),
                9: int64(begin),
            }
        )
        return struct({2: int64(0), 3: chunk}), expanded

    def _write_page(self, body: U8, levels: int) -> int:
        """Write a page; return its size as it is before it is compressed, with the header's."""
        if len(body) > _MOST:
            raise pa.ArrowInvalid(f"a list of ids takes {len(body)} bytes, a page at most {_MOST}")
        packed = self._compress(body)
        crc = zlib.crc32(packed)
        header = page_header(crc, levels=levels, long=len(body), short=len(packed))
        self._write(header)
        self._write(packed)
        return len(header) + len(body)

    def close(self) -> None:
        """Write the footer."""
        kept = pq.read_metadata(without_rows(self._schema)).metadata or {}
        footer = {
            1: int32(2),
            2: several(_schema_elements(self._schema)),
            3: int64(self._rows),
            4: several(self._groups) if self._groups else thrift.no_structs(),
            5: several([struct({1: binary(k), 2: binary(v)}) for k, v in kept.items()]),
            6: binary(_CREATED_BY),
            7: several([struct({1: struct({})})] * len(self._schema)),
        }
        data = struct(footer).data
        self._write(data + len(data).to_bytes(4, "little") + MAGIC)


def _schema_elements(schema: pa.Schema) -> list[thrift.Value]:
    """Return the elements of a schema of columns of lists of ids, from its root down."""
    root = struct({3: int32(_REQUIRED), 4: binary("schema"), 5: int32(len(schema))})
    return [root, *(element for field in schema for element in _column_elements(field))]


def _column_elements(field: pa.Field) -> list[thrift.Value]:
    kind = field.type.value_type
    stored = {1: int32(_INT32), 3: int32(_OPTIONAL), 4: binary("element")}
    if kind in _CONVERTED:
        signed = thrift.boolean(not str(kind).startswith("u"))
        integer = struct({1: int8(kind.bit_width), 2: signed})
        stored |= {6: int32(_CONVERTED[kind]), 10: struct({_INTEGER: integer})}
    return [
        struct(
            {
                3: int32(_OPTIONAL),
                4: binary(field.name),
                5: int32(1),
                6: int32(_CONVERTED_LIST),
                10: struct({_LIST: struct({})}),
            }
        ),
        struct({3: int32(_REPEATED), 4: binary("list"), 5: int32(1)}),
        struct(stored),
    ]


def without_rows(schema: pa.Schema) -> pa.BufferReader:
    """Return a file of a schema without rows, as Arrow writes it."""
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, schema):
        pass
    return pa.BufferReader(sink.getvalue())
