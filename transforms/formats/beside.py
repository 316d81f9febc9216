"""What is read beside whole records: the text of each, and fields, for who decides by them.

The records stay as they are, byte for byte. Beside each, in the block's ``kept`` column, stands first
its text (``OWN_TEXT``), then the fields that were asked for, each by its name. Lines that are no JSON
have nothing beside them: such a line is its own text.

Where nobody names the text, it is a string field ``text`` of a JSON object, or a column ``text`` of
rows; a record without one has none, and is no bad record. Where it is named, every record has to have
it, as when texts are read alone (``texts``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.formats import texts
from transforms.formats.columns import RowColumns
from transforms.formats.line_kinds import LineKind
from transforms.formats.readers import Beside, Found, Reader, ReadTask
from transforms.kernels.records import find_bad
from transforms.kernels.records.contents import OWN_TEXT, TEXT, may_be_text


@dataclass
class BesideReader:
    """Reads whole records, and what is looked at beside them; all else is the inner reader's.

    Attributes:
        inner: of JSON lines, or of rows.
        kind: of lines; None for rows.
        task: the span, and how to read it, with ``beside``.
    """

    inner: Reader
    kind: LineKind | None
    task: ReadTask

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found, what is bad as it stands in the file; errors as of the inner reader."""
        for block, bad, reasons in self.inner:
            if bad is not None:
                empty = next(self._look(block.slice(0, 0))).block
                yield Found(empty, bad, reasons)
            yield from self._look(block)

    def _look(self, block: pa.RecordBatch) -> Iterator[Found]:
        options = self.task.options
        assert options.beside is not None
        for found, whole in look_beside(block, self.kind, options.beside, name=self.task.name):
            yield found.validated(options.validate, whole)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def look_beside(
    block: pa.RecordBatch, kind: LineKind | None, beside: Beside, *, name: str
) -> Iterator[tuple[Found, pa.RecordBatch]]:
    """Look at whole records: yield what is found of pieces of a block, with the piece itself.

    Args:
        block: of lines of a kind, or of rows (None).
        kind: of the lines.
        beside: what is looked at.
        name: of the file, for errors.
    """
    nothing = beside.text_field == "" and beside.fields is None
    if kind == "plain" or (kind is not None and nothing):
        yield Found(block), block
    elif kind is None:
        yield _of_rows(block, beside, name=name), block
    else:
        for piece in texts.pieces(block, beside.fields):
            yield _of_json(piece, beside), piece


def _of_json(block: pa.RecordBatch, beside: Beside) -> Found:
    if not beside.text_field:
        taken = texts.take_if_any(block, field=TEXT, kept=beside.fields)
        if beside.text_field == "":
            taken = taken._replace(texts=_no_texts(len(taken.texts)))
    else:
        taken = texts.take_json(block, field=beside.text_field, kept=beside.fields)
    good, bad, reasons = Found.sort_out(block, taken.bad)
    return Found(_with_beside(good, taken.texts, taken.kept), bad, reasons)


def _of_rows(block: pa.RecordBatch, beside: Beside, *, name: str) -> Found:
    record = block.column("record")
    schema = pa.schema(list(record.type))
    kept = None
    if beside.fields is not None:
        fields = list(beside.fields.columns(schema, text=OWN_TEXT, name=name))
        kept = pa.StructArray.from_arrays([record.field(f.name) for f in fields], fields=fields)
    field = beside.text_field
    if field == "":
        return Found(_with_beside(block, _no_texts(len(block)), kept))
    if field is None:
        at = record.type.get_field_index(TEXT)
        if at < 0 or not may_be_text(record.type.field(at).type):
            return Found(
                block if kept is None else _with_beside(block, _no_texts(len(block)), kept)
            )
        field = TEXT
    columns = RowColumns(schema, text=field, name=name)
    taken = columns.take(pa.RecordBatch.from_struct_array(record))
    bad = find_bad.bad_rows(taken)
    found = taken.column(0)
    if beside.text_field is None:  # such a text is none
        if bad:
            fit = np.ones(len(found), bool)
            fit[list(bad)] = False
            found = found.filter(pa.array(fit)).take(_places(fit))
        return Found(_with_beside(block, found, kept))
    missing = np.flatnonzero(found.is_null().to_numpy(zero_copy_only=False))
    reason = texts.missing_text(field)
    bad |= {place: reason for place in missing.tolist() if place not in bad}
    good, rest, reasons = Found.sort_out(_with_beside(block, found, kept), bad)
    if rest is not None:
        rest = rest.drop_columns(["kept"])
    return Found(good, rest, reasons)


def _no_texts(count: int) -> pa.Array:
    return pa.nulls(count, pa.large_string())


def _places(fit: Any) -> pa.Array:
    """Return int64[n], where each of the fit stands among them, null for others."""
    return pa.array(np.cumsum(fit) - 1, mask=~fit)


def _with_beside(
    block: pa.RecordBatch, found: pa.Array, kept: pa.StructArray | None
) -> pa.RecordBatch:
    fields = [] if kept is None else list(kept.type)
    children = [] if kept is None else [kept.field(i) for i in range(len(fields))]
    text = found if found.type == pa.large_string() else found.cast(pa.large_string())
    beside = pa.StructArray.from_arrays(
        [text, *children], fields=[pa.field(OWN_TEXT, pa.large_string()), *fields]
    )
    return block.append_column("kept", beside)
