"""Where a mixture ends by bytes: at the last position before which the records have so many."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from transforms.errors import RunError
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records import blocks
from transforms.kernels.schedules import stops
from transforms.mixing.counted import Counted
from transforms.mixing.packed_shards import Bucket, Cut, Share
from transforms.mixing.shard_layout import StreamTables
from transforms.mixing.shards import SourceReader


def find_end(counted: Counted, tables: StreamTables) -> Counted:
    """Return a mixture with the length that it has, counted on where ``max_bytes`` lay beyond.

    Raises:
        RunError: it lies even beyond what can be counted of what was spilled.
    """
    most = counted.draft.mixture.max_bytes
    if most is None:
        return counted
    end = _end_of_bytes(counted, tables, most)
    if _is_short(counted, end):
        counted = _count_on(counted, most)
        end = _end_of_bytes(counted, tables, most)
    if _is_short(counted, end):
        raise RunError(
            f"--max_bytes={most}: the records drawn have fewer bytes than expected by their mean "
            "lengths, which differ very much; give --max_records too, or --stop"
        )
    return replace(counted, length=end)


def _is_short(counted: Counted, end: int) -> bool:
    """Return whether the end may lie beyond the positions that were counted."""
    mixture = counted.draft.mixture
    return mixture.repeats_as_needed and end == counted.length and end != mixture.max_records


def _count_on(counted: Counted, most: int) -> Counted:
    """Count on as far as the passes go that were spilled, or, held in memory, are enough."""
    draft = counted.draft
    amounts = zip(draft.amounts.records, draft.amounts.bytes, counted.small, strict=True)
    have = [
        records * (most // max(size, 1) + 1 if small else counted.spilled(source))
        for source, (records, size, small) in enumerate(amounts)
    ]
    while (end := stops.stop_first(draft.schedule, [min(n, 1 << 62) for n in have])) is None:
        draft = draft.counting_to(draft.schedule.counted_to + 1)
    end = min(end, draft.mixture.max_records or end)
    return replace(counted, draft=draft, length=max(end, counted.length))


def _end_of_bytes(counted: Counted, tables: StreamTables, most: int) -> int:
    """Return the first position whose record would exceed a number of bytes."""
    bound, known = counted.length, _BytesBefore(counted, tables)
    # by what whole buckets hold first, so that few have to be read
    low = bisect.bisect_right(range(bound), most, key=lambda p: known.at_most(p + 1))
    high = bisect.bisect_right(range(low, bound), most, key=lambda p: known.at_least(p + 1)) + low
    return bisect.bisect_right(range(low, high), most, key=lambda p: known.exactly(p + 1)) + low


class _BytesBefore:
    """How many bytes the records before a position have: between what buckets say, or exactly."""

    def __init__(self, counted: Counted, tables: StreamTables) -> None:
        self._counted, self._tables = counted, tables
        self._sums: dict[tuple[int, int], I64] = {}
        self._lengths: dict[tuple[int, int, int], I64] = {}

    def at_least(self, position: int) -> int:
        """Return the bytes of the buckets that lie before a position whole."""
        return self._sum(
            position, lambda source, number, rank: self._before(source, number, rank)[0]
        )

    def at_most(self, position: int) -> int:
        """Return the bytes of these and of the buckets that it cuts."""
        return self._sum(
            position, lambda source, number, rank: self._before(source, number, rank)[1]
        )

    def exactly(self, position: int) -> int:
        """Return the bytes of all records before it; reads the buckets that it cuts."""
        return self._sum(position, self._exactly)

    def _sum(self, position: int, of: Callable[[int, int, int], int]) -> int:
        amounts = self._counted.draft.amounts
        total = 0
        for source, count in enumerate(
            self._counted.draft.schedule.counts_before(position).tolist()
        ):
            if count:
                whole, rank = divmod(count, amounts.records[source])
                total += whole * amounts.bytes[source]
                total += of(source, whole, rank) if rank else 0
        return total

    def _before(self, source: int, number: int, rank: int) -> tuple[int, int]:
        """Return the bytes of a pass's buckets before the one that holds a rank, and with it."""
        if self._counted.small[source]:
            return 0, self._counted.draft.amounts.bytes[source]
        sums = self._bucket_sums(source, number)
        bucket = self._bucket(source, number, rank)
        return int(sums[bucket]), int(sums[bucket + 1])

    def _bucket(self, source: int, number: int, rank: int) -> int:
        """Return the bucket that holds the record before a rank."""
        starts = self._tables.stream(source, number).starts
        return int(np.searchsorted(starts, rank, side="left")) - 1

    def _bucket_sums(self, source: int, number: int) -> I64:
        key = source, number
        if key not in self._sums:
            stream = self._tables.stream(source, number)
            held = np.zeros(len(stream.starts) - 1, np.int64)
            sizes = self._tables.table["bytes"][stream.rows].astype(np.int64)
            np.add.at(held, stream.bucket, sizes)
            self._sums[key] = offsets_of(held)
        return self._sums[key]

    def _exactly(self, source: int, number: int, rank: int) -> int:
        small = self._counted.small[source]
        bucket = 0 if small else self._bucket(source, number, rank)
        key = source, number, bucket
        if key not in self._lengths:
            first = number * self._counted.draft.amounts.records[source]
            at, beyond = 0, self._counted.draft.amounts.records[source]
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
                self._counted.draft.amounts.records[source],
                [Cut(self._tables.pages(rows), buckets)],
                small=small,
                ends=False,
            )
            taken = SourceReader(share, self._tables.streams).take(beyond - at)
            lengths = [blocks.hashes(part)[2] for part in taken]
            self._lengths[key] = offsets_of(np.concatenate(lengths))
        sums = self._lengths[key]
        if small:
            return int(sums[rank])
        at = int(self._tables.stream(source, number).starts[bucket])
        return int(self._bucket_sums(source, number)[bucket] + sums[rank - at])
