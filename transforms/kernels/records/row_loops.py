"""Loops over rows' hashes, compiled; bit by bit what ``row_hashes`` does by numpy.

Imported where compiled loops are (``compiling``).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.arrays import U64, read_only
from transforms.kernels.compiled import kernel
from transforms.kernels.records.loops import mix_one


def hash_words(words: U64, key0: np.uint64, key1: np.uint64) -> tuple[U64, U64]:
    """Return two uint64[n], ``mix(words ^ key)`` for either key."""
    found = np.empty(len(words), np.uint64), np.empty(len(words), np.uint64)
    _hash_words(read_only(words), key0, key1, *found)
    return found


@kernel
def _hash_words(words: Any, key0: Any, key1: Any, hash0: Any, hash1: Any) -> None:
    for i in range(len(words)):
        hash0[i] = mix_one(words[i] ^ key0)
        hash1[i] = mix_one(words[i] ^ key1)


def fold_in(hashes: tuple[U64, U64], more: tuple[U64, U64]) -> None:
    """Set each of two uint64[n] to ``mix(hashes ^ more)``."""
    _fold_in(*hashes, *map(read_only, more))


def load() -> None:
    """Load all of it, or compile what wasn't yet."""
    word, one = np.zeros(1, np.uint64), np.uint64(1)
    fold_in((word, word.copy()), hash_words(word, one, one))


@kernel
def _fold_in(hash0: Any, hash1: Any, more0: Any, more1: Any) -> None:
    for i in range(len(hash0)):
        hash0[i] = mix_one(hash0[i] ^ more0[i])
        hash1[i] = mix_one(hash1[i] ^ more1[i])
