"""Every key and every draw. Nothing else in Dovetail creates randomness.

A key is a pure function of (seed, epoch, source, pass, file name, position), so the order of a
dataset doesn't depend on who computes it. ``derive`` hashes its labels and never adds them (added
seeds collide: seed 42 in epoch 1 would be seed 43 in epoch 0).
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from transforms.kernels.arrays import U64

ORDER_VERSION = 1
"""Rises on the day the order of records has to change; manifests of another version are refused."""

SPLIT_VERSION = 1
"""Rises on the day a record has to fall to another split."""

M1, M2 = np.uint64(0x3C79AC492BA7B653), np.uint64(0x1C69B3F74AC4AE35)
_S27, _S33 = np.uint64(27), np.uint64(33)


class KeyPair(NamedTuple):
    """The two 64-bit halves that ``derive`` gives, as integers in [0, 2**64)."""

    k0: int
    k1: int


def derive(seed: int, *labels: int | str | bytes) -> KeyPair:
    """Hash a seed and labels to 128 bits with BLAKE2b, each label with its type and length.

    So no two lists of labels share an encoding: ("ab", "c") is not ("a", "bc"), 1 is not "1".

    >>> derive(0, "web") == derive(0, "web")
    True
    >>> derive(0, 1) == derive(1, 0)
    False
    """
    return _hashed(b"dovetail", (ORDER_VERSION, seed, *labels))


def split_pair(seed: int, *labels: int | str | bytes) -> KeyPair:
    """Hash a seed and labels as ``derive`` does, for which split a content falls to.

    ORDER_VERSION has no part in it: a record that is shuffled otherwise stays in its split.
    """
    return _hashed(b"dovetail split", (SPLIT_VERSION, seed, *labels))


def _hashed(person: bytes, labels: tuple[int | str | bytes, ...]) -> KeyPair:
    hasher = hashlib.blake2b(digest_size=16, person=person)
    for label in labels:
        if isinstance(label, int):
            tag, data = b"i", str(label).encode()
        elif isinstance(label, str):
            tag, data = b"s", label.encode("utf-8", "surrogatepass")
        else:
            tag, data = b"b", label
        hasher.update(tag + len(data).to_bytes(8, "little") + data)
    digest = hasher.digest()
    return KeyPair(int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))


def mix(values: U64) -> U64:
    """Mix 64-bit integers, a bijection on [0, 2**64).

    Args:
        values: uint64, any shape; not changed.

    Returns:
        uint64 of the same shape.

    Source: Pelle Evensen's "moremur" finalizer, a stronger relative of splitmix64's.
    """
    out = values >> _S27
    out ^= values
    out *= M1
    out ^= out >> _S33
    out *= M2
    out ^= out >> _S27
    return out


def file_key(*, seed: int, epoch: int, source: str, pass_number: int, file_name: str) -> KeyPair:
    """Return the pair that keys the records of one file in one pass, as of ``record_keys``.

    Args:
        seed, epoch: of the dataset.
        source: its name.
        pass_number: of the source, from 0.
        file_name: the path below the source's root, without one codec suffix.
    """
    return derive(seed, epoch, source, pass_number, file_name)


def pass_key(*, seed: int, epoch: int, source: str, pass_number: int) -> KeyPair:
    """Return the pair that makes of keys of a source's first pass those of a later one.

    ``record_keys(pair, keys)`` is a bijection, so that a pass can be keyed from the records of
    another, wherever they lie, and no two of its keys are equal that weren't.
    """
    return derive(seed, epoch, source, "pass", pass_number)


def record_keys(pair: KeyPair, positions: U64) -> U64:
    """Return the keys of records at ``positions``: ``mix(mix(position ^ k0) + k1)``.

    Two rounds, because with one the counters of two files can overlap.

    Args:
        pair: what ``file_key`` gave; or uint64[n] twice, of records of several files.
        positions: uint64[n], byte offsets or row numbers.

    Returns:
        uint64[n], uniform over [0, 2**64) as far as the hash is a random function.
    """
    k0, k1 = (np.asarray(half, np.uint64) for half in pair)
    out = mix(positions ^ k0)
    out += k1
    return mix(out)


def content_keys(pair: KeyPair, hash0: U64, hash1: U64) -> U64:
    """Return the keys of contents by their hashes: ``mix(mix(hash0 ^ k0) + mix(hash1 ^ k1))``.

    Args:
        pair: what ``split_pair`` gave.
        hash0, hash1: uint64[n], two hashes of each content, as ``record_hashes`` gives them.

    Returns:
        uint64[n], equal for equal contents, else uniform over [0, 2**64) and independent, as far as
        the hashes are random functions: all 128 bits of them decide.
    """
    out = mix(hash0 ^ np.uint64(pair.k0))
    out += mix(hash1 ^ np.uint64(pair.k1))
    return mix(out)
