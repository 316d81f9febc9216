"""Small files of lines, or of texts, read together: a reader for each costs a millisecond.

Only what is nothing but lines is read so: whatever is compressed, checked and found bad, marked or
blank goes to the reader of its format, which knows what to do with it, and what to say.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa

from transforms.errors import DovetailError
from transforms.formats.beside import look_beside
from transforms.formats.detection import FileFormat, detect
from transforms.formats.line_format import BOM
from transforms.formats.line_kinds import line_kind_of, may_be_csv
from transforms.formats.readers import Found, ReadOptions
from transforms.formats.reading import json_layout_in, line_rules
from transforms.formats.texts import texts_of
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records import blocks, find_bad
from transforms.kernels.records.lines import line_offsets

SMALL = 1 << 16
"""Bytes of a file that may be read with others."""
_ROWS = 1 << 17  # of a block

Kind = Literal["lines", "json", "plain"]
"""What a file's records are: its lines; where texts are taken of them, JSON or plain ones."""
_LINES = FileFormat("lines")


class SmallFile(NamedTuple):
    """A file's name, what it is told to be, and all its bytes."""

    name: str
    told: FileFormat | None
    data: bytes


class Joined(NamedTuple):
    """A block of several files' records; of each file, int64[n], how many, and what they cover."""

    block: pa.RecordBatch
    rows: I64
    covered: I64


def may_be_small(options: ReadOptions) -> bool:
    """Say whether files can be read together at all, by what is asked of them."""
    line_format = options.line_format
    beside = options.beside
    kept = options.kept if beside is None else beside.fields
    if options.text_field is None and beside is None and options.validate is not None:
        return False
    known = kept is None or kept.kinds is not None
    return known and not (options.rows or line_format.quoted or line_format.header)


def kind_of(file: SmallFile, options: ReadOptions) -> Kind | None:
    """Say what a file's records are where it holds lines and nothing beside, else None."""
    if file.data.startswith(BOM):
        return None
    if options.format != "lines" and may_be_csv(file.name, options.line_format):
        return None
    data = io.BytesIO(file.data)
    try:
        found = file.told or detect(data, name=file.name, size=len(file.data), said=options.format)
        told = file.told is not None
        layout = json_layout_in(data, name=file.name, codec=None, options=options, told=told)
        if found != _LINES or layout != "lines":
            return None
        if options.text_field is None and options.beside is None:
            return "lines"
        kind = line_kind_of(data, name=file.name, codec=None, line_format=options.line_format)
        kept = options.kept if options.beside is None else options.beside.fields
        return None if kind == "plain" and kept is not None else kind
    except DovetailError:  # the reader says it once more
        return None


def read_joined(
    files: Sequence[SmallFile], kind: Kind, options: ReadOptions, *, source: int | None
) -> Joined | None:
    """Read the records of files of one kind; None where some of them want a reader of their own.

    Args:
        files: as ``kind_of`` takes them.
        kind: what their records are.
        options: what all readers are told.
        source: index for a ``source`` column.
    """
    end = bytes([options.line_format.separator])
    parts, sizes, covered = [], [], []
    for file in files:
        parts.append(file.data)
        missing = bool(file.data) and not file.data.endswith(end)
        if missing:
            parts.append(end)
        sizes.append(len(file.data) + missing)
        covered.append(len(file.data))
    values = np.frombuffer(b"".join(parts), np.uint8)
    offsets = line_offsets(values, end[0])
    begins = offsets_of(sizes)
    rows = np.diff(np.searchsorted(offsets, begins))
    longest = int(np.diff(offsets).max(initial=0))
    if len(offsets) - 1 > _ROWS or longest > options.record_limit:
        return None
    field = options.text_field
    block = blocks.from_buffer(
        values,
        offsets=offsets,
        positions=(offsets[:-1] - np.repeat(begins[:-1], rows)).astype(np.uint64),
        line_end=end,
        source=source if field is None else None,
        hashed=field is None,  # else digests are of the texts
    )
    of_text = None if kind == "lines" else kind
    rules = {line_rules(file.name, of_text, options) for file in files}
    if any(json for _, json in rules) and len(find_bad.blank_lines(block)):
        return None
    if any(find_bad.bad_lines(block, check) for check in {check for check, _ in rules}):
        return None
    made: list[Found] = []
    if of_text is not None and options.beside is not None:
        looked = look_beside(block, of_text, options.beside, name=files[0].name)
        made = [found.validated(options.validate, whole) for found, whole in looked]
    elif of_text is not None:
        made = list(texts_of(block, of_text, options, source=source))
    if made:
        if any(found.bad is not None for found in made):
            return None
        block = pa.concat_batches([found.block for found in made])
    return Joined(block, rows, np.array(covered, np.int64))
