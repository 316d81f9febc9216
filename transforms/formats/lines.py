"""Line files: records that end in one separator byte, read by spans of bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.errors import DataError, InputError
from transforms.kernels import blocks
from transforms.kernels.lines import first_line, line_offsets

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PAR1\x15": "Parquet",
    b"ARROW1\0\0": "Arrow IPC",
    **{b"BZh%d1AY&SY" % level: "bzip2" for level in range(1, 10)},
}
_OVERREAD = 1 << 16  # past a span's end, to finish its last line
_ROWS = 1 << 17  # of a block: lines of no length must not make a block of a chunk's bytes of rows


@dataclass(frozen=True, kw_only=True)
class LineFormat:
    """How line files are read and written.

    Attributes:
        separator: the byte that ends a line, 0 to 255.
        header_lines: lines at the top of every file that are no records.
        header: those lines, their ends included, the same in every file.
    """

    separator: int = 10
    header_lines: int = 0
    header: bytes = b""


def refuse_other_formats(file: io.RawIOBase | BinaryIO, name: str) -> None:
    """Raise InputError where a file's first bytes are those of a format that isn't lines."""
    head = file.read(16) or b""
    for magic, format_name in MAGIC.items():
        if head.startswith(magic):
            raise InputError(
                f"{name}: expected plain lines, but its first bytes are those of {format_name}; "
                "unpack or convert the file first"
            )


def header_of(file: io.RawIOBase | BinaryIO, *, lines: int, separator: int, name: str) -> bytes:
    """Read the first ``lines`` lines, their ends included.

    Raises:
        InputError: the file has fewer lines, or they are longer than 16 MiB.
    """
    limit = 16 << 20
    data = b""
    while lines:
        more = file.read(min(1 << 16, limit)) or b""
        data += more
        offsets = line_offsets(np.frombuffer(data, np.uint8), separator)
        if len(offsets) > lines:
            return data[: int(offsets[lines])]
        if not more or len(data) > limit:
            raise InputError(
                f"{name}: expected {lines} header lines, got {len(offsets) - 1} in the first "
                f"{len(data)} bytes; check --header_lines and --separator"
            )
    return data


def read_span(
    file: io.RawIOBase | BinaryIO,
    *,
    name: str,
    start: int,
    stop: int,
    separator: int,
    chunk_bytes: int,
    record_limit: int,
    source: int | None = None,
    lines_begin: int = 0,
) -> Iterator[pa.RecordBatch]:
    """Read the lines that begin inside [start, stop) as blocks.

    Args:
        file: open for reading, with ``seek`` and ``readinto``.
        name: what errors call the file.
        start, stop: the span, in bytes; spans that tile a file give each line once.
        separator: the byte that ends a line.
        chunk_bytes: how much to read at a time; also about the size of a block.
        record_limit: the most bytes that a record may have.
        source: index for a ``source`` column.
        lines_begin: where the first line begins, after a header.

    Yields:
        Blocks with ``position``, hashes and ``record``, where a last line without a separator has
        got one.

    Raises:
        DataError: a record is larger than ``record_limit``.
    """
    line_end = bytes([separator])
    start = max(start, lines_begin)
    if start >= stop:
        return
    begins = start == lines_begin  # else the byte before decides whether a line begins at start
    at = start if begins else start - 1  # file offset of the buffer's first byte
    file.seek(at)
    carry = np.zeros(0, np.uint8)
    while at < stop:
        room = stop - at - len(carry)
        want = max(min(chunk_bytes, room + _OVERREAD), _OVERREAD, len(carry))
        buffer = np.empty(len(carry) + want + 1, np.uint8)
        buffer[: len(carry)] = carry
        got = storage.read_into(file, buffer.data[len(carry) : -1])
        filled = len(carry) + got
        ended = got < want
        if not begins:
            first = first_line(buffer[:filled], separator)
            if first is None and ended:
                return
            skipped = filled if first is None else first
            carry, begins = buffer[skipped:filled], first is not None
            at += skipped
            if not begins:
                # the byte before `at` ended no line: look on from there
                continue
            if at >= stop:
                return
            buffer, filled = buffer[skipped:], filled - skipped
        if ended and filled and buffer[filled - 1] != separator:
            buffer[filled] = separator
            filled += 1
        offsets = line_offsets(buffer[:filled], separator)
        mine = int(np.searchsorted(offsets[:-1], stop - at))
        yield from _blocks(
            buffer,
            offsets[: mine + 1],
            at,
            name=name,
            line_end=line_end,
            source=source,
            record_limit=record_limit,
        )
        if ended or mine < len(offsets) - 1:
            return
        carry = buffer[int(offsets[-1]) : filled]
        at += int(offsets[-1])
        if len(carry) > record_limit:
            raise _too_large(name, at, f"more than {len(carry)}", record_limit)


def _blocks(
    buffer: np.ndarray[tuple[int], np.dtype[np.uint8]],
    offsets: np.ndarray[tuple[int], np.dtype[np.int64]],
    at: int,
    *,
    name: str,
    line_end: bytes,
    source: int | None,
    record_limit: int,
) -> Iterator[pa.RecordBatch]:
    if len(offsets) > 1:
        lengths = np.diff(offsets)
        longest = int(lengths.argmax())
        if lengths[longest] > record_limit + 1:
            raise _too_large(
                name, at + int(offsets[longest]), str(int(lengths[longest]) - 1), record_limit
            )
    for low in range(0, len(offsets) - 1, _ROWS):
        part = offsets[low : low + _ROWS + 1]
        yield blocks.from_buffer(
            buffer,
            offsets=part,
            positions=(part[:-1] + at).astype(np.uint64),
            line_end=line_end,
            source=source,
        )


def _too_large(name: str, offset: int, size: str, limit: int) -> DataError:
    return DataError(
        f"{name}: the record at byte {offset} has {size} bytes, and the memory given allows {limit} "
        "a record; give more --memory or fewer --direct_num_workers"
    )
