"""Just enough of protocol buffers to read SentencePiece's model files.

The protobuf package can't be used: Beam needs an older one than sentencepiece's generated module.
Source: the wire format's public description ("Encoding", Protocol Buffers documentation).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10


class WireError(ValueError):
    """Bytes that are no message; says where."""


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Yield (field number, value) of a message: int, float of 32 or 64 bits, or the bytes of the rest.

    Raises:
        WireError: the bytes are no message; those before were yielded.
    """
    place, end = 0, len(message)
    while place < end:
        start = place
        tag, place = _varint(message, place)
        number, kind = tag >> 3, tag & 7
        value: int | float | bytes
        if kind == _VARINT:
            value, place = _varint(message, place)
        elif kind == _BYTES:
            size, place = _varint(message, place)
            value, place = message[place : place + size], place + size
        elif kind in (_FIXED32, _FIXED64):
            size, form = (4, "<f") if kind == _FIXED32 else (8, "<d")
            if place + size > end:
                raise WireError(f"the field at byte {start} is cut off")
            (value,), place = struct.unpack_from(form, message, place), place + size
        else:
            raise WireError(f"byte {start} begins no field")
        if place > end:
            raise WireError(f"the field at byte {start} is cut off")
        if number == 0:
            raise WireError(f"byte {start} begins no field")
        yield number, value


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for count in range(_LONGEST_VARINT):
        if place + count >= len(message):
            raise WireError(f"the number at byte {place} is cut off")
        byte = message[place + count]
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, place + count + 1
    raise WireError(f"byte {place} begins no number")
