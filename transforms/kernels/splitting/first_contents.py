"""The first contents of counted splits, found in bounded memory, and which of them a split takes.

A counted split takes whole contents in an order of its own (``SplitPlan.order``), each that has no more
records than there is room for, until it is full or has looked at so many as it wants records, LOOKED_AT
more, and as many as splits before it may have taken. So what it takes follows from all contents and
the plan, and to find it, that many contents of each order have to be remembered with their records,
however many there are: a content among the first of all is among the first of every part, so that parts
are counted anywhere, and joined in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate

import numpy as np

from transforms.kernels.arrays import I64, U64
from transforms.kernels.splitting.plan import Counted, SplitPlan, among

LOOKED_AT = 4096
"""Contents that a split looks at beyond those that would do if each had one record."""
_WAITING = 1 << 16  # contents that wait at least until they are sorted in

_COST = 180  # bytes for each content that is remembered, joined, chosen from (bench/splits.py)

Table = tuple[U64, I64]
"""Keys of contents and how many records each has, in a split's order."""


def footprint(plan: SplitPlan) -> int:
    """Return the bytes of memory that counting takes in each worker, whatever there is to count."""
    return sum(_COST * (total + LOOKED_AT) for total in accumulate(plan.counts))


class FirstContents:
    """Of every counted split of a plan, the first contents of those that were added.

    It takes ``footprint`` bytes of memory at most.
    """

    def __init__(self, plan: SplitPlan) -> None:
        self._plan = plan
        self._firsts = [
            _First(plan, split, most=total + LOOKED_AT)
            for split, total in enumerate(accumulate(plan.counts))
        ]

    def add(self, hash0: U64, hash1: U64) -> None:
        """Add records by the hashes of their contents, two uint64[n]; those in a share don't count."""
        left = np.flatnonzero(self._plan.shares_of(hash0, hash1) == self._plan.no_share)
        keys, counts = np.unique(self._plan.keys_of(hash0[left], hash1[left]), return_counts=True)
        for first in self._firsts:
            first.add(keys, counts)

    def join(self, tables: Iterable[Table]) -> None:
        """Add what another part found, a table for each counted split."""
        for first, (keys, counts) in zip(self._firsts, tables, strict=True):
            first.add(keys, counts)

    def tables(self) -> list[Table]:
        """Return a table for each counted split: uint64[m], int64[m]."""
        return [first.table() for first in self._firsts]

    def chosen(self) -> tuple[Counted, ...]:
        """Choose, when everything was added: what each counted split takes."""
        taken = np.zeros(0, np.uint64)
        found = []
        for split, (keys, counts) in enumerate(self.tables()):
            free = ~among(keys, taken)
            one, mine = self._choose(split, keys[free], counts[free])
            taken = np.sort(np.concatenate([taken, mine]))
            found.append(one)
        return tuple(found)

    def _choose(self, split: int, keys: U64, counts: I64) -> tuple[Counted, U64]:
        """Return what a split takes of contents in its order, and their keys."""
        places = np.array(list(_fitting(counts.tolist(), self._plan.counts[split])), np.int64)
        mine = keys[places]
        last, skipped = None, keys[:0]
        if len(places):
            last = int(self._plan.order(split, mine[-1:])[0])
            skipped = np.sort(np.delete(keys[: places[-1] + 1], places))
        records = int(counts[places].sum())
        found = Counted(last, skipped, records=records, contents=len(mine))
        return found, mine


class _First:
    """The first contents in the order of one split, at most ``most``."""

    def __init__(self, plan: SplitPlan, split: int, *, most: int) -> None:
        self._plan, self._split, self._most = plan, split, most
        self._parts: list[Table] = []
        self._waiting = 0
        self._last = np.uint64(2**64 - 1)  # contents behind it are not among the first

    def add(self, keys: U64, counts: I64) -> None:
        near = self._plan.order(self._split, keys) <= self._last
        self._parts.append((keys[near], counts[near].astype(np.int64)))
        self._waiting += len(self._parts[-1][0])
        if self._waiting > max(self._most // 4, _WAITING):
            self.table()

    def table(self) -> Table:
        """Sort in what waits."""
        if not self._parts:
            return np.zeros(0, np.uint64), np.zeros(0, np.int64)
        keys, counts = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        self._parts.clear()
        order = self._plan.order(self._split, keys)
        places = np.argsort(order)
        order = order[places]
        begins = np.flatnonzero(np.concatenate([[True], order[1:] != order[:-1]])[: len(order)])
        counts = np.add.reduceat(counts[places], begins) if len(begins) else counts
        begins = begins[: self._most]
        found = keys[places[begins]], counts[: self._most]
        if len(begins) == self._most:
            self._last = order[begins[-1]]
        self._parts, self._waiting = [found], 0
        return found


def _fitting(counts: list[int], room: int) -> Iterator[int]:
    """Yield the places of contents that fit, in their order, until there is no room."""
    for place, count in enumerate(counts):
        if count <= room:
            yield place
            room -= count
            if not room:
                return
