"""What Parquet and Arrow files share: batches to blocks of rows, and rows to batches of fixed cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.formats.columns import RowColumns
from transforms.formats.limits import TooLarge
from transforms.formats.readers import Found, ReadTask
from transforms.formats.schemas import require_schema
from transforms.kernels.arrays import I64, cuts, offsets_of
from transforms.kernels.records import arrow_values, blocks, find_bad
from transforms.kernels.records.arrow_values import (
    elements,
    is_bytes,
    plain_width,
    row_costs,
    row_sizes,
)
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.rows import Dictionaries, carried_schema, restore, to_rows

_MOST_ROWS = 1 << 17  # of a block: rows of no columns' worth must not make endless ones


def read_rows(
    batch: pa.RecordBatch, *, name: str, schema: pa.Schema | None = None
) -> pa.StructArray:
    """Return ``to_rows`` of a file's batch; its DataError names the file."""
    try:
        return to_rows(batch, schema)
    except DataError as error:
        raise DataError(f"{name}: {error}; fix the file, or leave it out") from error


class RowsLook(NamedTuple):
    """What a file of rows looks like.

    Attributes:
        compression: of its columns or batches; None where that is not known.
        records: how many it has, where that is known.
        record_bytes: mean logical bytes of its first rows; None where they weren't looked at.
        record_tokens: mean length of a column of lists, where one was asked for and can be known.
        expansion: bytes of the first rows over those that they take in the file.
        notes: what of it is read as something else than the file says.
    """

    compression: str | None
    records: int | None = None
    record_bytes: float | None = None
    record_tokens: float | None = None
    expansion: float = 1.0
    notes: tuple[str, ...] = ()


class RowReader:
    """What readers of Parquet and Arrow share: which columns are read, how batches become blocks.

    Args:
        task: the span, and how to read it.
        record_limit: the most bytes that a row may take.

    Attributes:
        schema: of what is read, when columns are chosen.
    """

    def __init__(self, task: ReadTask, *, record_limit: int) -> None:
        self._task, self._name, self._record_limit = task, task.name, record_limit
        self.blank = self.marks = self.trailing = 0  # of lines alone

    def _choose_columns(self, schema: pa.Schema) -> None:
        """Choose the columns that are read of a file with a schema.

        Raises:
            DataError: it lacks one, or doesn't go with the other files.
        """
        options = self._task.options
        columns = RowColumns(schema, text=options.text_field, kept=options.kept, name=self._name)
        self._columns, self.schema, self._wanted = columns, columns.schema, columns.wanted
        if options.schema is not None:
            require_schema(self._wanted, options.schema, name=self._name)
            self._wanted = options.schema

    def _to_blocks(
        self, batch: pa.RecordBatch, *, first: int, text_known: bool = False
    ) -> Iterator[Found]:
        """Make blocks of one batch.

        Args:
            batch: the columns to be read, as they were read; nothing in it is trusted.
            first: the first row's number in its file.
            text_known: whether its text is known to be UTF-8, and its buffers to fit together.

        Raises:
            DataError: a row is larger than ``record_limit``; or as ``to_rows``.
            pa.ArrowInvalid: the batch's buffers don't fit together.
        """
        chunk_bytes = self._task.options.chunk_bytes
        bad = {} if text_known else find_bad.bad_rows(batch)
        repeated = offsets_of(dictionary_costs(batch))
        for begin, end in cuts(repeated, limit=chunk_bytes, most=_MOST_ROWS):
            found = read_rows(batch[begin:end], name=self._name, schema=self._wanted)
            costs = row_costs(found)
            if len(costs) and costs.max() > self._record_limit:
                row = int(costs.argmax())
                where = f"{self._name}: row {first + begin + row}"
                raise TooLarge(where, size=int(costs[row]), limit=self._record_limit)
            for low, high in cuts(offsets_of(costs), limit=chunk_bytes, most=_MOST_ROWS):
                rows = found[low:high]
                if arrow_values.is_part(int(costs[low:high].sum()), arrow_values.held(rows)):
                    rows = rows.take(pa.array(np.arange(len(rows))))  # let go of their batch
                at = begin + low
                positions = np.arange(first + at, first + begin + high, dtype=np.uint64)
                block = blocks.from_rows(rows, positions=positions, source=self._task.source)
                mine = {row - at: why for row, why in bad.items() if 0 <= row - at < len(rows)}
                yield Found.sort_out(block, mine)

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the records with this digest are."""
        return digest.records


def dictionary_costs(batch: pa.RecordBatch) -> I64:
    """Return int64[n], about the bytes of the dictionaries' values that each row repeats when decoded.

    Those in list views aren't counted.

    Args:
        batch: valid, also in its indices.
    """
    costs = _repeated_costs(batch.to_struct_array())
    return np.zeros(len(batch), np.int64) if costs is None else costs


def _repeated_costs(array: pa.Array) -> I64 | None:
    """Return int64[n], None where there are no dictionaries in an array."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _repeated_costs(array.storage)
    if pt.is_dictionary(kind):
        if not len(array.dictionary):
            return None
        values = pa.RecordBatch.from_arrays([array.dictionary], names=["value"])
        places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        costs = row_costs(to_rows(values))
        # to decode them, Arrow sets the mean aside for each
        return np.asarray(np.maximum(costs, int(costs.mean()))[places])
    if pt.is_struct(kind):
        found = [_repeated_costs(array.field(i)) for i in range(kind.num_fields)]
        counted = [costs for costs in found if costs is not None]
        return np.sum(counted, axis=0, dtype=np.int64) if counted else None
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind) or pt.is_map(kind):
        inner, offsets = elements(array)
        each = _repeated_costs(inner)
        if each is not None:
            ends = offsets_of(each)
            return np.asarray(np.diff(ends[offsets]))
    return None


