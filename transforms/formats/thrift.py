"""Thrift's compact protocol, as far as Parquet's page headers and footers need it.

Source: thrift-compact-protocol.md of Apache Thrift. A struct is its fields one after another, each as
the step from the last field's number, its type and its value, and a zero at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from transforms.kernels.records.id_pages import varint

_INT8, _INT16, _INT32, _INT64, _BINARY, _LIST, _STRUCT = 3, 4, 5, 6, 8, 9, 12
_TRUE, _FALSE = 1, 2
_SHORT = 15  # items of a list from which their number has bytes of its own


class Value(NamedTuple):
    """A value as it is encoded, and its type's number."""

    kind: int
    data: bytes


def _zigzag(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def int8(value: int) -> Value:
    """A number of 8 bits."""
    return Value(_INT8, value.to_bytes(1, "little", signed=True))


def int16(value: int) -> Value:
    """A number of 16 bits."""
    return Value(_INT16, _zigzag(value))


def int32(value: int) -> Value:
    """A number of 32 bits."""
    return Value(_INT32, _zigzag(value))


def int64(value: int) -> Value:
    """A number of 64 bits."""
    return Value(_INT64, _zigzag(value))


def boolean(value: bool) -> Value:
    """A truth value, as a field of a struct."""
    return Value(_TRUE if value else _FALSE, b"")


def binary(value: bytes | str) -> Value:
    """Bytes, or text."""
    data = value.encode() if isinstance(value, str) else value
    return Value(_BINARY, varint(len(data)) + data)


def no_structs() -> Value:
    """A list without items, which would be structs."""
    return Value(_LIST, bytes([_STRUCT]))


def several(values: Sequence[Value]) -> Value:
    """A list of at least one value, all of one type."""
    kind = values[0].kind
    count = len(values)
    head = bytes([count << 4 | kind]) if count < _SHORT else bytes([0xF0 | kind]) + varint(count)
    return Value(_LIST, head + b"".join(value.data for value in values))


def struct(fields: dict[int, Value]) -> Value:
    """A struct of fields by their numbers, which rise.

    >>> struct({1: int32(0), 3: binary("x")}).data.hex()
    '150028017800'
    """
    out, last = bytearray(), 0
    for number, value in fields.items():
        out.append(number - last << 4 | value.kind)
        out += value.data
        last = number
    return Value(_STRUCT, bytes(out) + b"\0")
