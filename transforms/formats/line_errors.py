"""Places in line files, as errors name them."""

from __future__ import annotations

from typing import Any

from transforms.storage import files as storage

_COUNTED = 1 << 32  # bytes: beyond, nobody counts the lines before a bad record


def open_quote_error(place: str) -> str:
    """Say that a line of CSV goes on in the next one."""
    return (
        f"the row at {place} goes on in the next line: a quoted field holds a newline; give "
        "--format=csv to keep rows whole, or --format=lines to take each line as it is"
    )


def where(stream: Any, position: int, *, separator: int) -> str:
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
