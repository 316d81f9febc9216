"""Which pages of a mixture's streams hold which ranks, and where a mixture ends."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from transforms.datasets.reports import Mixed
from transforms.errors import LosslessError, RunError
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules import stops
from transforms.mixing.bytes_before import BytesBefore
from transforms.mixing.contents import MOST_POSITIONS, Content
from transforms.mixing.feeds import Bucket, Cut, Share
from transforms.mixing.spilled import Counted, Spills, StreamPages
from transforms.shuffling.streams import Streams


class Layout:
    """Which pages hold which ranks.

    Args:
        counted: the mixture.
        spills: of all streams.
        streams: how records were cut.
        bucket_bytes: footprint of all buckets that are held at once.
        beyond: digest of what was read of each stream's first pass and not spilled.

    Attributes:
        counted: the mixture; counted on, where ``max_bytes`` lay beyond.
        length: positions.
    """

    def __init__(
        self,
        counted: Counted,
        spills: Spills,
        *,
        streams: Streams,
        bucket_bytes: int,
        beyond: Sequence[Digest],
    ) -> None:
        self._beyond = beyond
        self._streams, self.counted, self._spills = streams, counted, spills
        self._records = counted.draft.amounts.records
        self._schedule = counted.draft.schedule
        self._found: dict[int, StreamPages] = {}
        self.length = self._find_length()
        self._chunk = self._choose_chunk(bucket_bytes // 8)
        self._counted = 0, self._schedule.counts_before(0)
        self._used: list[int] = self._schedule.counts_before(self.length).tolist()

    def _stream(self, source: int, number: int) -> StreamPages:
        """Return the stream of a source's pass."""
        stream = number * self._streams.count + source
        if stream not in self._found:
            self._found[stream] = self._spills.stream(stream, self._streams.buckets[source])
        return self._found[stream]

    def require_read(self) -> None:
        """Raise LosslessError where what was spilled isn't what was read."""
        streams, counted = self._streams, self.counted
        for source, want in enumerate(counted.read_by_stream(union=streams.union)):
            for number in range(counted.spilled(source)):
                stream = self._stream(source, number)
                have = self._spills.digest(stream.rows)
                if number == 0:
                    have += self._beyond[source]
                if have != want:
                    raise LosslessError(
                        f"source {streams.name(source)}, pass {number}: read {want.records} records "
                        f"of {want.bytes} bytes, spilled {have.records} of {have.bytes}; check memory "
                        "and disk, then run again"
                    )
                if number == 0 and stream.size < min(self._used[source], want.records):
                    raise self._out_of_reach(source, stream.size)

    def _out_of_reach(self, source: int, size: int) -> LosslessError:
        return LosslessError(
            f"source {self._streams.name(source)}: {self._used[source]} records are needed of the "
            f"first pass, {size} were within reach; this is a fault of Dovetail: please report it"
        )

    def _find_length(self) -> int:
        """Return how many positions there are."""
        most = self.counted.draft.mixture.max_bytes
        if most is None:
            return self.counted.length
        end = self._end_of_bytes(most)
        if self._is_short(end):
            self._count_on(most)
            end = self._end_of_bytes(most)
        if self._is_short(end):
            raise RunError(
                f"--max_bytes={most}: the records drawn have fewer bytes than expected by their mean "
                "lengths, which differ very much; give --max_records too, or --stop"
            )
        return end

    def _is_short(self, end: int) -> bool:
        """Return whether the end may lie beyond the positions that were counted."""
        mixture = self.counted.draft.mixture
        return (
            mixture.repeats_as_needed and end == self.counted.length and end != mixture.max_records
        )

    def _count_on(self, most: int) -> None:
        """Count on as far as the passes go that were spilled, or, held in memory, are enough."""
        counted, draft = self.counted, self.counted.draft
        amounts = zip(draft.amounts.records, draft.amounts.bytes, counted.small, strict=True)
        have = [
            records * (most // max(size, 1) + 1 if small else counted.spilled(source))
            for source, (records, size, small) in enumerate(amounts)
        ]
        while (end := stops.stop_first(draft.schedule, [min(n, 1 << 62) for n in have])) is None:
            draft = draft.counting_to(draft.schedule.counted_to + 1)
        end = min(end, draft.mixture.max_records or end)
        self.counted = replace(counted, draft=draft, length=max(end, counted.length))
        self._schedule = draft.schedule

    def content(self, begin: int, end: int) -> Content:
        """Say what positions [begin, end) are made of."""
        at, before = self._counted
        if at != begin:
            before = self._schedule.counts_before(begin)
        after = self._schedule.counts_after(before, begin, end)
        self._counted = end, after  # the next shard begins there
        shares = [
            self._share(source, int(before[source]), int(after[source]))
            for source in np.flatnonzero(after > before).tolist()
        ]
        return Content(begin, end, self._chunk, shares)

    def _choose_chunk(self, held: int) -> int:
        """Return how many positions to lay down at a time, by the mean of what is drawn."""
        mean = self.counted.footprint_before(self.length) // max(self.length, 1)
        return int(np.clip(held // max(mean, 1), 1, MOST_POSITIONS))

    def _share(self, source: int, first: int, last: int) -> Share:
        """Say which pages hold ranks [first, last) of a source."""
        have, ends = self._records[source], last == self._used[source]
        if self.counted.small[source]:
            cuts = [Cut(self._spills.pages(self._stream(source, 0).rows), [])]
            return Share(source, first, last, have, cuts, small=True, ends=ends)
        cuts = [
            self._cut(
                self._stream(source, number),
                max(first - number * have, 0),
                min(last - number * have, have),
            )
            for number in range(first // have, -(-last // have))
        ]
        return Share(source, first, last, have, cuts, small=False, ends=ends)

    def _cut(self, stream: StreamPages, begin: int, end: int) -> Cut:
        """Say which pages hold ranks [begin, end) of a stream."""
        low = int(np.searchsorted(stream.starts, begin, side="right")) - 1
        high = int(np.searchsorted(stream.starts, end, side="left"))
        inside = (stream.bucket >= low) & (stream.bucket < high)
        buckets = []
        for bucket in range(low, high):
            at, beyond = stream.starts[bucket : bucket + 2].tolist()
            if beyond > at:
                skip = max(begin - at, 0)
                take = min(end, beyond) - at - skip
                buckets.append(Bucket(bucket, skip, take, int(stream.footprints[bucket])))
        return Cut(self._spills.pages(stream.rows[inside]), buckets)

    def mixed(self, shards: int) -> Mixed:
        """Sum up."""
        unused = list(map(self._unused, range(self._streams.count)))
        return self.counted.mixed(
            self.length, shards=shards, unused=unused, union=self._streams.union
        )

    def _unused(self, source: int) -> Digest:
        """Return the digest of the buckets that no shard uses anything of."""
        total = Digest()
        if self.counted.small[source] and self._used[source]:
            return total  # the shard that it ends in reports all
        for number in range(self.counted.spilled(source)):
            stream = self._stream(source, number)
            used = min(max(self._used[source] - number * self._records[source], 0), stream.size)
            after = int(np.searchsorted(stream.starts, used, side="left"))
            total += self._spills.digest(stream.rows[stream.bucket >= after])
        return total + self._beyond[source]

    def _end_of_bytes(self, most: int) -> int:
        """Return the first position whose record would exceed a number of bytes."""
        counted = self.counted
        bound = counted.length
        known = BytesBefore(self._schedule, counted, self._streams, self._spills, self._stream)

        # by what whole buckets hold first, so that few have to be read
        low = bisect.bisect_right(range(bound), most, key=lambda p: known.at_most(p + 1))
        high = (
            bisect.bisect_right(range(low, bound), most, key=lambda p: known.at_least(p + 1)) + low
        )
        return bisect.bisect_right(range(low, high), most, key=lambda p: known.exactly(p + 1)) + low
