"""Finding records that can't be what they should be: text that isn't UTF-8, lines that aren't JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.types as pt

from transforms.kernels.records import blocks
from transforms.kernels.records.arrow_values import bytes_extents, elements
from transforms.kernels.records.compiling import loops_for

Check = Literal["none", "utf8", "json"]

_NOT_UTF8 = "not UTF-8"
_SPACE = np.zeros(256, bool)  # what may stand around JSON
_SPACE[list(b" \t\r\n")] = True
_FEW = 64  # values that are looked at one by one: an exception a value takes longer


def bad_lines(block: pa.RecordBatch, check: Check) -> dict[int, str]:
    """Return the places in a block of lines that fail a check, with the reason."""
    if check == "none" or not len(block):
        return {}
    if check == "utf8":
        return dict.fromkeys(_invalid(blocks.bare(block).view(pa.large_string())), _NOT_UTF8)
    found = {}
    for place, line in enumerate(blocks.records(block)):
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError as error:
            found[place] = f"not JSON: {error}"
    return found


def blank_lines(block: pa.RecordBatch) -> npt.NDArray[np.intp]:
    """Return the places in a block of lines of those that hold white space alone, or nothing.

    Lines that begin with something else are not looked at any further.
    """
    if not len(block):
        return np.zeros(0, np.intp)
    values, offsets = blocks.extents(block)
    cut = len(blocks.terminator(block))
    begins, ends = offsets[:-1], offsets[1:] - cut
    maybe = np.flatnonzero((begins == ends) | _SPACE[values[np.minimum(begins, len(values) - 1)]])
    blank = [not values[begins[at] : ends[at]].tobytes().strip(b" \t\r\n") for at in maybe.tolist()]
    found: npt.NDArray[np.intp] = maybe[np.array(blank, bool)]
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
        for place in _bad_places(column):
            found.setdefault(place, f"column {name}: {_NOT_UTF8}")
    return found


def _bad_places(array: pa.Array) -> Iterable[int]:
    """Find the places whose text isn't UTF-8, however deep it lies.

    Arrow's validation looks at all that an array refers to, also from beyond a slice, so nested text
    is looked at where it is, and places are counted back from there.
    """
    if _is_seen_as_text(array):
        return ()
    try:
        array.validate(full=True)
        return ()
    except pa.ArrowInvalid as error:
        view = pt.is_list_view(array.type) or pt.is_large_list_view(array.type)
        if "UTF8" not in str(error) or view:  # whose lists may share what they hold
            raise
    if isinstance(array, pa.ExtensionArray):
        return _bad_places(array.storage)
    if pt.is_dictionary(array.type):
        return _referring(array, list(_invalid(array.dictionary)))
    if pt.is_struct(array.type):
        return {place for child in array.flatten() for place in _bad_places(child)}
    if not pt.is_nested(array.type):
        return _invalid(array)
    if not pt.is_fixed_size_list(array.type):
        _require_offsets(array)
    child, offsets = elements(array)
    inside = np.fromiter(_bad_places(child), np.int64)
    return set((np.searchsorted(offsets, inside, side="right") - 1).tolist())


def _require_offsets(array: pa.Array) -> None:
    offsets = array.offsets.to_numpy()
    inside = offsets[0] >= 0 and offsets[-1] <= len(array.values)
    if not inside or bool((np.diff(offsets) < 0).any()):
        raise pa.ArrowInvalid("the offsets of a list run backwards, or beyond its values")


def _referring(array: pa.DictionaryArray, values: list[int]) -> Iterable[int]:
    """Return the places that refer to some values of a dictionary."""
    array.indices.validate(full=True)
    places = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
    if bool(((places < 0) | (places >= len(array.dictionary))).any()):
        raise pa.ArrowInvalid("an index is not inside its dictionary")
    used = array.is_valid().to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.isin(places, values) & used).tolist()


def _invalid(array: pa.Array) -> Iterator[int]:
    """Yield the places whose text isn't UTF-8, in an array that isn't nested."""
    waiting = [] if _is_seen_as_text(array) else [(0, len(array))]
    while waiting:
        begin, end = waiting.pop()
        try:
            array.slice(begin, end - begin).validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            if end - begin <= _FEW:
                yield from (i for i in range(begin, end) if not _is_utf8(array[i]))
                continue
            middle = (begin + end) // 2
            waiting += [(middle, end), (begin, middle)]


def _is_seen_as_text(array: pa.Array) -> bool:
    """Return whether compiled code is at hand, and sees that all values are UTF-8 where they should be.

    False says nothing: what stands under nulls needn't be text.
    """
    if not (pt.is_string(array.type) or pt.is_large_string(array.type)) or not len(array):
        return False
    array.validate()
    values, offsets = bytes_extents(array)
    if loops_for(int(offsets[-1] - offsets[0])) is None:
        return False
    from transforms.kernels.records.text_loops import are_utf8

    return are_utf8(values, offsets)


def _is_utf8(value: pa.Scalar) -> bool:
    try:
        bytes(value.as_buffer() or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def split(block: pa.RecordBatch, bad: Iterable[int]) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Return the good records of a block and those at bad places, each in their order."""
    mask = np.zeros(len(block), bool)
    mask[list(bad)] = True
    return block.filter(pa.array(~mask)), block.filter(pa.array(mask))
