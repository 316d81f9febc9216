"""Rows as columns of Parquet and Arrow files, and back.

``plain``: ``input_ids`` list<int32>, without filler, and, where rows are packed, ``seq_lengths``
list<int32>, the pieces' lengths; a document a row may have ``source`` and kept columns beside it.

``megatron_bridge``: ``input_ids`` list<int32>, ``seq_start_id`` list<int32>, where each piece begins,
``loss_mask`` list<int8>, 1 but at each piece's last id, since it lies on what comes next. Source:
NVIDIA-NeMo/Megatron-Bridge, src/megatron/bridge/data/packing/parquet.py, gpt_sft.py and algorithms.py.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import DataError
from transforms.formats.schemas import faults_named
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.rows import Rows
from transforms.kernels.records.arrow_values import elements
from transforms.trainers.contract import Dataset
from transforms.trainers.raw import known_ids

IDS, LENGTHS, SOURCE = "input_ids", "seq_lengths", "source"
STARTS, MASK = "seq_start_id", "loss_mask"
_LIST = pa.list_(pa.int32())
_MOST = 2**31 - 1  # what offsets of lists count to


def schema_of(dataset: Dataset, *, bridge: bool = False) -> pa.Schema:
    """Return a dataset's columns, Megatron-Bridge's where they are asked for, here as below."""
    fields = [pa.field(IDS, _LIST)]
    if bridge:
        fields += [pa.field(STARTS, _LIST), pa.field(MASK, pa.list_(pa.int8()))]
    elif dataset.packing.kind != "none":
        fields.append(pa.field(LENGTHS, _LIST))
    if dataset.sources:
        fields.append(pa.field(SOURCE, pa.string()))
    return pa.schema([*fields, *(dataset.kept or ())])


def schema_as_text(schema: pa.Schema) -> str:
    """Return a schema as a text, base64 of how Arrow writes it."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def schema_of_text(text: str) -> pa.Schema:
    """Return the schema that ``schema_as_text`` was given.

    Raises:
        DataError: the text is no schema.
    """
    with faults_named(lambda: "kept_schema: expected a schema of Arrow's, in base64"):
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True)))


def lists_of(rows: Rows, dataset: Dataset, *, bridge: bool = False) -> list[pa.Array]:
    """Return the columns of ids, lengths and masks, as large lists; ids in their own type."""
    ids = _lists(rows.ids, rows.offsets)
    if bridge:
        return [ids, _lists(_starts(rows), rows.piece_offsets), _lists(_mask(rows), rows.offsets)]
    if dataset.packing.kind == "none":
        return [ids]
    return [ids, _lists(rows.lengths.astype(np.int32), rows.piece_offsets)]


