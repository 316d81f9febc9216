"""SentencePiece models made by hand, in the wire format of protocol buffers.

The package's own module of messages wants a newer protobuf than Beam allows.
"""

from __future__ import annotations

import struct

NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def unigram_file(scored: dict[str, float], *, byte_fallback: bool = False) -> tuple[bytes, int]:
    """A unigram model without normalization, and the id of its first piece that matches text."""
    pieces = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL)]
    if byte_fallback:
        pieces += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    first = len(pieces)
    pieces += [(piece, score, NORMAL) for piece, score in scored.items()]
    out = b"".join(
        _bytes(1, _bytes(1, piece.encode()) + _float(2, score) + _number(3, kind))
        for piece, score, kind in pieces
    )
    out += _bytes(2, _number(3, 1) + _number(35, byte_fallback))
    # no dummy prefix, and white space as it is
    out += _bytes(3, _number(3, 0) + _number(4, 0) + _number(5, 0))
    return out, first


def _varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
