"""``.json`` files that aren't lines: an array, whose elements are the records, or values over lines.

Each record becomes one line: white space between its tokens that holds a newline goes, all else stays as
it is. Its position is its byte offset. One worker reads the file, piece by piece.
"""

from __future__ import annotations

import io
from collections.abc import Generator, Iterator
from typing import BinaryIO

import numpy as np

from transforms.errors import DataError
from transforms.formats.line_format import BOM
from transforms.formats.line_kinds import JsonLayout
from transforms.formats.readers import Found, ReadTask
from transforms.formats.stream_reader import StreamReader, line_blocks, too_large
from transforms.kernels.arrays import I64, U8
from transforms.kernels.records import find_bad, json_values
from transforms.kernels.records.json_values import Bools
from transforms.storage import files as storage

_SPACE = b" \t\r\n"
_PIECE = 1 << 18  # that is looked at at a time: what is found out of it takes some 20 times as much
_PIECES = 4  # in which no value ends: the value is long
_AS_LINES = "fix the file, or pass --format=lines to read lines as they are"


class Reader(StreamReader):
    """Reads all records of a file in the span that begins it, and nothing in others.

    Args:
        file, task: as of ``StreamReader``.
        layout: an array, or values.
    """

    def __init__(
        self, file: io.RawIOBase | BinaryIO, task: ReadTask, *, layout: JsonLayout
    ) -> None:
        file.seek(0)
        super().__init__(file, task)
        self._name, self._layout = task.name, layout
        self._chunk_bytes = min(task.options.chunk_bytes, _PIECE)

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: the array isn't closed, something follows it, or a record is too large.
        """
        if self._task.start > 0:
            return
        at, carry = self._begin()
        find = json_values.in_array if self._layout == "array" else json_values.in_sequence
        any_yet = False
        while True:
            values, ended = self._read_on(carry)
            found = find(values)
            self._require_values(values, found, at, any_yet=any_yet)
            if len(found.begins) and found.ends[0] > found.begins[0]:
                any_yet = True
                lines, offsets, torn = json_values.to_lines(values, found)
                self._beside -= len(lines)
                yield from self._sort_out(lines, offsets, at, found.begins, torn)
            self._beside += found.used
            at += found.used
            carry = values[found.used :]
            if found.closed is not None:
                self._require_nothing_else(carry, at)
                break
            if ended:
                self._require_end(carry, at)
                break
            if len(carry) > _PIECES * self._chunk_bytes and not carry.tobytes().strip(_SPACE):
                self._beside += len(carry)
                at, carry = at + len(carry), carry[:0]
            if len(carry) > _PIECES * self._chunk_bytes and not found.used:
                any_yet = True
                closed, at, carry = yield from self._long(carry, at)
                if closed:
                    self._require_nothing_else(carry, at)
                    break
        if self._codec is not None:
            self.whole = self._file.produced

    def _read_on(self, carry: U8) -> tuple[U8, bool]:
        """Return what was left and the next piece of the file, and whether that is its end."""
        buffer = np.empty(len(carry) + self._chunk_bytes, np.uint8)
        buffer[: len(carry)] = carry
        got = storage.read_into(self._file, buffer.data[len(carry) :])
        return buffer[: len(carry) + got], got < self._chunk_bytes

    def _long(self, carry: U8, at: int) -> Generator[Found, None, tuple[bool, int, U8]]:
        """Read one long value part by part.

        Args:
            carry: its beginning, with white space before.
            at: where that is.

        Returns:
            Whether the array is closed behind it; where the file goes on, and what is there.

        Raises:
            DataError: the file ends inside of it, it is too large, or none.
        """
        in_array = self._layout == "array"
        skip = len(carry) - len(carry.tobytes().lstrip(_SPACE))
        begins, carry = at + skip, carry[skip:]
        at, self._beside = begins, self._beside + skip
        if len(carry) and not in_array and carry[0] not in b"{[":
            raise self._not_a_value(carry, begins)
        parts: list[U8] = []
        limit = self._task.options.record_limit
        size, depth, quoted, torn, ended = 0, 0, False, False, False
        while True:
            # what may belong to the next part stays: an escape, and white space that may hold a newline
            body = carry[: len(carry.tobytes().rstrip(_SPACE + b"\\"))]
            part = json_values.go_on(body, depth=depth, quoted=quoted, in_array=in_array)
            parts.append(part.kept)
            size += len(part.kept)
            torn = torn or part.torn
            waits = len(carry) - len(body) if part.stop is None else 0
            if max(size, waits) > limit:
                raise too_large(self._task, begins, max(size, waits), more=True)
            if part.stop is not None:
                break
            if ended:
                self._require_end(np.frombuffer(b"{", np.uint8), begins)
            at += len(body)
            depth, quoted = part.depth, part.quoted
            carry, ended = self._read_on(carry[len(body) :])
        stop = part.stop + 1
        while not (last := parts[-1].tobytes().rstrip(_SPACE)):  # white space before a comma
            parts.pop()
        parts[-1] = np.frombuffer(last + b"\n", np.uint8)
        line = np.concatenate(parts)
        parts.clear()
        self._beside += at + stop - begins - len(line)
        offsets, places = np.array([0, len(line)], np.int64), np.zeros(1, np.int64)
        yield from self._sort_out(line, offsets, begins, places, np.array([torn]))
        closed = in_array and carry[part.stop] != ord(",")
        return closed, at + stop, carry[stop:]

    def _begin(self) -> tuple[int, U8]:
        """Go behind what stands before the first value; return where that is, and bytes from there."""
        begins = bytearray(len(BOM))
        begins = begins[: storage.read_into(self._file, memoryview(begins))]
        at = 0
        if begins == BOM:
            self.marks, at, begins = 1, len(BOM), bytearray()
        if self._layout == "array":
            more = True
            while more and not begins.lstrip(_SPACE):
                at += len(begins)
                begins = bytearray(1 << 10)
                del begins[storage.read_into(self._file, memoryview(begins)) :]
                more = len(begins) > 0
            if not begins.lstrip(_SPACE).startswith(b"["):  # it has changed since it was looked at
                raise DataError(
                    f"{self._name}: expected an array, with which the file began when it was "
                    "first read; run again when nothing writes to the file"
                )
            skip = begins.index(b"[") + 1
            at, begins = at + skip, begins[skip:]
        self._beside += at
        return at, np.frombuffer(bytes(begins), np.uint8)

    def _sort_out(
        self, lines: U8, offsets: I64, at: int, places: I64, torn: Bools
    ) -> Iterator[Found]:
        reason = "a newline stands in a string as it is, which isn't JSON"
        for block in line_blocks(self._task, lines, offsets, at=at, places=places):
            mine, torn = torn[: len(block)], torn[len(block) :]
            bad = find_bad.bad_lines(block, self._check)
            bad |= dict.fromkeys(np.flatnonzero(mine).tolist(), reason)
            yield Found.sort_out(block, bad)

    def _require_values(
        self, values: U8, found: json_values.Values, at: int, *, any_yet: bool
    ) -> None:
        """Raise DataError where something else stands than values, with commas between elements."""
        empty = np.flatnonzero(found.begins == found.ends)
        if len(empty):
            place = int(found.ends[empty[0]])
            alone = len(found.begins) == 1 and found.closed is not None and not any_yet
            if not alone:
                raise DataError(
                    f"{self._name}: expected an element of the array at byte {at + place}, got "
                    f"{bytes(values[place : place + 1])!r}; {_AS_LINES}"
                )
        if self._layout == "values":
            other = np.flatnonzero(~np.isin(values[found.begins], list(b"{[")))
            if len(other):
                place = int(found.begins[other[0]])
                raise self._not_a_value(values[place:], at + place)

    def _not_a_value(self, values: U8, at: int) -> DataError:
        return DataError(
            f"{self._name}: expected an object at byte {at}, as the file begins with one over several "
            f"lines, got {bytes(values[:40])!r}; {_AS_LINES}"
        )

    def _require_nothing_else(self, rest: U8, at: int) -> None:
        """Raise DataError where something follows the array."""
        piece = rest.tobytes()
        while True:
            if text := piece.lstrip(_SPACE):
                raise DataError(
                    f"{self._name}: expected nothing after the array, got {text[:40]!r} at byte "
                    f"{at + len(piece) - len(text)}; {_AS_LINES}"
                )
            self._beside += len(piece)
            at += len(piece)
            piece = bytes(self._file.read(self._chunk_bytes) or b"")
            if not piece:
                return

    def _require_end(self, rest: U8, at: int) -> None:
        """Raise DataError where the file ends inside of a value or of the array."""
        text = rest.tobytes().lstrip(_SPACE)
        place = at + len(rest) - len(text)
        if self._layout == "array":
            raise DataError(
                f"{self._name}: the array isn't closed: its last value begins at byte {place}, "
                f"and the file ends in it or after it; fetch the file again, or {_AS_LINES}"
            )
        if text:
            if text[:1] not in (b"{", b"["):
                raise self._not_a_value(np.frombuffer(text, np.uint8), place)
            raise DataError(
                f"{self._name}: the value at byte {place} isn't closed; fetch the file again, or "
                f"{_AS_LINES}"
            )
        self._beside += len(rest)
