"""Attaching a value to each record of a block: a last column of rows, a last key of JSON lines.

All else of a record stays as it was, byte for byte: of a JSON line its white space, a carriage return,
its other keys in whatever order and however written. A record that has a field of the name already is
refused, as nobody could say which of the two a reader takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from transforms.errors import DataError
from transforms.kernels.arrays import I64, U8
from transforms.kernels.records import blocks, json_text
from transforms.kernels.records.arrow_values import row_costs, validity
from transforms.kernels.records.compiling import loops_for
from transforms.kernels.records.rows import carried_type

NameFile = Callable[[int], str]
"""Says of which file a block's record is, by its place in the block: ``Origin.name_of``."""

_BRACE = ord("{")
_SPACES = b" \t\r\n"
_PLAIN = 1e-3, 1e15
"""From which number on, and below which, a float is written without an exponent by everybody."""


def attach(
    block: pa.RecordBatch,
    name: str,
    values: pa.Array,
    *,
    name_of: NameFile | None = None,
) -> pa.RecordBatch:
    r"""Attach a value to each record, under a name that none of them has.

    Hashes, sizes and costs are those of the new records, where the block has any: leave hashes off
    (``blocks.without_hashes``) where nobody asks for them. Position, key, source, and what is kept
    beside the records stay.

    Args:
        block: of n rows, or of n lines, each a JSON object.
        name: of the column or key.
        values: n of them; of rows of any type that rows can have; of lines integers, floats, booleans or
            text. A null is a null of the column, or of JSON.
        name_of: for errors.

    Raises:
        DataError: a record has the name; a line is no JSON object; a value can't be written in JSON.

    >>> lines = [b'{"a": "b" }\r', b"{}"]
    >>> block = blocks.from_records(lines, np.arange(2, dtype=np.uint64), line_end=b"\n")
    >>> blocks.records(attach(block, "weight", pa.array([0.5, 2.0])))
    [b'{"a": "b" ,"weight":0.5}\r', b'{"weight":2.0}']
    """
    if len(values) != len(block):
        raise ValueError(f"expected {len(block)} values, one for each record, got {len(values)}")
    record = _with_column if blocks.is_rows(block) else _with_key
    return _with_record(block, record(block, name, values, name_of))


def attached_type(kind: pa.DataType, *, lines: bool) -> pa.DataType:
    """Return the type in which rows have values of a type once they are attached.

    Args:
        kind: of the values.
        lines: that they are to be written into JSON lines.

    Raises:
        DataError: they can't be.
    """
    if lines and not _is_scalar(kind):
        raise DataError(
            "expected integers, floats, booleans or text to put into JSON lines, got values of type "
            f"{kind}"
        )
    return carried_type(kind)


def _with_record(block: pa.RecordBatch, record: pa.Array) -> pa.RecordBatch:
    """Put new records in the place of a block's own, and mend what is known of them."""
    hashed = "hash0" in block.schema.names
    block = blocks.without_hashes(block)
    field = block.schema.field("record").with_type(record.type)
    block = block.set_column(block.schema.get_field_index("record"), field, record)
    at = block.schema.get_field_index("cost")
    if at >= 0:
        block = block.set_column(at, "cost", pa.array(row_costs(record).astype(np.uint32)))
    return blocks.with_hashes(block) if hashed else block


def _with_column(
    block: pa.RecordBatch, name: str, values: pa.Array, name_of: NameFile | None
) -> pa.StructArray:
    record = block.column("record")
    if record.type.get_field_index(name) >= 0 or name in record.type.names:
        where = "" if name_of is None or not len(block) else f"{name_of(0)}: "
        raise DataError(_taken(where + "the rows have", name, "column"))
    values = values.cast(carried_type(values.type, path=name))
    arrays = [record.field(place) for place in range(record.type.num_fields)]
    fields = [*record.type, pa.field(name, values.type)]
    return pa.StructArray.from_arrays([*arrays, values], fields=fields)


def _taken(have: str, name: str, what: str) -> str:
    return (
        f"{have} a {what} {name!r} already: expected none of that name; choose another name, or "
        "remove it from the input"
    )


def _with_key(
    block: pa.RecordBatch, name: str, values: pa.Array, name_of: NameFile | None
) -> pa.LargeBinaryArray:
    data, offsets = blocks.extents(block)
    close = _closings(block, name, name_of)
    texts = _json(values, lambda place: _where(block, place, name_of))
    key = orjson.dumps(name) + b":"
    comma = pa.array(np.where(_are_empty(data, close), b"", b","), pa.large_binary())
    # each line is cut before its brace: what comes before, and what from there on
    cut = np.empty(2 * len(block) + 1, np.int64)
    cut[0::2], cut[1::2] = offsets, close
    halves = _binary(data, cut)
    head, tail = (halves.take(pa.array(np.arange(first, 2 * len(block), 2))) for first in range(2))
    return pc.binary_join_element_wise(
        head,
        comma,
        pa.scalar(key, pa.large_binary()),
        texts,
        tail,
        pa.scalar(b"", pa.large_binary()),
    )


def _binary(data: U8, offsets: I64) -> pa.LargeBinaryArray:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers)


def unattachable(block: pa.RecordBatch, *, name: str) -> dict[int, str]:
    """Say which lines a key can't be attached to, by place, and why: none of rows.

    With ``functools.partial`` a Validator of ``transforms.formats.readers``.
    """
    return {} if blocks.is_rows(block) or not len(block) else _find_closings(block, name)[1]


