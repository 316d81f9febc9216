"""Looking at one input file: what it is, and how much it holds."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.types as pt

from pipelines.inputs.counted_column import require_ids
from pipelines.inputs.kept_fields import Fields, fields_in, required_text
from pipelines.recipes.recipe import Recipe
from transforms.datasets.source_files import SourceFile
from transforms.errors import DataError, InputError
from transforms.formats import compressed, json_files
from transforms.formats.codecs import Codec
from transforms.formats.columns import RowColumns
from transforms.formats.detection import FileFormat, behind_skippable, detect, refuse_inside
from transforms.formats.foreign import HEAD
from transforms.formats.kept import Kept, kinds_of
from transforms.formats.line_format import (
    LineFormat,
    header_of,
    mark_size,
    open_quote_error,
    where_is,
)
from transforms.formats.line_kinds import (
    JsonLayout,
    json_layout_of,
    line_kind_of,
    may_be_csv,
    refuse_other_json,
)
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import first_bytes, open_rows
from transforms.kernels.records import blocks
from transforms.kernels.records.lines import line_offsets, open_quote
from transforms.storage import files as storage

_MAY_BE_EMPTY = 1024  # bytes of a compressed file that may hold no record, for all that
_SAMPLE_BYTES = 1 << 16
WINDOW_COUNTED = 8 << 20  # of a decoder's window, in what a process takes anyway
_LARGEST = 1 << 30  # record of JSON, in any run
_PLACES = 8  # of a line file that are looked at
_LAYOUTS = {
    "array": "a .json file that holds an array: each of its elements is a record",
    "values": "a .json file of objects over several lines: each object is a record, on one line",
}


@dataclass(frozen=True)
class Look:
    """What one file looks like.

    Attributes:
        format: what it is.
        compression: of a Parquet or Arrow file, or the codec of lines; None where that is not known.
        schema: of rows.
        header: of lines.
        records: how many it has, where that is known.
        record_bytes: logical bytes of a record, line end included, over those of a sample of
            records; None where none was taken.
        record_tokens: tokens of a row, on average, where they are counted.
        expansion: bytes when decompressed over bytes of the file, of the sample.
        window: bytes that a decoder holds, beyond the usual.
        kept: of rows, the columns that are to be kept beside their text.
        layout: how a ``.json`` file holds its records.
        json: its records are lines of JSON that are to become rows.
        fields: of JSON lines of which some are wanted, those of a sample of records; None where none
            was taken.
        notes: what of it is read as something else than the file says.
    """

    format: FileFormat
    compression: str | None
    schema: pa.Schema | None = None
    header: bytes = b""
    records: int | None = None
    record_bytes: float | None = None
    record_tokens: float | None = None
    expansion: float = 1.0
    window: int = 0
    kept: pa.Schema | None = None
    fields: Fields | None = None
    layout: JsonLayout = "lines"
    json: bool = False
    notes: tuple[str, ...] = ()


def look_at(
    file: SourceFile,
    recipe: Recipe,
    keep: Sequence[str],
    *,
    sample: bool,
    text: str | None = None,
) -> Look:
    """Look at a file's beginning, and for estimates at a sample of its records.

    Args:
        file: that is looked at.
        recipe: by which it is read.
        keep: names of what is kept beside its texts, or beside whole records.
        sample: look at some records.
        text: where the text beside whole records is; None where nobody named it.

    Raises:
        InputError: it isn't what its name says, is broken, or can't be read as the recipe says.
    """
    with storage.open_read(file.url) as opened:
        found = file.format or detect(opened, name=file.url, size=file.size, said=recipe.format)
        if not found.is_rows:
            named = text or required_text(recipe)
            return _look_at_lines(opened, file, found, recipe, keep, sample=sample, text=named)
        return _look_at_rows(opened, file, found, recipe, keep, sample=sample, text=text)


def _look_at_lines(
    opened: Any,
    file: SourceFile,
    found: FileFormat,
    recipe: Recipe,
    keep: Sequence[str],
    *,
    sample: bool,
    text: str | None,
) -> Look:
    if file.size:
        require_ids(None, recipe.counted_column, name=file.url)
    separator, wanted = ord(recipe.separator), recipe.header_lines
    quoted = recipe.format == "csv"
    form = LineFormat(separator=separator, header_lines=wanted, quoted=quoted)
    codec = found.codec
    expansion, record_bytes, header, records = 1.0, None, b"", None
    layout: JsonLayout = "lines"
    json = False
    fields: Fields | None = None
    begin = behind_skippable(opened, opened.read(64) or b"", file.size)
    window = 0 if codec is None else max(codec.window_of(begin) - WINDOW_COUNTED, 0)
    opened.seek(0)
    stream = opened if codec is None else compressed.reader(opened, codec, file.url)
    try:
        begin = bytes(storage.read_from(stream, 0, HEAD))
        as_they_are = file.told is not None or recipe.format == "lines"
        if codec is not None and not as_they_are:
            refuse_inside(begin, name=file.url)
        mark = 0 if as_they_are else mark_size(begin, separator)
        if wanted:
            stream.seek(0)
            header = header_of(stream, line_format=form, skip=mark, name=file.url)
            form = replace(form, header=header)
        if codec is not None and file.size <= _MAY_BE_EMPTY:
            beside = mark + len(header)
            records = 0 if len(storage.read_from(stream, 0, beside + 1)) <= beside else None
        if not file.told and recipe.format == "auto":
            layout = json_layout_of(opened, name=file.url, codec=codec, line_format=form)
            if sample and separator == ord("\n") and not wanted:
                refuse_other_json(opened, name=file.url, codec=codec)
        if recipe.text_field is None and recipe.output_format not in (None, "lines"):
            kind = line_kind_of(opened, name=file.url, codec=codec, line_format=form)
            json = recipe.check == "json" or kind == "json"
        if sample:
            plain = (keep or text) and (
                line_kind_of(opened, name=file.url, codec=codec, line_format=form) == "plain"
            )
            if keep and plain and file.size:
                raise InputError(
                    f"{file.url}: expected JSON lines or rows with fields for "
                    f"--keep_fields={','.join(keep)}, got plain lines"
                )
            opened.seek(0)
            if codec is not None:
                expansion = compressed.sample_ratio(opened, codec, file.url)
            if layout == "lines":
                # where a field only has to be there, the first place says enough
                places = 1 if recipe.text_field is not None and not keep else _PLACES
                record_bytes, fields = _sample_lines(
                    opened,
                    file,
                    codec,
                    form,
                    recipe,
                    mark=mark,
                    fields_of=places if (keep or text) and not plain else 0,
                )
            else:
                first = _first_records(opened, file, codec, layout)
                record_bytes = sum(len(r) + 1 for r in first) / max(len(first), 1) or None
                fields = kinds_of(first) if keep or text else None
    except DataError as error:
        raise InputError(str(error)) from error
    return Look(
        found,
        compression=codec.name if codec else "none",
        header=header,
        records=records,
        record_bytes=record_bytes,
        expansion=expansion,
        window=window,
        fields=fields,
        layout=layout,
        json=json,
        notes=(_LAYOUTS[layout],) if layout in _LAYOUTS else (),
    )


def _sample_lines(
    opened: Any,
    file: SourceFile,
    codec: Codec | None,
    form: LineFormat,
    recipe: Recipe,
    *,
    mark: int,
    fields_of: int,
) -> tuple[float | None, Fields | None]:
    """Return the mean bytes of some lines, ends included, and the fields of those at the first places.

    ``fields_of`` says how many places; 0 for no fields.

    Raises:
        InputError: rows of CSV go on in the next line, as the first ones show.
    """
    opened.seek(0)
    stream = opened if codec is None else compressed.reader(opened, codec, file.url)
    places = 1 if codec is not None or file.size <= _PLACES * _SAMPLE_BYTES else _PLACES
    begin = [file.size * i // places for i in range(places)]
    pieces = {at: bytes(storage.read_from(stream, at, _SAMPLE_BYTES)) for at in begin}
    begins = mark + len(form.header)
    if recipe.format == "auto" and may_be_csv(file.url, form):
        _refuse_torn_rows(pieces[0], mark, form.separator, name=file.url)
    fields = None
    if fields_of:
        some = dict(islice(pieces.items(), fields_of))
        fields = fields_in(stream, some, skip=begins, separator=form.separator)
    seen = sum(map(len, pieces.values()))
    ended = sum(piece.count(bytes([form.separator])) for piece in pieces.values())
    return (seen / max(ended, 1) if seen else None), fields


def _first_records(
    opened: Any, file: SourceFile, codec: Codec | None, layout: JsonLayout
) -> list[bytes]:
    """Return the first records of JSON that isn't lines."""
    options = ReadOptions(chunk_bytes=_SAMPLE_BYTES, record_limit=_LARGEST)
    task = ReadTask(name=file.url, size=file.size, stop=file.size, codec=codec, options=options)
    reader = json_files.Reader(opened, task, layout=layout)
    return next((blocks.records(found.block) for found in reader if len(found.block)), [])


