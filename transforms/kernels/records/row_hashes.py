"""Hashes of rows by their logical values.

They don't depend on how Arrow lays the values down: on slices, offsets, what stands under a null, a
validity bitmap that is all ones, offsets of 32 or 64 bits. A value has two hashes, k in 0, 1, with
``record_hash_k`` and ``mix`` as in ``digest`` and ``randomness``:

    null                    NULL_k
    number, bool (1 byte),
      time, decimal,
      interval of w bytes   its little-endian bytes: w <= 8: mix(those as a number ^ PLAIN_k);
                            else record_hash_k of them
    string, binary          record_hash_k of its bytes
    list of numbers (all    h = record_hash_k of its elements' bytes, zeros for nulls; and if any
      of the second line)   is null, mix(h ^ record_hash_k(a byte for each element, 1 if null else 0))
    any other list          record_hash_k of its elements' hash_k as little-endian 64-bit words
    map                     as a list of structs (key, value)
    struct                  h = STRUCT_k; for each child in order h = mix(h ^ its hash_k)

Values of different types may have equal hashes (0 of int8 and of int64): types are the schema's
affair. NaNs are equal if their bits are, and -0.0 is not 0.0.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from transforms.kernels.arrays import U64
from transforms.kernels.randomness import mix
from transforms.kernels.records import compiling
from transforms.kernels.records.arrow_values import (
    bytes_extents,
    elements,
    is_bytes,
    plain_bytes,
    plain_width,
    validity,
)
from transforms.kernels.records.digest import record_hashes

NULL = (np.uint64(0x8EBC6AF09C88C6E3), np.uint64(0x589965CC75374CC3))
PLAIN = (np.uint64(0xA0761D6478BD642F), np.uint64(0xE7037ED1A0B428DB))
STRUCT = (np.uint64(0x1D8E4E27C47D124F), np.uint64(0xEB44ACCAB455D165))

_ROWS = 1 << 14  # at a time, so that arrays of their hashes stay in a core's cache
_SLICE = 4 << 20  # bytes of memory that rows hashed at a time should have

Hashes = tuple[U64, U64]


def row_hashes(rows: pa.StructArray) -> Hashes:
    """Hash rows by their values.

    Args:
        rows: as ``rows.to_rows`` gives them.

    Returns:
        Two uint64[n].
    """
    count = len(rows)
    step = max(1, min(_ROWS, count * _SLICE // max(rows.nbytes, 1)))
    out = np.empty(count, np.uint64), np.empty(count, np.uint64)
    for begin in range(0, count, step):
        part = value_hashes(rows.slice(begin, step))
        for k in (0, 1):
            out[k][begin : begin + step] = part[k]
    return out


def value_hashes(array: pa.Array) -> Hashes:
    """Hash the values of an array of any type in which rows travel; two uint64[n]."""
    if pt.is_null(array.type):
        return np.full(len(array), NULL[0]), np.full(len(array), NULL[1])
    hashes = _hashes(array)
    valid = validity(array)
    if valid is not None:
        for k in (0, 1):
            hashes[k][~valid] = NULL[k]
    return hashes


def _hashes(array: pa.Array) -> Hashes:
    """Hash values, and nulls as anything."""
    width = plain_width(array.type)
    if width and width <= 8:
        return _word_hashes(plain_bytes(array).view(f"<u{width}").astype(np.uint64))
    if width:
        return record_hashes(plain_bytes(array), np.arange(len(array) + 1, dtype=np.int64) * width)
    if is_bytes(array.type):
        return record_hashes(*bytes_extents(array))
    if pt.is_struct(array.type):
        return _struct_hashes(array)
    return _list_hashes(array)


def _struct_hashes(array: pa.StructArray) -> Hashes:
    hashes = np.full(len(array), STRUCT[0]), np.full(len(array), STRUCT[1])
    for i in range(array.type.num_fields):
        _fold_in(hashes, value_hashes(array.field(i)))
    return hashes


def _word_hashes(words: U64) -> Hashes:
    if compiling.loops_for(words.nbytes) is None:
        return mix(words ^ PLAIN[0]), mix(words ^ PLAIN[1])
    from transforms.kernels.records.row_loops import hash_words

    return hash_words(words, *PLAIN)


def _fold_in(hashes: Hashes, more: Hashes) -> None:
    """Set hashes to those of what they are of and more."""
    if compiling.loops_for(0) is None:
        for k in (0, 1):
            hashes[k][:] = mix(hashes[k] ^ more[k])
        return
    from transforms.kernels.records.row_loops import fold_in

    fold_in(hashes, more)


def _list_hashes(array: pa.Array) -> Hashes:
    inner, offsets = elements(array)
    width = plain_width(inner.type)
    if not width:
        words = value_hashes(inner)
        first, second = (
            record_hashes(word.view(np.uint8), 8 * offsets)[k] for k, word in enumerate(words)
        )
        return first, second
    hashes = record_hashes(plain_bytes(inner), width * offsets)
    valid = validity(inner)
    if valid is not None:
        with_null = np.logical_or.reduceat(np.append(~valid, False), offsets[:-1])
        with_null &= np.diff(offsets) > 0  # reduceat takes an empty list for one element
        marks = record_hashes((~valid).view(np.uint8), offsets)
        for h, mark in zip(hashes, marks, strict=True):
            h[with_null] = mix(h[with_null] ^ mark[with_null])
    return hashes
