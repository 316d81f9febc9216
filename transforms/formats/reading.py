"""Opening a file, whatever its format."""

from __future__ import annotations

import contextlib
import io
from dataclasses import replace
from typing import BinaryIO

from transforms.errors import DataError
from transforms.formats import arrow, compressed, json_files, lines, parquet
from transforms.formats.beside import BesideReader
from transforms.formats.codecs import Codec
from transforms.formats.detection import FileFormat, detect
from transforms.formats.kept import Kept
from transforms.formats.line_kinds import (
    JsonLayout,
    LineKind,
    json_layout_of,
    line_kind_of,
    may_be_csv,
    named_json,
)
from transforms.formats.readers import Beside, Reader, ReadOptions, ReadTask, ValidatingReader
from transforms.formats.texts import TextReader
from transforms.kernels.records.find_bad import Check
from transforms.storage import files as storage

_BUFFER = 1 << 16


def open_span(
    file: io.RawIOBase | BinaryIO, task: ReadTask, *, told: FileFormat | None = None
) -> Reader:
    """Return a reader of a span of a file, of a format that is told or found out.

    Raises:
        InputError: the file isn't what its name says.
        DataError: it is broken, or doesn't hold the records that are expected.
    """
    options, name = task.options, task.name
    found = told or detect(file, name=name, size=task.size, said=options.format)
    task = replace(task, codec=found.codec)
    if options.text_field is not None:
        return _open_texts(file, task, found, told=told is not None)
    if found.is_rows != options.rows and task.size:  # an empty file is of no kind
        want = "rows, like the other files" if options.rows else "lines"
        raise DataError(
            f"{name}: expected {want}, got {found.word}; process such files in a separate run"
        )
    if options.beside is not None:
        return _open_beside(file, task, found, options.beside, told=told is not None)
    reader: Reader
    if found.is_rows:
        reader = open_rows(file, task, found)
    else:
        reader = _open_lines(file, task, None, told=told is not None)
    return reader if options.validate is None else ValidatingReader(reader, options.validate)


def _open_beside(
    file: io.RawIOBase | BinaryIO,
    task: ReadTask,
    found: FileFormat,
    beside: Beside,
    *,
    told: bool,
) -> Reader:
    """Return a reader of whole records, and of what is beside them."""
    if found.is_rows:
        return BesideReader(open_rows(file, task, found), None, task)
    line_format = task.options.line_format
    kind = line_kind_of(file, name=task.name, codec=found.codec, line_format=line_format)
    if beside.fields is not None and task.size:
        _require_fields(beside.fields, kind, name=task.name)
    return BesideReader(_open_lines(file, task, kind, told=told), kind, task)


def _open_texts(
    file: io.RawIOBase | BinaryIO, task: ReadTask, found: FileFormat, *, told: bool
) -> Reader:
    inner, options = replace(task, source=None), task.options
    if found.is_rows:
        return TextReader(open_rows(file, inner, found), None, task)
    line_format = options.line_format
    kind = line_kind_of(file, name=task.name, codec=found.codec, line_format=line_format)
    if options.kept is not None and task.size:
        _require_fields(options.kept, kind, name=task.name)
    return TextReader(_open_lines(file, inner, kind, told=told), kind, task)


def open_rows(
    file: io.RawIOBase | BinaryIO, task: ReadTask, found: FileFormat
) -> parquet.Reader | arrow.Reader:
    """Return a reader of a file of rows; errors as of ``open_span``."""
    buffered = Buffered(file, task.size)
    if found.kind == "parquet":
        return parquet.Reader(buffered, task)
    return arrow.Reader(buffered, task, stream=found.kind == "arrow_stream")


def _open_lines(
    file: io.RawIOBase | BinaryIO, task: ReadTask, kind: LineKind | None, *, told: bool
) -> Reader:
    options, name = task.options, task.name
    check, json = line_rules(name, kind, options)
    task = replace(task, options=replace(options, check=check))
    layout = json_layout_in(file, name=name, codec=task.codec, options=options, told=told)
    if layout != "lines":
        return json_files.Reader(file, task, layout=layout)
    said = options.format == "lines"
    csv = not said and not json and may_be_csv(name, options.line_format)
    return lines.Reader(file, task, told=told or said, json=json, csv=csv)


def line_rules(name: str, kind: LineKind | None, options: ReadOptions) -> tuple[Check, bool]:
    """Say what lines of a file have to be, and whether blank ones are no records.

    Args:
        name: of the file.
        kind: of the lines that texts are taken from; None where lines are the records.
        options: how it is read.
    """
    check = options.check
    if (
        options.beside is not None
    ):  # lines stay what they are, and need a text only where it is named
        kind = kind if options.beside.text_field else None
    elif kind is not None:
        check = "none" if kind == "json" else "utf8" if check == "none" else check
    named = options.format != "lines" and named_json(name)
    return check, kind == "json" or named or options.check == "json"


def json_layout_in(
    file: io.RawIOBase | BinaryIO,
    *,
    name: str,
    codec: Codec | None,
    options: ReadOptions,
    told: bool,
) -> JsonLayout:
    """Say how a file of lines holds its records, which may be something else where nobody told."""
    if told or options.format != "auto":
        return "lines"
    return json_layout_of(file, name=name, codec=codec, line_format=options.line_format)


def _require_fields(kept: Kept, kind: LineKind, *, name: str) -> None:
    """Raise DataError where a file's lines have no fields to be kept, or none whose kinds are known."""
    if kind == "plain":
        raise DataError(
            f"{name}: expected JSON lines or rows with the fields {', '.join(kept.names)}, got plain "
            "lines; process such files in a separate run"
        )
    if kept.kinds is None:
        raise DataError(
            f"{name}: expected rows, like the other files, got JSON lines; process such "
            "files in a separate run"
        )


class Buffered(io.RawIOBase):
    """What pyarrow reads a file through.

    pyarrow takes a short read for the end of the file; a buffer reads on. A damaged length must not
    take memory for more than the file has.
    """

    def __init__(self, file: io.RawIOBase | BinaryIO, size: int) -> None:
        super().__init__()
        self._buffer = io.BufferedReader(file, _BUFFER)  # type: ignore[type-var]
        self._size = size

    def close(self) -> None:
        """Let go of the file, which its opener closes."""
        if not self.closed:
            with contextlib.suppress(ValueError):  # closed already
                self._buffer.detach()
            super().close()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        """Return the place in the file."""
        return self._buffer.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to another place."""
        return self._buffer.seek(offset, whence)

    def read(self, count: int | None = -1, /) -> bytes:
        """Read ``count`` bytes, fewer at the file's end."""
        there = max(self._size - self.tell(), 0)
        return self._buffer.read(there if count is None or count < 0 else min(count, there))


def first_bytes(
    file: io.RawIOBase | BinaryIO, count: int, *, name: str, codec: Codec | None
) -> bytes:
    """Return the first bytes of a line file, decompressed; fewer where it has fewer.

    Raises:
        DataError: it can't be decompressed.
    """
    stream = file if codec is None else compressed.reader(file, codec, name)
    return bytes(storage.read_from(stream, 0, count))
