"""The pages of a mixture's streams: which hold which ranks, and how many bytes."""

from __future__ import annotations

import bisect
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from transforms.errors import LosslessError, RunError
from transforms.groups import Pages, Stretch, page_starts, read_each
from transforms.kernels import blocks, stops
from transforms.kernels.digest import Digest
from transforms.kernels.mixture import Draft
from transforms.kernels.pages import STREAM_TABLE
from transforms.kernels.ranges import KeyRange
from transforms.kernels.schedule import I64, Schedule
from transforms.mixed_shards import Content, Cut, Share, feed, plain_rows
from transforms.reports import Mixed
from transforms.streams import Streams

_MOST_POSITIONS = 1 << 17  # that are laid down at a time


@dataclass(frozen=True)
class Counted:
    """A mixture of counted sources.

    Attributes:
        draft: with the schedule counted.
        length: positions, or the most that may be needed.
        read: digest of each source, of one pass.
        small: which streams' passes are all made of the first one's records, held in memory.
        passes: begun, at most, of each stream.
        asked: as of Mixed.
    """

    draft: Draft
    length: int
    read: tuple[Digest, ...]
    small: tuple[bool, ...]
    passes: tuple[int, ...]
    asked: tuple[float, ...] | None

    def spilled(self, source: int) -> int:
        """Return how many passes of a stream are read."""
        return 1 if self.small[source] else max(self.passes[source], 1)

    def read_by_stream(self, *, union: bool) -> list[Digest]:
        """Return the digest of each stream, of one pass."""
        return [Digest.total(self.read)] if union else list(self.read)

    def bytes_before(self, length: int) -> int:
        """Return about how many bytes the records before a position have."""
        amounts = self.draft.amounts
        used = self.draft.schedule.counts_before(length).tolist()
        return sum(
            count * size // max(records, 1)
            for count, records, size in zip(used, amounts.records, amounts.bytes, strict=True)
        )


@dataclass
class StreamPages:
    """The pages of one stream: rows of the joined table, and where each bucket's ranks begin."""

    rows: npt.NDArray[np.intp]
    bucket: npt.NDArray[np.intp]
    starts: I64

    @property
    def size(self) -> int:
        """How many records it has."""
        return int(self.starts[-1])


@dataclass
class Spills:
    """All spill files' tables, joined."""

    urls: list[str]
    table: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, STREAM_TABLE))
    file: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    offset: I64 = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def read(cls, packed: Iterable[bytes]) -> Spills:
        found = [Stretch(*pickle.loads(data)) for data in packed if data]
        tables = [np.frombuffer(d, STREAM_TABLE) for d in read_each(Stretch.read_checked, found)]
        if not tables:
            return cls([])
        return cls(
            [stretch.url for stretch in found],
            np.concatenate(tables),
            np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
            np.concatenate([page_starts(table) for table in tables]),
        )

    def pages(self, rows: npt.NDArray[np.intp]) -> list[Pages]:
        """Return the pages of some rows, which lie one after another in each file."""
        of = self.file[rows]
        return [
            Pages(
                self.urls[file],
                int(self.offset[mine[0]]),
                plain_rows(self.table[mine]),
            )
            for file in np.unique(of).tolist()
            for mine in [rows[of == file]]
        ]

    def stream(self, number: int, buckets: int) -> StreamPages:
        """Return one stream's pages."""
        rows = np.flatnonzero(self.table["stream"] == number)
        bounds = np.array([KeyRange(i, buckets).low for i in range(buckets)], np.uint64)
        bucket = np.searchsorted(bounds, self.table["first"][rows], side="right") - 1
        counts = np.zeros(buckets, np.int64)
        np.add.at(counts, bucket, self.table["rows"][rows].astype(np.int64))
        return StreamPages(rows, bucket, np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]))

    def digest(self, rows: npt.NDArray[np.intp]) -> Digest:
        """Return what some pages were made of."""
        mine = self.table[rows]
        return Digest(
            int(mine["rows"].sum(dtype=np.int64)),
            int(mine["bytes"].sum(dtype=np.int64)),
            int(mine["hash0"].sum(dtype=np.uint64)),
            int(mine["hash1"].sum(dtype=np.uint64)),
        )


