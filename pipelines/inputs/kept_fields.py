"""What is kept beside the text: which columns it becomes, found before any work starts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.types as pt

from pipelines.recipes.recipe import Recipe
from transforms.errors import DataError, InputError, nearest
from transforms.formats.kept import EVERY, JsonKind, Kept, common_kind, kinds_of, schema_of
from transforms.formats.schemas import unify_files
from transforms.formats.text_field import TextField
from transforms.kernels.records.rows import carried_type
from transforms.storage import files as storage

_NAMED = 8  # fields that a message names
_LONGEST = 64 << 20  # first line of a file that is looked at whole

Fields = dict[str, JsonKind | None]
"""Fields of a file's JSON lines, as far as they were looked at."""


def fields_in(stream: Any, pieces: Mapping[int, bytes], *, skip: int, separator: int) -> Fields:
    """Return the fields of the JSON lines that lie whole in pieces of a file, else of its first one.

    Args:
        stream: the file, decompressed; is read where a piece holds no whole line.
        pieces: bytes by where they begin.
        skip: bytes at the file's beginning that are no records.
        separator: the byte that ends a line.
    """
    end = bytes([separator])
    found: list[bytes] = []
    for place, piece in pieces.items():
        lines = piece[max(skip - place, 0) :].split(end)
        found += lines[0 if place <= skip else 1 : -1]
    return kinds_of(found or [_first_line(stream, skip, end)])


def _first_line(stream: Any, skip: int, end: bytes) -> bytes:
    """Return a file's first line, or its beginning where it is very long."""
    size = 1 << 16
    while True:
        stream.seek(skip)
        data = bytearray(size)
        found = bytes(data[: storage.read_into(stream, memoryview(data))])
        if end in found or len(found) < size or size >= _LONGEST:
            return found.partition(end)[0]
        size *= 4


def settle(
    names: Sequence[str], *, rows: Mapping[str, pa.Schema], lines: Mapping[str, Fields]
) -> Kept:
    """Say which columns the fields to be kept become, the same for all files.

    Args:
        names: that were asked for, or ``EVERY``.
        rows: by URL of files of rows, the columns that would be kept, in order.
        lines: by URL of files of JSON lines, those of their fields that were seen.

    Raises:
        InputError: files disagree, no JSON line that was looked at has a field, or all of them were
            asked for, which nobody knows before reading them all.
    """
    schema: pa.Schema | None = None
    first = ""
    if rows:
        try:
            schema = unify_files(rows, what="the schema of the columns to be kept")
        except DataError as error:
            raise InputError(f"--keep_fields={','.join(names)}: {error}") from error
        first = next(iter(rows))
    if not lines:
        return Kept(names=tuple(names), schema=schema)
    if tuple(names) == EVERY:
        seen = list(dict.fromkeys(name for fields in lines.values() for name in fields))
        raise InputError(
            f"--keep_fields=*: {next(iter(lines))} holds JSON lines, whose fields are known "
            "only after all of them are read; name the fields to keep, such as "
            f"{','.join(seen[:_NAMED])}"
        )
    kinds: dict[str, JsonKind] = {}
    for name in names:
        kind = _kind_in(name, lines)
        if schema is not None:
            kind = _kind_of(schema.field(name), kind, rows=first, lines=next(iter(lines)))
        kinds[name] = kind or "json"
    return Kept(names=tuple(names), schema=schema or schema_of(kinds), kinds=tuple(kinds.values()))


def required_text(recipe: Recipe) -> str | None:
    """Return the text field that a run ends without; None where records may lack it, or are whole."""
    return recipe.text_field if recipe.on_bad_record == "fail" else None


def require_text(text: str, lines: Mapping[str, Fields], *, everywhere: bool) -> None:
    """Raise InputError where JSON lines that were looked at don't have the fields that hold the text.

    Args:
        text: as of ``TextField``.
        lines: as of ``settle``.
        everywhere: whether some records of every file have to have them, or those of one are enough.
    """
    every = [field for fields in lines.values() for field in fields]
    groups = [("", every)]
    if everywhere and len(lines) > 1:
        groups += [(f"{file}: ", list(fields)) for file, fields in lines.items()]
    for (where, seen), name in itertools.product(groups, TextField.parse(text).names):
        if seen and not {name, name.partition(".")[0]} & {*seen}:
            raise InputError(
                f"{where}--text_field={text}: no record that was looked at has a field {name}; they "
                f"have {', '.join(list(dict.fromkeys(seen))[:_NAMED])}{nearest(name, seen)}"
            )


def named_by_flags(error: str, names: Mapping[str, str]) -> str:
    """Say in an error by which flags fields are asked for that are read as those that are kept are.

    Args:
        error: as of ``settle`` and ``look_at``.
        names: of the fields, by flag: ``{"site": "--split_by"}``.
    """
    flags = dict.fromkeys(names.values())
    every = " ".join(
        f"{flag}={','.join(name for name, of in names.items() if of == flag)}" for flag in flags
    )
    error = error.replace(f"--keep_fields={','.join(names)}", every)
    for name, flag in names.items():
        error = error.replace(f"--keep_fields={name}", f"{flag}={name}")
        error = error.replace(f"a column {name}, to keep it", f"a column {name}, for {flag}")
    return error


def _kind_in(name: str, lines: Mapping[str, Fields]) -> JsonKind | None:
    """Return the kind of a field that all files of JSON lines agree on."""
    seen = [field for fields in lines.values() for field in fields]
    if seen and name not in seen:  # where there are no records at all, nothing is known
        raise InputError(
            f"--keep_fields={name}: no record that was looked at has this field; they have "
            f"{', '.join(list(dict.fromkeys(seen))[:_NAMED])}{nearest(name, seen)}"
        )
    kind: JsonKind | None = None
    first = ""
    for url, fields in lines.items():
        mine = fields.get(name)
        both = common_kind(kind, mine)
        if both is None and mine is not None:
            raise InputError(
                f"--keep_fields={name}: a column has one type, but the field holds {kind} in "
                f"{first} and {mine} in {url}; convert one of them, or process them in "
                "separate runs"
            )
        first = first if mine is None or first else url
        kind = both
    return kind


def _kind_of(field: pa.Field, kind: JsonKind | None, *, rows: str, lines: str) -> JsonKind:
    """Return the kind that JSON lines' values must have to go into a column of rows."""
    of = carried_type(field.type)
    text = pt.is_string(of) or pt.is_large_string(of)
    column: JsonKind | None = "text" if text else _KINDS.get(of)
    if column is None or kind not in (None, column, *(("integer",) if column == "number" else ())):
        raise InputError(
            f"--keep_fields={field.name}: a column has one type, but the field holds "
            f"{field.type} in {rows} and {kind or 'null'} in {lines}; process them in "
            "separate runs"
        )
    return column


_KINDS: dict[pa.DataType, JsonKind] = {
    pa.int64(): "integer",
    pa.float64(): "number",
    pa.bool_(): "boolean",
}
