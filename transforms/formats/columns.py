"""Which columns of a file's rows are read: all, or that of the text with those kept beside it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.errors import DataError, nearest
from transforms.formats.kept import Kept
from transforms.formats.schemas import LINE, one_column
from transforms.formats.text_field import TextField
from transforms.kernels.records import find_bad
from transforms.kernels.records.rows import carried_schema


class RowColumns:
    """The columns of a file's rows that are read.

    Args:
        schema: of the file.
        text: a column's name, a path into structs, or a template; None for all columns.
        kept: what is read beside the text.
        name: of the file, for errors.

    Attributes:
        schema: of what is taken; the text, which comes first, is called as ``text`` is.
        paths: columns, and paths into them, to be read for it; None for all.
        wanted: the schema in which it is wanted, the same for all files.

    Raises:
        DataError: there is no such column, it isn't text, or one to be kept is as of ``Kept.columns``.
    """

    def __init__(
        self, schema: pa.Schema, *, text: str | None, kept: Kept | None = None, name: str
    ) -> None:
        self.schema, self.paths = schema, None
        self._place: TextField | None = None  # None for a column as it stands
        self._steps: list[tuple[str, ...]] = []
        if text is not None:
            place = TextField.parse(text)
            if place.is_plain or (place.names == [text] and text in schema.names):
                field, paths = text_column(schema, text, name=name), [text]
            else:
                self._place = place
                self._steps = [_path_of(schema, part, file=name) for part in place.names]
                field, paths = pa.field(text, pa.large_string()), list(map(".".join, self._steps))
            beside = () if kept is None else kept.columns(schema, text=text, name=name)
            self.schema = pa.schema([field, *beside])
            self.paths = list(dict.fromkeys([*paths, *self.schema.names[1:]]))
        self.wanted = self.schema
        if kept is not None and kept.schema is not None:
            self.wanted = pa.schema([self.schema.field(0), *kept.schema])

    def take(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns to be read of a batch; binary text becomes text.

        Whether it is UTF-8 has to be looked at afterwards.

        Args:
            batch: as a file gave it; nothing in it is trusted.

        Raises:
            pa.ArrowInvalid: its buffers don't fit together.
        """
        if self.paths is None:
            return batch
        if self._place is None:
            batch = batch.select(self.schema.names)
            text = as_text(batch.column(0))
            if text is batch.column(0):
                return batch
            return batch.set_column(0, batch.schema.field(0).with_type(text.type), text)
        roots = list(dict.fromkeys(path[0] for path in self._steps))
        find_bad.bad_rows(
            batch.select(roots)
        )  # raises; what isn't UTF-8 is found again in the text
        steps = iter(self._steps)
        parts = [
            _column(batch, next(steps)) if named else pa.scalar(part, pa.large_string())
            for part, named in self._place.parts
        ]
        text = parts[0]
        if len(parts) > 1:
            nothing = pa.scalar("", pa.large_string())
            text = pc.binary_join_element_wise(*parts, nothing, null_handling="emit_null")
        kept = self.schema.names[1:]
        columns = [text, *(batch.column(name) for name in kept)]
        fields = [self.schema.field(0), *(batch.schema.field(name) for name in kept)]
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def text_column(schema: pa.Schema, column: str, *, name: str) -> pa.Field:
    """Return the field of a file's one column of text, as a column of text.

    Binary values are text where they are UTF-8; a column of nulls only holds no text.

    Raises:
        DataError: the file has none or several of that name, or it isn't text; names the nearest.
    """
    if schema.names == LINE.names and column not in LINE.names:
        raise DataError(
            f"{name}: expected a column {column}, to read the text from, got only "
            f"{LINE.names[0]}, which holds whole lines of JSON; shuffle the JSON lines with "
            f"--text_field={column} to write their text, or tokenize the JSON lines themselves"
        )
    field = one_column(schema, column, name=name, why="to read the text from")
    kind = carried_schema(pa.schema([field])).field(0).type
    if pt.is_null(kind) or pt.is_binary(kind) or pt.is_large_binary(kind):
        return field.with_type(_text_type(kind)).with_nullable(True)
    if not (pt.is_string(kind) or pt.is_large_string(kind)):
        raise DataError(
            f"{name}: expected text (string) in column {column}, got {field.type}; pass a column "
            "of text, or cast it in the input"
        )
    return field


def _text_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of text that lies in memory as values of a type do."""
    if pt.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _text_type(kind.value_type), kind.ordered)
    texts = {pa.large_binary(): pa.large_string(), pa.binary_view(): pa.string_view()}
    is_text = pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind)
    return kind if is_text else texts.get(kind, pa.string())


def as_text(array: pa.Array) -> pa.Array:
    """Return values of text as they are, binary ones as text, nulls as text that isn't there.

    Raises:
        pa.ArrowInvalid, pa.lib.ArrowIndexError: views lead out of their buffers.
    """
    if isinstance(array, pa.ExtensionArray):
        return as_text(array.storage)
    to = _text_type(array.type)
    if array.type == to:
        return array
    if pt.is_null(array.type):
        return pa.nulls(len(array), to)
    if pt.is_dictionary(array.type):
        values = as_text(array.dictionary)
        return pa.DictionaryArray.from_arrays(
            array.indices, values, ordered=array.type.ordered, safe=False
        )
    if pt.is_binary_view(array.type):
        array.validate(full=True)  # to cast what leads nowhere would end the process
        array, to = array.cast(pa.large_binary()), pa.large_string()
    return pa.Array.from_buffers(
        to, len(array), array.buffers(), null_count=array.null_count, offset=array.offset
    )


def _path_of(schema: pa.Schema, name: str, *, file: str) -> tuple[str, ...]:
    """Return the steps to a column of text."""
    root, *steps = (name,) if name in schema.names else name.split(".")
    if not steps or root not in schema.names:
        text_column(schema, name, name=file)
        return (name,)
    found = schema.field(root)
    for depth, step in enumerate(steps, 1):
        fields = list(found.type) if pt.is_struct(found.type) else []
        inside = [field for field in fields if field.name == step]
        if len(inside) != 1:
            there = [field.name for field in fields]
            what = ", ".join(there[:8]) or f"no fields: it is {found.type}"
            raise DataError(
                f"{file}: expected a column {name}, to read the text from: "
                f"{'.'.join([root, *steps[: depth - 1]])} has {what}{nearest(step, there)}"
            )
        found = inside[0]
    text_column(pa.schema([found.with_name(name)]), name, name=file)
    return (root, *steps)


def _column(batch: pa.RecordBatch, path: tuple[str, ...]) -> pa.Array:
    """Return a column of text, null where a struct around it is."""
    array = batch.column(path[0])
    for step in path[1:]:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        array = pc.struct_field(array, [step])
    array = as_text(array)
    if pt.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.large_string())
