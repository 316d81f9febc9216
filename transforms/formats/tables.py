"""What Parquet and Arrow files share: batches to blocks of rows, and rows to batches of fixed cut."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.formats.found import Found
from transforms.formats.limits import TooLarge
from transforms.kernels import blocks, checks, memory
from transforms.kernels.digest import I64, Digest
from transforms.kernels.repeats import repeat_costs
from transforms.kernels.rows import (
    Dictionaries,
    carried_schema,
    describe_difference,
    restore,
    to_rows,
)
from transforms.kernels.unify import unify
from transforms.kernels.values import is_bytes, plain_width, row_costs, row_sizes

_MOST_ROWS = 1 << 17  # of a block: rows of no columns' worth must not make endless ones


FAULTS = (
    pa.ArrowException,
    OSError,
    ValueError,
    RuntimeError,
    EOFError,
    LookupError,
    ArithmeticError,
    TypeError,
)
"""Damaged bytes make Arrow raise nearly anything."""

_MENDS = {
    "ecrypt": "it is encrypted: decrypt it first, no keys are taken here",
    "Nested data conversions not implemented for chunked": "values inside of lists, structs or maps "
    "have more than 2 GiB in a few rows: write shorter values, or a column that isn't nested",
    "Map keys must be annotated": "Parquet wants a map's keys to be required, and Arrow insists: write "
    "the file with required keys, or as a list of structs",
    "does not represent a whole number of days": "date64 holds whole days alone: cast the column to "
    "timestamp[ms]",
}
_UNREAD = "Arrow doesn't read this: write the file without it, or in types that Arrow reads"


def first_line(error: BaseException) -> str:
    """Return what an error of Arrow's says, without where in Arrow it came up."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def mend(error: BaseException) -> str:
    """Say what to do about a file that Arrow can't read."""
    text = str(error)
    found = next((advice for words, advice in _MENDS.items() if words in text), None)
    if found is None and isinstance(error, pa.ArrowNotImplementedError):
        found = _UNREAD
    return found or "fetch or make the file again"


@contextlib.contextmanager
def faults_named(where: Callable[[], str]) -> Iterator[None]:
    """Raise a DataError that says where it was, and what to do, in the place of Arrow's errors."""
    try:
        yield
    except FAULTS as error:
        raise DataError(f"{where()}: {first_line(error)}; {mend(error)}") from error


def require_schema(
    got: pa.Schema,
    expected: pa.Schema,
    *,
    name: str,
    other: str = "the other files",
    what: str = "its schema",
) -> None:
    """Raise DataError, naming files and columns, where rows don't go into the schema of the others."""
    try:
        both = unify([expected, got])
    except DataError as error:
        raise _unlike(error, name=name, other=other, what=what) from None
    want = carried_schema(expected)
    if carried_schema(both) != want:  # it wasn't looked at when the schema was chosen
        raise DataError(
            f"{name}: {what} holds more than that of {other}: "
            f"{describe_difference(want, carried_schema(got))}; convert the file, or give such files "
            "a run of their own"
        )


def unify_files(schemas: Mapping[str, pa.Schema], *, what: str = "its schema") -> pa.Schema:
    """Return the schema that holds the rows of all files, at least one.

    Raises:
        DataError: they differ in more than form. Names the first file that does, and columns.
    """
    first = next(iter(schemas))
    unified = schemas[first]
    forms: dict[pa.Schema, str] = {}  # far fewer than files
    for name, schema in schemas.items():
        forms.setdefault(schema.remove_metadata(), name)
    for schema, name in forms.items():
        try:
            unified = unify([unified, schema])
        except DataError as error:
            raise _unlike(error, name=name, other=first, what=what) from None
    return unified


def _unlike(error: DataError, *, name: str, other: str, what: str) -> DataError:
    return DataError(
        f"{name}: {what} doesn't go with that of {other}: {error}; rows of one schema can be shuffled "
        "together: convert the file, or leave it out"
    )