class RowWriter:
    """Writes rows in batches, cut the same however they come in blocks; lines and texts become rows of
    one column.

    A batch ends with the row that fills it. What stands under nulls, which no reader sees, is left out,
    so that it doesn't depend on the blocks either.

    Args:
        writer: pyarrow's.
        schema: of the file.
        batch_bytes, batch_rows: a batch is full with so many logical bytes or rows.
        dictionaries: go on from batch to batch; without them each batch has its own.
    """

    def __init__(
        self,
        writer: Any,
        schema: pa.Schema,
        *,
        batch_bytes: int,
        batch_rows: int,
        dictionaries: Dictionaries | None = None,
    ) -> None:
        self._writer, self._schema = writer, schema
        self._bytes = batch_bytes
        # nulls have no logical bytes, but take memory
        empty = pa.nulls(1, pa.struct(carried_schema(schema)))
        self._rows = min(batch_rows, batch_bytes // max(int(row_costs(empty)[0]), 1))
        self._dictionaries = dictionaries
        self._pieces: list[pa.StructArray] = []
        self._held_bytes = self._held_rows = 0

    def write(self, block: pa.RecordBatch) -> None:
        """Write a block; what was written is found when it is read back."""
        if blocks.is_rows(block):
            found = block.column("record")
        else:
            text = blocks.bare(block).view(pa.large_string())
            found = pa.StructArray.from_arrays([text], names=self._schema.names)
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
                self._write_held()
            begin = end

    def _write_held(self) -> None:
        pieces, self._pieces = self._pieces, []
        self._held_bytes = self._held_rows = 0
        self.write_rows(pieces)

    def write_rows(self, pieces: list[pa.StructArray]) -> None:
        """Write a batch of rows that came in pieces."""
        joined = pa.concat_arrays(pieces)
        pieces.clear()
        self.write_batch(restore(_without_hidden(joined), self._schema, self._dictionaries))

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Write a batch as it is."""
        self._writer.write_batch(batch)

    def close(self) -> None:
        """Write what is left, and the end."""
        if self._held_rows:
            self._write_held()
        self._writer.close()


def _without_hidden(rows: pa.StructArray) -> pa.StructArray:
    """Return rows that were joined, with those of their columns copied that hold bytes no reader sees.

    Bools are among them: the last byte of their bits has some that nobody sees.
    """
    places = pa.array(np.arange(len(rows)))
    if rows.null_count:
        return rows.take(places)
    columns = [rows.field(i) for i in range(rows.type.num_fields)]
    shown = [column if _shows_all_values(column) else column.take(places) for column in columns]
    return pa.StructArray.from_arrays(shown, fields=list(rows.type))


def _shows_all_values(values: pa.Array) -> bool:
    if values.null_count or pt.is_boolean(values.type):
        return False
    if pt.is_list(values.type):  # joined lists keep no elements that none of them has
        return len(values.flatten()) == len(values.values) and _shows_all_values(values.values)
    return bool(plain_width(values.type) or is_bytes(values.type))


def text_digest(block: pa.RecordBatch) -> Digest:
    """Digest rows of one column ``text`` as the lines that they were."""
    lines = pa.RecordBatch.from_arrays(
        [block.column("record").field(0).cast(pa.large_binary())],
        schema=pa.schema([blocks.record_field(b"")]),
    )
    return blocks.digests(lines, sources=1)[0]
