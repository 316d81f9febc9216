"""How line files are laid out (ends of lines, a byte order mark, a header), and places in them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from transforms.errors import InputError
from transforms.kernels.arrays import I64, U8
from transforms.kernels.records.lines import line_offsets, row_offsets
from transforms.storage import files as storage

BOM = b"\xef\xbb\xbf"
_COUNTED = 1 << 32  # bytes: beyond, nobody counts the lines before a bad record


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


def open_quote_error(place: str) -> str:
    """Say that a line of CSV goes on in the next one."""
    return (
        f"the row at {place} continues on the next line: a quoted field holds a newline; pass "
        "--format=csv to keep rows whole, or --format=lines to read each line as it is"
    )


def where_is(stream: Any, position: int, *, separator: int) -> str:
    """Say where a record is: at which byte, and at which line; arguments as of ``line_number``."""
    number = line_number(stream, position, separator=separator)
    return f"byte {position}" if number is None else f"line {number} (byte {position})"


def line_number(stream: Any, position: int, *, separator: int) -> int | None:
    """Return the number of the line that a byte is in, counted from 1; None where it is very far.

    Args:
        stream: what the file holds, at its beginning; is read up to there.
        position: the byte.
        separator: the byte that ends a line.
    """
    if position > _COUNTED:
        return None
    count, left = 1, position
    buffer = bytearray(1 << 20)
    while left > 0:
        got = storage.read_into(stream, memoryview(buffer)[:left])
        if not got:
            break
        count += buffer.count(separator, 0, got)
        left -= got
    return count
