"""How many bytes or tokens the records of a mixture have before a position, and where a budget ends."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence

import numpy as np

from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records import blocks
from transforms.kernels.schedules.schedule import Schedule
from transforms.mixing.packed_shards import Bucket, Cut, Share
from transforms.mixing.shard_layout import StreamTables
from transforms.mixing.shards import SourceReader


class SizesBefore:
    """The sizes of the records before positions, in bytes or tokens as ``Streams.measure`` says.

    Every pass counts for itself: of a source that is tokenized anew in each, none has the tokens of
    another. Only small sources, whose passes are made of the first one's records, have the same in all.

    Args:
        schedule: of all positions, counted as far as is asked.
        tables: of all streams; what is asked of has to be spilled.
        records: of one pass of each stream.
        small: which streams' passes are all made of the first one's records.
    """

    def __init__(
        self,
        schedule: Schedule,
        tables: StreamTables,
        *,
        records: Sequence[int],
        small: Sequence[bool],
    ) -> None:
        self._schedule, self._tables = schedule, tables
        self._records, self._small = records, small
        self._sums: dict[tuple[int, int], I64] = {}
        self._lengths: dict[tuple[int, int, int], I64] = {}
        self._passes: dict[int, list[int]] = {}

    def at_least(self, position: int) -> int:
        """Return the size of the buckets that lie before a position whole."""
        return sum(self._each(position, lambda *rank: self._before(*rank)[0]))

    def at_most(self, position: int) -> int:
        """Return the size of these and of the buckets that it cuts."""
        return sum(self._each(position, lambda *rank: self._before(*rank)[1]))

    def exactly(self, position: int) -> int:
        """Return the size of all records before it; reads the buckets that it cuts."""
        return sum(self.by_stream(position))

    def by_stream(self, position: int) -> list[int]:
        """Return the same of each stream."""
        return self._each(position, self._exactly)

    def find_end(self, begin: int, bound: int, budget: int, *, extra: int = 0) -> int:
        """Return the largest position to which the records from ``begin`` on come to a budget at most.

        Args:
            begin: the first position that counts.
            bound: the largest to look at.
            budget: bytes or tokens.
            extra: what each record has beside its own, such as special ids.
        """
        base = self.exactly(begin)

        def first_beyond(low: int, high: int, size_before: Callable[[int], int]) -> int:
            def spent(position: int) -> int:  # by it and those before
                return size_before(position + 1) - base + extra * (position + 1 - begin)

            return low + bisect.bisect_right(range(low, high), budget, key=spent)

        # by what whole buckets hold first, so that few have to be read
        low = first_beyond(begin, bound, self.at_most)
        high = first_beyond(low, bound, self.at_least)
        return first_beyond(low, high, self.exactly)

    def _each(self, position: int, of: Callable[[int, int, int], int]) -> list[int]:
        sizes = []
        for source, count in enumerate(self._schedule.counts_before(position).tolist()):
            size = 0
            if count:
                whole, rank = divmod(count, self._records[source])
                size = self._of_passes(source, whole) + (of(source, whole, rank) if rank else 0)
            sizes.append(size)
        return sizes

    def _of_passes(self, source: int, count: int) -> int:
        """Return the size of a source's first passes, whole."""
        if self._small[source]:
            return count * int(self._bucket_sums(source, 0)[-1])
        known = self._passes.setdefault(source, [0])
        while len(known) <= count:
            known.append(known[-1] + int(self._bucket_sums(source, len(known) - 1)[-1]))
        return known[count]

    def _before(self, source: int, number: int, rank: int) -> tuple[int, int]:
        """Return the size of a pass's buckets before the one that holds a rank, and with it."""
        if self._small[source]:
            return 0, int(self._bucket_sums(source, 0)[-1])
        sums = self._bucket_sums(source, number)
        bucket = self._bucket(source, number, rank)
        return int(sums[bucket]), int(sums[bucket + 1])

    def _bucket(self, source: int, number: int, rank: int) -> int:
        """Return the bucket that holds the record before a rank."""
        starts = self._tables.holding(source, number, rank).starts
        return int(np.searchsorted(starts, rank, side="left")) - 1

    def _bucket_sums(self, source: int, number: int) -> I64:
        key = source, number
        if key not in self._sums:
            stream = self._tables.stream(source, number)
            held = np.zeros(len(stream.starts) - 1, np.int64)
            sizes = self._tables.table["measured"][stream.rows].astype(np.int64)
            np.add.at(held, stream.bucket, sizes)
            self._sums[key] = offsets_of(held)
        return self._sums[key]

    def _exactly(self, source: int, number: int, rank: int) -> int:
        small = self._small[source]
        bucket = 0 if small else self._bucket(source, number, rank)
        key = source, number, bucket
        if key not in self._lengths:
            records = self._records[source]
            first = number * records
            at, beyond = 0, records
            rows = self._tables.stream(source, 0).rows
            buckets: list[Bucket] = []
            if not small:
                stream = self._tables.stream(source, number)
                at, beyond = stream.starts[bucket : bucket + 2].tolist()
                rows = stream.rows[stream.bucket == bucket]
                buckets = [Bucket(bucket, 0, beyond - at, int(stream.footprints[bucket]))]
            share = Share(
                source,
                first + at,
                first + beyond,
                records,
                [Cut(self._tables.pages(rows), buckets)],
                small=small,
                ends=False,
            )
            streams = self._tables.streams
            taken = SourceReader(share, streams).take(beyond - at)
            lengths = [blocks.measures(part, streams.measure) for part in taken]
            self._lengths[key] = offsets_of(np.concatenate(lengths))
        sums = self._lengths[key]
        if small:
            return int(sums[rank])
        at = int(self._tables.stream(source, number).starts[bucket])
        return int(self._bucket_sums(source, number)[bucket] + sums[rank - at])
