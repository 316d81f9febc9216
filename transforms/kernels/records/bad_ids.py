"""Rows of ids that are none: null, or with ids that there can't be."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def bad_rows(block: pa.RecordBatch, *, column: str, ids: int) -> dict[int, str]:
    """Say which rows of a block have no ids that can be, by place, and why.

    With ``functools.partial`` a Validator of ``transforms.formats.readers``.

    Args:
        block: of rows.
        column: that holds lists of integers.
        ids: how many there can be.
    """
    found = find_bad_ids(block.column("record").field(column), ids=ids)
    return {place: f"column {column}: {why}" for place, why in found.items()}


def find_bad_ids(lists: pa.Array, *, ids: int) -> dict[int, str]:
    """Say which lists aren't ids of 0 to ``ids`` - 1, by place, and why.

    >>> sorted(find_bad_ids(pa.array([[1], None, [2, 7], [None]]), ids=7))
    [1, 2, 3]
    """
    bad: dict[int, str] = {}
    if lists.null_count:
        bad = dict.fromkeys(_places(pc.is_null(lists)), "expected ids, got null")
    values = lists.flatten()
    numbers = (pc.fill_null(values, 0) if values.null_count else values).to_numpy()
    odd = (numbers < 0) | (numbers >= ids)
    if not values.null_count and not odd.any():
        return bad
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy().astype(np.int64)
    of = np.repeat(np.arange(len(lists)), lengths)
    for at in reversed(np.flatnonzero(odd).tolist()):  # the first of each is said
        bad[int(of[at])] = (
            f"expected ids from 0 to {ids - 1}, got {numbers[at]}; pass the --tokenizer that made them, "
            "or a larger --vocab_size"
        )
    if values.null_count:
        nulls = np.unique(of[_places(pc.is_null(values))]).tolist()
        bad |= dict.fromkeys(nulls, "expected ids, got null among them")
    return dict(sorted(bad.items()))


def _places(found: pa.Array) -> list[int]:
    places: list[int] = np.flatnonzero(found.to_numpy(zero_copy_only=False)).tolist()
    return places
