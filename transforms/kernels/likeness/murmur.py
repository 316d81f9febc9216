"""MurmurHash3 (x86, 32 bits, seed 0), compiled, and what scikit-learn makes of it: a bucket and a sign.

The hash is Austin Appleby's, in the public domain; bucket and sign are those of scikit-learn 1.9,
``feature_extraction/_hashing_fast.pyx``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, load_word

_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
_FIVE, _ADDED = np.uint32(5), np.uint32(0xE6546B64)
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)


@inlined
def _turned(x: Any, by: Any) -> Any:
    """Rotate a uint32 to the left."""
    return np.uint32((x << np.uint32(by)) | (x >> np.uint32(32 - by)))


@inlined
def mixed(four: Any) -> Any:
    """Return what four bytes, the first the lowest, do to a hash."""
    return np.uint32(_turned(np.uint32(four * _C1), 15) * _C2)


@inlined
def taken_in(h: Any, four: Any) -> Any:
    """Return a hash that goes on with four more bytes."""
    return np.uint32(_turned(np.uint32(h ^ mixed(four)), 13) * _FIVE + _ADDED)


@inlined
def ended(h: Any, size: Any) -> Any:
    """Return the hash of so many bytes, all of which were taken in."""
    h = np.uint32(h ^ np.uint32(size))
    h = np.uint32((h ^ (h >> np.uint32(16))) * _F1)
    h = np.uint32((h ^ (h >> np.uint32(13))) * _F2)
    return np.uint32(h ^ (h >> np.uint32(16)))


@inlined
def taken(h: Any, four: Any, left: Any) -> Any:
    """Return a hash that goes on with the next bytes: four where as many are left, else the rest.

    Without a branch, so that many hashes go on at once.
    """
    left = np.int32(left)
    few = np.uint32(min(max(left, np.int32(0)), np.int32(3)))
    last = mixed(np.uint32(four & np.uint32((np.uint32(1) << np.uint32(8 * few)) - 1)))
    return taken_in(h, four) if left >= 4 else np.uint32(h ^ last)


@inlined
def hash_bytes(data: Any, begin: Any, end: Any) -> Any:
    """Return the hash, uint32, of data[begin:end]; 8 bytes more have to lie behind."""
    h = np.uint32(0)
    at = begin
    while at + 4 <= end:
        h = taken_in(h, np.uint32(load_word(data, at)))
        at += 4
    rest = np.uint32(load_word(data, at)) & np.uint32((1 << (8 * (end - at))) - 1)
    return ended(np.uint32(h ^ mixed(np.uint32(rest))), end - begin)


@inlined
def code_of(h: Any, mask: Any) -> Any:
    """Return 2 * bucket, and 1 more where the sign is minus: uint32.

    The hash is taken as an int32. The bucket is its absolute value modulo the buckets, whose number is a
    power of two: ``mask`` is one less.
    """
    minus = np.uint32(h >> np.uint32(31))
    size = np.uint32((h ^ np.uint32(-np.int32(minus))) + minus)
    return np.uint32((np.uint32(size & mask) << np.uint32(1)) | minus)
