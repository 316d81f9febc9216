"""Small line files, read together: to open a reader for each costs a millisecond.

Only what is nothing but lines is read so: whatever is compressed, checked and found bad, marked or
blank goes to the reader of its format, which knows what to do with it, and what to say.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import DovetailError
from transforms.formats import lines, texts
from transforms.formats.detection import FileFormat, detect
from transforms.formats.reading import ReadOptions, may_be_csv, shape_in
from transforms.kernels import blocks, checks
from transforms.kernels.lines import line_offsets

SMALL = 1 << 16
"""Bytes of a file that may be read with others."""
_ROWS = 1 << 17  # of a block

I64 = npt.NDArray[np.int64]
_LINES = FileFormat("lines")


class SmallFile(NamedTuple):
    """A file's name, what it is told to be, and all its bytes."""

    name: str
    told: FileFormat | None
    data: bytes


class Together(NamedTuple):
    """A block of several files' lines; and of each, int64[n], how many, and how much they cover."""

    block: pa.RecordBatch
    rows: I64
    covered: I64


def may_be_small(options: ReadOptions) -> bool:
    """Say whether files can be read together at all, by what is asked of them."""
    form = options.line_format
    plain = options.text_field is None and not options.rows and options.judge is None
    return plain and not form.quoted and not form.header


def is_plain(file: SmallFile, options: ReadOptions) -> bool:
    """Say whether a file holds lines and nothing beside."""
    if file.data.startswith(lines.BOM):
        return False
    if options.format != "lines" and may_be_csv(file.name, options.line_format):
        return False
    data = io.BytesIO(file.data)
    try:
        found = file.told or detect(data, name=file.name, size=len(file.data), said=options.format)
        return (
            found == _LINES
            and shape_in(data, found, name=file.name, options=options, told=file.told) == "lines"
        )
    except DovetailError:  # the reader says it once more
        return False


def read_together(
    files: Sequence[SmallFile], options: ReadOptions, *, source: int | None
) -> Together | None:
    """Read the lines of files that are plain; None where some of them want a reader of their own.

    Args:
        files: plain ones.
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
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
    rows = np.diff(np.searchsorted(offsets, begins))
    longest = int(np.diff(offsets).max(initial=0))
    if len(offsets) - 1 > _ROWS or longest > options.record_limit:
        return None
    block = blocks.from_buffer(
        values,
        offsets=offsets,
        positions=(offsets[:-1] - np.repeat(begins[:-1], rows)).astype(np.uint64),
        line_end=end,
        source=source,
    )
    named = options.format != "lines" and any(texts.named_json(file.name) for file in files)
    if (named or options.check == "json") and len(checks.blank_lines(block)):
        return None
    if checks.bad_lines(block, options.check):
        return None
    return Together(block, rows, np.array(covered, np.int64))
