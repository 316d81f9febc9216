"""Finding records that can't be what they should be: text that isn't UTF-8, lines that aren't JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import orjson
import pyarrow as pa

from transforms.kernels import blocks

Check = Literal["none", "utf8", "json"]

_NOT_UTF8 = "not UTF-8"


def bad_lines(block: pa.RecordBatch, check: Check) -> dict[int, str]:
    """Return the places in a block of lines that fail a check, with the reason."""
    if check == "none" or not len(block):
        return {}
    if check == "utf8":
        text = block.column("record").view(pa.large_string())
        return dict.fromkeys(_invalid(text), _NOT_UTF8)
    found = {}
    for place, line in enumerate(blocks.records(block)):
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError as error:
            found[place] = f"not JSON: {error}"
    return found


def bad_rows(batch: pa.RecordBatch) -> dict[int, str]:
    """Return the rows of a batch whose text isn't UTF-8, with the reason.

    Args:
        batch: as a file gave it; nothing in it is trusted.

    Raises:
        pa.ArrowInvalid: its buffers don't fit together, so no row can be read.
    """
    found: dict[int, str] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        is_dictionary = pa.types.is_dictionary(column.type)
        for place in _invalid_by_value(column) if is_dictionary else _invalid(column):
            found.setdefault(place, f"column {name}: {_NOT_UTF8}")
    return found


def _invalid_by_value(column: pa.DictionaryArray) -> Iterator[int]:
    """Yield the places that refer to invalid values: Arrow would blame all for what one refers to."""
    column.indices.validate(full=True)
    values = list(_invalid(column.dictionary))
    if not values:
        column.validate(full=True)  # the indices, which have to be inside the dictionary
        return
    places = column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)
    beyond = (places < 0) | (places >= len(column.dictionary))
    if bool((beyond & column.is_valid().to_numpy(zero_copy_only=False)).any()):
        raise pa.ArrowInvalid("an index is not inside its dictionary")
    yield from np.flatnonzero(np.isin(places, values)).tolist()


def _invalid(array: pa.Array) -> Iterator[int]:
    """Yield the places whose values fail Arrow's full validation, for their text alone."""
    waiting = [(0, len(array))]
    while waiting:
        begin, end = waiting.pop()
        try:
            array.slice(begin, end - begin).validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            if end - begin <= 1:
                yield begin
                continue
            middle = (begin + end) // 2
            waiting += [(middle, end), (begin, middle)]


def split(block: pa.RecordBatch, bad: dict[int, str]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the good and the bad records of a block, each in their order."""
    mask = np.zeros(len(block), bool)
    mask[list(bad)] = True
    return block.filter(pa.array(~mask)), block.filter(pa.array(mask))
