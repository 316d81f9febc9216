"""Shards of a mixture: ranges of positions, and the records that the schedule puts there."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import LosslessError
from transforms.groups import FileGroup, Pages, Stretch, expected_digests
from transforms.kernels import blocks
from transforms.kernels.digest import Digest
from transforms.kernels.pages import TABLE
from transforms.kernels.randomness import U64, pass_key, record_keys
from transforms.kernels.ranges import WHOLE, KeyRange
from transforms.kernels.schedule import I64, Schedule
from transforms.shuffle import Ordered, Piece, gather_piece
from transforms.streams import Streams

_SMALL_ROWS = 1 << 14  # of a small source that are ordered at a time


class Cut(NamedTuple):
    """Records of one stream that a shard needs.

    Attributes:
        pages: per spill file.
        buckets: (number, skip, take) of each bucket, in order.
    """

    pages: list[Pages]
    buckets: list[tuple[int, int, int]]


class Share(NamedTuple):
    """What a shard needs of one source.

    Attributes:
        source: its index.
        first: rank of the first record, over all passes.
        last: rank after the last one.
        records: of the source.
        cuts: of its passes, in order; for a small source one, of its first pass, whole.
        small: whether every pass is made of the first one's records, held in memory.
        ends: whether nothing after it is used.
    """

    source: int
    first: int
    last: int
    records: int
    cuts: list[Cut]
    small: bool
    ends: bool


class Content(NamedTuple):
    """What a shard holds: positions [begin, end), and what they are made of."""

    begin: int
    end: int
    chunk: int
    shares: list[Share]


@dataclass(frozen=True, slots=True)
class MixedShard:
    """What one output file of a mixture holds.

    Attributes:
        number, of: its place among the shards.
        content: where its ``Content`` lies.
        schedule: where the schedule lies.
        streams: how records were cut.
    """

    number: int
    of: int
    content: Stretch
    schedule: Stretch
    streams: Streams

    def ordered(self, *, limit: int, sources: int) -> Iterator[Ordered]:
        """Yield the shard's records in order; with the last block what all digests have to be."""
        content: Content = pickle.loads(self.content.read_checked())
        schedule: Schedule = pickle.loads(self.schedule.read_checked())
        feeds = {
            share.source: _Taker(feed(share, self.streams), self.streams.name(share.source))
            for share in content.shares
        }
        total = [Digest()] * sources
        for begin in range(content.begin, content.end, content.chunk):
            end = min(begin + content.chunk, content.end)
            drawn = schedule.sources_of(begin, end)
            block = _lay_down(drawn, feeds, union=self.streams.union, sources=sources)
            last = end == content.end
            if last:
                for source, taker in feeds.items():
                    taker.require_empty()
                    total = self._add(total, source, taker.expected)
            yield Ordered(block, total if last else None)

    def unused(self, *, sources: int) -> list[Digest]:
        """Return the digests of what is left of buckets after the last record that is used."""
        content: Content = pickle.loads(self.content.read_checked())
        total = [Digest()] * sources
        for share in content.shares:
            if share.ends:
                total = self._add(total, share.source, _rest(share, self.streams))
        return total

    def _add(self, total: list[Digest], source: int, found: list[Digest]) -> list[Digest]:
        """Add the digests of a stream to those of all sources."""
        if self.streams.union:
            return blocks.add_digests(total, found)
        return [*total[:source], total[source] + found[0], *total[source + 1 :]]

    def release(self) -> None:
        """Nothing: other shards may share what this one read."""


class _Taker:
    """Hands out the records of a feed, any number at a time."""

    def __init__(self, feed: Iterator[Ordered], source: str) -> None:
        self._feed, self._source = feed, source
        self._block: pa.RecordBatch | None = None
        self._at = 0
        self.expected: list[Digest] = []

    def take(self, count: int) -> Iterator[pa.RecordBatch]:
        """Yield the next records.

        Raises:
            LosslessError: there are fewer.
        """
        while count:
            if self._block is None or self._at == len(self._block):
                self._block = None  # let go of it before the next is read
                found = next(self._feed, None)
                if found is None:
                    raise self._error(f"{count} fewer")
                self._block, expected = found
                assert expected is not None
                self.expected = (
                    blocks.add_digests(self.expected, expected) if self.expected else expected
                )
                self._at = 0
            part = self._block.slice(self._at, count)
            self._at += len(part)
            count -= len(part)
            yield part

    def require_empty(self) -> None:
        """Raise LosslessError where records are left over."""
        left = sum(len(found.block) for found in self._feed)
        left += 0 if self._block is None else len(self._block) - self._at
        if left:
            raise self._error(f"{left} more")

    def _error(self, how_many: str) -> LosslessError:
        return LosslessError(
            f"source {self._source}: a shard found {how_many} of its records than were counted when "
            "they were spilled; check memory and disk, then run again"
        )


