"""Labels: the values of a field, by whose text counted splits have records in proportion."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.kernels.arrays import U64
from transforms.kernels.records.arrow_values import bytes_extents, is_bytes, validity
from transforms.kernels.records.contents import can_group, field_of
from transforms.kernels.records.digest import record_hashes


def labels_of(block: pa.RecordBatch, field: str) -> pa.Array:
    """Return the labels of a block's records, in one type for all.

    Args:
        block: with the field beside its records, or among its rows' columns.
        field: its name.

    Returns:
        large_binary[n], null where a record has none.

    Raises:
        DataError: there is no such field, or its values can't be told apart by their text.
    """
    values = field_of(block, field, why="to stratify by it")
    if pt.is_null(values.type):
        return values.cast(pa.large_binary())
    if not can_group(values.type):
        raise DataError(
            f"--stratify={field}: expected text, integers or booleans, got {values.type}"
        )
    text = values if is_bytes(values.type) else values.cast(pa.large_string())
    return text.cast(pa.large_binary())


def first_unlabelled(values: pa.Array) -> int | None:
    """Return the place of the first record without a label, None where all have one."""
    valid = validity(values)
    return None if valid is None else int(np.flatnonzero(~valid)[0])


def label_hashes(values: pa.Array) -> U64:
    """Return uint64[n], a hash of each label: equal labels have equal ones."""
    return record_hashes(*bytes_extents(values))[0]
