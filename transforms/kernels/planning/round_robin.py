"""Round robin: keys that a runner's hash sends to one worker after the other.

Flink sends a group to the worker that a hash of its key names: of 16 groups one of two workers gets
10, and the other is idle for the last third of the time. So groups that are numbered get keys whose
hash is known: number i goes to worker i mod W. Where a runner hashes otherwise it shares out as
unevenly as it would without; nothing but who does the work depends on it.

The hash is that of Flink's DataSet programs for keys that Beam has encoded (Java's hash of an array
of bytes, then the mixer of MurmurHash3): read in ``OutputEmitter``, ``MathUtils`` and Beam's
``EncodedValueComparator``, and seen on a cluster (tests/runners/test_round_robin.py).
"""

from __future__ import annotations

import functools

import numpy as np

from transforms.kernels.arrays import I64, U32


class RoundRobinKeys:
    """Keys of numbered groups, and numbers of keys.

    Args:
        workers: how many, at least 1.

    >>> keys = RoundRobinKeys(2)
    >>> [keys.key(number) for number in range(4)]
    [1, 0, 4, 2]
    >>> [keys.number(key) for key in (1, 0, 4, 2)]
    [0, 1, 2, 3]
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._known = self._look_at(64)

    def _look_at(self, keys: int) -> tuple[I64, I64, I64, I64]:
        """Give the keys 0 to ``keys`` to workers in turn; more keys change nothing of it."""
        workers = flink_workers(np.arange(keys), self._workers)
        by_worker = np.argsort(workers, kind="stable")
        counts = np.bincount(workers, minlength=self._workers)
        starts = np.cumsum(counts) - counts
        turns = np.arange(keys) - np.repeat(starts, counts)
        numbers = np.empty(keys, np.int64)
        numbers[by_worker] = turns * self._workers + workers[by_worker]
        return by_worker, counts, starts, numbers

    def key(self, number: int) -> int:
        """Return the key of a group's number, at least 0: the next one whose worker's turn it is."""
        turn, worker = divmod(number, self._workers)
        known = self._known  # once: threads share this, and another may look further meanwhile
        while known[1][worker] <= turn:
            known = self._known = self._look_at(2 * len(known[0]))
        keys, _, starts, _ = known
        return int(keys[starts[worker] + turn])

    def number(self, key: int) -> int:
        """Return the number of a key that ``key`` gave."""
        known = self._known
        while len(known[3]) <= key:
            known = self._known = self._look_at(2 * len(known[3]))
        return int(known[3][key])


round_robin_keys = functools.cache(RoundRobinKeys)


def flink_workers(keys: I64, workers: int) -> I64:
    """Return which of so many subtasks Flink groups each key in.

    Args:
        keys: int64[n] in [0, 2**31), encoded by Beam's coder for integers.
        workers: the parallelism.
    """
    left = keys.astype(np.int64)
    hashes = np.ones(len(keys), np.uint32)
    more = np.ones(len(keys), bool)
    while more.any():  # seven bits a byte, and whether others follow
        byte = np.where(left >= 128, left % 128 + 128, left)
        signed = byte.astype(np.uint8).view(np.int8).astype(np.uint32)
        hashes = np.where(more, hashes * np.uint32(31) + signed, hashes)
        more &= left >= 128
        left >>= 7
    return np.abs(_murmur(hashes).view(np.int32).astype(np.int64)) % workers


def _murmur(words: U32) -> U32:
    """Hash single words by MurmurHash3 (Appleby, 2011) for 32 bits, seed 0."""
    mixed = _rotate(words * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    mixed = _rotate(mixed, 13) * np.uint32(5) + np.uint32(0xE6546B64)
    mixed ^= np.uint32(4)  # bytes
    mixed = (mixed ^ (mixed >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    mixed = (mixed ^ (mixed >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    return mixed ^ (mixed >> np.uint32(16))


def _rotate(words: U32, by: int) -> U32:
    return (words << np.uint32(by)) | (words >> np.uint32(32 - by))
