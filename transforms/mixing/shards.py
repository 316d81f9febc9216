"""Shards of a mixture: ranges of positions, and the records that the schedule puts there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.datasets.write import Ordered
from transforms.errors import LosslessError
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import KeyRange
from transforms.kernels.schedules.schedule import Schedule
from transforms.mixing import small_sources
from transforms.mixing.packed_shards import Content, Share, counted, unpack_content, unpack_schedule
from transforms.shuffling.file_ranges import FileRange
from transforms.shuffling.gather import Piece, gather_batch, gather_piece
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.packed import unpack
from transforms.shuffling.streams import Streams

_LEAST_IN_BATCH = 4  # buckets that are gathered at once


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
        readers = {share.source: SourceReader(share, self.streams) for share in content.shares}
        total: list[Digest] | None = None
        for begin in range(content.begin, content.end, content.chunk):
            end = min(begin + content.chunk, content.end)
            drawn = schedule.sources_of(begin, end)
            block = _lay_down(drawn, readers, streams=self.streams)
            if end == content.end:
                for reader in readers.values():
                    reader.require_empty()
                total = self._total((reader.source, reader.expected) for reader in readers.values())
            yield Ordered(block, total)

    def first_ranks(self) -> dict[int, tuple[int, int]]:
        """Return, of each source, the rank of its first record, and how many a pass has.

        Empty where all sources are shuffled as one, of which nothing repeats.
        """
        if self.streams.union:
            return {}
        content, _ = self._read()
        return {share.source: (share.first, share.records) for share in content.shares}

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


def open_shard(
    streams: Streams, folders: Sequence[str], number: int, packed: Iterable[bytes]
) -> MixedShard:
    """Return a shard that was laid out.

    Args:
        streams, folders: as of MixedShard.
        number: its place among the shards.
        packed: how many there are, and where its content and the schedule lie; one.
    """
    (one,) = packed
    (of, content, schedule), _ = unpack(one)
    return MixedShard(
        number,
        of,
        content=FileRange.of(content),
        schedule=FileRange.of(schedule),
        streams=streams,
        folders=folders,
    )


def _lay_down(
    drawn: npt.NDArray[np.uint16], readers: dict[int, SourceReader], *, streams: Streams
) -> pa.RecordBatch:
    """Take as many records of each source as were drawn, and put them where they were drawn."""
    drawn_of = np.bincount(drawn, minlength=1)
    counts = {source: int(drawn_of[source]) for source in np.flatnonzero(drawn_of).tolist()}
    fill([(readers[source], count) for source, count in counts.items()], streams)
    joined = blocks.join(
        [part for source, count in counts.items() for part in readers[source].take(count)]
    )
    if streams.union:
        return joined
    order = np.argsort(drawn, kind="stable")
    places = np.empty(len(drawn), np.int64)
    places[order] = np.arange(len(drawn))
    block = joined if len(readers) == 1 else joined.take(pa.array(places))
    return block if len(streams.sources) == 1 else blocks.with_source(block, drawn)


class SourceReader:
    """Hands out the records of a share, any number at a time."""

    def __init__(self, share: Share, streams: Streams) -> None:
        self.source = share.source
        self._streams = streams
        self._pieces = deque([] if share.small else _pieces(share, streams))
        self._inside = False  # a piece that is read in parts, which come before the next piece
        self._read = small_sources.read(share, streams) if share.small else self._by_pieces()
        self._waiting: deque[pa.RecordBatch] = deque()
        self._held = 0  # records that are waiting
        self.expected = [Digest()] * streams.digests

    def _by_pieces(self) -> Iterator[Ordered]:
        """Read the buckets that hold a range of ranks, one after another."""
        while self._pieces:
            piece, self._inside = self._pieces.popleft(), True
            yield from _gather(self.source, piece, self._streams)
            self._inside = False

    def lacks(self, count: int) -> bool:
        """Return whether a light bucket has to be read for so many records."""
        if self._held >= count or self._inside or not self._pieces:
            return False
        return _is_light(self._pieces[0], self.source, self._streams)

    def next_piece(self) -> Piece:
        """Hand out what is to be added next."""
        return self._pieces.popleft()

    def add(self, found: Ordered) -> None:
        """Take in what a piece has given."""
        assert found.expected is not None
        self.expected = blocks.add_digests(self.expected, found.expected)
        self._waiting.append(found.block)
        self._held += len(found.block)

    def take(self, count: int) -> Iterator[pa.RecordBatch]:
        """Yield the next records.

        Raises:
            LosslessError: there are fewer.
        """
        while count:
            if not self._held:
                found = next(self._read, None)
                if found is None:
                    raise self._error(f"{count:,} fewer")
                self.add(found)
            block = self._waiting.popleft()
            part, rest = block.slice(0, count), block.slice(count)
            if len(rest):
                self._waiting.appendleft(rest)
            count -= len(part)
            self._held -= len(part)
            del block, rest  # let go of it before the next is read
            yield part

    def require_empty(self) -> None:
        """Raise LosslessError where records are left over."""
        left = self._held + sum(len(found.block) for found in self._read)
        if left:
            raise self._error(f"{left:,} more")

    def _error(self, how_many: str) -> LosslessError:
        name = self._streams.name(self.source)
        return LosslessError(
            f"source {name}: a shard found {how_many} records of it than were counted when they "
            "were spilled; check memory and disk, then run again"
        )


def fill(wanted: Iterable[tuple[SourceReader, int]], streams: Streams) -> None:
    """Read the light buckets that so many records of each reader need, many of them at once.

    Others are read when their reader has nothing left.
    """
    short = list(wanted)
    while short := [(reader, count) for reader, count in short if reader.lacks(count)]:
        found = gather_light([reader.next_piece() for reader, _ in short], streams)
        for (reader, _), ordered in zip(short, found, strict=True):
            reader.add(ordered)


def gather_light(wanted: Iterable[Piece], streams: Streams) -> Iterator[Ordered]:
    """Gather light buckets of sources, in order, as many at once as may be."""
    batch: list[Piece] = []
    spent = 0
    for piece in wanted:
        if batch and spent + piece.footprint > streams.batch_bytes:
            yield from gather_batch(batch)
            batch, spent = [], 0
        batch.append(piece)
        spent += piece.footprint
    yield from gather_batch(batch)


def _is_light(piece: Piece, source: int, streams: Streams) -> bool:
    """Return whether several such buckets fit into what may be gathered as a batch.

    One that is larger than planned is no light one: its parts come one after another.
    """
    return piece.footprint <= min(streams.batch_bytes // _LEAST_IN_BATCH, streams.limits[source])


def _gather(source: int, piece: Piece, streams: Streams) -> Iterator[Ordered]:
    return gather_piece(piece, limit=streams.limits[source], sources=streams.digests)


def _pieces(share: Share, streams: Streams) -> Iterator[Piece]:
    """Yield the buckets that hold a range of ranks."""
    count = streams.buckets[share.source]
    what = f"source {streams.name(share.source)}, a bucket at a shard's edge"
    for cut in share.cuts:
        group = BlockGroup(cut.pages)
        for number, skip, take, footprint in cut.buckets:
            yield Piece(group, KeyRange(number, count), skip, take, footprint, what)


def unused_of(shares: list[Share], streams: Streams) -> Iterator[tuple[int, list[Digest]]]:
    """Yield digests of what is left, per stream, of the buckets or small sources that shares end in."""
    light: dict[int, Piece] = {}
    for share in shares:
        if not share.ends:
            continue
        if share.small:
            yield share.source, [small_sources.unused(share, streams)]
            continue
        *_, last = _pieces(share, streams)
        rest = last._replace(skip=last.skip + (last.take or 0), take=None)
        if _is_light(rest, share.source, streams):
            light[share.source] = rest
            continue
        for _, expected in _gather(share.source, rest, streams):
            yield share.source, expected or []
    found = gather_light(light.values(), streams)
    for source, (_, expected) in zip(light, found, strict=True):
        yield source, expected or []