def _closings(block: pa.RecordBatch, name: str, name_of: NameFile | None) -> I64:
    """Return int64[n], the place of each line's last brace in the buffer of the block.

    Raises:
        DataError: a line is no object, or has the key.
    """
    close, bad = _find_closings(block, name)
    for place, reason in bad.items():
        raise DataError(f"{_where(block, place, name_of)}{reason}")
    return close


def _find_closings(block: pa.RecordBatch, name: str) -> tuple[I64, dict[int, str]]:
    """Return int64[n], the place of each line's last brace; and by place why others have none."""
    data, offsets = blocks.extents(block)
    end = len(blocks.terminator(block))
    if loops_for(blocks.payload_bytes(block)) is None:
        close, odd = np.zeros(len(block), np.int64), np.arange(len(block))
    else:
        from transforms.kernels.records import json_loops  # numba takes long to import

        close, odd = json_loops.closings(data, offsets, end=end, field=name.encode())
    bad = {}
    for place in odd.tolist():
        begin = int(offsets[place])
        line = data[begin : offsets[place + 1] - end].tobytes()
        reason = _unfit(line, name)
        if reason is not None:
            bad[place] = reason
        close[place] = begin + len(line.rstrip(_SPACES)) - 1
    return close, bad


def _unfit(line: bytes, name: str) -> str | None:
    """Say why a key can't be attached to a line, None where it can."""
    expected = "expected a JSON object, to attach a key to it, got"
    try:
        value, _ = json_text.read(line)
    except json_text.Unreadable as error:
        return f"{expected} what isn't JSON: {error}"
    if not isinstance(value, dict):
        return f"{expected} {json_text.type_of(value)}"
    return _taken("it has", name, "key") if name in value else None


def _are_empty(data: U8, close: I64) -> Any:
    """Say of which lines the objects are empty, bool[n]: only white space stands before the brace."""
    before = data[np.maximum(close - 1, 0)]
    empty = before == _BRACE
    for place in np.flatnonzero(np.isin(before, list(_SPACES))).tolist():
        at = int(close[place]) - 1
        while data[at] in _SPACES:
            at -= 1
        empty[place] = data[at] == _BRACE
    return empty


def _where(block: pa.RecordBatch, place: int, name_of: NameFile | None) -> str:
    """Name a record, for the beginning of an error."""
    file = "" if name_of is None else f"{name_of(place)}, "
    if "position" not in block.schema.names:
        return f"{file}record {place} of a block: "
    return f"{file}the record at byte {int(blocks.column(block, 'position')[place])}: "


def _is_scalar(kind: pa.DataType) -> bool:
    return bool(
        pt.is_integer(kind)
        or pt.is_floating(kind)
        or pt.is_boolean(kind)
        or pt.is_string(kind)
        or pt.is_large_string(kind)
        or pt.is_null(kind)
    )


def _json(values: pa.Array, where: Callable[[int], str]) -> pa.LargeBinaryArray:
    """Write values as JSON: floats as the shortest decimal of which a reader makes the same float64.

    They look as Python's own ``repr`` writes them, whatever the version of anything.
    """
    values = values.cast(attached_type(values.type, lines=True))
    valid = validity(values)
    if pt.is_null(values.type):
        return pa.array([b"null"] * len(values), pa.large_binary())
    if pt.is_string(values.type) or pt.is_large_string(values.type):
        coded = values.dictionary_encode()
        words = [orjson.dumps(word) for word in coded.dictionary.to_pylist()]
        found = pa.array(words, pa.large_binary()).take(coded.indices)
    else:
        found = _numbers(values, where)
    if valid is None:
        return found
    return pc.if_else(pa.array(valid), found, pa.scalar(b"null", pa.large_binary()))


def _numbers(values: pa.Array, where: Callable[[int], str]) -> pa.LargeBinaryArray:
    kind = pa.float64() if pt.is_floating(values.type) else values.type
    plain = values.cast(kind).fill_null(False if pt.is_boolean(kind) else 0)
    numbers = plain.to_numpy(zero_copy_only=False)
    if pt.is_floating(kind) and not (finite := np.isfinite(numbers)).all():
        place = int(np.flatnonzero(~finite)[0])
        raise DataError(f"{where(place)}expected a number that JSON can hold, got {numbers[place]}")
    if not len(numbers):
        return pa.array([], pa.large_binary())
    written = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    # "[0.5,2.0]": each number with the comma or bracket behind it, which then goes
    text = np.frombuffer(written, np.uint8)[1:]
    stops = np.flatnonzero((text == ord(",")) | (text == ord("]"))) + 1
    pieces = _binary(text, np.concatenate([np.zeros(1, np.int64), stops]))
    found = pc.binary_slice(pieces, 0, -1)
    if not pt.is_floating(kind):
        return found
    size = np.abs(numbers)
    # orjson has the same digits, but its versions differ in when and how they write an exponent
    by_python = ((size < _PLAIN[0]) & (size > 0)) | (size >= _PLAIN[1])
    if not by_python.any():
        return found
    others = [repr(number).encode() for number in numbers[by_python].tolist()]
    return pc.replace_with_mask(found, pa.array(by_python), pa.array(others, pa.large_binary()))
