"""Values by key, read of files: tables for AttachColumn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import apache_beam as beam
import orjson
import pyarrow as pa

from transforms.datasets.identity import Origin
from transforms.datasets.read import ReadRecords
from transforms.errors import DataError
from transforms.formats.detection import CANONICAL, extension_of
from transforms.formats.readers import ReadOptions
from transforms.kernels.records import blocks, json_text

_OF_ROWS = (".parquet", ".arrow")


@dataclass(eq=False, kw_only=True)
class ReadValues(beam.PTransform):  # type: ignore[misc]
    """Read values of files for AttachColumn: PBegin -> RecordBatch of keys and values.

    Attributes:
        files: patterns of JSON lines, Parquet or Arrow files, compressed or not.
        key: field or column that holds the ids, or the contents.
        value: the one that holds the values.
        rows: whether they hold rows; None where their names say so.
        options: what the files are read as.
        storage_options: of fsspec, for the stores.
    """

    files: Sequence[str]
    key: str
    value: str
    rows: bool | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    storage_options: dict[str, Any] | None = None

    def expand(self, root: Any) -> Any:
        """Read, take the two."""
        patterns = [str(pattern) for pattern in self.files]
        rows = self.rows
        if rows is None:
            rows = any(CANONICAL.get(extension_of(name)) in _OF_ROWS for name in patterns)
        reading = ReadRecords(
            sources={"values": patterns},
            options=replace(self.options, rows=rows),
            storage_options=self.storage_options,
        )
        names = self.key, self.value
        return (root | reading).blocks | "KeysAndValues" >> beam.MapTuple(
            partial(table_of, names=names)
        ).with_output_types(pa.RecordBatch)


def table_of(origin: Origin, block: pa.RecordBatch, *, names: tuple[str, str]) -> pa.RecordBatch:
    """Take two columns of rows, or fields of JSON lines, as a table.

    Raises:
        DataError: a record has none of them; a line is no JSON object.
    """
    if blocks.is_rows(block):
        record = block.column("record")
        have = record.type.names
        for name in names:
            if name not in have:
                raise DataError(
                    f"{origin.name_of(0)}: expected a column {name}, to attach values, got "
                    f"{', '.join(have[:8])}"
                )
        return pa.RecordBatch.from_arrays([record.field(name) for name in names], names=names)
    columns: list[list[Any]] = [[], []]
    for place, line in enumerate(blocks.records(block)):
        try:
            value, _ = json_text.read(line)
        except json_text.Unreadable as error:
            raise DataError(f"{where(origin, block, place)}: not JSON: {error}") from None
        if not isinstance(value, dict) or not all(name in value for name in names):
            raise DataError(
                f"{where(origin, block, place)}: expected a JSON object with the fields "
                f"{names[0]!r} and {names[1]!r}, got another value or fewer fields"
            )
        columns[0].append(_key_text(value[names[0]]))
        columns[1].append(value[names[1]])
    arrays = [pa.array(columns[0], pa.large_string()), _array(columns[1], origin, block, names[1])]
    return pa.RecordBatch.from_arrays(arrays, names=names)


def _key_text(value: Any) -> str | None:
    """Return a key of JSON as the text by which it is hashed."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()


def _array(values: list[Any], origin: Origin, block: pa.RecordBatch, name: str) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(
            f"{where(origin, block, 0)} and after it: expected values of one type in field "
            f"{name!r}, got several: {error}"
        ) from None


def where(origin: Origin, block: pa.RecordBatch, place: int) -> str:
    """Name a record of a block, for errors."""
    unit = "row" if blocks.is_rows(block) else "the record at byte"
    position = int(blocks.column(block, "position")[place])
    return f"{origin.name_of(place)} of source {origin.source}, {unit} {position}"
