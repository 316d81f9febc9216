"""The schedule of repeats: each source a given number of times, arranged uniformly.

Every slot (source, number) is hashed to one of R ranges; inside a range slots are sorted by fresh
keys. Slots sorted by independent keys are a uniform permutation, and so are slots that are dealt
out independently and then sorted, so every arrangement of the multiset is equally likely. Which
slot of its source stands where doesn't matter, so a range needs only how many slots of each source
fell into it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U16, U64
from transforms.kernels.randomness import derive
from transforms.kernels.schedules.schedule import CountedSchedule, Known, keys_of

RANGE_SLOTS = 2**18
"""At most this many slots are in a range on average, and more than half as many."""

_S32 = np.uint64(32)


class RepeatsSchedule(CountedSchedule):
    """Source s exactly ``totals[s]`` times, every arrangement equally likely.

    Args:
        totals: how often each source is drawn, in all.
        range_slots: the order depends on it; only tests of small schedules give it.
        table: int64[ranges + 1, sources], where slots are counted already; or the rows of some ranges.
        first: the range whose row is the table's first.
    """

    length: int

    def __init__(
        self,
        totals: Sequence[int],
        *,
        seed: int,
        epoch: int,
        range_slots: int = RANGE_SLOTS,
        table: I64 | None = None,
        first: int = 0,
    ) -> None:
        super().__init__(np.zeros((1, len(totals)), np.int64) if table is None else table)
        self.totals, self.seed, self.epoch = tuple(totals), seed, epoch
        self.range_slots, self._first = range_slots, first
        self.length = sum(totals)
        self.ranges = 1
        while self.ranges * range_slots < self.length:
            self.ranges *= 2

    def count_slots(self, source: int, begin: int, end: int) -> I64:
        """Return int64[ranges]: where a source's slots from ``begin`` to ``end`` fall.

        At most 2**22 slots at once. Summed over all of them, these are the source's column for
        ``with_counts``.
        """
        pair = derive(self.seed, "slots", self.epoch, source)
        fell = [
            (keys >> _S32) * np.uint64(self.ranges) >> _S32 for keys in keys_of(pair, begin, end)
        ]
        return np.bincount(np.concatenate(fell).astype(np.int64), minlength=self.ranges)

    def with_counts(self, counts: I64) -> RepeatsSchedule:
        """Return this schedule with int64[ranges, sources] counts of all its slots."""
        if counts.shape[0] != self.ranges or counts.sum(axis=0).tolist() != list(self.totals):
            raise ValueError(f"expected counts of {self.totals} slots in {self.ranges} ranges")
        return self._with_table(self._extended(counts))

    def _with_table(self, table: I64, *, first: int = 0) -> RepeatsSchedule:
        return RepeatsSchedule(
            self.totals,
            seed=self.seed,
            epoch=self.epoch,
            range_slots=self.range_slots,
            table=table,
            first=first,
        )

    def known(self, begin: int, end: int) -> Known:
        low, high = np.searchsorted(self.starts, [begin, end], side="right").tolist()
        return Known(low - 1, self.table[low - 1 : high + 1])

    def knowing(self, known: Known) -> RepeatsSchedule:
        table = known.table
        if not len(table) or table.min() < 0 or np.diff(table, axis=0).min(initial=0) < 0:
            raise ValueError("expected counts that grow from range to range")
        if np.diff(table.sum(axis=1)).max(initial=0) > 4 * self.range_slots + 1000:
            raise ValueError(f"expected about {self.range_slots} slots in a range")
        return self._with_table(table, first=known.first)

    def sources_of(self, begin: int, end: int) -> U16:
        """Return uint16[end - begin], the source of each position of a range.

        Raises:
            IndexError: the range lies outside of what is counted.
        """
        self._check_counted(begin, end)
        if begin < self.starts[0]:
            raise IndexError(f"expected positions from {self.starts[0]}, got {begin}")
        first, last = np.searchsorted(self.starts, [begin, end], side="right").tolist()
        parts = [np.empty(0, np.uint16)]
        for index in range(first - 1, min(last, len(self.starts) - 1)):
            start = int(self.starts[index])
            if start < end:
                parts.append(self._arrange(index)[max(begin - start, 0) : end - start])
        return np.concatenate(parts)

    def _arrange(self, index: int) -> U16:
        """Return the sources of one range's slots, in their order."""
        counts = self.table[index + 1] - self.table[index]
        slots = np.repeat(np.arange(self.sources, dtype=np.uint16), counts)
        pair = derive(self.seed, "arrange", self.epoch, self._first + index)
        return slots[_order(np.concatenate(list(keys_of(pair, 0, len(slots)))))]


def _order(keys: U64) -> npt.NDArray[np.intp]:
    """Return ``np.argsort`` of keys without ties.

    By numpy's radix sort, 16 bits at a time, which takes less time than its sort of 64 bits.
    """
    digits = np.ascontiguousarray(keys.astype("<u8").view("<u2").reshape(-1, 4).T)
    order = np.argsort(digits[0], kind="stable")
    for digit in digits[1:]:
        order = order[np.argsort(digit[order], kind="stable")]
    return order
