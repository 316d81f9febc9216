"""The random schedule: the source of every position drawn by itself, by weight."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from transforms.kernels.arrays import I64, U16, U64
from transforms.kernels.randomness import derive
from transforms.kernels.schedules.schedule import CountedSchedule, keys_of
from transforms.kernels.schedules.weights import WHOLE, check_scaled

CHUNK = 2**20
_TOP = 16  # bits that the table of sources goes by
_UNSURE = 2**16 - 1  # no source has this number


class RandomSchedule(CountedSchedule):
    """Source of position p: where PRF(seed, epoch, p) falls in the cumulative weights.

    The PRF has 64 bits and weights sum to 2**64, so each draw has exactly the law of the weights,
    and draws are independent as far as the keyed hash is a random function. Of several stages each has
    a PRF of its own.

    Args:
        weights: integers that sum to 2**64, from ``weights.scale``; zero is never drawn.
        stage: its number among several; the first, 0, draws as an output without stages does.
        chunk: positions in a chunk of the table. Nothing that is drawn depends on it.
        table: int64[chunks + 1, sources], where counts are known already.
    """

    length = None

    def __init__(
        self,
        weights: Sequence[int],
        *,
        seed: int,
        epoch: int,
        stage: int = 0,
        chunk: int = CHUNK,
        table: I64 | None = None,
    ) -> None:
        super().__init__(np.zeros((1, len(weights)), np.int64) if table is None else table)
        check_scaled(weights)
        self.weights, self.seed, self.epoch, self.chunk = tuple(weights), seed, epoch, chunk
        self.stage = stage
        self._pair = derive(seed, "schedule", epoch, *(("stage", stage) if stage else ()))
        self._lookup = _lookup(self.weights)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (self._law, self.chunk, self.table)

    @property
    def _law(self) -> tuple[Sequence[int], int, int, int]:
        return self.weights, self.seed, self.epoch, self.stage

    def sources_of(self, begin: int, end: int) -> U16:
        return np.concatenate([self._lookup.find(k) for k in keys_of(self._pair, begin, end)])

    def count_chunk(self, index: int) -> I64:
        """Return int64[sources]: how often each source is drawn in one chunk."""
        return self._drawn(index * self.chunk, (index + 1) * self.chunk)

    def with_counts(self, counts: I64) -> RandomSchedule:
        """Return this schedule with int64[n, sources] counts of the n chunks from ``counted_to`` on."""
        if (counts.sum(axis=1) != self.chunk).any():
            raise ValueError(f"expected counts of whole chunks of {self.chunk} positions")
        return _rebuild(self._law, self.chunk, self._extended(counts))


def _rebuild(law: tuple[Sequence[int], int, int, int], chunk: int, table: I64) -> RandomSchedule:
    weights, seed, epoch, stage = law
    return RandomSchedule(weights, seed=seed, epoch=epoch, stage=stage, chunk=chunk, table=table)


class _Lookup:
    """Where 64-bit keys fall in cumulative weights, exactly.

    A table by the keys' top bits answers wherever one source owns all keys with these top bits;
    the few others, one for each boundary, are searched.
    """

    def __init__(self, weights: Sequence[int]) -> None:
        bounds = [bound for bound in accumulate(weights) if bound < WHOLE]
        self._bounds = np.array(bounds, np.uint64)
        lows = np.arange(2**_TOP, dtype=np.uint64) << np.uint64(64 - _TOP)
        first = self._search(lows)
        last = self._search(lows + np.uint64(2 ** (64 - _TOP) - 1))
        self._table = np.where(first == last, first, np.uint16(_UNSURE))

    def find(self, keys: U64) -> U16:
        """Return uint16[n]: how many cumulative weights each of uint64[n] keys has reached."""
        out = self._table[(keys >> np.uint64(64 - _TOP)).astype(np.intp)]
        unsure = np.flatnonzero(out == _UNSURE)
        out[unsure] = self._search(keys[unsure])
        return out

    def _search(self, keys: U64) -> U16:
        # a source of weight zero shares its bound with the one before, and is passed over
        return np.searchsorted(self._bounds, keys, side="right").astype(np.uint16)


# schedules of many seeds, and of longer tables, share theirs
_lookup = functools.lru_cache(maxsize=4)(_Lookup)
