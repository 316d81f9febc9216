"""Shards of a mixture: ranges of positions, and the records that the schedule puts there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.datasets.to_write import Ordered
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.schedules.schedule import Schedule
from transforms.mixing.contents import Content, counted, unpack_content, unpack_schedule
from transforms.mixing.feeds import Feed, fill, unused_of
from transforms.shuffling.file_ranges import FileRange
from transforms.shuffling.streams import Streams


@dataclass(frozen=True, slots=True)
class MixedShard:
    """What one output file of a mixture holds.

    Attributes:
        number, of: its place among the shards.
        content: where its ``Content`` lies.
        schedule: where the schedule lies.
        streams: how records were cut.
        folders: URLs of those that hold their spill files.
    """

    number: int
    of: int
    content: FileRange
    schedule: FileRange
    streams: Streams
    folders: Sequence[str]

    def ordered(self) -> Iterator[Ordered]:
        """Yield the shard's records in order; with the last block what all digests have to be."""
        content, schedule = self._read()
        feeds = {share.source: Feed(share, self.streams) for share in content.shares}
        total: list[Digest] | None = None
        for begin in range(content.begin, content.end, content.chunk):
            end = min(begin + content.chunk, content.end)
            drawn = schedule.sources_of(begin, end)
            block = _lay_down(drawn, feeds, streams=self.streams)
            if end == content.end:
                for feed in feeds.values():
                    feed.require_empty()
                total = self._total((feed.source, feed.expected) for feed in feeds.values())
            yield Ordered(block, total)

    def unused(self) -> list[Digest]:
        """Return the digests of what is left of buckets after the last record that is used."""
        content, _ = self._read()
        return self._total(unused_of(content.shares, self.streams))

    def _read(self) -> tuple[Content, Schedule]:
        """Read what the shard is made of, and the schedule as far as its positions need it.

        Raises:
            RunError: it can't be read, or isn't what was written.
        """
        bare = self.schedule.parse(partial(unpack_schedule, sources=self.streams.count))

        def read(data: memoryview) -> tuple[Content, Schedule]:
            content, known = unpack_content(data, streams=self.streams, folders=self.folders)
            return content, counted(bare, known, content)

        return self.content.parse(read)

    def _total(self, found: Iterable[tuple[int, list[Digest]]]) -> list[Digest]:
        """Add up the digests of streams, source by source."""
        total = [Digest()] * len(self.streams.sources)
        for stream, digests in found:
            for source, digest in enumerate(digests, start=stream):
                total[source] += digest
        return total

    def release(self) -> None:
        """Nothing: other shards may share what this one read."""


def _lay_down(
    drawn: npt.NDArray[np.uint16], feeds: dict[int, Feed], *, streams: Streams
) -> pa.RecordBatch:
    """Take as many records of each source as were drawn, and put them where they were drawn."""
    drawn_of = np.bincount(drawn, minlength=1)
    counts = {source: int(drawn_of[source]) for source in np.flatnonzero(drawn_of).tolist()}
    fill([(feeds[source], count) for source, count in counts.items()], streams)
    joined = blocks.join(
        [part for source, count in counts.items() for part in feeds[source].take(count)]
    )
    if streams.union:
        return joined
    order = np.argsort(drawn, kind="stable")
    places = np.empty(len(drawn), np.int64)
    places[order] = np.arange(len(drawn))
    block = joined if len(feeds) == 1 else joined.take(pa.array(places))
    return block if len(streams.sources) == 1 else blocks.with_source(block, drawn)
