"""How many bytes the records before a position of a mixture have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from transforms.kernels.arrays import I64
from transforms.kernels.records import blocks
from transforms.kernels.schedules.schedule import Schedule
from transforms.mixing.feeds import Bucket, Cut, Feed, Share
from transforms.mixing.spilled import Counted, Spills, StreamPages
from transforms.shuffling.streams import Streams


class BytesBefore:
    """How many bytes the records before a position have: between what buckets say, or exactly."""

    def __init__(
        self,
        schedule: Schedule,
        counted: Counted,
        streams: Streams,
        spills: Spills,
        stream: Callable[[int, int], StreamPages],
    ) -> None:
        self._schedule, self._counted, self._streams = schedule, counted, streams
        self._spills, self._stream = spills, stream
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
        for source, count in enumerate(self._schedule.counts_before(position).tolist()):
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
        starts = self._stream(source, number).starts
        return int(np.searchsorted(starts, rank, side="left")) - 1

    def _bucket_sums(self, source: int, number: int) -> I64:
        key = source, number
        if key not in self._sums:
            stream = self._stream(source, number)
            held = np.zeros(len(stream.starts) - 1, np.int64)
            sizes = self._spills.table["bytes"][stream.rows].astype(np.int64)
            np.add.at(held, stream.bucket, sizes)
            self._sums[key] = np.concatenate([np.zeros(1, np.int64), np.cumsum(held)])
        return self._sums[key]

    def _exactly(self, source: int, number: int, rank: int) -> int:
        small = self._counted.small[source]
        bucket = 0 if small else self._bucket(source, number, rank)
        key = source, number, bucket
        if key not in self._lengths:
            first = number * self._counted.draft.amounts.records[source]
            at, beyond = 0, self._counted.draft.amounts.records[source]
            rows = self._stream(source, 0).rows
            buckets: list[Bucket] = []
            if not small:
                stream = self._stream(source, number)
                at, beyond = stream.starts[bucket : bucket + 2].tolist()
                rows = stream.rows[stream.bucket == bucket]
                buckets = [Bucket(bucket, 0, beyond - at, int(stream.footprints[bucket]))]
            share = Share(
                source,
                first + at,
                first + beyond,
                self._counted.draft.amounts.records[source],
                [Cut(self._spills.pages(rows), buckets)],
                small=small,
                ends=False,
            )
            taken = Feed(share, self._streams).take(beyond - at)
            lengths = [blocks.hashes(part)[2] for part in taken]
            self._lengths[key] = np.concatenate(
                [np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))]
            )
        sums = self._lengths[key]
        if small:
            return int(sums[rank])
        at = int(self._stream(source, number).starts[bucket])
        return int(self._bucket_sums(source, number)[bucket] + sums[rank - at])
