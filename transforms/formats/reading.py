"""Opening a file, whatever its format."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import pyarrow as pa

from transforms import storage
from transforms.errors import DataError
from transforms.formats import arrow, json_files, lines, parquet, texts
from transforms.formats.codecs import WINDOW, Codec, Decoder, strip_suffix
from transforms.formats.detection import FileFormat, Format, detect
from transforms.formats.found import Judge, Judging, Reader
from transforms.formats.kept import Kept
from transforms.formats.limits import MemoryFor
from transforms.formats.lines import LineFormat
from transforms.kernels.checks import Check

CSV_NAMES = (".csv", ".tsv")
_BUFFER = 1 << 16


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What every reader is told.

    Attributes:
        line_format: of line files.
        format: what all files are said to be, as of ``detect``. ``lines`` are nothing but lines: a byte
            order mark, blank lines of JSON and open quotes of CSV are data.
        rows: whether the records are rows, not lines.
        schema: that rows have to have; None where any will do.
        check: what a line has to be.
        chunk_bytes: how much to read at a time; also about the size of a block.
        record_limit: the most bytes that a record may have; a row of Parquet half of them.
        memory: what more memory would allow, for errors.
        text_known: whether the text of Parquet rows was checked when it was written.
        text_field: the field or column whose text alone is read, of files of any format.
        kept: what is read beside it, of JSON lines and rows.
        window: bytes that a decoder may hold; a compressed file that needs more is refused.
        judge: says which of the records, or of the texts, are bad all the same.
    """

    line_format: LineFormat = field(default_factory=LineFormat)
    format: Format = "auto"
    rows: bool = False
    schema: pa.Schema | None = None
    check: Check = "none"
    chunk_bytes: int = 2 << 20
    record_limit: int = 256 << 20
    memory: MemoryFor | None = None
    text_known: bool = False
    text_field: str | None = None
    kept: Kept | None = None
    window: int = WINDOW
    judge: Judge | None = None


def open_span(
    file: io.RawIOBase | BinaryIO,
    *,
    name: str,
    size: int,
    start: int,
    stop: int,
    options: ReadOptions,
    source: int | None = None,
    told: FileFormat | None = None,
) -> Reader:
    """Return a reader of bytes [start, stop) of a file, of a format that is told or found out.

    Raises:
        InputError: the file isn't what its name says.
        DataError: it is broken, or doesn't hold the records that are expected.
    """
    found = told or detect(file, name=name, size=size, said=options.format)
    field = options.text_field
    common: dict[str, Any] = {
        "name": name,
        "size": size,
        "start": start,
        "chunk_bytes": options.chunk_bytes,
        "record_limit": options.record_limit,
        "source": source if field is None else None,
    }
    if field is None and found.is_rows != options.rows and size:  # an empty file is of no kind
        want = "rows, as the other files hold" if options.rows else "lines"
        raise DataError(f"{name}: expected {want}, got {found.word}; give it a run of its own")
    reader: Reader
    form: texts.Form | None = None
    if not found.is_rows:
        check = options.check
        if field is not None:
            form = texts.form_of(
                file, name=name, codec=found.codec, line_format=options.line_format
            )
            check = "none" if form == "json" else "utf8" if check == "none" else check
            if options.kept is not None:
                _require_fields(options.kept, form, name=name)
        common |= {"check": check, "codec": found.codec, "window": options.window}
        common["hashed"] = field is None  # else digests are of the texts
        shape = shape_in(file, found, name=name, options=options, told=told)
        if shape == "lines":
            as_they_are = options.format == "lines"
            json = form == "json" or (not as_they_are and texts.named_json(name))
            reader = lines.Reader(
                file,
                stop=stop,
                line_format=options.line_format,
                told=told is not None or options.format == "lines",
                as_they_are=as_they_are or told is not None,
                json=json or options.check == "json",
                csv=not as_they_are and not json and may_be_csv(name, options.line_format),
                **common,
            )
        else:
            reader = json_files.Reader(file, shape=shape, **common)
    elif found.kind == "parquet":
        common["record_limit"] //= 2  # decoding holds pages, and rows more than once
        reader = parquet.Reader(
            Buffered(file, size),
            stop=stop,
            schema=options.schema,
            column=field,
            kept=options.kept,
            text_known=options.text_known,
            **common,
        )
    else:
        reader = arrow.Reader(
            Buffered(file, size),
            stream=found.kind == "arrow_stream",
            schema=options.schema,
            column=field,
            kept=options.kept,
            batch_limit=options.record_limit,
            **common,
        )
    if field is None:
        return reader if options.judge is None else Judging(reader, options.judge)
    return texts.Reader(
        reader, field=field, form=form, source=source, kept=options.kept, judge=options.judge
    )


def shape_in(
    file: io.RawIOBase | BinaryIO,
    found: FileFormat,
    *,
    name: str,
    options: ReadOptions,
    told: FileFormat | None,
) -> json_files.Shape:
    """Say how a file of lines holds its records, which may be something else where nobody told."""
    if told is not None or options.format != "auto":
        return "lines"
    return json_files.shape_of(file, name=name, codec=found.codec, line_format=options.line_format)


def may_be_csv(name: str, line_format: LineFormat) -> bool:
    """Say whether a line of a file that ends inside quotes is a torn row."""
    named = os.path.splitext(strip_suffix(name))[1].lower() in CSV_NAMES
    return not line_format.quoted and (named or line_format.header_lines > 0)


def _require_fields(kept: Kept, form: texts.Form, *, name: str) -> None:
    """Raise DataError where a file's lines have no fields to be kept, or none whose kinds are known."""
    if form == "plain":
        raise DataError(
            f"{name}: expected JSON lines or rows, of which {', '.join(kept.names)} could be kept, got "
            "other lines; give it a run of its own"
        )
    if kept.kinds is None:
        raise DataError(f"{name}: expected rows, as the other files hold, got JSON lines")


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
    head = bytearray(count)
    stream = file if codec is None else Decoder(file, codec, name)
    return bytes(head[: storage.read_into(stream, memoryview(head))])
