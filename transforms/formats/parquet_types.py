"""Parquet's own types that Arrow has none for: annotations that it drops, and INT96 timestamps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.kernels.records.arrow_values import elements

_REFUSED = {
    "Interval": "Arrow reads INTERVAL as 12 bytes without meaning; cast it to numbers of months, days "
    "and milliseconds",
    "Geometry": "Arrow drops GEOMETRY, and the coordinate system with it; cast it to WKB in a plain "
    "binary column",
    "Geography": "Arrow drops GEOGRAPHY, and the coordinate system with it; cast it to WKB in a plain "
    "binary column",
    "Variant": "Arrow reads VARIANT as a struct of bytes; cast it to a typed column, or to JSON text",
    "Undefined": (
        "the installed Arrow is older than this type and doesn't know it; cast the column to an "
        "older type"
    ),
}
"""Annotations without which values can't be understood, and what to do."""

_NOTED = ("Enum", "BSON")
"""Annotations without which values are the bytes that they were."""

_GROUP = re.compile(r"^( *)\w+ group field_id=-?\d+ (.*?)(?: \((\w+)\b.*\))? \{$")
_SECOND, _LIMIT = 10**9, (1 << 63) // 10**6 - 1
INT96_UNIT = "us"
"""INT96 timestamps are read in microseconds: nanoseconds would hold 1677 to 2262 alone."""


def require_known(parquet: pq.ParquetFile, columns: Sequence[str] | None, *, name: str) -> None:
    """Raise DataError, naming file and column, where Arrow drops what a column's values mean.

    Args:
        parquet: the file.
        columns: that are read; None for all.
        name: of the file.
    """
    for path, annotation in _annotations(parquet.schema):
        if annotation in _REFUSED and is_read(path, columns):
            raise DataError(
                f"{name}: column {path} can't be kept: {_REFUSED[annotation]}, or leave it out"
            )


def dropped(parquet: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
    """Say which annotations are dropped of columns whose values are the bytes that they were."""
    return [
        f"column {path}: Parquet's {annotation.upper()} is read as binary, and written without this "
        "annotation"
        for path, annotation in _annotations(parquet.schema)
        if annotation in _NOTED and is_read(path, columns)
    ]


def is_read(path: str, columns: Sequence[str] | None) -> bool:
    """Say whether a path in a schema is that of a column, or of what is nested in it."""
    return columns is None or any(path == c or path.startswith(c + ".") for c in columns)


def _annotations(schema: Any) -> Iterator[tuple[str, str]]:
    """Yield paths and annotations of groups, which pyarrow shows as text alone, and of columns."""
    above: list[str] = []
    for line in str(schema).splitlines():
        match = _GROUP.match(line)
        if match:
            depth = len(match[1]) // 2
            above[max(depth - 1, 0) :] = [match[2]] if depth else []
            yield ".".join(above), match[3] or ""
    for i in range(len(schema.names)):
        column = schema.column(i)
        yield column.path, str(column.logical_type).partition("(")[0]


def require_microseconds(
    seconds: pa.RecordBatch, nanoseconds: pa.RecordBatch, *, name: str
) -> None:
    """Raise DataError where an INT96 timestamp isn't one of whole microseconds.

    Args:
        seconds, nanoseconds: INT96 columns read twice, rounded down, and mod 2**64.
        name: of the file.
    """
    for i, column in enumerate(seconds.schema.names):
        pairs = zip(_instants(seconds.column(i)), _instants(nanoseconds.column(i)), strict=True)
        for s, ns in pairs:
            _require_whole(s, ns, column=column, name=name)


def _require_whole(s: Any, ns: Any, *, column: str, name: str) -> None:
    rest = ns.view(np.uint64) - s.view(np.uint64) * np.uint64(_SECOND)  # both wrap around
    far = np.abs(s) > _LIMIT
    bad = far | (rest >= _SECOND) | (rest % np.uint64(1000) != 0)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        got = f"a time of day to {int(rest[place]) % 1000} ns, {int(s[place])} s after 1970"
        raise DataError(
            f"{name}: column {column}: expected INT96 timestamps that microseconds hold, got "
            f"{'one in a year beyond 290,000' if far[place] else got}; write the column as TIMESTAMP "
            "in the unit that it needs, instead of INT96"
        )


def _instants(array: pa.Array) -> Iterator[Any]:
    """Yield the int64[n] of all timestamps in an array, zeros for nulls, however deep they lie."""
    if pt.is_timestamp(array.type):
        yield array.cast(pa.int64()).fill_null(0).to_numpy()
    elif pt.is_struct(array.type):
        for i in range(array.type.num_fields):
            yield from _instants(array.field(i))
    elif pt.is_nested(array.type):
        yield from _instants(elements(array)[0])
