"""Feeds: the records of each source that a shard of a mixture needs, in the order of their ranks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from transforms.datasets.to_write import Ordered
from transforms.errors import LosslessError
from transforms.kernels.arrays import I64, U64
from transforms.kernels.randomness import pass_key, record_keys
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import WHOLE, KeyRange
from transforms.shuffling.gather import Piece, gather_piece, gather_together
from transforms.shuffling.groups import BlockGroup, expected_digests
from transforms.shuffling.references import Pages
from transforms.shuffling.streams import Streams

_SMALL_ROWS = 1 << 14  # of a small source that are ordered at a time
_LEAST_TOGETHER = 4  # buckets that are gathered at once


class Bucket(NamedTuple):
    """What a shard needs of one bucket: the records after the first ``skip``, ``take`` of them."""

    number: int
    skip: int
    take: int
    footprint: int  # of the whole bucket


class Cut(NamedTuple):
    """Records of one stream that a shard needs.

    Attributes:
        pages: per spill file.
        buckets: in order.
    """

    pages: list[Pages]
    buckets: list[Bucket]


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


class Weighed(NamedTuple):
    """A bucket, or a part of it, and the footprint of the whole bucket."""

    piece: Piece
    footprint: int

    def is_light(self, source: int, streams: Streams) -> bool:
        """Return whether several such buckets fit into what may be gathered together.

        One that is larger than planned is no light one: its parts come one after another.
        """
        return self.footprint <= min(streams.together // _LEAST_TOGETHER, streams.limits[source])


class Feed:
    """Hands out the records of a share, any number at a time."""

    def __init__(self, share: Share, streams: Streams) -> None:
        self.source = share.source
        self._streams = streams
        self._pieces = deque([] if share.small else _pieces(share, streams))
        self._inside = False  # a piece that is read in parts, which come before the next piece
        self._read = _small_source(share, streams) if share.small else self._by_pieces()
        self._waiting: deque[pa.RecordBatch] = deque()
        self._held = 0  # records that are waiting
        self.expected = [Digest()] * streams.digests

    def _by_pieces(self) -> Iterator[Ordered]:
        """Read the buckets that hold a range of ranks, one after another."""
        while self._pieces:
            (piece, _), self._inside = self._pieces.popleft(), True
            yield from _gather(self.source, piece, self._streams)
            self._inside = False

    def lacks(self, count: int) -> bool:
        """Return whether a light bucket has to be read for so many records."""
        if self._held >= count or self._inside or not self._pieces:
            return False
        return self._pieces[0].is_light(self.source, self._streams)

    def next_piece(self) -> Weighed:
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
                    raise self._error(f"{count} fewer")
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
            raise self._error(f"{left} more")

    def _error(self, how_many: str) -> LosslessError:
        name = self._streams.name(self.source)
        return LosslessError(
            f"source {name}: a shard found {how_many} of its records than were counted when "
            "they were spilled; check memory and disk, then run again"
        )


def fill(wanted: Iterable[tuple[Feed, int]], streams: Streams) -> None:
    """Read the light buckets that so many records of each feed need, many of them at once.

    Others are read when their feed has nothing left.
    """
    short = list(wanted)
    while short := [(feed, count) for feed, count in short if feed.lacks(count)]:
        pieces = ((feed.source, feed.next_piece()) for feed, _ in short)
        found = gather_light(pieces, streams)
        for (feed, _), (_, ordered) in zip(short, found, strict=True):
            feed.add(ordered)


def gather_light(
    wanted: Iterable[tuple[int, Weighed]], streams: Streams
) -> Iterator[tuple[int, Ordered]]:
    """Gather light buckets of sources, in order, as many at once as may be."""
    batch: list[tuple[int, Piece]] = []
    spent = 0
    for source, (piece, footprint) in wanted:
        if batch and spent + footprint > streams.together:
            yield from _gather_batch(batch, streams)
            batch, spent = [], 0
        batch.append((source, piece))
        spent += footprint
    yield from _gather_batch(batch, streams)


def _gather_batch(
    batch: list[tuple[int, Piece]], streams: Streams
) -> Iterator[tuple[int, Ordered]]:
    what = [_edge_of(source, streams) for source, _ in batch]
    found = gather_together([piece for _, piece in batch], what=what)
    yield from zip((source for source, _ in batch), found, strict=True)


def _gather(source: int, piece: Piece, streams: Streams) -> Iterator[Ordered]:
    return gather_piece(
        piece,
        limit=streams.limits[source],
        sources=streams.digests,
        what=_edge_of(source, streams),
    )


def _edge_of(source: int, streams: Streams) -> str:
    return f"source {streams.name(source)}, a bucket at a shard's edge"


def _pieces(share: Share, streams: Streams) -> Iterator[Weighed]:
    """Yield the buckets that hold a range of ranks."""
    count = streams.buckets[share.source]
    for cut in share.cuts:
        group = BlockGroup(cut.pages)
        for number, skip, take, footprint in cut.buckets:
            yield Weighed(Piece(group, KeyRange(number, count), skip, take), footprint)


def unused_of(shares: list[Share], streams: Streams) -> Iterator[tuple[int, list[Digest]]]:
    """Yield digests of what is left, per stream, of the buckets or small sources that shares end in."""
    light = []
    for share in shares:
        if not share.ends:
            continue
        if share.small:
            yield share.source, [_unused_of_small(share, streams)]
            continue
        *_, last = _pieces(share, streams)
        rest = last.piece._replace(skip=last.piece.skip + (last.piece.take or 0), take=None)
        if last.is_light(share.source, streams):
            light.append((share.source, last._replace(piece=rest)))
            continue
        for _, expected in _gather(share.source, rest, streams):
            yield share.source, expected or []
    for source, (_, expected) in gather_light(light, streams):
        yield source, expected or []


def _unused_of_small(share: Share, streams: Streams) -> Digest:
    block = _hold(share, streams)
    number, rank = divmod(share.last - 1, share.records)
    keys = blocks.column(block, "key")
    order = pass_order(keys, number, source=share.source, streams=streams)[rank + 1 :]
    return _digest_of(blocks.hashes(block), order)


def _hold(share: Share, streams: Streams) -> pa.RecordBatch:
    """Return all records of a small source, in the order of its first pass."""
    (cut,) = share.cuts
    found = BlockGroup(cut.pages).read(WHOLE, limit=1 << 62)
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
    fit = streams.limits[share.source] // max(blocks.block_footprint(block), 1) - 1  # beside it
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
