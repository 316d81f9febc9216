"""``.json`` files that aren't lines: an array, whose elements are the records, or values over lines.

Each record becomes one line: white space between its tokens that holds a newline goes, all else stays as
it is. Its position is its byte offset. One worker reads the file, piece by piece.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Generator, Iterator
from typing import Any, BinaryIO, Literal

import numpy as np

from transforms import storage
from transforms.errors import DataError, InputError
from transforms.formats import compressed
from transforms.formats.codecs import WINDOW, Codec, strip_suffix
from transforms.formats.found import Found
from transforms.formats.limits import TooLarge
from transforms.formats.lines import BOM, LineFormat
from transforms.kernels import blocks, checks, json_text, json_values
from transforms.kernels.checks import Check
from transforms.kernels.digest import I64, U8, Digest
from transforms.kernels.json_values import Bools
from transforms.kernels.randomness import U64

Shape = Literal["lines", "array", "values"]
"""How a ``.json`` file holds its records."""

_GLANCE, _LONG = 1 << 16, 1 << 20  # of a file's beginning: what is looked at first, and at most
_SPACE = b" \t\r\n"
_ROWS = 1 << 17  # of a block
_PIECE = 1 << 18  # that is looked at at a time: what is found out of it takes some 20 times as much
_PIECES = 4  # in which no value ends: the value is long
_AS_LINES = "mend the file, or give --format=lines to take its lines as they are"


def shape_of(
    file: io.RawIOBase | BinaryIO, *, name: str, codec: Codec | None, line_format: LineFormat
) -> Shape:
    """Say how a file holds records, by its name and its beginning; leaves it at its beginning.

    Named ``.json``, it is an array where it begins with a bracket, unless its first line is an array
    that ends there and other lines follow; values where the first line is the beginning of an object
    that goes on in the next. All others are lines, and those with a header or another separator.

    Raises:
        DataError: its beginning can't be decompressed.
    """
    if not strip_suffix(name).lower().endswith(".json"):
        return "lines"
    if line_format.separator != ord("\n") or line_format.header_lines or line_format.quoted:
        return "lines"
    return _shape_by_beginning(file, name=name, codec=codec)


def refuse_elsewhere(file: io.RawIOBase | BinaryIO, *, name: str, codec: Codec | None) -> None:
    """Raise InputError where a file that would be read as lines begins as JSON over several lines.

    Looked at are files named as JSON lines, or without an extension.
    """
    extension = os.path.splitext(strip_suffix(name))[1].lower()
    if extension not in ("", ".jsonl", ".ndjson"):
        return
    shape = _shape_by_beginning(file, name=name, codec=codec, plainly=True)
    if shape != "lines":
        what = "an array of objects" if shape == "array" else "an object over several lines"
        raise InputError(
            f"{name}: expected lines, it begins as {what} of JSON; give it as a file named .json to "
            "have each of them read as a record, or give --format=lines to take lines as they are"
        )


def _shape_by_beginning(
    file: io.RawIOBase | BinaryIO, *, name: str, codec: Codec | None, plainly: bool = False
) -> Shape:
    """Say how a file holds records; ``plainly``: lines, unless nothing else can be meant."""
    file.seek(0)
    stream: Any = file if codec is None else compressed.reader(file, codec, name)
    begins = b""
    for size in (_GLANCE, _LONG):
        more = bytearray(size - len(begins))
        begins += more[: storage.read_into(stream, memoryview(more))]
        text = begins.removeprefix(BOM).lstrip(_SPACE)
        line, newline, rest = text.partition(b"\n")
        if newline or len(begins) < size or not text.startswith((b"{", b"[")):
            break
    ended = len(begins) < size
    file.seek(0)
    if plainly and not (newline or ended):
        return "lines"
    if plainly and not re.match(rb'\[\s*\{\s*"|\{\s*"|\{\s*\n\s*"', text):
        return "lines"
    if text.startswith(b"["):
        alone = not rest.strip(_SPACE) and ended
        return "array" if alone or not newline or not _is_json(line) else "lines"
    if text.startswith(b"{") and newline and not _is_json(line):
        return "values" if json_values.goes_on(np.frombuffer(line, np.uint8)) else "lines"
    return "lines"


def _is_json(line: bytes) -> bool:
    try:
        json_text.read(line)
    except json_text.Unreadable:
        return False
    return True


class Reader:
    """Reads all records of a file in the span that begins it, and nothing in others.

    Args:
        file: open for reading, seekable.
        name: what errors call it.
        size: of the file, in bytes.
        start: of the span.
        shape: an array, or values.
        codec: by which the file is compressed.
        window: as of Decoder.
        check: what a record has to be, when it is a line.
        chunk_bytes: how much to read at a time; also about the size of a block.
        record_limit: the most bytes that a record may have.
        source: index for a ``source`` column.
        hashed: whether blocks have hashes.

    Attributes:
        whole: bytes of the file, decompressed, known at the end; None in other spans.
        blank: no lines are left out.
        marks: byte order marks that were left out, 0 or 1.
    """

    def __init__(
        self,
        file: io.RawIOBase | BinaryIO,
        *,
        name: str,
        size: int,
        start: int,
        shape: Shape,
        codec: Codec | None,
        window: int = WINDOW,
        chunk_bytes: int,
        record_limit: int,
        check: Check = "none",
        source: int | None = None,
        hashed: bool = True,
    ) -> None:
        file.seek(0)
        self._file: Any = (
            file if codec is None else compressed.reader(file, codec, name, window=window)
        )
        self._name, self._codec, self._start, self._shape = name, codec, start, shape
        self._chunk_bytes, self._record_limit = min(chunk_bytes, _PIECE), record_limit
        self._check, self._source, self._hashed = check, source, hashed
        self.whole: int | None = size if codec is None else None
        self.blank = self.marks = 0
        self._beside = 0  # bytes of the file that are in no record, less the ends of lines

    @property
    def trailing(self) -> int:
        """As of ``lines.Reader``."""
        return 0 if self._codec is None else self._file.trailing

    @property
    def consumed(self) -> int:
        """How many bytes of the file were read so far."""
        at: int = self._file.tell() if self._codec is None else self._file.consumed
        return at - self._start

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the records with this digest are, with all that is beside."""
        return digest.bytes + digest.records + self._beside

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found.

        Raises:
            DataError: the array isn't closed, something follows it, or a record is too large.
        """
        if self._start > 0:
            return
        at, carry = self._begin()
        find = json_values.in_array if self._shape == "array" else json_values.in_sequence
        any_yet = False
        while True:
            values, ended = self._read_on(carry)
            found = find(values)
            self._require_values(values, found, at, any_yet=any_yet)
            if len(found.begins) and found.ends[0] > found.begins[0]:
                any_yet = True
                yield from self._records(values, found, at)
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
        in_array = self._shape == "array"
        skip = len(carry) - len(carry.tobytes().lstrip(_SPACE))
        begins, carry = at + skip, carry[skip:]
        at, self._beside = begins, self._beside + skip
        if len(carry) and not in_array and carry[0] not in b"{[":
            raise self._not_a_value(carry, begins)
        parts: list[U8] = []
        size, depth, quoted, torn, ended = 0, 0, False, False, False
        while True:
            # what may belong to the next part stays: an escape, and white space that may hold a newline
            body = carry[: len(carry.tobytes().rstrip(_SPACE + b"\\"))]
            part = json_values.go_on(body, depth=depth, quoted=quoted, in_array=in_array)
            parts.append(part.kept)
            size += len(part.kept)
            torn = torn or part.torn
            if size > self._record_limit:
                where = f"{self._name}: the record at byte {begins}"
                raise TooLarge(where, size=size, more=True, limit=self._record_limit)
            if part.stop is not None:
                break
            if len(carry) - len(body) > self._record_limit:  # of white space or backslashes
                where = f"{self._name}: the record at byte {begins}"
                waits = len(carry) - len(body)
                raise TooLarge(where, size=size + waits, more=True, limit=self._record_limit)
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
        yield self._found(line, begins, torn=torn)
        closed = in_array and carry[part.stop] != ord(",")
        return closed, at + stop, carry[stop:]

    def _found(self, line: U8, at: int, *, torn: bool) -> Found:
        """Return one record."""
        offsets = np.array([0, len(line)], np.int64)
        return self._sort_out(line, offsets, np.array([at], np.uint64), np.array([torn]))

    def _begin(self) -> tuple[int, U8]:
        """Go behind what stands before the first value; return where that is, and bytes from there."""
        begins = bytearray(len(BOM))
        begins = begins[: storage.read_into(self._file, memoryview(begins))]
        at = 0
        if begins == BOM:
            self.marks, at, begins = 1, len(BOM), bytearray()
        if self._shape == "array":
            more = True
            while more and not begins.lstrip(_SPACE):
                at += len(begins)
                begins = bytearray(1 << 10)
                del begins[storage.read_into(self._file, memoryview(begins)) :]
                more = len(begins) > 0
            if not begins.lstrip(_SPACE).startswith(b"["):  # it has changed since it was looked at
                raise DataError(
                    f"{self._name}: expected an array, as it began with one before; run again when "
                    "nothing writes to the file"
                )
            skip = begins.index(b"[") + 1
            at, begins = at + skip, begins[skip:]
        self._beside += at
        return at, np.frombuffer(bytes(begins), np.uint8)

    def _records(self, values: U8, found: json_values.Values, at: int) -> Iterator[Found]:
        lines, offsets, torn = json_values.to_lines(values, found)
        self._beside -= len(lines)
        self._require_size(offsets, found, at)
        positions = (found.begins + at).astype(np.uint64)
        for low in range(0, len(positions), _ROWS):
            high = min(low + _ROWS, len(positions))
            part = slice(low, high)
            yield self._sort_out(lines, offsets[low : high + 1], positions[part], torn[part])

    def _sort_out(self, lines: U8, offsets: I64, positions: U64, torn: Bools) -> Found:
        block = blocks.from_buffer(
            lines,
            offsets=offsets,
            positions=positions,
            line_end=b"\n",
            source=self._source,
            hashed=self._hashed,
        )
        bad = checks.bad_lines(block, self._check)
        reason = "a newline stands in a string as it is, which isn't JSON"
        bad |= dict.fromkeys(np.flatnonzero(torn).tolist(), reason)
        return Found.sort_out(block, bad)

    def _require_size(self, offsets: I64, found: json_values.Values, at: int) -> None:
        sizes = np.diff(offsets) - 1
        longest = int(sizes.argmax())
        if sizes[longest] > self._record_limit:
            where = f"{self._name}: the record at byte {at + int(found.begins[longest])}"
            raise TooLarge(where, size=int(sizes[longest]), limit=self._record_limit)

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
        if self._shape == "values":
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
                    f"{self._name}: expected nothing behind the array, got {text[:40]!r} at byte "
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
        if self._shape == "array":
            raise DataError(
                f"{self._name}: the array isn't closed; what stands last in it begins at byte {place}, "
                f"and the file ends there or inside of it; fetch it again, or {_AS_LINES}"
            )
        if text:
            if text[:1] not in (b"{", b"["):
                raise self._not_a_value(np.frombuffer(text, np.uint8), place)
            raise DataError(
                f"{self._name}: the value at byte {place} isn't closed; fetch the file again, or "
                f"{_AS_LINES}"
            )
        self._beside += len(rest)
