"""Pages: pieces of a sorted run as bytes, the form in which payload rests or travels.

A page is an Arrow IPC stream of one record batch, sorted by key, without hash columns; the digests
of its records as they were read, one per source, go along in the batch's metadata, with a checksum
of keys and offsets. A page of rows, or a compressed one, ends in a checksum of the whole: Arrow must
not be handed damaged ones. A segment (one
bucket's part of one run) is one page, or several where it is larger than a page may be, so that a
bucket over budget can be read in parts.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from transforms.kernels.records import blocks, ranges
from transforms.kernels.records.digest import PARTS, Digest

TABLE = np.dtype(
    [("first", "<u8"), ("last", "<u8"), ("length", "<u4"), ("rows", "<u4"), ("payload", "<u4")]
)
"""A row per page of a spill file: first and last key, bytes of the page, records, their memory."""

STREAM_TABLE = np.dtype(
    [
        *TABLE.descr,
        ("stream", "<u4"),
        ("bytes", "<u8"),
        ("hash0", "<u8"),
        ("hash1", "<u8"),
        ("measured", "<u8"),
    ]
)
"""The same for a page of one stream of a mixture, with the digest of its records and their measure."""

_DIGEST = np.dtype([(name, "<u8") for name in PARTS])
_DIGESTS, _ORDER = b"dovetail.digests", b"dovetail.order"
_END_OF_STREAM = b"\xff\xff\xff\xff\0\0\0\0"  # of Arrow IPC


class Page(NamedTuple):
    """A decoded page: its block, and the digest per source of what was read into it."""

    block: pa.RecordBatch
    digests: list[Digest]


def encode_page(
    block: pa.RecordBatch,
    *,
    sources: int,
    compression: str | None = None,
    digests: Sequence[Digest] | None = None,
) -> list[bytes | pa.Buffer]:
    """Encode one sorted block, hash columns and all; they become the page's digests.

    Args:
        block: of at least one record.
        sources: how many sources the records are of.
        compression: ``lz4``, ``zstd`` or None.
        digests: the block's, of each source, where they are known.

    Returns:
        The page in parts that follow each other; columns lie where they lay, not copied.
    """
    digests = digests or blocks.digests(block, sources=sources)
    packed = np.array([d.parts for d in digests], _DIGEST)
    bare = blocks.without_hashes(block)
    metadata = {_DIGESTS: packed.tobytes(), _ORDER: _order_checksum(bare)}
    options = pa.ipc.IpcWriteOptions(compression=compression)
    parts = _Parts()
    with pa.ipc.new_stream(pa.PythonFile(parts, "w"), bare.schema, options=options) as writer:
        writer.write_batch(bare, custom_metadata=metadata)
    if compression is not None or blocks.is_rows(block):
        parts.write(_checksum(*parts.found))
    return parts.found


class _Parts(io.RawIOBase):
    """Keeps what is written to it: Arrow hands columns on as they are."""

    def __init__(self) -> None:
        self.found: list[bytes | pa.Buffer] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.found and isinstance(data, bytes) and isinstance(self.found[-1], bytes):
            self.found[-1] += data
        else:
            self.found.append(data)
        return len(data)


def decode_page(data: pa.Buffer | bytes | memoryview) -> Page:
    """Decode what ``encode_page`` gave, without copying the payload unless it is compressed.

    Damage of keys and offsets is found here, that of the records at the latest by their digest.

    Raises:
        pa.ArrowInvalid: the bytes are not a page, or a damaged one.
    """
    view = memoryview(data)
    if bytes(view[-8:]) != _END_OF_STREAM:
        if _checksum(view[:-8]) != bytes(view[-8:]):
            raise pa.ArrowInvalid("not a page, or a changed one: its checksum differs")
        data = pa.py_buffer(data).slice(0, len(view) - 8)
    try:
        with pa.ipc.open_stream(data) as reader:
            block, metadata = reader.read_next_batch_with_custom_metadata()
        block.validate()
        packed = np.frombuffer(metadata[_DIGESTS], _DIGEST)
        digests = [Digest(*(int(field) for field in row)) for row in packed]
        order = metadata[_ORDER]
        known = blocks.is_rows(block) or all(field.nullable for field in block.schema)
        intact = known and order == _order_checksum(block)
    # damaged bytes make Arrow raise nearly anything
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise pa.ArrowInvalid(f"not a page: {type(error).__name__}: {error}") from error
    if not intact:
        raise pa.ArrowInvalid("the keys or offsets of a page aren't those written")
    return Page(block, digests)


def _checksum(*parts: bytes | pa.Buffer | memoryview) -> bytes:
    # a CRC-32 by zlib takes ten times as long, a fortieth of a whole run over Parquet
    state = xxhash.xxh3_64()
    for part in parts:
        state.update(part)
    return state.digest()[:4] + b"XXH\n"


def _order_checksum(block: pa.RecordBatch) -> bytes:
    """Return a checksum of what the digests don't cover: the schema, what ends lines, keys, sources
    and where lines begin.
    """
    words = [*map(str, block.schema), str(blocks.terminator(block))]
    state = xxhash.xxh3_64("\n".join(words).encode())
    if not blocks.is_rows(block):
        _, offsets = blocks.extents(block)
        state.update(np.diff(offsets).data)
    for name in block.schema.names:
        if name != "record":
            state.update(blocks.column(block, name).data)
    return state.digest()[:4]


def cut_run(
    run: pa.RecordBatch, *, parts: int, page_bytes: int
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Cut a sorted run into (part of the key space, block of one page), in order of keys.

    Args:
        run: sorted by key.
        parts: into how many equal ranges of keys the space is cut; no page crosses a boundary.
        page_bytes: the footprint that a page may have, unless a single record has more.
    """
    places = ranges.cut(blocks.column(run, "key"), parts)
    for part in np.flatnonzero(np.diff(places)):
        begin, end = int(places[part]), int(places[part + 1])
        for block in blocks.slices(run.slice(begin, end - begin), limit=page_bytes):
            yield int(part), block


def table_row(block: pa.RecordBatch, length: int) -> tuple[int, ...]:
    """Return a page's row of ``TABLE``."""
    keys = blocks.column(block, "key")
    return (
        int(keys[0]),
        int(keys[-1]),
        length,
        len(block),
        blocks.payload_bytes(block),
    )


def stream_row(
    block: pa.RecordBatch, length: int, *, stream: int, digest: Digest, measured: int
) -> tuple[int, ...]:
    """Return a page's row of ``STREAM_TABLE``."""
    of = digest.bytes, digest.hash0, digest.hash1
    return (*table_row(block, length), stream, *of, measured)


def plain_rows(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return the fields of ``TABLE`` of rows that have more."""
    return rows[list(TABLE.names or ())].astype(TABLE)
