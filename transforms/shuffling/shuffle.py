"""The in-bucket shuffle, with count and gather: groups to shards whose records are in order."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.datasets.to_write import Ordered
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.packed import JOINED, join, pack, split, unpack
from transforms.kernels.records.ranges import KeyRange
from transforms.shuffling.gather import Piece, gather_piece
from transforms.shuffling.groups import BlockGroup
from transforms.storage import files as storage
from transforms.workers.round_robin import GroupRoundRobin


@dataclass(frozen=True, slots=True)
class Shard:
    """What one output file holds. Nothing is sorted before ``ordered`` is walked.

    Attributes:
        number, of: its place among the shards.
        pieces: in the order of their keys.
    """

    number: int
    of: int
    pieces: tuple[Piece, ...]

    def ordered(self, *, limit: int, sources: int) -> Iterator[Ordered]:
        """Yield the shard's records in order, one bucket of at most ``limit`` bytes in memory."""
        for piece in self.pieces:
            yield from gather_piece(piece, limit=limit, sources=sources)

    def unused(self, *, sources: int) -> list[Digest]:
        """Return no digests: every record is used."""
        return [Digest()] * sources

    def release(self) -> None:
        """Give back the storage of groups that no other shard shares."""
        for piece in self.pieces:
            if piece.take is None:
                piece.group.release()


class ShardCoder(beam.coders.Coder):  # type: ignore[misc]
    """The coder of shards."""

    def encode(self, value: Shard) -> bytes:
        """Return the shard's bytes."""
        pieces = [_pack_piece(piece) for piece in value.pieces]
        return pack([value.number, value.of], *join(pieces))

    def decode(self, encoded: bytes) -> Shard:
        """Return the shard."""
        (number, of), (sizes, data) = unpack(encoded, *JOINED)
        return Shard(number, of, tuple(map(_unpack_piece, split(sizes, data))))

    def estimate_size(self, value: Shard) -> int:
        """Return 0: Beam samples sizes for its metrics, and must not encode a shard for one."""
        return 0

    def is_deterministic(self) -> bool:
        """Shards are no keys."""
        return False

    def to_type_hint(self) -> type[Shard]:
        """Return the type that this coder is for."""
        return Shard


beam.coders.registry.register_coder(Shard, ShardCoder)


def _pack_piece(piece: Piece) -> bytes:
    group = np.frombuffer(piece.group.to_bytes(), np.uint8)
    return pack([piece.part.index, piece.part.count, piece.skip, piece.take], group)


def _unpack_piece(data: bytes) -> Piece:
    (index, count, skip, take), (group,) = unpack(data, np.uint8)
    return Piece(BlockGroup.from_bytes(group.tobytes()), KeyRange(index, count), skip, take)


@dataclass(eq=False, kw_only=True)
class ShuffleWithinBuckets(beam.PTransform):  # type: ignore[misc]
    """Lay groups out as shards: (partition, BlockGroup) -> Shard.

    Attributes:
        partitions: how many groups there are; without ``shard_records`` each is a shard.
        shard_records: exactly so many records a shard, the last one with what is left.
        storage_options: of fsspec, for the stores; None leaves them as they are.
    """

    partitions: int
    shard_records: int | None = None
    storage_options: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, groups: Any) -> Any:
        """Keep groups as shards, or count, cut and gather."""
        if self.shard_records is None:
            return groups | "AsShards" >> beam.MapTuple(
                functools.partial(_as_shard, self.partitions)
            ).with_output_types(Shard)
        counts = groups | "Count" >> beam.MapTuple(functools.partial(_count, self.storage_options))
        return (
            groups
            | "CutAtRecords"
            >> beam.ParDo(_CutAtRecords(self), beam.pvalue.AsDict(counts)).with_output_types(
                tuple[int, bytes]
            )
            | "GatherPieces" >> GroupRoundRobin(bytes)
            | "Gathered" >> beam.MapTuple(_gathered).with_output_types(Shard)
        )


def _count(
    storage_options: dict[str, Any] | None, partition: int, group: BlockGroup
) -> tuple[int, int]:
    storage.configure(storage_options)
    return partition, group.records


def _as_shard(of: int, partition: int, group: BlockGroup) -> Shard:
    return Shard(partition, of, (Piece(group, KeyRange(partition, of)),))


def _gathered(number: int, packed: Iterable[bytes]) -> Shard:
    found = [ShardCoder().decode(data) for data in packed]
    pieces = sorted((piece for shard in found for piece in shard.pieces), key=_place)
    return Shard(number, found[0].of, tuple(pieces))


def _place(piece: Piece) -> tuple[KeyRange, int]:
    return piece.part, piece.skip


class _CutAtRecords(beam.DoFn):  # type: ignore[misc]
    """Say which records of each group go to which shard."""

    def __init__(self, config: ShuffleWithinBuckets) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)

    def start_bundle(self) -> None:
        self._ranks: list[int] | None = None  # of each group's first record

    def process(
        self, element: tuple[int, BlockGroup], counts: dict[int, int]
    ) -> Iterator[tuple[int, bytes]]:
        partition, group = element
        config = self._config
        size = config.shard_records
        assert size is not None
        total = sum(counts.values())
        of = max(1, -(-total // size))
        if self._ranks is None:
            self._ranks = list(accumulate((counts[i] for i in range(len(counts))), initial=0))
        rank = self._ranks[partition]
        if total == 0 and partition == 0:
            none = Piece(group, KeyRange(0, config.partitions), 0, 0)
            yield 0, ShardCoder().encode(Shard(0, 1, (none,)))
        beyond = rank + group.records
        first = rank
        while first < beyond:
            number = first // size
            end = min(beyond, (number + 1) * size)
            piece = Piece(group, KeyRange(partition, config.partitions), first - rank, end - first)
            yield number, ShardCoder().encode(Shard(number, of, (piece,)))
            first = end
