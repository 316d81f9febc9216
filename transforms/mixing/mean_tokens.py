"""Mean tokens of a source's documents, of which only a part is tokenized.

Weights by tokens need it. It has to be the same however the work is cut, and whatever files hold the
documents: so it is taken of those whose keys lie below a threshold that follows from exact counts alone,
and not of all that happen to be tokenized, which is planned by estimates. Thresholds are numbers of four
binary digits and zeros.
"""

from __future__ import annotations

import math

import numpy as np

from transforms.kernels.arrays import I64, U64

LEVELS = 233
LEAST = 4096
"""Documents of which a mean is taken, at least, where a source has so many."""
_OF_USED = 0.6  # of what is expected to be used: so much is tokenized for certain
_WHOLE = 0.9  # of a source: where more is expected to be used, all of it is tokenized


def threshold(level: int) -> int:
    """Return below which key the documents of levels under this one lie.

    >>> threshold(LEVELS) == 2**64, threshold(LEVELS - 8) == 2**63, threshold(0)
    (True, True, 0)
    """
    if not level:
        return 0
    octave, step = divmod(level - 1, 8)
    return (8 + step) << (octave + 32)


def count_levels(keys: U64, lengths: I64) -> I64:
    """Count documents and their tokens by level.

    Args:
        keys: uint64[n].
        lengths: int64[n], tokens.

    Returns:
        int64[LEVELS, 2].
    """
    high = (keys >> np.uint64(32)).astype(np.int64)
    _, bits = np.frexp(high.astype(np.float64))  # of which float64 holds all
    shift = np.maximum(bits - 4, 0)
    level = np.where(bits < 4, 0, shift * 8 + ((high >> shift) & 7) + 1)
    found = np.zeros((LEVELS, 2), np.int64)
    np.add.at(found[:, 0], level, 1)
    np.add.at(found[:, 1], level, lengths)
    return found


def level_for(records: int, used: float) -> int:
    """Return the level below which the documents lie of which a source's mean is taken.

    Args:
        records: that it has, exactly.
        used: how many of them are expected to be used; what it follows from is exact, or taken of
            ``level_for(records, 0)``.

    >>> level_for(4000, 0) == level_for(10**6, 10**6) == LEVELS, level_for(10**6, 0) < 200
    (True, True)
    """
    if used >= _WHOLE * records or records <= LEAST:
        return LEVELS
    wanted = max(LEAST, _OF_USED * used)
    keys = math.ceil(wanted / records * 2.0**64)
    return next((n for n in range(LEVELS) if threshold(n) >= keys), LEVELS)


def tokens_of(records: int, levels: I64, *, level: int, tokenized: int) -> int:
    """Return how many tokens a source has, by the mean of a part of its documents.

    Args:
        records: that it has.
        levels: int64[LEVELS, 2], as of ``count_levels``, of all that were tokenized.
        level: as of ``level_for``.
        tokenized: below which key all documents were; 2**64 for all. A lower level is taken where this
            is below the threshold, as estimates were far off.
    """
    while level and threshold(level) > tokenized:
        level -= 1
    count, tokens = levels[:level].sum(axis=0).tolist()
    if not count:
        count, tokens = levels.sum(axis=0).tolist()
    return records * tokens // count if count else 0