class Layout:
    """Which pages hold which ranks.

    Args:
        counted: the mixture.
        spills: of all streams.
        streams: how records were cut.
        bucket_bytes: footprint of all buckets that are held at once.

    Attributes:
        counted: the mixture; counted on, where ``max_bytes`` lay beyond.
        length: positions.
    """

    def __init__(
        self, counted: Counted, spills: Spills, *, streams: Streams, bucket_bytes: int
    ) -> None:
        self._streams, self.counted, self._spills = streams, counted, spills
        self._records = counted.draft.amounts.records
        self._schedule = counted.draft.schedule
        self._found: dict[int, StreamPages] = {}
        self._held = bucket_bytes // 8  # of records that are laid down at a time
        self.length = self._find_length()
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
                have = self._spills.digest(self._stream(source, number).rows)
                if have != want:
                    raise LosslessError(
                        f"source {streams.name(source)}, pass {number}: read {want.records} records "
                        f"of {want.bytes} bytes, spilled {have.records} of {have.bytes}; check memory "
                        "and disk, then run again"
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
            draft = draft.reaching(draft.schedule.reach + 1)
        end = min(end, draft.mixture.max_records or end)
        self.counted = replace(counted, draft=draft, length=max(end, counted.length))
        self._schedule = draft.schedule

    def content(self, begin: int, end: int) -> Content:
        """Say what positions [begin, end) are made of."""
        before, after = map(self._schedule.counts_before, (begin, end))
        shares = [
            self._share(source, int(before[source]), int(after[source]))
            for source in np.flatnonzero(after > before).tolist()
        ]
        return Content(begin, end, self._chunk(), shares)

    def _chunk(self) -> int:
        amounts = self.counted.draft.amounts
        records = sum(amounts.records)
        mean = blocks.footprint(records, sum(amounts.bytes)) // max(records, 1)
        return int(np.clip(self._held // max(mean, 1), 256, _MOST_POSITIONS))

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
                buckets.append((bucket, skip, min(end, beyond) - at - skip))
        return Cut(self._spills.pages(stream.rows[inside]), buckets)

    def mixed(self, shards: int) -> Mixed:
        """Sum up."""
        passes = [
            -(-count // have) if have else 0
            for count, have in zip(self._used, self._records, strict=True)
        ]
        counted = self.counted
        return Mixed(
            length=self.length,
            shards=shards,
            records=tuple(self._used),
            passes=tuple(passes),
            accounted=tuple(
                max(begun, 1) if counted.small[source] else counted.spilled(source)
                for source, begun in enumerate(passes)
            ),
            unused=tuple(map(self._unused, range(len(passes)))),
            asked=counted.asked,
            union=self._streams.union,
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
        return total

    def _end_of_bytes(self, most: int) -> int:
        """Return the first position whose record would exceed a number of bytes."""
        counted = self.counted
        bound = counted.length
        known = _Bytes(self._schedule, counted, self._streams, self._spills, self._stream)

        # by what whole buckets hold first, so that few have to be read
        low = bisect.bisect_right(range(bound), most, key=lambda p: known.at_most(p + 1))
        high = (
            bisect.bisect_right(range(low, bound), most, key=lambda p: known.at_least(p + 1)) + low
        )
        return bisect.bisect_right(range(low, high), most, key=lambda p: known.exactly(p + 1)) + low


class _Bytes:
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
            buckets: list[tuple[int, int, int]] = []
            if not small:
                stream = self._stream(source, number)
                at, beyond = stream.starts[bucket : bucket + 2].tolist()
                rows, buckets = stream.rows[stream.bucket == bucket], [(bucket, 0, beyond - at)]
            share = Share(
                source,
                first + at,
                first + beyond,
                self._counted.draft.amounts.records[source],
                [Cut(self._spills.pages(rows), buckets)],
                small=small,
                ends=False,
            )
            lengths = [blocks.hashes(part.block)[2] for part in feed(share, self._streams)]
            self._lengths[key] = np.concatenate(
                [np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths))]
            )
        sums = self._lengths[key]
        if small:
            return int(sums[rank])
        at = int(self._stream(source, number).starts[bucket])
        return int(self._bucket_sums(source, number)[bucket] + sums[rank - at])
