"""What Parquet and Arrow files share: batches to blocks of rows, and rows to batches of fixed cut."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.formats.found import Found
from transforms.kernels import blocks, checks
from transforms.kernels.digest import I64, Digest
from transforms.kernels.repeats import repeat_costs
from transforms.kernels.rows import (
    Dictionaries,
    carried_schema,
    describe_difference,
    restore,
    to_rows,
)
from transforms.kernels.values import is_bytes, plain_width, row_costs, row_sizes

_MOST_ROWS = 1 << 17  # of a block: rows of no columns' worth must not make endless ones


FAULTS = (pa.ArrowException, OSError, ValueError, RuntimeError, EOFError, KeyError, TypeError)
"""Damaged bytes make Arrow raise nearly anything."""


def first_line(error: BaseException) -> str:
    """Return what an error of Arrow's says, without where in Arrow it came up."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def require_schema(
    got: pa.Schema, expected: pa.Schema, *, name: str, other: str = "the other files"
) -> None:
    """Raise DataError, naming files and columns, where a file's schema isn't that of the others."""
    have, want = carried_schema(got), carried_schema(expected)
    if have != want:
        raise DataError(
            f"{name}: its schema isn't that of {other}: {describe_difference(want, have)}; "
            "rows of one schema can be shuffled together: convert the file, or leave it out"
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
    """Return the schema of a file's one column of text.

    Raises:
        DataError: the file has none or several of that name, or it isn't text; names the nearest.
    """
    if schema.names == LINE.names and column not in LINE.names:
        raise DataError(
            f"{name}: expected a column {column}, to take its text, got {LINE.names[0]} alone, which "
            f"holds whole lines of JSON; shuffle those with --text_field={column} to write their text, "
            "or tokenize the JSON lines themselves"
        )
    found = pa.schema([one_column(schema, column, name=name, why="to take its text")])
    kind = carried_schema(found).field(0).type
    if not (pt.is_string(kind) or pt.is_large_string(kind)):
        raise DataError(
            f"{name}: expected text (string) in column {column}, got {found.field(0).type}; name a "
            "column of text, or cast it in the input"
        )
    return found


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


def read_rows(batch: pa.RecordBatch, *, name: str) -> pa.StructArray:
    """Return ``to_rows`` of a file's batch; its DataError names the file."""
    try:
        return to_rows(batch)
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
        schema: that the file declares, where the batch was read in other types.
        text_known: whether its text is known to be UTF-8, and its buffers to fit together.

    Raises:
        DataError: a row is larger than ``record_limit``; or as ``to_rows``.
        pa.ArrowInvalid: the batch's buffers don't fit together.
    """
    bad = {} if text_known else checks.bad_rows(batch)
    carried = pa.struct(carried_schema(batch.schema if schema is None else schema))
    for begin, end in _cuts(repeat_costs(batch), chunk_bytes):
        yield from _to_blocks(
            _as(read_rows(batch.slice(begin, end - begin), name=name), carried),
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
        raise DataError(
            f"{name}: row {first + row} takes {costs[row]} bytes, and the memory given allows "
            f"{record_limit} a record; give more --memory or fewer --direct_num_workers"
        )
    for begin, end in _cuts(costs, chunk_bytes):
        block = blocks.from_rows(
            found.slice(begin, end - begin),
            positions=np.arange(first + begin, first + end, dtype=np.uint64),
            source=source,
        )
        mine = {row - begin: why for row, why in bad.items() if begin <= row < end}
        yield Found.sort_out(block, mine)


def _as(found: pa.StructArray, carried: pa.DataType) -> pa.StructArray:
    return found if found.type == carried else found.cast(carried, safe=False)


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
