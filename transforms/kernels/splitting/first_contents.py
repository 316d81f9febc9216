"""The first contents of counted splits, found in bounded memory, and which of them a split takes.

A counted split takes whole contents in an order of its own (``SplitPlan.order``), each that has no more
records than there is room for, until it is full or has looked at so many as it wants records, LOOKED_AT
more, and as many as splits before it may have taken. So what it takes follows from all contents and
the plan, and to find it, that many contents of each order have to be remembered with their records,
however many there are: a content among the first of all is among the first of every part, so that parts
are counted anywhere, and joined in any order. Where labels are told apart (``quotas``), each label is
counted as if it were alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from transforms.errors import DataError
from transforms.kernels.arrays import I64, U16, U64
from transforms.kernels.splitting.plan import Counted, SplitPlan, among

LOOKED_AT = 4096
"""Contents that a split looks at beyond those that would do if each had one record; of all labels."""
_OF_LABEL = 4  # of them at least, that a split looks at of each label
_WAITING = 1 << 16  # contents that wait at least until they are sorted in

_COST = 180  # bytes for each content that is remembered, joined, chosen from (bench/splits.py)

Table = tuple[U64, U16, I64]
"""Keys of contents, the numbers of their labels, how many records each has: by label, each in a split's
order."""


def footprint(plan: SplitPlan, *, labels: int = 1) -> int:
    """Return the bytes of memory that counting takes in each worker, whatever there is to count.

    Args:
        plan: what is asked.
        labels: that are told apart, at most.
    """
    slack = max(LOOKED_AT, labels * _looked_at(labels))
    return sum(_COST * (total + slack) for total in accumulate(plan.counts))


def _looked_at(labels: int) -> int:
    return max(LOOKED_AT // labels, min(_OF_LABEL, LOOKED_AT))


class FirstContents:
    """Of every counted split of a plan, the first contents of those that were added.

    It takes ``footprint`` bytes of memory at most.

    Args:
        plan: what is asked.
        quotas: int64[splits, labels], as of ``quotas``: what each counted split has of each label; None
            where labels aren't told apart.
    """

    def __init__(self, plan: SplitPlan, quotas: I64 | None = None) -> None:
        self._plan = plan
        self.quotas = quotas
        self._quotas = np.array(plan.counts, np.int64)[:, None] if quotas is None else quotas
        labels = self._quotas.shape[1]
        most = np.maximum(np.cumsum(self._quotas, axis=0) + _looked_at(max(labels, 1)), 1)
        self._firsts = [_First(plan, split, most=of_labels) for split, of_labels in enumerate(most)]

    def add(self, hash0: U64, hash1: U64, labels: U16 | None = None) -> None:
        """Add records by the hashes of their contents; those in a share don't count.

        Args:
            hash0, hash1: uint64[n]; of them equal ones have one label.
            labels: uint16[n], their numbers; None for 0.
        """
        left = np.flatnonzero(self._plan.shares_of(hash0, hash1) == self._plan.no_share)
        keys = self._plan.keys_of(hash0[left], hash1[left])
        if labels is None:
            keys, counts = np.unique(keys, return_counts=True)
            labels = np.zeros(len(keys), np.uint16)
        else:
            keys, places, counts = np.unique(keys, return_index=True, return_counts=True)
            labels = labels[left[places]]
        for first in self._firsts:
            first.add(keys, labels, counts)

    def join(self, tables: Iterable[Table]) -> None:
        """Add what another part found, a table for each counted split."""
        for first, table in zip(self._firsts, tables, strict=True):
            first.add(*table)

    def tables(self) -> list[Table]:
        """Return a table for each counted split: uint64[m], uint16[m], int64[m]."""
        return [first.table() for first in self._firsts]

    def require_enough(self) -> None:
        """Raise DataError where there are fewer records, of all that was added, than are asked for."""
        asked = self._quotas.sum(dtype=np.int64)
        _, _, counts = self.tables()[-1]
        found = counts.sum()  # all there are, where they are fewer: no table of so few is cut off
        if found < asked:
            raise not_enough(self._plan, int(found))

    def chosen(self) -> tuple[Counted, ...]:
        """Choose, when everything was added: what each counted split takes."""
        taken = np.zeros(0, np.uint64)
        found = []
        for split, (keys, labels, counts) in enumerate(self.tables()):
            free = ~among(keys, taken)
            one, mine = self._choose(split, keys[free], labels[free], counts[free])
            taken = np.sort(np.concatenate([taken, mine]))
            found.append(one)
        return tuple(found)

    def _choose(self, split: int, keys: U64, labels: U16, counts: I64) -> tuple[Counted, U64]:
        """Return what a split takes of contents in its order, and their keys."""
        quotas = self._quotas[split].tolist()
        edges = np.searchsorted(labels, np.arange(len(quotas) + 1)).tolist()
        lasts: list[int | None] = []
        mine, skipped, records = [keys[:0]], [keys[:0]], []
        for quota, (begin, end) in zip(quotas, pairwise(edges), strict=True):
            places = begin + np.array(list(_fitting(counts[begin:end].tolist(), quota)), np.int64)
            mine.append(keys[places])
            records.append(int(counts[places].sum()))
            lasts.append(None)
            if len(places):
                lasts[-1] = int(self._plan.order(split, mine[-1][-1:])[0])
                skipped.append(np.delete(keys[begin : places[-1] + 1], places - begin))
        taken = np.concatenate(mine)
        found = Counted(
            tuple(lasts), np.sort(np.concatenate(skipped)), tuple(records), contents=len(taken)
        )
        return found, taken


def not_enough(plan: SplitPlan, records: int) -> DataError:
    """Return the error where there are fewer records than counts ask for.

    Args:
        plan: what is asked.
        records: that there are, without those in shares.
    """
    asked = ",".join(f"{part.name}={part.count}" for part in plan.parts if part.count is not None)
    beside = " beside the shares" if len(plan.counts) < len(plan.parts) else ""
    return DataError(
        f"--counts={asked}: expected at least {sum(plan.counts):,} records{beside}, the input "
        f"has {records:,}; pass smaller counts"
    )


class _First:
    """The first contents of each label in the order of one split, at most ``most`` (int64[labels])."""

    def __init__(self, plan: SplitPlan, split: int, *, most: I64) -> None:
        self._plan, self._split, self._most = plan, split, most
        self._parts: list[Table] = []
        self._waiting = 0
        self._lasts = np.full(len(most), 2**64 - 1, np.uint64)  # none behind is among the first

    def add(self, keys: U64, labels: U16, counts: I64) -> None:
        near = self._plan.order(self._split, keys) <= self._lasts[labels]
        self._parts.append((keys[near], labels[near], counts[near].astype(np.int64)))
        self._waiting += len(self._parts[-1][0])
        if self._waiting > max(int(self._most.sum()) // 4, _WAITING):
            self.table()

    def table(self) -> Table:
        """Sort in what waits."""
        if not self._parts:
            return np.zeros(0, np.uint64), np.zeros(0, np.uint16), np.zeros(0, np.int64)
        keys, labels, counts = (np.concatenate(parts) for parts in zip(*self._parts, strict=True))
        self._parts.clear()
        order = self._plan.order(self._split, keys)
        places = np.lexsort((order, labels)) if len(self._most) > 1 else np.argsort(order)
        order = order[places]
        if len(self._most) > 1:
            labels = labels[places]
        first = np.ones(len(order), bool)  # of its content
        first[1:] = (order[1:] != order[:-1]) | (labels[1:] != labels[:-1])
        begins = np.flatnonzero(first)
        counts = np.add.reduceat(counts[places], begins) if len(begins) else counts
        keys, order, labels = keys[places[begins]], order[begins], labels[begins]
        edges = np.searchsorted(labels, np.arange(len(self._most) + 1))
        near: slice | npt.NDArray[np.bool_] = slice(int(self._most.sum()))
        if len(self._most) > 1:
            near = np.arange(len(keys)) - edges[labels] < self._most[labels]
        full = np.diff(edges) >= self._most
        self._lasts[full] = order[(edges[:-1] + self._most - 1)[full]]
        found = keys[near], labels[near], counts[near]
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
