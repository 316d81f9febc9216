"""Line files: records that end in one separator byte, read by spans of bytes; compressed or not.

A byte order mark at a file's beginning is no part of its first record, and of JSON lines blank ones are
none at all; both are counted. Rows of CSV may hold the separator inside quotes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from transforms.errors import DataError
from transforms.formats import compressed
from transforms.formats.codecs import Codec
from transforms.formats.detection import refuse_inside
from transforms.formats.foreign import HEAD
from transforms.formats.limits import LARGEST, TooLarge
from transforms.formats.line_format import (
    BOM,
    LineFormat,
    header_in,
    mark_size,
    open_quote_error,
    where_is,
)
from transforms.formats.readers import Found, ReadTask
from transforms.formats.stream_reader import StreamReader, line_blocks, too_large
from transforms.kernels.arrays import I64, U64
from transforms.kernels.records import arrow_values, blocks, find_bad
from transforms.kernels.records.digest import record_hashes
from transforms.kernels.records.lines import first_line, open_quote
from transforms.storage import files as storage

_OVERREAD = 1 << 16  # past a span's end, to finish its last line
_AS_LINES = "fix the file, or pass --format=lines to read lines as they are"
_TO_THE_END = 1 << 62  # where a span of a compressed file stops: it is always the whole file


class Reader(StreamReader):
    """Reads the lines that begin inside a span of a file; of a compressed one all or none.

    Args:
        file, task: as of ``StreamReader``.
        told: that it holds lines, whatever they look like: a byte order mark is data.
        json: blank lines are no records.
        csv: a line that ends inside quotes is refused.
    """

    def __init__(
        self,
        file: io.RawIOBase | BinaryIO,
        task: ReadTask,
        *,
        told: bool = False,
        json: bool = False,
        csv: bool = False,
    ) -> None:
        super().__init__(file, task)
        self._told, self._json, self._csv = told, json, csv
        self._format = task.options.line_format

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: the file is damaged, has another header, or a line is too large.
        """
        task = self._task
        if self._codec is not None or self._format.quoted:
            if task.start > 0:
                return
            task = replace(task, stop=_TO_THE_END)
        begins = self._begin(task.start)
        for block in read_span(self._file, task, lines_begin=begins):
            if self._csv:
                self._refuse_open_quotes(block)
            yield from self._sort_out(block)
        last = b""
        if self._codec is not None:
            self.whole, last = self._file.produced, self._file.last
        elif self.whole is not None and task.stop >= self.whole > 0:
            self._file.seek(self.whole - 1)
            last = self._file.read(1) or b""
        if last and self.whole is not None and self.whole > begins:
            self._beside -= last != bytes([self._format.separator])

    def _sort_out(self, block: pa.RecordBatch) -> Iterator[Found]:
        if self._json and len(blank := find_bad.blank_lines(block)):
            size = blocks.payload_bytes(block)
            block, _ = find_bad.split(block, blank)
            self.blank += len(blank)
            self._beside += size - blocks.payload_bytes(block)
        yield Found.sort_out(block, find_bad.bad_lines(block, self._check))

    def _refuse_open_quotes(self, block: pa.RecordBatch) -> None:
        """Raise DataError where a line of CSV ends inside of quotes."""
        place = open_quote(*blocks.extents(block)) if len(block) else None
        if place is not None:
            at = int(blocks.column(block, "position")[place])
            self._file.seek(0)
            where = where_is(self._file, at, separator=self._format.separator)
            raise DataError(f"{self._task.name}: {open_quote_error(where)}")

    def _begin(self, start: int) -> int:
        """Return where the first line begins, behind a byte order mark and a header; in the first
        span, having looked at them.
        """
        header = self._format.header
        most = len(BOM) + len(header) + self._format.header_lines  # each may have a CR more
        if start > most:
            return len(header)  # so far away that it doesn't matter
        found = bytes(storage.read_from(self._file, 0, max(most + 1, HEAD)))
        self._file.seek(0)  # a compressed file can't go back to the header's end
        mark = 0 if self._told else mark_size(found, self._format.separator)
        own = self._require_header(found, mark)
        if start == 0:
            self.marks = int(mark > 0)
            self._beside += mark + len(own)
        return mark + len(own)

    def _require_header(self, found: bytes, mark: int) -> bytes:
        """Return the header as it stands in this file."""
        header, name = self._format.header, self._task.name
        if self._codec is not None and not self._told:
            refuse_inside(found[:HEAD], name=name)
        own = header_in(found[mark:], self._format)
        if own is None:
            have = found[mark : mark + len(header)]
            raise DataError(
                f"{name}: expected the header of the other files, {header[:80]!r}, got "
                f"{have[:80]!r} at byte {mark}; shuffle such files separately"
            )
        return own


