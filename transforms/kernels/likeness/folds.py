"""Folds: which of five parts a content falls to, so that no model scores what it saw."""

from __future__ import annotations

import numpy as np

from transforms.kernels.arrays import U8, U64
from transforms.kernels.randomness import content_keys, split_pair

FOLDS = 5


def folds_of(hash0: U64, hash1: U64, seed: int) -> U8:
    """Return uint8[n], below FOLDS: the folds of contents, equal for equal contents wherever they lie.

    Args:
        hash0, hash1: uint64[n], the hashes of contents.
        seed: of the split.

    >>> folds_of(np.arange(8, dtype=np.uint64), np.zeros(8, np.uint64), seed=0).tolist()
    [1, 0, 2, 4, 0, 4, 2, 4]
    """
    keys = content_keys(split_pair(seed, "like", "fold"), hash0, hash1)
    # the upper half's place among five equal ranges: exact to 2**-32
    places = ((keys >> np.uint64(32)) * np.uint64(FOLDS)) >> np.uint64(32)
    return places.astype(np.uint8)
