"""Interleaving with the payload through the runner: grouped by bucket, placed, grouped by shard.

The schedule is used the other way round here: from a record's source and rank to its position.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.deal import DealOut
from transforms.feeds import pass_order
from transforms.gather import Piece
from transforms.groups import MemoryGroup, expected_digests
from transforms.kernels import blocks, pages
from transforms.kernels.digest import Digest
from transforms.kernels.randomness import U64
from transforms.kernels.ranges import WHOLE
from transforms.kernels.schedule import I64
from transforms.reports import Mixed
from transforms.shuffle import Shard
from transforms.spilled import Counted

if TYPE_CHECKING:
    from transforms.interleave import InterleaveSources

Bucket = tuple[int, int]
"""A stream's number, and a bucket's in it."""


def place_records(config: InterleaveSources, cut: list[Any], counted: Any) -> tuple[Any, Any]:
    """Place records: PCollections of (Bucket, page), and of one Counted -> (shards, mixed)."""
    groups = cut | "AllPages" >> beam.Flatten() | "GroupByBucket" >> beam.GroupByKey()
    counts = groups | "CountBuckets" >> beam.MapTuple(_count_records)
    end = beam.pvalue.AsSingleton(counted)
    placed = groups | "Place" >> beam.ParDo(
        _Place(config), end, beam.pvalue.AsDict(counts)
    ).with_output_types(tuple[int, bytes], unused=list[Digest]).with_outputs("unused", main="pages")
    every = counted | "EveryShard" >> beam.FlatMap(_empty, config=config).with_output_types(
        tuple[int, bytes]
    )
    shards = (
        (placed.pages, every)
        | "WithEmpty" >> beam.Flatten()
        | "GroupByShard" >> DealOut(bytes)
        | "Hold" >> beam.Map(_hold, end, config=config).with_output_types(Shard)
    )
    mixed = counted | "SumUp" >> beam.Map(_sum_up, beam.pvalue.AsList(placed.unused), config=config)
    return shards, mixed


def _count_records(bucket: Bucket, encoded: Iterable[bytes]) -> tuple[Bucket, int]:
    return bucket, sum(len(pages.decode_page(page).block) for page in encoded)


def _empty(counted: Counted, config: InterleaveSources) -> Iterator[tuple[int, bytes]]:
    for number in range(config.count_shards(counted, counted.length)):
        yield number, b""


def _hold(
    element: tuple[int, Iterable[bytes]], counted: Counted, config: InterleaveSources
) -> Shard:
    number, encoded = element
    group = MemoryGroup([page for page in encoded if page])
    return Shard(number, config.count_shards(counted, counted.length), (Piece(group, WHOLE),))


class _Place(beam.DoFn):  # type: ignore[misc]
    """Find the position of every record of a bucket, and send it to the shard that holds it."""

    def __init__(self, config: InterleaveSources) -> None:
        self._config = config
        self._digests = len(config.mixture.sources)

    def process(
        self,
        element: tuple[Bucket, Iterable[bytes]],
        counted: Counted,
        counts: Mapping[Bucket, int],
    ) -> Iterator[Any]:
        (stream, bucket), encoded = element
        streams = self._config.streams
        number, source = divmod(stream, streams.count)
        found = [pages.decode_page(page) for page in encoded]
        expected = expected_digests(found, sources=streams.digests)
        block = blocks.gather([page.block for page in found])
        del found
        blocks.require_digests(block, expected, what=f"source {streams.name(source)}")
        have = counted.draft.amounts.records[source]
        used = int(counted.draft.schedule.counts_before(counted.length)[source])
        if not counted.small[source]:
            first = number * have + sum(counts.get((stream, b), 0) for b in range(bucket))
            yield from self._place(block, source, ranks=(first, used), counted=counted)
            return
        keys: U64 = blocks.column(block, "key")
        for again in range(max(counted.passes[source], 1)):
            order = pass_order(keys, again, source=source, streams=streams)
            ordered = block.take(pa.array(order))
            yield from self._place(ordered, source, ranks=(again * have, used), counted=counted)

    def _place(
        self, block: pa.RecordBatch, source: int, *, ranks: tuple[int, int], counted: Counted
    ) -> Iterator[Any]:
        """Place records that follow one another in their source, up to the rank that is unused."""
        first, used = ranks
        count = min(max(used - first, 0), len(block))
        if count < len(block):
            yield beam.pvalue.TaggedOutput("unused", self._unused(block.slice(count), source))
        mine = block.slice(0, count)
        if not count:
            return
        positions = counted.draft.schedule.positions_of(source, np.arange(first, first + count))
        mine = mine.set_column(0, "key", pa.array(positions.astype(np.uint64)))
        if self._digests > 1 and not self._config.streams.union:
            mine = blocks.with_source(mine, np.full(count, source, np.uint16))
        for number, begin, end in self._cut(positions, counted):
            part = blocks.with_hashes(mine.slice(begin, end - begin))
            for piece in blocks.slices(part, limit=self._config.spill.page_bytes):
                page = pages.encode_page(piece, sources=self._digests)
                yield number, page.to_pybytes()

    def _cut(self, positions: I64, counted: Counted) -> Iterator[tuple[int, int, int]]:
        """Yield (shard, begin, end) of the stretches of positions, which grow, that lie in one."""
        shards = self._config.count_shards(counted, counted.length)
        ends = [
            self._config.shard_range(number, shards, counted.length)[1] for number in range(shards)
        ]
        edges = np.searchsorted(positions, ends).tolist()
        for number, (begin, end) in enumerate(zip([0, *edges], edges, strict=False)):
            if begin < end:
                yield number, begin, end

    def _unused(self, rest: pa.RecordBatch, source: int) -> list[Digest]:
        if self._config.streams.union:
            return blocks.digests(rest, sources=self._digests)
        digest = blocks.digests(rest, sources=1)[0]
        return [digest if i == source else Digest() for i in range(self._digests)]


def _sum_up(counted: Counted, unused: list[list[Digest]], config: InterleaveSources) -> Mixed:
    left = [Digest.total(part[i] for part in unused) for i in range(len(config.mixture.sources))]
    return counted.mixed(
        counted.length,
        shards=config.count_shards(counted, counted.length),
        unused=[Digest.total(left)] if config.streams.union else left,
        union=config.streams.union,
    )
