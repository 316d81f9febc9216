"""Slow, plain versions of what ``values`` and ``row_hashes`` compute, on Python's values.

A value is None, an int (the bits of a number, time or bool of up to 8 bytes), bytes (of anything
wider, and of strings), a list (of lists and of maps, whose entries are tuples), or a tuple (of a
struct).
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from tests.transforms.kernels.oracles import MASK64, mix, record_hash

NULL = (0x8EBC6AF09C88C6E3, 0x589965CC75374CC3)
PLAIN = (0xA0761D6478BD642F, 0xE7037ED1A0B428DB)
STRUCT = (0x1D8E4E27C47D124F, 0xEB44ACCAB455D165)

WIDTHS = {
    **dict.fromkeys([pa.bool_(), pa.int8(), pa.uint8()], 1),
    **dict.fromkeys([pa.int16(), pa.uint16(), pa.float16()], 2),
    **dict.fromkeys([pa.int32(), pa.float32(), pa.date32(), pa.time32("s"), pa.decimal32(5, 2)], 4),
    **dict.fromkeys([pa.int64(), pa.uint64(), pa.float64(), pa.date64(), pa.time64("ns")], 8),
    **dict.fromkeys([pa.timestamp("us", "UTC"), pa.duration("ms"), pa.decimal64(12, 2)], 8),
    **dict.fromkeys([pa.decimal128(30, 4), pa.month_day_nano_interval()], 16),
    pa.decimal256(60, 4): 32,
}
STRINGS = [
    pa.string(),
    pa.large_string(),
    pa.binary(),
    pa.large_binary(),
    pa.binary(3),
    pa.binary(0),
]


def value_hash(kind: pa.DataType, value: Any, k: int) -> int:
    """Hash k of one value."""
    if value is None:
        return NULL[k]
    if kind in WIDTHS:
        return mix(value ^ PLAIN[k]) if isinstance(value, int) else record_hash(value, k)
    if pt.is_struct(kind):
        out = STRUCT[k]
        for field, child in zip(kind, value, strict=True):
            out = mix(out ^ value_hash(field.type, child, k))
        return out
    if not pt.is_nested(kind):
        return record_hash(value, k)
    inner = kind.field(0).type
    if inner not in WIDTHS:
        words = (value_hash(inner, item, k).to_bytes(8, "little") for item in value)
        return record_hash(b"".join(words), k)
    out = record_hash(b"".join(raw(inner, 0 if item is None else item) for item in value), k)
    if None in value:
        out = mix(out ^ record_hash(bytes(item is None for item in value), k))
    return out & MASK64


def raw(kind: pa.DataType, value: Any) -> bytes:
    """The bytes of one plain value."""
    wide = int.from_bytes(value, "little") if isinstance(value, bytes) else value
    return int(wide).to_bytes(WIDTHS[kind], "little")


def value_size(kind: pa.DataType, value: Any) -> int:
    """The bytes of one value."""
    if value is None:
        return 0
    if pt.is_struct(kind):
        return sum(value_size(f.type, child) for f, child in zip(kind, value, strict=True))
    if pt.is_nested(kind):
        return sum(value_size(kind.field(0).type, item) for item in value)
    return WIDTHS[kind] if kind in WIDTHS else len(value)


def any_type(draw: random.Random, depth: int = 3) -> pa.DataType:
    """Draw a type in which rows may travel."""
    shape = draw.randrange(9) if depth else draw.randrange(3)
    if shape == 0:
        return draw.choice([*list(WIDTHS), pa.null()])
    if shape < 3:
        return draw.choice(STRINGS) if draw.randrange(2) else draw.choice(list(WIDTHS))
    if shape < 5:
        return pa.struct([(f"f{i}", any_type(draw, depth - 1)) for i in range(draw.randrange(4))])
    item = any_type(draw, depth - 1)
    if shape == 5:
        return pa.map_(draw.choice([pa.string(), pa.int16()]), item)
    return [pa.list_(item), pa.large_list(item), pa.list_(item, draw.randrange(3))][shape - 6]


def any_value(kind: pa.DataType, draw: random.Random, *, nulls: bool = True) -> Any:
    """Draw a value, often null, zero or empty."""
    if pt.is_null(kind) or (nulls and draw.random() < 0.25):
        return None
    if pt.is_boolean(kind):
        return draw.randrange(2)
    if kind in WIDTHS:
        bits = draw.choice([0, 1, draw.getrandbits(8 * WIDTHS[kind])])
        return bits if WIDTHS[kind] <= 8 else bits.to_bytes(WIDTHS[kind], "little")
    if pt.is_struct(kind):
        return tuple(any_value(field.type, draw, nulls=field.nullable) for field in kind)
    if pt.is_map(kind):
        inside = range(draw.randrange(4))
        key, item = kind.key_type, kind.item_type
        return [(any_value(key, draw, nulls=False), any_value(item, draw)) for _ in inside]
    if pt.is_nested(kind):
        fixed = pt.is_fixed_size_list(kind)
        count = kind.list_size if fixed else draw.randrange(4)
        return [any_value(kind.field(0).type, draw) for _ in range(count)]
    size = kind.byte_width if pt.is_fixed_size_binary(kind) else draw.choice([0, 0, 1, 3, 9])
    return bytes(draw.choice(b"ab") for _ in range(size))


def lay(kind: pa.DataType, values: list[Any], draw: random.Random) -> pa.Array:
    """Lay values into an array in one of many ways: a slice, with anything outside and under nulls."""
    if pt.is_null(kind):
        return pa.nulls(len(values))
    front, back = draw.randrange(10), draw.randrange(3)
    around = [[any_value(kind, draw, nulls=False) for _ in range(n)] for n in (front, back)]
    whole = [*around[0], *values, *around[1]]
    valid = [value is not None for value in whole]
    whole = [any_value(kind, draw, nulls=False) if value is None else value for value in whole]
    bitmap = pa.py_buffer(np.packbits(np.array(valid, bool), bitorder="little"))
    buffers = [None if all(valid) and draw.randrange(2) else bitmap]
    children = []
    if pt.is_struct(kind):
        children = [lay(f.type, [v[i] for v in whole], draw) for i, f in enumerate(kind)]
    elif pt.is_boolean(kind):
        buffers.append(pa.py_buffer(np.packbits(np.array(whole, bool), bitorder="little")))
    elif kind in WIDTHS:
        buffers.append(pa.py_buffer(b"".join(raw(kind, value) for value in whole)))
    else:
        lead = draw.randrange(3)
        at = np.cumsum([lead, *map(len, whole)])
        if not pt.is_fixed_size_list(kind) and not pt.is_fixed_size_binary(kind):
            large = kind in (pa.large_string(), pa.large_binary()) or pt.is_large_list(kind)
            buffers.append(pa.py_buffer(at.astype(np.int64 if large else np.int32)))
        else:
            lead = 0
        if pt.is_nested(kind):
            inner = kind.field(0).type
            before = [any_value(inner, draw, nulls=False) for _ in range(lead)]
            children = [lay(inner, before + [item for value in whole for item in value], draw)]
        else:
            buffers.append(pa.py_buffer(b"?" * lead + b"".join(whole)))
    for child in children:
        assert (
            child.null_count >= 0
        )  # Arrow aborts where it hasn't counted a map's keys and entries
    array = pa.Array.from_buffers(kind, len(whole), buffers, children=children)
    array.validate()
    return array.slice(front, len(values))