def batch_of(rows: Rows, dataset: Dataset) -> pa.RecordBatch:
    """Return all columns of rows, whose memory doesn't depend on where they came from.

    Raises:
        DataError: more ids than a batch of lists can hold.
    """
    if len(rows.ids) > _MOST:
        raise DataError(
            f"expected rows of at most {_MOST:,} ids, got one of "
            f"{np.diff(rows.offsets).max():,}; pass --sequence_length, or leave such documents "
            "out"
        )
    schema = schema_of(dataset)
    lists = lists_of(rows, dataset)
    columns = [column.cast(schema.field(i).type) for i, column in enumerate(lists)]
    if rows.sources is not None and dataset.sources:
        names = pa.array(dataset.sources, pa.string())
        columns.append(names.take(pa.array(rows.sources)))
    if rows.kept is not None and dataset.kept is not None:
        kept = rows.kept.take(pa.array(np.arange(len(rows))))
        columns += [kept.field(i) for i in range(kept.type.num_fields)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def rows_of(batch: pa.RecordBatch, dataset: Dataset, *, first: int, bridge: bool = False) -> Rows:
    """Return the rows of a file's columns.

    Args:
        batch: validated, with the dataset's schema.
        dataset: as it was written.
        first: number of the first row in its file.

    Raises:
        DataError: there are nulls among ids, ids that aren't the dataset's, or lengths that aren't
            those of the rows.
    """
    found, offsets = _elements(batch, 0, first=first)
    ids = known_ids(found, dataset=dataset, first=int(offsets[0]))
    if bridge:
        rows = _bridge_rows(batch, ids, offsets, first=first)
    elif dataset.packing.kind == "none":
        each = np.arange(len(batch) + 1, dtype=np.int64)
        rows = Rows(ids, offsets, np.diff(offsets), each, np.zeros(len(batch), np.int64))
    else:
        lengths, pieces = _elements(batch, 1, first=first)
        rows = _packed_rows(ids, offsets, lengths.astype(np.int64), pieces, first=first)
    if not dataset.sources and dataset.kept is None:
        return rows
    return _with_columns(rows, batch, dataset, first=first)


def _with_columns(rows: Rows, batch: pa.RecordBatch, dataset: Dataset, *, first: int) -> Rows:
    """Return rows with their sources and kept columns."""
    at = batch.num_columns - len(dataset.kept or ())
    sources = kept = None
    if dataset.sources:
        places = pa.compute.index_in(
            batch.column(at - 1), value_set=pa.array(dataset.sources, pa.string())
        )
        if places.null_count:
            raise DataError(
                f"row {first + int(np.argmax(places.is_null()))}: expected a source of "
                f"{', '.join(dataset.sources)}, got another: the file is damaged; make it again"
            )
        sources = places.to_numpy().astype(np.uint16)
    if dataset.kept is not None:
        kept = pa.StructArray.from_arrays(batch.columns[at:], fields=list(dataset.kept))
    return Rows(
        rows.ids, rows.offsets, rows.lengths, rows.piece_offsets, rows.filler, sources, kept
    )


def _bridge_rows(batch: pa.RecordBatch, ids: npt.NDArray[Any], offsets: I64, *, first: int) -> Rows:
    starts, pieces = _elements(batch, 1, first=first)
    mask, places = _elements(batch, 2, first=first)
    counts = np.diff(pieces)
    ends = np.append(starts[1:], 0)
    last = pieces[1:][counts > 0] - 1
    ends[last] = np.diff(offsets)[counts > 0]
    lengths = (ends - starts).astype(np.int64)
    rows = _packed_rows(ids, offsets, lengths, pieces, first=first)
    if not (np.array_equal(places, offsets) and np.array_equal(mask, _mask(rows))):
        raise DataError(
            f"{MASK} of rows {first} to {first + len(rows) - 1}: expected 0 at the last id of "
            "each piece and 1 elsewhere, got something else: the file is damaged; make it again"
        )
    if starts[pieces[:-1][counts > 0]].any():
        raise DataError(
            f"{STARTS} of rows from {first} on: expected 0 first, got something else: the file "
            "is damaged; make it again"
        )
    return rows


def _packed_rows(
    ids: npt.NDArray[Any], offsets: I64, lengths: I64, pieces: I64, *, first: int
) -> Rows:
    """Return rows whose pieces are checked to be all of them."""
    sums = np.diff(offsets_of(lengths)[pieces])
    wrong = sums != np.diff(offsets)
    if wrong.any() or (len(lengths) and int(lengths.min()) < 0):
        row = int(np.argmax(wrong))
        raise DataError(
            f"row {first + row}: expected pieces of {int(np.diff(offsets)[row])} ids in all, got "
            f"{int(sums[row])}: the file is damaged; make it again"
        )
    return Rows(ids, offsets, lengths, pieces, np.zeros(len(offsets) - 1, np.int64))


def _elements(batch: pa.RecordBatch, column: int, *, first: int) -> tuple[npt.NDArray[Any], I64]:
    """Return the values of a column of lists, and where each list begins."""
    lists = batch.column(column)
    values, offsets = elements(lists)
    if lists.null_count or values.null_count:
        raise DataError(
            f"{batch.schema.names[column]} of rows from {first} on: expected no nulls, got some: "
            "the file is damaged; make it again"
        )
    return values.to_numpy(), offsets


def _lists(values: npt.NDArray[Any], offsets: I64) -> pa.Array:
    return pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(values))


def _starts(rows: Rows) -> npt.NDArray[np.int32]:
    """Return int32[pieces], where each begins in its row."""
    ends = offsets_of(rows.lengths)
    row_begins = np.repeat(ends[rows.piece_offsets[:-1]], np.diff(rows.piece_offsets))
    return (ends[:-1] - row_begins).astype(np.int32)


def _mask(rows: Rows) -> npt.NDArray[np.int8]:
    """Return int8[ids]: 1, but 0 at each piece's last id."""
    out = np.ones(len(rows.ids), np.int8)
    ends = np.cumsum(rows.lengths)
    out[ends[rows.lengths > 0] - 1] = 0
    return out
