"""Slow, plain versions of the kernels' arithmetic, from their docstrings and in Python integers."""

from __future__ import annotations

import functools

MASK64 = 2**64 - 1
MIX = (0x3C79AC492BA7B653, 0x1C69B3F74AC4AE35)  # as Pelle Evensen published them
PREMIX = 0x9FB21C651E98DF25
RADIX = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)


def mix(x: int) -> int:
    """Moremur."""
    x ^= x >> 27
    x = x * MIX[0] & MASK64
    x ^= x >> 33
    x = x * MIX[1] & MASK64
    return x ^ x >> 27


def unmix(x: int) -> int:
    """Take ``mix`` back, step by step: that it can be done is what makes it a bijection."""
    x ^= x >> 27 ^ x >> 54
    x = x * pow(MIX[1], -1, 2**64) & MASK64
    x ^= x >> 33
    x = x * pow(MIX[0], -1, 2**64) & MASK64
    return x ^ x >> 27 ^ x >> 54


def record_key(k0: int, k1: int, position: int) -> int:
    """One record's key."""
    return mix((mix(position ^ k0) + k1) & MASK64)


@functools.lru_cache(maxsize=256)  # a megabyte takes it a tenth of a second, and comes again
def record_hash(record: bytes, k: int) -> int:
    """Hash k of one record."""
    total, power = 0, 1
    for at in range(0, max(len(record), 1), 8):
        word = int.from_bytes(record[at : at + 8], "little")
        mixed = word * PREMIX & MASK64
        total += (mixed ^ mixed >> 32) * power
        power = power * RADIX[k] & MASK64
    return mix(total & MASK64 ^ mix(len(record) + k + 1))
