"""Encoded records: their ids, what is put around them, and what keys their draws."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from transforms.errors import UsageError
from transforms.kernels.arrays import F64, I64, U32, U64
from transforms.kernels.randomness import derive, record_keys

Identity = int | str | bytes


class Encoded(NamedTuple):
    """Ids of records, and what statistics want to know of them."""

    ids: U32
    """uint32[k], of all records one after another."""

    offsets: I64
    """int64[r + 1]: record i has ``ids[offsets[i]:offsets[i + 1]]``."""

    unknown: int
    """How many characters were unknown; of a model that isn't a unigram model, how many tokens."""

    unknown_of: int
    """Out of how many: characters as they are normalized, or tokens; 0 where none can be unknown."""

    negative_log_probs: F64
    """float64[r]: minus the logarithm of each segmentation's probability under the law; 0 where
    nothing is drawn, NaN under ``viterbi_sampling``, where it isn't known."""

    checked_records: int = 0
    """How many records a second implementation encoded too, to the same ids."""

    checked_bytes: int = 0
    """Of how many bytes of text."""

    def lists(self) -> list[list[int]]:
        """Return each record's ids."""
        every: list[int] = self.ids.tolist()
        return [every[a:b] for a, b in pairwise(self.offsets.tolist())]


def add_special_tokens(
    found: Encoded, *, before: Sequence[int] = (), after: Sequence[int] = ()
) -> Encoded:
    """Put ids before and behind each record's."""
    more = len(before) + len(after)
    if not more:
        return found
    records = len(found.offsets) - 1
    offsets = found.offsets + more * np.arange(records + 1)
    ids = np.empty(len(found.ids) + more * records, np.uint32)
    inside = np.ones(len(ids), bool)
    firsts = [offsets[:-1] + i for i in range(len(before))]
    lasts = [offsets[1:] - len(after) + i for i in range(len(after))]
    for places, id_ in zip([*firsts, *lasts], [*before, *after], strict=True):
        ids[places], inside[places] = id_, False
    ids[inside] = found.ids
    return found._replace(ids=ids, offsets=offsets)


def identity_keys(identities: Sequence[Identity] | U64, *, seed: int, epoch: int) -> U64:
    """Return uint64[r]: what keys the draws of records with these identities.

    Args:
        identities: ints from 0 below 2**64, strs or bytes; or uint64[r], such as the keys that records
            have in a shuffle.
        seed, epoch: as for a shuffle, whose keys these are not.

    Raises:
        UsageError: an identity is of another type, or out of range.
    """
    pair = derive(seed, epoch, "tokens")
    if isinstance(identities, np.ndarray):
        return record_keys(pair, identities)
    numbers = np.zeros(len(identities), np.uint64)
    named = {}
    for place, identity in enumerate(identities):
        if isinstance(identity, str | bytes):
            named[place] = derive(seed, epoch, "tokens", identity).k0
        elif isinstance(identity, int | np.integer) and 0 <= identity < 1 << 64:
            numbers[place] = identity
        else:
            raise UsageError(
                f"identity {place}: expected text, bytes, or an int from 0 to 2**64 - 1, got "
                f"{identity!r}"
            )
    keys = record_keys(pair, numbers)
    keys[list(named)] = list(named.values())
    return keys