def _refuse_torn_rows(piece: bytes, begins: int, separator: int, *, name: str) -> None:
    """Raise InputError where a line at the beginning of a file of CSV ends inside quotes, its header's
    too.
    """
    values = np.frombuffer(piece[begins:], np.uint8)
    offsets = line_offsets(values, separator)
    line = open_quote(values, offsets)
    if line is not None:
        place = begins + int(offsets[line])
        where = where_is(io.BytesIO(piece), place, separator=separator)
        raise InputError(f"{name}: {open_quote_error(where)}")


def _look_at_rows(
    opened: Any,
    file: SourceFile,
    found: FileFormat,
    recipe: Recipe,
    keep: Sequence[str],
    *,
    sample: bool,
    text: str | None,
) -> Look:
    if recipe.header_lines:
        raise InputError(
            f"{file.url}: expected lines, because --header_lines is for lines, got {found.word}"
        )
    kept = Kept(names=tuple(keep)) if keep else None
    options = ReadOptions(text_field=recipe.text_field, kept=kept)
    task = ReadTask(name=file.url, size=file.size, stop=file.size, options=options)
    try:
        reader = open_rows(opened, task, found)
        counted = recipe.counted_column
        require_ids(reader.schema, counted, name=file.url)
        seen = reader.look(sample=sample, lists=counted)
        columns = None
        if kept is not None and recipe.text_field is None:
            columns = kept.columns(reader.schema, text="", name=file.url)
        elif kept is not None:
            columns = pa.schema(list(reader.schema)[1:])
        if text:
            RowColumns(reader.schema, text=text, name=file.url)  # raises
    except DataError as error:
        raise InputError(str(error)) from error
    return Look(found, schema=reader.schema, kept=columns, **seen._asdict())


def shared_field(looks: Mapping[SourceFile, Look]) -> str | None:
    """Return a field of text that the first record of every file of lines, and the schema of every
    file of rows, has; None where there is none.
    """
    shared: list[str] | None = None
    for file, look in looks.items():
        mine = _text_fields(file, look) if file.size else shared
        shared = mine if shared is None else [name for name in shared if name in (mine or ())]
        if shared == []:
            return None
    return None if not shared else "text" if "text" in shared else shared[0]


def _text_fields(file: SourceFile, look: Look) -> list[str]:
    if look.schema is not None:
        return [
            field.name
            for field in look.schema
            if pt.is_string(field.type) or pt.is_large_string(field.type)
        ]
    with storage.open_read(file.url) as opened, contextlib.suppress(DataError, ValueError):
        begin = first_bytes(opened, _SAMPLE_BYTES, name=file.url, codec=look.format.codec)
        found = orjson.loads(begin.partition(b"\n")[0])
        if isinstance(found, dict):
            return [name for name, value in found.items() if isinstance(value, str)]
    return []