class Writer:
    """Writes records as lines, compressed or not, with a header on top.

    Args:
        sink: a binary file.
        path: what errors call it.
        line_format: separator and header.
        codec: by which to compress.

    Attributes:
        write_bytes: writes what is lines already.
    """

    def __init__(
        self, sink: Any, *, path: str, line_format: LineFormat, codec: Codec | None
    ) -> None:
        self._encoder = None if codec is None else compressed.writer(sink, codec)
        write = self._encoder.write if self._encoder else partial(storage.write_all, sink)
        self.write_bytes: Callable[[Any], Any] = write
        self._path, self._format = path, line_format
        self.write_bytes(line_format.header)

    def write(self, block: pa.RecordBatch) -> tuple[U64, U64, I64] | None:
        """Write a block; return hashes and sizes of the very bytes, split anew as a reader will,
        None where they are compressed.

        Raises:
            DataError: a record holds the separator.
        """
        data = blocks.payload(block)
        values, end = np.frombuffer(data, np.uint8), bytes([self._format.separator])
        offsets, _ = self._format.split(values)
        if len(offsets) - 1 != len(block) or offsets[-1] != len(values):
            raise DataError(
                f"{self._path}: expected {len(block)} lines, but the records would be read back as "
                f"{len(offsets) - 1}: a record holds the separator {end!r} or "
                "doesn't end in it; choose another --separator"
            )
        self.write_bytes(data)
        if self._encoder is not None:
            return None
        return *record_hashes(values, offsets, end), np.diff(offsets) - 1

    def close(self) -> None:
        """Write the end, where the codec has one."""
        if self._encoder is not None:
            self._encoder.close()


def read_span(
    file: io.RawIOBase | BinaryIO, task: ReadTask, *, lines_begin: int = 0
) -> Iterator[pa.RecordBatch]:
    """Read the lines that begin inside a span as blocks.

    Args:
        file: open for reading, with ``seek`` and ``readinto``.
        task: the span, and how to read it; CSV is read from where a row begins.
        lines_begin: where the first line begins, after a header.

    Yields:
        Blocks as of ``line_blocks``, where a last line without a separator has got one.

    Raises:
        DataError: a record is larger than ``record_limit``, or CSV isn't quoted as it has to be.
    """
    line_format, limit = task.options.line_format, task.options.record_limit
    separator, stop = line_format.separator, task.stop
    start = max(task.start, lines_begin)
    if start >= stop:
        return
    begins = start == lines_begin  # else the byte before decides whether a line begins at start
    at = start if begins else start - 1  # file offset of the buffer's first byte
    file.seek(at)
    carry = np.zeros(0, np.uint8)
    while at < stop:
        room = stop - at - len(carry)
        want = max(min(task.options.chunk_bytes, room + _OVERREAD), _OVERREAD, len(carry))
        buffer = np.empty(len(carry) + want + 1, np.uint8)
        filled = len(carry)
        buffer[:filled] = carry
        carry = carry[:0].copy()  # let go of the buffer before: lines may be large
        got = storage.read_into(file, buffer.data[filled:-1])
        filled += got
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
        offsets, stray = line_format.split(buffer[:filled])
        if stray is not None:
            raise DataError(
                f"{task.name}: expected CSV, whose quotes begin a field or are doubled in a "
                f"quoted one, got a quote at byte {at + stray} inside a field; {_AS_LINES}"
            )
        if ended and offsets[-1] < filled:
            raise DataError(
                f"{task.name}: the CSV row at byte {at + int(offsets[-1])} opens a quote that is "
                f"never closed; {_AS_LINES}"
            )
        mine = int(np.searchsorted(offsets[:-1], stop - at))
        lines, carry = buffer, buffer[int(offsets[-1]) : filled]
        if mine and arrow_values.is_part(int(offsets[mine]), arrow_values.behind(buffer)):
            lines, carry = buffer[: int(offsets[mine])].copy(), carry.copy()
        del buffer
        yield from line_blocks(task, lines, offsets[: mine + 1], at=at)
        del lines
        if ended or mine < len(offsets) - 1:
            return
        at += int(offsets[-1])
        if len(carry) > limit:
            raise _too_long(file, task, at, len(carry))


def _too_long(file: Any, task: ReadTask, at: int, read: int) -> TooLarge:
    """Return the error that a line is too large, of which so many bytes were read: looks for its end."""
    line_format, size, more = task.options.line_format, read, True
    if not line_format.quoted:
        size, more = _length_of(file, line_format.separator, read)
    return too_large(task, at, size, more=more)


def _length_of(file: Any, separator: int, read: int) -> tuple[int, bool]:
    """Return the bytes of a line of which so many were read, and whether there are more than that."""
    piece = np.empty(1 << 20, np.uint8)
    while read <= LARGEST:
        got = storage.read_into(file, piece.data)
        ends = first_line(piece[:got], separator)
        if ends is not None:
            return read + ends - 1, False
        read += got
        if got < len(piece):
            return read, False
    return read, True
