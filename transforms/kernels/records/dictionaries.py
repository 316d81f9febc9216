"""How much larger rows get when their dictionaries are decoded, before they are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records.rows import to_rows
from transforms.kernels.records.values import elements, row_costs


def dictionary_costs(batch: pa.RecordBatch) -> I64:
    """Return int64[n], about the bytes of the dictionaries' values that each row repeats.

    Those in list views aren't counted.

    Args:
        batch: valid, also in its indices.
    """
    out = np.zeros(len(batch), np.int64)
    for column in batch.columns:
        costs = _costs(column)
        if costs is not None:
            out += costs
    return out


def _costs(array: pa.Array) -> I64 | None:
    """Return int64[n], None where there are no dictionaries in an array."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _costs(array.storage)
    if pt.is_dictionary(kind):
        if not len(array.dictionary):
            return None
        values = pa.RecordBatch.from_arrays([array.dictionary], names=["value"])
        places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        costs = row_costs(to_rows(values))
        # to decode them, Arrow sets the mean aside for each
        return np.asarray(np.maximum(costs, int(costs.mean()))[places])
    if pt.is_struct(kind):
        found = [_costs(array.field(i)) for i in range(kind.num_fields)]
        counted = [costs for costs in found if costs is not None]
        return np.sum(counted, axis=0, dtype=np.int64) if counted else None
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind) or pt.is_map(kind):
        inner, offsets = elements(array)
        each = _costs(inner)
        if each is not None:
            ends = offsets_of(each)
            return np.asarray(np.diff(ends[offsets]))
    return None
