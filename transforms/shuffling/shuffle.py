"""The in-bucket shuffle, with count and gather: buckets to shards whose records are in order."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam

from transforms.datasets.write import Ordered
from transforms.kernels.records import ranges
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import KeyRange
from transforms.shuffling.file_ranges import FileRange, write_references
from transforms.shuffling.gather import Piece, gather_piece
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.packed import pack, unpack
from transforms.shuffling.partition import AllSpills, Spilled
from transforms.shuffling.references import Pages, cut_pages, pack_pages, unpack_pages
from transforms.shuffling.spill_files import Spilling, pages_of_stream, read_tables
from transforms.shuffling.streams import Streams
from transforms.storage import files as storage
from transforms.workers.round_robin import GroupRoundRobin


class Wanted(NamedTuple):
    """What a shard needs of the records of one range of keys.

    Attributes:
        range: its number.
        partition: of the first of two levels, that they were gathered from.
        skip, take: without the first ``skip`` of them, ``take`` at most; None for all.
        pages: where the references to their pages lie.
    """

    range: int
    partition: int
    skip: int
    take: int | None
    pages: FileRange


@dataclass(frozen=True)
class PlainShard:
    """A shard that is a row of ranges of keys, or of parts of them.

    Attributes:
        number, of: its place among the shards.
        wanted: in the order of their keys.
        ranges: of how many equal ranges of keys these are some.
        streams: how records were cut.
        folders: URLs of those that hold their spill files.
    """

    number: int
    of: int
    wanted: Sequence[Wanted]
    ranges: int
    streams: Streams
    folders: Sequence[str]

    @functools.cached_property
    def pieces(self) -> list[Piece]:
        """What it is made of; the references are read when they are first needed.

        At 100 GB they are a hundred MB, which shall not pass through the launcher.
        """
        return [
            Piece(
                BlockGroup(pages.parse(lambda data: unpack_pages(data, self.folders))),
                KeyRange(number, self.ranges),
                skip,
                take,
            )
            for number, _, skip, take, pages in self.wanted
        ]

    def ordered(self) -> Iterator[Ordered]:
        """Yield the shard's records in order, one bucket at a time in memory."""
        (limit,) = self.streams.limits
        for piece in self.pieces:
            yield from gather_piece(piece, limit=limit, sources=self.streams.digests)

    def unused(self) -> list[Digest]:
        """Return no digests: every record is used."""
        return []

    def release(self) -> None:
        """Give back the storage of ranges that no other shard shares."""
        for piece in self.pieces:
            if piece.take is None:
                piece.group.release()


@dataclass(eq=False, kw_only=True)
class ShuffleWithinBuckets(beam.PTransform):  # type: ignore[misc]
    """Lay the buckets of one stream out as shards: Spilled -> PlainShard.

    Attributes:
        streams: how records were cut: as one.
        spill: how they were spilled.
        ranges: how many equal ranges of keys to go by; the buckets are a multiple of them. Without
            ``shard_records`` each is a shard.
        shard_records: exactly so many records a shard, the last one with what is left.
    """

    streams: Streams
    spill: Spilling
    ranges: int
    shard_records: int | None = None

    def __post_init__(self) -> None:
        (buckets,) = self.streams.buckets
        if buckets % self.ranges:
            raise ValueError(
                f"expected buckets to be a multiple of ranges ({self.ranges}), got {buckets}"
            )

    @property
    def partitions(self) -> int:
        """How many partitions of the first of two levels there are."""
        return max(self.streams.partitions, default=1)

    def expand(self, spilled: Spilled) -> Any:
        """Wait for all spills, count where records do, refer, deal out."""
        spills = (spilled.spills,) | AllSpills(
            self.spill, levels=self.streams.levels, partitions=self.partitions
        )
        counts = []
        if self.shard_records is not None:
            count = beam.MapTuple(functools.partial(_count, self.spill))
            counts.append(beam.pvalue.AsDict(spills | "CountRecords" >> count))
        return (
            spills
            | "LayOut" >> beam.ParDo(_LayOut(self), *counts).with_output_types(tuple[int, bytes])
            | "InTurn" >> GroupRoundRobin(bytes)
            | "Open" >> beam.MapTuple(functools.partial(_open, self))
        )


def _pages(packed: Iterable[bytes]) -> list[Pages]:
    return [pages for table in read_tables(packed) for pages in pages_of_stream([table], 0)]


def _records(found: Iterable[Pages]) -> int:
    return sum(int(part.table["rows"].sum(dtype="i8")) for part in found)


def _count(spill: Spilling, partition: int, packed: Iterable[bytes]) -> tuple[int, int]:
    storage.configure(spill.storage_options)
    return partition, _records(_pages(packed))


class _LayOut(beam.DoFn):  # type: ignore[misc]
    """Say what each shard wants of a partition's ranges; references to their pages go to one file."""

    def __init__(self, config: ShuffleWithinBuckets) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)

    def process(
        self, element: tuple[int, Iterable[bytes]], counts: dict[int, int] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        partition, packed = element
        config = self._config
        folders = config.spill.folders
        found = _pages(packed)
        mine = ranges.overlapping(KeyRange(partition, config.partitions), config.ranges)

        def cut() -> Iterator[list[Pages]]:
            return cut_pages(found, mine, config.ranges)

        written = write_references(
            folders[0], lambda: (pack_pages(pages, folders) for pages in cut())
        )
        if counts is None:
            for number, pages in zip(mine, written, strict=True):
                wanted = Wanted(number, partition, 0, None, pages)
                yield number, pack([config.ranges, wanted])
            return
        assert config.shard_records is not None
        shards = max(1, -(-sum(counts.values()) // config.shard_records))
        rank = sum(counts[before] for before in range(partition))
        if not any(counts.values()) and partition == 0:
            yield 0, pack([shards, Wanted(0, 0, 0, 0, written[0])])
        for part, pages, parts in zip(mine, written, cut(), strict=True):
            records = _records(parts)
            for shard, skip, take in cut_at_records(rank, records, config.shard_records):
                yield shard, pack([shards, Wanted(part, partition, skip, take, pages)])
            rank += records


def cut_at_records(rank: int, records: int, size: int) -> Iterator[tuple[int, int, int]]:
    """Yield which shards of ``size`` records need some of a range's, how many to skip and to take.

    Args:
        rank: of the range's first record.
        records: of the range.
        size: records of a shard.

    >>> list(cut_at_records(8, 7, 5))
    [(1, 0, 2), (2, 2, 5)]
    """
    first = rank
    while first < rank + records:
        shard = first // size
        end = min(rank + records, (shard + 1) * size)
        yield shard, first - rank, end - first
        first = end


def _open(config: ShuffleWithinBuckets, number: int, packed: Iterable[bytes]) -> PlainShard:
    found = [unpack(data)[0] for data in packed]
    wanted = sorted(
        Wanted(part, partition, skip, take, FileRange.of(pages))
        for _, (part, partition, skip, take, pages) in found
    )
    return PlainShard(
        number,
        found[0][0],
        wanted,
        ranges=config.ranges,
        streams=config.streams,
        folders=config.spill.folders,
    )
