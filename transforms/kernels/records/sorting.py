"""Blocks sorted by key: runs, and what is gathered of them in its final order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import LosslessError
from transforms.kernels.arrays import U64
from transforms.kernels.records import blocks, compiling
from transforms.kernels.records.row_hashes import row_hashes


def sort_run(found: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Join keyed blocks and sort them by key; empties the list.

    Equal keys are left in any order: ``gather`` settles them when all of them are together.
    """
    return _take(found, np.argsort(_keys(found)))


def gather(found: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Join all the blocks of one range of keys and lay its records in their final order.

    Ties of keys are broken by the lines' bytes or the rows' hashes (twins are alike, so their order
    shows nowhere). Empties the list.
    """
    keys = _keys(found)
    order = np.argsort(keys)
    ranked = keys[order]
    tied = np.flatnonzero(ranked[1:] == ranked[:-1])
    for begin, end in _stretches(tied) if len(tied) else ():
        twins = _take(list(found), order[begin:end])
        ranks = sorted(range(end - begin), key=_tie_breakers(twins).__getitem__)
        order[begin:end] = order[begin:end][ranks]
    return _take(found, order)


def _keys(found: Sequence[pa.RecordBatch]) -> U64:
    return np.concatenate([blocks.column(block, "key") for block in found])


def _take(found: list[pa.RecordBatch], order: npt.NDArray[np.intp]) -> pa.RecordBatch:
    """Join blocks of one schema, return their records in an order of places, and empty the list."""
    if sum(map(len, found)) < 2:  # a large record isn't copied
        return blocks.join(found)
    loops = compiling.loops_for(sum(map(blocks.payload_bytes, found)))
    schema = found[0].schema
    record = None
    if loops is not None and "kept" not in schema.names:
        record = _take_records(found, order, loops)
    if record is None:
        return blocks.join(found).take(pa.array(order))
    columns = [
        record
        if name == "record"
        else pa.array(np.concatenate([blocks.column(block, name) for block in found])[order])
        for name in schema.names
    ]
    found.clear()
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _take_records(
    found: Sequence[pa.RecordBatch], order: npt.NDArray[np.intp], loops: Any
) -> pa.Array | None:
    """Return blocks' records in an order of places, by loops; None of rows that Arrow has to take.

    Those are all but rows of one list of numbers each, which Arrow takes number by number.
    """
    kind, width = None, 1  # of lists, and of a number in them
    if blocks.is_rows(found[0]):
        lists: list[Any] = list(map(_lists_of, found))
        if None in lists:
            return None
        kind = lists[0].type
        width = kind.value_type.bit_width // 8
        parts = [(one.values.to_numpy(), one.offsets.to_numpy().astype(np.int64)) for one in lists]
        extents = [(values, offsets * width) for values, offsets in parts]
    else:
        extents = list(map(blocks.extents, found))
    lengths = np.concatenate([np.diff(offsets) for _, offsets in extents])
    if kind is not None and int(lengths.sum()) // width > np.iinfo(np.int32).max:
        return None
    inside = all(where[0] >= 0 and where[-1] <= values.nbytes for values, where in extents)
    if not inside or lengths.min() < 0:  # nothing checks addresses
        raise LosslessError(
            f"a block of {'lines' if kind is None else 'rows'} has offsets that don't rise, or lie "
            "outside it; check memory and disk, then run again"
        )
    begins = [values.ctypes.data + where[:-1] for values, where in extents]
    data, offsets = loops.copy_records(np.concatenate(begins).astype(np.uint64), lengths, order)
    if kind is None:
        return blocks.lines_of(data, offsets)
    numbers = pa.Array.from_buffers(kind.value_type, len(data) // width, [None, pa.py_buffer(data)])
    taken = pa.ListArray.from_arrays(
        pa.array((offsets // width).astype(np.int32)), numbers, type=kind
    )
    fields = list(found[0].schema.field("record").type)
    return pa.StructArray.from_arrays([taken], fields=fields)


def _lists_of(block: pa.RecordBatch) -> pa.ListArray | None:
    """Return the lists of a block of rows that are one list of numbers each, as ids are; else None."""
    record = block.column("record")
    if record.type.num_fields != 1 or record.null_count:
        return None
    lists = record.field(0)
    plain = pa.types.is_list(lists.type) and pa.types.is_integer(lists.type.value_type)
    return None if not plain or lists.null_count or lists.values.null_count else lists


def _tie_breakers(block: pa.RecordBatch) -> list[Any]:
    if not blocks.is_rows(block):
        return blocks.records(block)
    hash0, hash1 = row_hashes(block.column("record"))
    return list(zip(hash0.tolist(), hash1.tolist(), strict=True))


def _stretches(tied: npt.NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield [begin, end) of each stretch of equal keys, from the places i with key i == key i+1."""
    for group in np.split(tied, np.flatnonzero(np.diff(tied) > 1) + 1):
        yield int(group[0]), int(group[-1]) + 2
