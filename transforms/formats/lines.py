"""Line files: records that end in one separator byte, read by spans of bytes; compressed or not.

A byte order mark at a file's beginning is no part of its first record, and of JSON lines blank ones are
none at all; both are counted. Rows of CSV may hold the separator inside quotes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.errors import DataError, InputError
from transforms.formats import compressed, line_places
from transforms.formats.codecs import WINDOW, Codec
from transforms.formats.detection import refuse_inside
from transforms.formats.foreign import HEAD
from transforms.formats.found import Found
from transforms.formats.limits import LARGEST, TooLarge
from transforms.kernels import blocks, checks, memory
from transforms.kernels.checks import Check
from transforms.kernels.digest import I64, U8, Digest, record_hashes
from transforms.kernels.lines import first_line, line_offsets, open_quote, row_offsets
from transforms.kernels.randomness import U64

_OVERREAD = 1 << 16  # past a span's end, to finish its last line
_TO_THE_END = 1 << 62  # where a span of a compressed file stops: it is always the whole file
BOM = b"\xef\xbb\xbf"
_ROWS = 1 << 17  # of a block: lines of no length must not make a block of a chunk's bytes of rows


@dataclass(frozen=True, kw_only=True)
class LineFormat:
    """How line files are read and written.

    Attributes:
        separator: the byte that ends a line, 0 to 255.
        header_lines: lines at the top of every file that are no records.
        header: those lines, their ends included, the same in every file.
        quoted: lines are rows of CSV, and a separator between quotes ends none.
    """

    separator: int = 10
    header_lines: int = 0
    header: bytes = b""
    quoted: bool = False

    def split(self, values: U8) -> tuple[I64, int | None]:
        """Return where lines begin and the last one ends, and the first misplaced quote of CSV."""
        if self.quoted:
            return row_offsets(values, self.separator)
        return line_offsets(values, self.separator), None


def mark_size(head: bytes, separator: int) -> int:
    """Return how many of a file's first bytes are a byte order mark: 3, or 0."""
    return len(BOM) if head.startswith(BOM) and separator not in BOM else 0


def header_of(
    file: io.RawIOBase | BinaryIO, *, line_format: LineFormat, skip: int = 0, name: str
) -> bytes:
    """Read the lines that are the header, their ends included, behind ``skip`` bytes.

    A last line that has no end gets one. An empty file has no header.

    Raises:
        InputError: the file has fewer lines, or they are longer than 16 MiB.
    """
    lines = line_format.header_lines
    file.read(skip)
    limit = 16 << 20
    data = b""
    while lines:
        more = file.read(min(1 << 16, limit)) or b""
        data += more
        if not data:
            return data
        if not more and data[-1] != line_format.separator:
            data += bytes([line_format.separator])
        offsets, _ = line_format.split(np.frombuffer(data, np.uint8))
        if len(offsets) > lines:
            return data[: int(offsets[lines])]
        if not more or len(data) > limit:
            raise InputError(
                f"{name}: expected {lines} header lines, got {len(offsets) - 1} in the first "
                f"{len(data)} bytes; check --header_lines and --separator"
            )
    return data


def header_in(found: bytes, line_format: LineFormat) -> bytes | None:
    r"""Return the header as it stands in a file whose first bytes are given; None if it has another.

    Its lines may end in another way (CR LF or LF), the last one not at all where the file ends there;
    an empty file has none.

    Args:
        found: more bytes than any form of the header has, fewer where the file has fewer.
        line_format: with the header.

    >>> header_in(b"a,b\r\n1,2\r\n", LineFormat(header_lines=1, header=b"a,b\n"))
    b'a,b\r\n'
    """
    header, end = line_format.header, bytes([line_format.separator])
    forms = [header]
    if end == b"\n":
        plain = header.replace(b"\r\n", b"\n")
        forms += [plain, plain.replace(b"\n", b"\r\n")]
    for form in forms:
        if found.startswith(form):
            return form
    return found if not found or found + end in forms else None