def check_schema(schema: pa.Schema, *, name: str) -> None:
    """Raise DataError, naming the file, where rows of a schema can't be carried.

    Raises:
        ValueError: a column's name isn't UTF-8, which is damage.
    """
    try:
        carried_schema(schema)
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def text_column(schema: pa.Schema, column: str, *, name: str) -> pa.Schema:
    """Return the schema of a file's one column of text, as a column of text.

    Binary values are text where they are UTF-8; a column of nulls only holds no text.

    Raises:
        DataError: the file has none or several of that name, or it isn't text; names the nearest.
    """
    if schema.names == LINE.names and column not in LINE.names:
        raise DataError(
            f"{name}: expected a column {column}, to take its text, got {LINE.names[0]} alone, which "
            f"holds whole lines of JSON; shuffle those with --text_field={column} to write their text, "
            "or tokenize the JSON lines themselves"
        )
    field = one_column(schema, column, name=name, why="to take its text")
    found = pa.schema([field])
    kind = carried_schema(found).field(0).type
    if pt.is_null(kind) or pt.is_binary(kind) or pt.is_large_binary(kind):
        return pa.schema([field.with_type(_text_type(kind)).with_nullable(True)])
    if not (pt.is_string(kind) or pt.is_large_string(kind)):
        raise DataError(
            f"{name}: expected text (string) in column {column}, got {field.type}; name a column of "
            "text, or cast it in the input"
        )
    return found


def _text_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of text that lies in memory as values of a type do."""
    if pt.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _text_type(kind.value_type), kind.ordered)
    texts = {pa.large_binary(): pa.large_string(), pa.binary_view(): pa.string_view()}
    is_text = pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind)
    return kind if is_text else texts.get(kind, pa.string())


def take_text(batch: pa.RecordBatch, columns: Sequence[str]) -> pa.RecordBatch:
    """Select the column of text, the first, and those that are kept; binary text becomes text.

    Whether it is UTF-8 has to be looked at afterwards.
    """
    batch = batch.select(columns)
    text = as_text(batch.column(0))
    if text is batch.column(0):
        return batch
    return batch.set_column(0, batch.schema.field(0).with_type(text.type), text)


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


def one_column(schema: pa.Schema, column: str, *, name: str, why: str) -> pa.Field:
    """Return the field of a file's one column of a name; ``why`` is it wanted, for the error.

    Raises:
        DataError: the file has none or several of that name; names the nearest.
    """
    count = len(schema.get_all_field_indices(column))
    if count != 1:
        near = difflib.get_close_matches(column, schema.names, n=1)
        there = f"; did you mean {near[0]}?" if near else ""
        some = ", ".join(schema.names[:8]) or "no columns"
        what = f"got {some}{there}" if not count else f"{count} columns have this name"
        raise DataError(f"{name}: expected a column {column}, {why}: {what}")
    return schema.field(column)


def read_rows(
    batch: pa.RecordBatch, *, name: str, schema: pa.Schema | None = None
) -> pa.StructArray:
    """Return ``to_rows`` of a file's batch; its DataError names the file."""
    try:
        return to_rows(batch, schema)
    except DataError as error:
        raise DataError(f"{name}: {error}; mend the file, or leave it out") from error


def to_blocks(
    batch: pa.RecordBatch,
    *,
    first: int,
    chunk_bytes: int,
    record_limit: int,
    name: str,
    source: int | None,
    schema: pa.Schema | None = None,
    text_known: bool = False,
) -> Iterator[Found]:
    """Make blocks of one batch.

    Args:
        batch: as it was read; nothing in it is trusted.
        first: the first row's number in its file.
        chunk_bytes: about how large a block may get.
        record_limit: the most bytes that a row may take.
        name: of the file, for errors.
        source: index for a ``source`` column.
        schema: in whose types rows are wanted, where they aren't the batch's.
        text_known: whether its text is known to be UTF-8, and its buffers to fit together.

    Raises:
        DataError: a row is larger than ``record_limit``; or as ``to_rows``.
        pa.ArrowInvalid: the batch's buffers don't fit together.
    """
    bad = {} if text_known else checks.bad_rows(batch)
    for begin, end in _cuts(repeat_costs(batch), chunk_bytes):
        yield from _to_blocks(
            read_rows(batch.slice(begin, end - begin), name=name, schema=schema),
            {row - begin: why for row, why in bad.items() if begin <= row < end},
            first=first + begin,
            chunk_bytes=chunk_bytes,
            record_limit=record_limit,
            name=name,
            source=source,
        )


def _to_blocks(
    found: pa.StructArray,
    bad: dict[int, str],
    *,
    first: int,
    chunk_bytes: int,
    record_limit: int,
    name: str,
    source: int | None,
) -> Iterator[Found]:
    costs = row_costs(found)
    if len(costs) and costs.max() > record_limit:
        row = int(costs.argmax())
        raise TooLarge(f"{name}: row {first + row}", size=int(costs[row]), limit=record_limit)
    for begin, end in _cuts(costs, chunk_bytes):
        rows = found.slice(begin, end - begin)
        if memory.is_part(int(costs[begin:end].sum()), memory.held(rows)):
            rows = rows.take(pa.array(np.arange(len(rows))))  # let go of the batch that it is of
        block = blocks.from_rows(
            rows,
            positions=np.arange(first + begin, first + end, dtype=np.uint64),
            source=source,
        )
        mine = {row - begin: why for row, why in bad.items() if begin <= row < end}
        yield Found.sort_out(block, mine)


