"""Loops over records' bytes, compiled: what numpy does in many passes, in one.

Imported by ``compiling`` alone, where the input is large. Each gives what the numpy passes give that it
stands in for, bit by bit. Integers are uint64 or int64 throughout: of
one of each, numba makes a float.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.arrays import I64, U8, U32, U64, read_only
from transforms.kernels.compiled import (
    copy_bytes,
    equal_bytes,
    fetch_address,
    first_bit,
    inlined,
    kernel,
    load_word,
)
from transforms.kernels.randomness import M1, M2

_AHEAD = 16  # records that are asked for before they are copied: they lie anywhere in memory
_LINE = 64  # bytes that come from memory at once
_ONE = np.uint64(1)
_3, _7, _8, _27, _32, _33 = (np.uint64(n) for n in (3, 7, 8, 27, 32, 33))


@inlined
def mix_one(value: Any) -> Any:
    """Return ``randomness.mix`` of one uint64."""
    value = (value ^ (value >> _27)) * M1
    value = (value ^ (value >> _33)) * M2
    return value ^ (value >> _27)


def record_hashes(
    values: U8, offsets: I64, end: int, factor: np.uint64, powers: U64
) -> tuple[U64, U64]:
    """Hash records as ``digest`` says; two uint64[n].

    Args:
        values: uint8[size].
        offsets: int64[n + 1], where each begins, and where the last one's terminator ends.
        end: bytes of a terminator, 0 or 1.
        factor: by which a word is premixed.
        powers: uint64[2, w], R_k**i; longer records are taken in pieces of w words.
    """
    count = len(offsets) - 1
    hash0, hash1 = np.empty(count, np.uint64), np.empty(count, np.uint64)
    _hash_records(
        read_only(values), read_only(offsets), end, factor, read_only(powers), hash0, hash1
    )
    return hash0, hash1


@kernel
def _hash_records(
    values: Any, offsets: Any, end: Any, factor: Any, powers: Any, hash0: Any, hash1: Any
) -> None:
    """Fill hash0 and hash1, uint64[n]; the others as of ``record_hashes``."""
    last = len(values) - 8  # where the last whole word of the buffer begins
    powers0, powers1 = powers[0], powers[1]
    step = len(powers0)
    for record in range(len(offsets) - 1):
        place, stop = offsets[record], offsets[record + 1] - end
        length = stop - place
        words, rest = length >> 3, length & 7
        sum0, sum1, scale0, scale1 = np.uint64(0), np.uint64(0), _ONE, _ONE
        while words > step:
            part0, part1 = np.uint64(0), np.uint64(0)
            for i in range(step):
                word = load_word(values, place + 8 * i) * factor
                word ^= word >> _32
                part0 += word * powers0[i]
                part1 += word * powers1[i]
            sum0 += part0 * scale0
            sum1 += part1 * scale1
            scale0 *= powers0[step - 1] * powers0[1]
            scale1 *= powers1[step - 1] * powers1[1]
            place += 8 * step
            words -= step
        part0, part1 = np.uint64(0), np.uint64(0)
        for i in range(words):
            word = load_word(values, place + 8 * i) * factor
            word ^= word >> _32
            part0 += word * powers0[i]
            part1 += word * powers1[i]
        if rest:
            place += 8 * words
            word = np.uint64(0)
            if place <= last:
                word = load_word(values, place) & ((_ONE << np.uint64(8 * rest)) - _ONE)
            else:
                for i in range(rest):
                    word |= np.uint64(values[place + i]) << np.uint64(8 * i)
            word *= factor
            word ^= word >> _32
            at, more0, more1 = words, _ONE, _ONE
            if words == step:
                at, more0, more1 = step - 1, powers0[1], powers1[1]
            part0 += word * powers0[at] * more0
            part1 += word * powers1[at] * more1
        size = np.uint64(length)
        hash0[record] = mix_one((sum0 + part0 * scale0) ^ mix_one(size + _ONE))
        hash1[record] = mix_one((sum1 + part1 * scale1) ^ mix_one(size + _ONE + _ONE))


def line_offsets(values: U8, separator: int) -> I64:
    """Find the lines that end inside a buffer; as of ``lines.line_offsets``."""
    values = read_only(values)
    offsets = np.empty(_count_bytes(values, separator) + 1, np.int64)
    _find_bytes(values, separator, offsets)
    return offsets


@kernel
def _count_bytes(values: Any, byte: Any) -> Any:
    count = 0
    for value in values:
        count += value == byte
    return count


@kernel
def _find_bytes(values: Any, byte: Any, offsets: Any) -> None:
    """Fill int64[n + 1] with 0 and the places behind each such byte."""
    offsets[0], found, at = 0, 1, 0
    while at + 64 <= len(values):
        mask = equal_bytes(values, at, np.uint8(byte))
        while mask:
            offsets[found] = at + first_bit(mask) + 1
            found += 1
            mask &= mask - _ONE
        at += 64
    for i in range(at, len(values)):
        if values[i] == byte:
            offsets[found] = i + 1
            found += 1


def copy_records(addresses: U64, lengths: I64, order: I64) -> tuple[U8, I64]:
    """Copy records that lie anywhere in memory one after another; return them, and their offsets.

    Args:
        addresses: uint64[n], where each begins.
        lengths: int64[n], bytes of each. Nothing checks that they are there.
        order: int64[m], which to copy.
    """
    offsets = np.empty(len(order) + 1, np.int64)
    order = read_only(order)
    _lay_out(read_only(lengths), order, offsets)
    out = np.empty(int(offsets[-1]), np.uint8)
    _copy_records(read_only(addresses), order, offsets, out)
    return out, offsets


@kernel
def _lay_out(lengths: Any, order: Any, offsets: Any) -> None:
    offsets[0] = 0
    for i in range(len(order)):
        offsets[i + 1] = offsets[i] + lengths[order[i]]


@kernel
def _copy_records(addresses: Any, order: Any, offsets: Any, out: Any) -> None:
    count = len(order)
    for i in range(count):
        if i + _AHEAD < count:
            size = offsets[i + _AHEAD + 1] - offsets[i + _AHEAD]
            begin = addresses[order[i + _AHEAD]]
            for at in range(0, min(size, 8 * _LINE), _LINE):
                fetch_address(begin + np.uint64(at))
        copy_bytes(out, offsets[i], addresses[order[i]], offsets[i + 1] - offsets[i])


def split_ids(ids: U32, out: U8) -> None:
    """Write the first bytes of ids, then their second ones, and so on, into uint8[4, n]."""
    _split_ids(read_only(ids), out)


@kernel
def _split_ids(ids: Any, out: Any) -> None:
    out0, out1, out2, out3 = out[0], out[1], out[2], out[3]
    for i in range(len(ids)):
        value = ids[i]
        out0[i] = np.uint8(value)
        out1[i] = np.uint8(value >> np.uint32(8))
        out2[i] = np.uint8(value >> np.uint32(16))
        out3[i] = np.uint8(value >> np.uint32(24))


def load() -> None:
    """Load all of it, or compile what wasn't yet."""
    values, offsets = np.zeros(64, np.uint8), np.arange(2)
    record_hashes(values, offsets, 0, _ONE, np.ones((2, 2), np.uint64))
    line_offsets(values, 1)
    copy_records(
        np.array([values.ctypes.data], np.uint64), np.ones(1, np.int64), np.zeros(1, np.int64)
    )
    split_ids(np.zeros(1, np.uint32), np.empty((4, 1), np.uint8))
