"""Looking into Arrow arrays, how large their values are, and what they keep in memory.

Arrays may be slices, with offsets of their own and their children's, and anything may stand under a
null. The functions here take that into account, so that what is computed from them depends on the
values alone. They know the types in which rows travel (``rows.carried_type``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.kernels.arrays import I64, U8, offsets_of

BOOLS = npt.NDArray[np.bool_]
_SLACK = 8  # of so many parts of a buffer one may lie idle
_LITTLE = 1 << 10  # bytes: what a copy of less would save, it takes


def validity(array: pa.Array) -> BOOLS | None:
    """Return bool[n], False at nulls, or None where there are none."""
    if not array.null_count:
        return None
    out: BOOLS = array.is_valid().to_numpy(zero_copy_only=False)
    return out


def plain_width(kind: pa.DataType) -> int | None:
    """Return the bytes of one number, time, decimal, interval or bool (1), None for other types."""
    if pt.is_boolean(kind):
        return 1
    if pt.is_primitive(kind) or pt.is_decimal(kind):
        return int(kind.bit_width) // 8
    return None


def is_bytes(kind: pa.DataType) -> bool:
    """Say whether values are strings of bytes, text or not, fixed in size or not."""
    return bool(
        pt.is_string(kind)
        or pt.is_binary(kind)
        or pt.is_large_string(kind)
        or pt.is_large_binary(kind)
        or pt.is_fixed_size_binary(kind)
    )


def plain_bytes(array: pa.Array) -> U8:
    """Return the values of an array with a ``plain_width`` as uint8[n * width], zeros for nulls."""
    if pt.is_boolean(array.type):
        array = array.cast(pa.uint8())
    width = array.type.bit_width // 8
    out = _data(array.buffers()[1])[array.offset * width : (array.offset + len(array)) * width]
    valid = validity(array)
    if valid is not None:
        out = np.where(valid[:, None], out.reshape(len(array), width), np.uint8(0)).ravel()
    return out


def bytes_extents(array: pa.Array) -> tuple[U8, I64]:
    """Return the buffer of an ``is_bytes`` array and int64[n + 1] offsets into it; no copy."""
    if pt.is_fixed_size_binary(array.type):
        places = np.arange(array.offset, array.offset + len(array) + 1, dtype=np.int64)
        return _data(array.buffers()[1]), places * array.type.byte_width
    _, offsets, values = array.buffers()
    if not len(array):
        return np.zeros(0, np.uint8), np.zeros(1, np.int64)
    large = pt.is_large_string(array.type) or pt.is_large_binary(array.type)
    found = np.frombuffer(offsets, np.int64 if large else np.int32)
    return _data(values), found[array.offset : array.offset + len(array) + 1].astype(np.int64)


def elements(array: pa.Array) -> tuple[pa.Array, I64]:
    """Return the elements of all lists (or a map's entries) of an array, and where each begins.

    Returns:
        The elements, of the child's type, those under nulls too; int64[n + 1] offsets from 0.
    """
    if pt.is_fixed_size_list(array.type):
        size = array.type.list_size
        inner = array.values.slice(array.offset * size, len(array) * size)
        return inner, np.arange(len(array) + 1, dtype=np.int64) * size
    if not len(array):
        return array.values.slice(0, 0), np.zeros(1, np.int64)
    offsets = array.offsets.to_numpy().astype(np.int64)
    return array.values.slice(offsets[0], offsets[-1] - offsets[0]), offsets - offsets[0]


def row_sizes(rows: pa.StructArray) -> I64:
    """Return int64[n], the bytes of each row's values: its size in no particular format.

    Numbers count their width and a bool 1, strings their bytes, lists, maps and structs the sum of
    what they hold, nulls nothing.
    """
    return _bits(rows, memory=False) // 8


def row_costs(rows: pa.StructArray) -> I64:
    """Return int64[n], the bytes of memory that each row takes in Arrow, rounded up.

    That is its values', with nulls of fixed width, offsets, and a bit each for validity.
    """
    return (_bits(rows, memory=True) + 7) // 8


def _bits(array: pa.Array, *, memory: bool) -> I64:
    """Return int64[n], the bits of each value, with those that are Arrow's own if ``memory``."""
    kind, count = array.type, len(array)
    width = plain_width(kind)
    if pt.is_null(kind):
        return np.zeros(count, np.int64)
    if width:
        bits = np.full(count, 1 if memory and pt.is_boolean(kind) else 8 * width, np.int64)
    elif is_bytes(kind):
        bits = 8 * np.diff(bytes_extents(array)[1])
    elif pt.is_struct(kind):
        children = [_bits(array.field(i), memory=memory) for i in range(kind.num_fields)]
        bits = np.sum(children, axis=0, dtype=np.int64) if children else np.zeros(count, np.int64)
    else:
        inner, offsets = elements(array)
        each = plain_width(inner.type)
        if each and not inner.null_count:  # without an array as long as all lists together
            bits = np.diff(offsets) * (1 if memory and pt.is_boolean(inner.type) else 8 * each)
        else:
            sums = offsets_of(_bits(inner, memory=memory))
            bits = np.diff(sums[offsets])
    if memory:
        return bits + 1 + 8 * _offset_bytes(kind)
    valid = validity(array)
    return bits if valid is None else np.where(valid, bits, 0)


def _offset_bytes(kind: pa.DataType) -> int:
    if pt.is_large_string(kind) or pt.is_large_binary(kind) or pt.is_large_list(kind):
        return 8
    return (
        4 if pt.is_string(kind) or pt.is_binary(kind) or pt.is_list(kind) or pt.is_map(kind) else 0
    )


def _data(buffer: Any) -> U8:
    return np.zeros(0, np.uint8) if buffer is None else np.frombuffer(buffer, np.uint8)


def is_part(used: int, held: int) -> bool:
    """Return whether bytes that are used are few enough of those held that a copy is worth its time."""
    return held - used > max(held // _SLACK, _LITTLE)


def behind(values: npt.NDArray[Any]) -> int:
    """Return the bytes of the buffer that an array is a view of."""
    while isinstance(values.base, np.ndarray):
        values = values.base
    owner = values.base.obj if isinstance(values.base, memoryview) else values.base
    return _root(owner).size if isinstance(owner, pa.Buffer) else values.nbytes


def held(array: pa.Array) -> int:
    """Return the bytes of all buffers that an Arrow array and its children are views of."""
    roots = [_root(buffer) for buffer in array.buffers() if buffer is not None]
    return sum({root.address: root.size for root in roots}.values())


def _root(buffer: pa.Buffer) -> pa.Buffer:
    while buffer.parent is not None:
        buffer = buffer.parent
    return buffer


def list_lengths(lists: pa.Array) -> I64:
    """Return int64[n]: how many values each list has; a null has none."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0)
    out: I64 = lengths.to_numpy(zero_copy_only=False).astype(np.int64)
    return out