def _cuts(costs: I64, limit: int) -> Iterator[tuple[int, int]]:
    """Yield [begin, end) of stretches that cost ``limit`` at most, or are of one row."""
    ends = np.cumsum(costs)
    begin, spent = 0, 0
    while begin < len(costs):
        end = int(np.searchsorted(ends, spent + limit, side="right"))
        end = min(max(end, begin + 1), begin + _MOST_ROWS)
        yield begin, end
        begin, spent = end, int(ends[end - 1])


class Recut:
    """Cuts a sequence of rows into batches, the same however it comes in pieces.

    A batch ends with the row that fills it. Its rows are copied together, so that what stands under
    nulls, which no reader sees, doesn't depend on the pieces either.

    Args:
        schema: of the batches.
        batch_bytes, batch_rows: a batch is full with so many logical bytes or rows.
        dictionaries: go on from batch to batch; without them each batch has its own.
    """

    def __init__(
        self,
        schema: pa.Schema,
        *,
        batch_bytes: int,
        batch_rows: int,
        dictionaries: Dictionaries | None = None,
    ) -> None:
        self._schema = schema
        self._bytes = batch_bytes
        # nulls have no logical bytes, but take memory
        empty = pa.nulls(1, pa.struct(carried_schema(schema)))
        self._rows = min(batch_rows, batch_bytes // max(int(row_costs(empty)[0]), 1))
        self._dictionaries = dictionaries
        self._pieces: list[pa.StructArray] = []
        self._held_bytes = self._held_rows = 0

    def add(self, found: pa.StructArray) -> Iterator[pa.RecordBatch]:
        """Take rows; yield the batches that they fill."""
        ends = np.cumsum(row_sizes(found))
        begin = 0
        while begin < len(found):
            before = int(ends[begin - 1]) if begin else 0
            full = int(np.searchsorted(ends, before + self._bytes - self._held_bytes)) + 1
            full = min(full, begin + self._rows - self._held_rows)
            end = min(full, len(found))
            self._pieces.append(found.slice(begin, end - begin))
            self._held_rows += end - begin
            self._held_bytes += int(ends[end - 1]) - before
            if end == full:
                yield self._batch()
            begin = end

    def rest(self) -> Iterator[pa.RecordBatch]:
        """Yield what is left, if anything."""
        if self._held_rows:
            yield self._batch()

    def _batch(self) -> pa.RecordBatch:
        joined = pa.concat_arrays(self._pieces)
        self._pieces.clear()
        self._held_bytes = self._held_rows = 0
        if not _shows_all(joined):
            joined = joined.take(pa.array(np.arange(len(joined))))
        return restore(joined, self._schema, self._dictionaries)


def _shows_all(rows: pa.StructArray) -> bool:
    """Return whether every byte of rows that were joined is one that a reader sees.

    Bools don't count: the last byte of their bits has some that nobody sees.
    """
    children = [rows.field(i) for i in range(rows.type.num_fields)]
    return not rows.null_count and all(map(_shows_all_values, children))


def _shows_all_values(values: pa.Array) -> bool:
    if values.null_count or pt.is_boolean(values.type):
        return False
    if pt.is_list(values.type):  # joined lists keep no elements that none of them has
        return len(values.flatten()) == len(values.values) and _shows_all_values(values.values)
    return bool(plain_width(values.type) or is_bytes(values.type))


def text_rows(block: pa.RecordBatch, schema: pa.Schema) -> pa.StructArray:
    """Make rows of one column, as a schema calls it, of a block of lines, without their terminators."""
    text = blocks.bare(block)
    return pa.StructArray.from_arrays([text.view(pa.large_string())], names=schema.names)


def text_digest(block: pa.RecordBatch) -> Digest:
    """Digest rows of one column ``text`` as the lines that they were."""
    lines = pa.RecordBatch.from_arrays(
        [block.column("record").field(0).cast(pa.large_binary())],
        schema=pa.schema([blocks.record_field(b"")]),
    )
    return blocks.digests(lines, sources=1)[0]


TEXT = pa.schema([pa.field("text", pa.large_string())])
"""The schema of lines that are written as rows."""

LINE = pa.schema([pa.field("line", pa.large_string())])
"""The schema of lines of JSON that are written as rows: they are no text, but hold one."""