def _lay_down(
    drawn: npt.NDArray[np.uint16], feeds: dict[int, _Taker], *, union: bool, sources: int
) -> pa.RecordBatch:
    """Take as many records of each source as were drawn, and put them where they were drawn."""
    counts = np.bincount(drawn, minlength=1)
    parts = [
        part
        for source in np.flatnonzero(counts).tolist()
        for part in feeds[source].take(int(counts[source]))
    ]
    joined = blocks.join(parts)
    if union:
        return joined
    order = np.argsort(drawn, kind="stable")
    places = np.empty(len(drawn), np.int64)
    places[order] = np.arange(len(drawn))
    block = joined if len(feeds) == 1 else joined.take(pa.array(places))
    return block if sources == 1 else blocks.with_source(block, drawn)


def feed(share: Share, streams: Streams) -> Iterator[Ordered]:
    """Yield the records of a share in the order of their ranks, with what their digests have to be."""
    return (_small_source if share.small else _large_source)(share, streams)


def _large_source(share: Share, streams: Streams) -> Iterator[Ordered]:
    """Read the buckets that hold a range of ranks, one after another."""
    count, limit = streams.buckets[share.source], streams.limits[share.source]
    for cut in share.cuts:
        group = FileGroup.of(cut.pages)
        for number, skip, take in cut.buckets:
            piece = Piece(group, KeyRange(number, count), skip, take)
            what = f"source {streams.name(share.source)}, a bucket at a shard's edge"
            yield from gather_piece(piece, limit=limit, sources=streams.digests, what=what)


def _rest(share: Share, streams: Streams) -> list[Digest]:
    """Return the digest of what is unused of the bucket, or the small source, that a share ends in."""
    if share.small:
        block = _hold(share, streams)
        number, rank = divmod(share.last - 1, share.records)
        keys = blocks.column(block, "key")
        order = pass_order(keys, number, source=share.source, streams=streams)[rank + 1 :]
        return [_digest_of(blocks.hashes(block), order)]
    cut = share.cuts[-1]
    bucket, skip, take = cut.buckets[-1]
    part = KeyRange(bucket, streams.buckets[share.source])
    piece = Piece(FileGroup.of(cut.pages), part, skip + take)
    total = [Digest()] * streams.digests
    limit = streams.limits[share.source]
    for _, expected in gather_piece(piece, limit=limit, sources=streams.digests):
        total = blocks.add_digests(total, expected or [])
    return total


def _hold(share: Share, streams: Streams) -> pa.RecordBatch:
    """Return all records of a small source, in the order of its first pass."""
    (cut,) = share.cuts
    found = FileGroup.of(cut.pages).read(WHOLE, limit=1 << 62)
    expected = expected_digests(found, sources=1)
    block = blocks.gather([page.block for page in found])
    name = streams.name(share.source)
    blocks.require_digests(block, expected, what=f"source {name}")
    if len(block) != share.records:
        raise LosslessError(
            f"source {name}: {share.records} records were spilled, {len(block)} are there; check "
            "memory and disk, then run again"
        )
    return block


def _small_source(share: Share, streams: Streams) -> Iterator[Ordered]:
    """Hold a source, and lay its records in the order of one pass after another."""
    block = _hold(share, streams)
    hashes = blocks.hashes(block)
    keys = blocks.column(block, "key")
    fit = streams.limits[share.source] // max(blocks.block_footprint(block), 1)
    passes = max(1, min(_SMALL_ROWS // share.records, fit))  # of long records only few
    at = share.first
    while at < share.last:
        number = at // share.records
        end = min((number + passes) * share.records, share.last)
        order = np.concatenate(
            [
                pass_order(keys, p, source=share.source, streams=streams)
                for p in range(number, -(-end // share.records))
            ]
        )
        mine = order[at - number * share.records : end - number * share.records]
        digest = _digest_of(hashes, mine)
        yield Ordered(block.take(pa.array(mine)), [digest])
        at = end


def _digest_of(hashes: tuple[U64, U64, I64], places: I64) -> Digest:
    """Return the digest of some of the records with these hashes and sizes."""
    hash0, hash1, size = hashes
    return Digest.of_hashes(hash0[places], hash1[places], size[places])


def pass_order(keys: U64, number: int, *, source: int, streams: Streams) -> I64:
    """Return int64[n]: the places of a pass's records among those of the first pass.

    Args:
        keys: uint64[n], of the first pass, in order.
        number: of the pass.
        source, streams: whose.
    """
    if number == 0:
        return np.arange(len(keys))
    pair = pass_key(
        seed=streams.seed,
        epoch=streams.epoch,
        source=streams.sources[source],
        pass_number=number,
    )
    return np.argsort(record_keys(pair, keys), kind="stable")


def plain_rows(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]:
    """Return the fields of ``TABLE`` of rows that have more."""
    out = np.empty(len(rows), TABLE)
    for name in TABLE.names or ():
        out[name] = rows[name]
    return out
