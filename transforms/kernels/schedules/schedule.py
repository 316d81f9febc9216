"""The schedule: which source, and which of its ranks, stands at each output position.

A schedule is a pure function with random access, and every answer is exact. The contract, held by
three algorithms, and by ``staged_schedule.StagedSchedule``, which puts some of them one after another:

``random_schedule.RandomSchedule``
    the source of each position drawn independently by weight. Counts of prefixes must be counted.
``stratified_schedule.StratifiedSchedule``
    every prefix within two records of each source's share, by closed forms. Depends on no seed.
``repeats_schedule.RepeatsSchedule``
    each source a given number of times, every arrangement equally likely. Must be counted.

Sources are numbered in the order of their names. Rank r of a source is its r-th draw, from 0, so
positions and (source, rank) are one to one. Schedules never change.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from transforms.kernels.arrays import I64, U16, U64
from transforms.kernels.randomness import KeyPair, record_keys

MOST_SOURCES = 2**16 - 1

_COUNTED = 2**20  # positions whose sources are counted at once
_PIECE = 2**13  # keys made at once: what they need stays in the nearest cache


class Known(NamedTuple):
    """What some positions need of the counts: the first row's number, int64[rows, sources]."""

    first: int
    table: I64


class Schedule(abc.ABC):
    """From position to source; counts of prefixes give the rank."""

    sources: int
    """How many sources there are, those that are never drawn included."""

    length: int | None
    """How many positions there are; None for endless."""

    @property
    @abc.abstractmethod
    def counted_to(self) -> int:
        """Up to which position counts are known. Beyond it only ``sources_of`` may answer."""

    @abc.abstractmethod
    def sources_of(self, begin: int, end: int) -> U16:
        """Return uint16[end - begin], the source of each position of a range.

        Memory is some 30 bytes a position: callers ask for 2**22 at once at most.
        """

    @abc.abstractmethod
    def counts_before(self, position: int) -> I64:
        """Return int64[sources]: how often each source is drawn before a position.

        Raises:
            IndexError: the position lies beyond ``counted_to``.
        """

    def counts_after(self, before: I64, begin: int, end: int) -> I64:
        """Return ``counts_before(end)``, where those before an earlier position are known."""
        return self.counts_before(end)

    def known(self, begin: int, end: int) -> Known:
        """Return what ``sources_of`` needs of the counts inside of positions [begin, end)."""
        return Known(0, np.zeros((0, self.sources), np.int64))

    def knowing(self, known: Known) -> Schedule:
        """Return this schedule, made without counts, with what ``sources_of`` needs of them.

        Raises:
            ValueError: such counts can't be.
        """
        return self


class CountedSchedule(Schedule):
    """A schedule whose counts are known at the edges of chunks of positions, from a table.

    How long a chunk is, and how many there are, is each algorithm's own; chunks may be empty. Rows
    of counts are made apart, in parallel, and handed to ``with_counts``.
    """

    table: I64
    """int64[chunks + 1, sources]: draws of each source before each chunk, and after the last."""

    starts: I64
    """int64[chunks + 1]: where each chunk begins, and the last one ends."""

    def __init__(self, table: I64) -> None:
        self.table = table
        self.starts = table.sum(axis=1)
        self.sources = table.shape[1]
        check_sources(self.sources)

    @property
    def counted_to(self) -> int:
        return int(self.starts[-1])

    def counts_before(self, position: int) -> I64:
        self._check_counted(position)
        chunk = int(np.searchsorted(self.starts, position, side="right")) - 1
        out: I64 = self.table[chunk] + self._drawn(int(self.starts[chunk]), position)
        return out

    def counts_after(self, before: I64, begin: int, end: int) -> I64:
        chunk = int(np.searchsorted(self.starts, end, side="right")) - 1
        if begin < self.starts[chunk]:
            return self.counts_before(end)
        self._check_counted(end)
        return before + self._drawn(begin, end)

    def _drawn(self, begin: int, end: int) -> I64:
        """Return int64[sources]: how often each source is drawn inside of positions [begin, end)."""
        out = np.zeros(self.sources, np.int64)
        for at in range(begin, end, _COUNTED):
            drawn = self.sources_of(at, min(at + _COUNTED, end))
            out += np.bincount(drawn, minlength=self.sources)
        return out

    def _extended(self, counts: I64) -> I64:
        """Return the table with int64[chunks, sources] more counts."""
        return np.concatenate([self.table, self.table[-1] + np.cumsum(counts, axis=0)])

    def _check_counted(self, *positions: int) -> None:
        for position in positions:
            if not 0 <= position <= self.counted_to:
                raise IndexError(
                    f"expected positions from 0 to {self.counted_to}, got {position}: "
                    f"{self.counted_to} positions are counted"
                )


def keys_of(pair: KeyPair, begin: int, end: int) -> Iterator[U64]:
    """Give the keys of the numbers from ``begin`` to ``end``, in pieces; one piece at least.

    No two of a pair's keys are equal, since ``record_keys`` is a bijection.
    """
    for at in range(begin, max(end, begin + 1), _PIECE):
        yield record_keys(pair, np.arange(at, min(at + _PIECE, end), dtype=np.uint64))


def check_sources(sources: int) -> None:
    """Raise ValueError where sources don't fit their numbers' type."""
    if not 1 <= sources <= MOST_SOURCES:
        raise ValueError(f"expected 1 to {MOST_SOURCES} sources, got {sources}")
