"""Writing a shard, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import pyarrow as pa

from transforms.errors import InputError
from transforms.formats import arrow, lines, parquet, texts
from transforms.formats.codecs import CODECS
from transforms.formats.detection import Kind
from transforms.formats.line_format import LineFormat
from transforms.kernels.arrays import I64, U64

RecordsAre = Literal["lines", "rows", "texts"]


@dataclass(frozen=True, kw_only=True)
class ShardFormat:
    """What shards are.

    Attributes:
        kind: of file.
        compression: a codec of lines, or what the kind of file itself has; ``none`` for none.
        codec_modules: that register users' codecs, imported in every worker.
        line_format: for lines.
        schema: for rows.
        records_are: what is written, ``lines``, ``rows`` or ``texts``; lines may be written as rows,
            texts as JSON lines or as rows.
    """

    kind: Kind = "lines"
    compression: str = "none"
    codec_modules: tuple[str, ...] = ()
    line_format: LineFormat = field(default_factory=LineFormat)
    schema: pa.Schema | None = None
    records_are: RecordsAre = "lines"

    @property
    def is_plain(self) -> bool:
        """Whether the bytes of the records themselves are what is written."""
        return (self.kind, self.compression) == ("lines", "none") and self.records_are != "texts"


def with_column(
    form: ShardFormat, name: str, kind: pa.DataType, *, json: bool = False
) -> ShardFormat:
    """Return what shards are whose records get one more field, as ``kernels.records.attach`` puts it.

    Args:
        form: of shards of the records without it.
        name: of the column, or of the key of JSON lines.
        kind: of its values.
        json: whether lines are JSON.

    Raises:
        InputError: rows have a column of that name, or records are neither rows nor JSON lines.
    """
    if form.records_are == "rows" and form.schema is not None:
        if name in form.schema.names:
            raise InputError(
                f"the input has a column {name!r} already: expected none of that name; choose "
                "another name, or remove the column from the input"
            )
        return replace(form, schema=form.schema.append(pa.field(name, kind)))
    if form.records_are != "lines" or not json:
        raise InputError(
            f"{name!r} can't be attached to plain lines or texts: expected rows (Parquet, Arrow), or "
            "JSON lines, each an object, in files named .jsonl"
        )
    return form


class Writer(Protocol):
    """Writes one shard; see ``transforms.formats``."""

    def write(self, block: pa.RecordBatch) -> tuple[U64, U64, I64] | None:
        """Write a block; return hashes and sizes of the very bytes, None where they are encoded."""

    def close(self) -> None:
        """Write the end."""


def open_writer(sink: Any, form: ShardFormat, *, path: str) -> Writer:
    """Return a writer to a binary file; ``path`` is what errors call it."""
    if form.kind == "lines":
        codec = CODECS.get(form.compression)
        writer = lines.Writer(sink, path=path, line_format=form.line_format, codec=codec)
        return texts.Writer(writer) if form.records_are == "texts" else writer
    if form.kind == "parquet":
        return parquet.Writer(sink, form.schema, compression=form.compression)
    stream = form.kind == "arrow_stream"
    return arrow.Writer(sink, form.schema, compression=form.compression, stream=stream)
