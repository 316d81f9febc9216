"""What the shards of a mixture are made of: which pages of its streams hold which ranks."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.datasets.reports import Mixed
from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import KeyRange
from transforms.mixing.counted import Counted
from transforms.mixing.packed_shards import MOST_POSITIONS, Bucket, Content, Cut, Share
from transforms.shuffling.references import Pages
from transforms.shuffling.spill_files import read_tables
from transforms.shuffling.spill_pages import STREAM_TABLE, plain_rows
from transforms.shuffling.streams import Streams


@dataclass
class StreamPages:
    """The pages of one stream.

    Attributes:
        rows: of the joined table, one a page.
        bucket: of each page.
        starts: [buckets + 1], where each bucket's ranks begin.
        footprints: of each bucket, in bytes.
    """

    rows: npt.NDArray[np.intp]
    bucket: npt.NDArray[np.intp]
    starts: I64
    footprints: I64

    @property
    def size(self) -> int:
        """How many records it has."""
        return int(self.starts[-1])


class StreamTables:
    """The tables of all spill files of a mixture, joined.

    Args:
        packed: where they lie, as of ``read_tables``.
        streams: how records were cut.

    Attributes:
        streams: the same.
        table: rows of STREAM_TABLE.
    """

    def __init__(self, packed: Iterable[bytes], streams: Streams) -> None:
        found = list(read_tables(packed))
        tables = [table for _, table in found]
        self.streams = streams
        self.table = np.concatenate([np.zeros(0, STREAM_TABLE), *tables])
        self._urls = [url for url, _ in found]
        self._file = np.repeat(np.arange(len(tables)), [len(table) for table in tables])
        starts = [offsets_of(table["length"])[:-1] for table in tables]
        self._offset = np.concatenate([np.zeros(0, np.int64), *starts])
        self._found: dict[tuple[int, int], StreamPages] = {}

    @functools.cached_property
    def _plain(self) -> npt.NDArray[np.void]:
        return plain_rows(self.table)

    def pages(self, rows: npt.NDArray[np.intp]) -> list[Pages]:
        """Return the pages of some rows, rising, which lie one after another in each file."""
        if not len(rows):
            return []
        of = self._file[rows]
        begins = [0, *(np.flatnonzero(of[1:] != of[:-1]) + 1).tolist()]
        table = self._plain[rows]
        return [
            Pages(self._urls[of[begin]], int(self._offset[rows[begin]]), table[begin:end])
            for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True)
        ]

    def stream(self, source: int, number: int) -> StreamPages:
        """Return the stream of a source's pass."""
        key = source, number
        if key not in self._found:
            stream = number * self.streams.count + source
            self._found[key] = self._pages_of(stream, self.streams.buckets[source])
        return self._found[key]

    def holding(self, source: int, number: int, records: int) -> StreamPages:
        """Return the stream of a source's pass that has to hold so many records.

        Raises:
            LosslessError: there are fewer.
        """
        found = self.stream(source, number)
        if found.size < records:
            raise LosslessError(
                f"source {self.streams.name(source)}, pass {number}: {records:,} records are "
                f"needed, but {found.size:,} were spilled; check memory and disk, then run again"
            )
        return found

    def _pages_of(self, stream: int, buckets: int) -> StreamPages:
        rows = np.flatnonzero(self.table["stream"] == stream)
        bounds = np.array([KeyRange(i, buckets).low for i in range(buckets)], np.uint64)
        bucket = np.searchsorted(bounds, self.table["first"][rows], side="right") - 1
        counts, sizes = np.zeros((2, buckets), np.int64)
        np.add.at(counts, bucket, self.table["rows"][rows])
        np.add.at(sizes, bucket, self.table["payload"][rows].astype(np.int64))
        return StreamPages(rows, bucket, offsets_of(counts), sizes + counts * blocks.ROW_COST)

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
        counted: the mixture, whose length is known.
        tables: of all streams.
        bucket_bytes: footprint of all buckets that are held at once.
        beyond: digest of what was read of each stream's first pass and not spilled.
    """

    def __init__(
        self,
        counted: Counted,
        tables: StreamTables,
        *,
        bucket_bytes: int,
        beyond: Sequence[Digest],
    ) -> None:
        self._counted, self._tables, self._streams = counted, tables, tables.streams
        self._beyond = beyond
        self._records = counted.draft.amounts.records
        self._schedule = counted.draft.schedule
        self._chunk = self._choose_chunk(bucket_bytes // 8)
        self._before = 0, self._schedule.counts_before(0)
        self._used: list[int] = self._schedule.counts_before(counted.length).tolist()

    def require_read(self) -> None:
        """Raise LosslessError where what was spilled isn't what was read."""
        streams, counted = self._streams, self._counted
        for source, want in enumerate(counted.read_by_stream(union=streams.union)):
            for number in range(counted.spilled(source)):
                stream = self._tables.stream(source, number)
                have = self._tables.digest(stream.rows)
                if number == 0:
                    have += self._beyond[source]
                if have != want:
                    raise LosslessError(
                        f"source {streams.name(source)}, pass {number}: read {want.records:,} "
                        f"records of {want.bytes:,} bytes, but spilled {have.records:,} of "
                        f"{have.bytes:,}; check memory and disk, then run again"
                    )
                if number == 0 and stream.size < min(self._used[source], want.records):
                    raise LosslessError(
                        f"source {self._streams.name(source)}: {self._used[source]:,} records of "
                        f"the first pass are needed, but {stream.size:,} were spilled: a bug in "
                        "Dovetail; report it with the recipe"
                    )

    def content(self, begin: int, end: int) -> Content:
        """Say what positions [begin, end) are made of."""
        at, before = self._before
        if at != begin:
            before = self._schedule.counts_before(begin)
        after = self._schedule.counts_after(before, begin, end)
        self._before = end, after  # the next shard begins there
        shares = [
            self._share(source, int(before[source]), int(after[source]))
            for source in np.flatnonzero(after > before).tolist()
        ]
        return Content(begin, end, self._chunk, shares)

    def _choose_chunk(self, held: int) -> int:
        """Return how many positions to lay down at a time, by the mean of what is drawn."""
        mean = self._counted.about(self._counted.footprints) // max(self._counted.length, 1)
        return int(np.clip(held // max(mean, 1), 1, MOST_POSITIONS))

    def _share(self, source: int, first: int, last: int) -> Share:
        """Say which pages hold ranks [first, last) of a source."""
        have, ends = self._records[source], last == self._used[source]
        if self._counted.small[source]:
            cuts = [Cut(self._tables.pages(self._tables.stream(source, 0).rows), [])]
            return Share(source, first, last, have, cuts, small=True, ends=ends)
        cuts = []
        for number in range(first // have, -(-last // have)):
            end = min(last - number * have, have)
            stream = self._tables.holding(source, number, end)
            cuts.append(self._cut(stream, max(first - number * have, 0), end))
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
        return Cut(self._tables.pages(stream.rows[inside]), buckets)

    def last_shares(self) -> list[Share]:
        """Return the last record of each source that is used, as a share that its source ends in."""
        return [
            self._share(source, used - 1, used) for source, used in enumerate(self._used) if used
        ]

    def mixed(self, shards: int) -> Mixed:
        """Sum up."""
        unused = list(map(self._unused, range(self._streams.count)))
        return self._counted.mixed(shards=shards, unused=unused, union=self._streams.union)

    def _unused(self, source: int) -> Digest:
        """Return the digest of the buckets that no shard uses anything of."""
        total = Digest()
        if self._counted.small[source] and self._used[source]:
            return total  # the shard that it ends in reports all
        for number in range(self._counted.spilled(source)):
            stream = self._tables.stream(source, number)
            used = min(max(self._used[source] - number * self._records[source], 0), stream.size)
            after = int(np.searchsorted(stream.starts, used, side="left"))
            total += self._tables.digest(stream.rows[stream.bucket >= after])
        return total + self._beyond[source]