class Reader:
    """Reads the lines that begin inside bytes [start, stop) of a file; of a compressed one all or none.

    Args:
        file: open for reading, seekable.
        name: what errors call it.
        size: of the file, in bytes.
        start, stop: the span.
        codec: by which the file is compressed.
        window: as of Decoder.
        line_format: separator, and the header that the file has to have.
        check: what a line has to be.
        told: that it holds lines, whatever they look like.
        as_they_are: a byte order mark is data.
        json: blank lines are no records.
        csv: a line that ends inside quotes is refused.
        chunk_bytes, record_limit, source, hashed: as of ``read_span``.

    Attributes:
        whole: bytes of the file when it isn't compressed, known at the end; None in spans that have
            no part of a compressed one.
        blank: lines that were left out so far, as they are blank.
        marks: byte order marks that were left out, 0 or 1.
    """

    def __init__(
        self,
        file: io.RawIOBase | BinaryIO,
        *,
        name: str,
        size: int,
        start: int,
        stop: int,
        codec: Codec | None,
        window: int = WINDOW,
        line_format: LineFormat,
        chunk_bytes: int,
        record_limit: int,
        check: Check = "none",
        source: int | None = None,
        told: bool = False,
        as_they_are: bool = False,
        json: bool = False,
        csv: bool = False,
        hashed: bool = True,
    ) -> None:
        self._file: Any = (
            file if codec is None else compressed.reader(file, codec, name, window=window)
        )
        self._as_they_are, self._json, self._csv = as_they_are, json, csv
        self.blank = self.marks = 0
        self._span = (start, stop if codec is None else _TO_THE_END)
        self._name, self._codec, self._format = name, codec, line_format
        self._chunk_bytes, self._record_limit, self._source = chunk_bytes, record_limit, source
        self._check, self._told, self._hashed = check, told, hashed
        self.whole: int | None = size if codec is None else None
        self._beside = 0  # bytes of the file that are the header's, less a last line's missing end

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: the file is damaged, has another header, or a line is too large.
        """
        start, stop = self._span
        if start > 0 and (self._codec is not None or self._format.quoted):
            return
        if self._format.quoted:
            stop = _TO_THE_END
        begins = self._begin(start)
        for block in read_span(
            self._file,
            name=self._name,
            start=start,
            stop=stop,
            line_format=self._format,
            chunk_bytes=self._chunk_bytes,
            record_limit=self._record_limit,
            source=self._source,
            hashed=self._hashed,
            lines_begin=begins,
        ):
            if self._csv:
                self._refuse_open_quotes(block)
            yield from self._sort_out(block)
        last = b""
        if self._codec is not None:
            self.whole, last = self._file.produced, self._file.last
        elif self.whole is not None and stop >= self.whole > 0:
            self._file.seek(self.whole - 1)
            last = self._file.read(1) or b""
        if last and self.whole is not None and self.whole > begins:
            self._beside -= last != bytes([self._format.separator])

    def _sort_out(self, block: pa.RecordBatch) -> Iterator[Found]:
        if self._json and len(blank := checks.blank_lines(block)):
            size = blocks.payload_bytes(block)
            block = checks.without(block, blank)
            self.blank += len(blank)
            self._beside += size - blocks.payload_bytes(block)
        yield Found.sort_out(block, checks.bad_lines(block, self._check))

    def _refuse_open_quotes(self, block: pa.RecordBatch) -> None:
        """Raise DataError where a line of CSV ends inside of quotes."""
        place = open_quote(*blocks.extents(block)) if len(block) else None
        if place is not None:
            at = int(blocks.column(block, "position")[place])
            raise DataError(f"{self._name}: {line_places.open_quote_error(self._line_at(at))}")

    def _line_at(self, position: int) -> str:
        """Say at which line, counted from 1, and at which byte a place is; reads up to there again."""
        self._file.seek(0)
        return line_places.where(self._file, position, separator=self._format.separator)

    @property
    def trailing(self) -> int:
        """How many bytes that belong to nothing stand behind a compressed file's last member."""
        return 0 if self._codec is None else self._file.trailing

    @property
    def consumed(self) -> int:
        """How many bytes of the file were read so far."""
        at: int = self._file.tell() if self._codec is None else self._file.consumed
        return at - self._span[0]

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the records with this digest are, with all that is beside."""
        return digest.bytes + digest.records + self._beside

    def _begin(self, start: int) -> int:
        """Return where the first line begins, behind a byte order mark and a header; in the first
        span, having looked at them.
        """
        header = self._format.header
        most = len(BOM) + len(header) + self._format.header_lines  # each may have a CR more
        if start > most:
            return len(header)  # so far away that it doesn't matter
        self._file.seek(0)
        head = bytearray(max(most + 1, HEAD))
        found = bytes(head[: storage.read_into(self._file, memoryview(head))])
        self._file.seek(0)  # a compressed file can't go back to the header's end
        mark = 0 if self._as_they_are else mark_size(found, self._format.separator)
        own = self._require_header(found, mark)
        if start == 0:
            self.marks = int(mark > 0)
            self._beside += mark + len(own)
        return mark + len(own)

    def _require_header(self, found: bytes, mark: int) -> bytes:
        """Return the header as it stands in this file."""
        header = self._format.header
        if self._codec is not None and not self._told:
            refuse_inside(found[:HEAD], name=self._name)
        own = header_in(found[mark:], self._format)
        if own is None:
            have = found[mark : mark + len(header)]
            raise DataError(
                f"{self._name}: expected the header of the other files, {header[:80]!r}, got "
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
    file: io.RawIOBase | BinaryIO,
    *,
    name: str,
    start: int,
    stop: int,
    line_format: LineFormat,
    chunk_bytes: int,
    record_limit: int,
    source: int | None = None,
    hashed: bool = True,
    lines_begin: int = 0,
) -> Iterator[pa.RecordBatch]:
    """Read the lines that begin inside [start, stop) as blocks.

    Args:
        file: open for reading, with ``seek`` and ``readinto``.
        name: what errors call the file.
        start, stop: the span, in bytes; spans that tile a file give each line once.
        line_format: how lines end; CSV is read from where a row begins.
        chunk_bytes: how much to read at a time; also about the size of a block.
        record_limit: the most bytes that a record may have.
        source: index for a ``source`` column.
        hashed: whether blocks have hashes.
        lines_begin: where the first line begins, after a header.

    Yields:
        Blocks with ``position``, hashes if asked, and ``record``, where a last line without a
        separator has got one.

    Raises:
        DataError: a record is larger than ``record_limit``, or CSV isn't quoted as it has to be.
    """
    separator = line_format.separator
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
            raise DataError(f"{name}: {line_places.stray_quote_error(at + stray)}")
        if ended and offsets[-1] < filled:
            raise DataError(f"{name}: {line_places.open_row_error(at + int(offsets[-1]))}")
        mine = int(np.searchsorted(offsets[:-1], stop - at))
        lines, carry = buffer, buffer[int(offsets[-1]) : filled]
        if mine and memory.is_part(int(offsets[mine]), memory.behind(buffer)):
            lines, carry = buffer[: int(offsets[mine])].copy(), carry.copy()
        del buffer
        yield from _blocks(
            lines,
            offsets[: mine + 1],
            at,
            name=name,
            line_end=line_end,
            source=source,
            hashed=hashed,
            record_limit=record_limit,
        )
        del lines
        if ended or mine < len(offsets) - 1:
            return
        at += int(offsets[-1])
        if len(carry) > record_limit:
            raise _too_long(file, line_format, len(carry), _at(name, at), record_limit)


def _blocks(
    buffer: np.ndarray[tuple[int], np.dtype[np.uint8]],
    offsets: np.ndarray[tuple[int], np.dtype[np.int64]],
    at: int,
    *,
    name: str,
    line_end: bytes,
    source: int | None,
    hashed: bool,
    record_limit: int,
) -> Iterator[pa.RecordBatch]:
    if len(offsets) > 1:
        lengths = np.diff(offsets)
        longest = int(lengths.argmax())
        if lengths[longest] > record_limit + 1:
            where = _at(name, at + int(offsets[longest]))
            raise TooLarge(where, size=int(lengths[longest]) - 1, limit=record_limit)
    for low in range(0, len(offsets) - 1, _ROWS):
        part = offsets[low : low + _ROWS + 1]
        yield blocks.from_buffer(
            buffer,
            offsets=part,
            positions=(part[:-1] + at).astype(np.uint64),
            line_end=line_end,
            source=source,
            hashed=hashed,
        )


def _at(name: str, offset: int) -> str:
    return f"{name}: the record at byte {offset}"


def _too_long(file: Any, line_format: LineFormat, read: int, where: str, limit: int) -> TooLarge:
    """Return the error that a line is too large, of which so many bytes were read: looks for its end."""
    size, more = (
        (read, True) if line_format.quoted else _length_of(file, line_format.separator, read)
    )
    return TooLarge(where, size=size, more=more, limit=limit)


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
