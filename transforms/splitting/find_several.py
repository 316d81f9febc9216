"""Finding contents with several marks: those that stand in several splits, or have several labels.

What records give of their contents goes through the exchange of the shuffle: equal contents meet in one
bucket, whatever their number, and nothing of the payload's size passes through the runner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.datasets.identity import FileId, Located
from transforms.kernels.arrays import U64
from transforms.kernels.records import blocks
from transforms.kernels.splitting.marks import MARKED, SeveralMarks, find_several, mark_contents
from transforms.shuffling.gather import read_parts, take_blocks
from transforms.shuffling.groups import require_intact
from transforms.shuffling.partition import PartitionIntoBuckets
from transforms.shuffling.shuffle import PlainShard, ShuffleWithinBuckets
from transforms.shuffling.spill_files import Spilling
from transforms.shuffling.streams import Streams
from transforms.storage import files as storage
from transforms.workers.slots import Slot

CONTENTS = FileId("contents", "")
"""Whose records marked contents are, wherever they come from: so equal ones have equal keys."""


def marked(hash0: U64, hash1: U64, marks: Any) -> Located:
    """Return what records give of their contents; arguments as of ``mark_contents``.

    The positions are the contents' first hashes, which therefore make the keys.
    """
    given = mark_contents(hash0, hash1, marks)
    offsets = np.arange(len(given) + 1, dtype=np.int64) * MARKED.itemsize
    values, positions = given.view(np.uint8), given["hash0"].copy()
    block = blocks.from_buffer(values, offsets=offsets, positions=positions, line_end=b"")
    return CONTENTS, block


@dataclass(eq=False, kw_only=True)
class FindSeveral(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Find contents with several marks: what ``marked`` gives -> one SeveralMarks.

    A worker holds no more than a bucket, or what is given of one content; that is a mark for each block
    that it comes in at most.

    Attributes:
        spill: how marked contents are spilled.
        buckets: into how many parts; a bucket that doesn't fit is taken in halves.
        bucket_bytes: footprint of a bucket that a worker may hold.
    """

    spill: Spilling
    buckets: int = 16
    bucket_bytes: int = 64 << 20

    def expand(self, marked: Any) -> Any:
        """Spill, let meet, compare, add up."""
        streams = Streams.as_one(
            [CONTENTS.source], seed=0, buckets=self.buckets, bucket_bytes=self.bucket_bytes
        )
        return (
            marked
            | "Spill" >> PartitionIntoBuckets(streams=streams, spill=self.spill)
            | "Meet" >> ShuffleWithinBuckets(streams=streams, spill=self.spill, ranges=self.buckets)
            | "Compare" >> beam.ParDo(_Compare(self.spill))
            | "AddUp" >> beam.CombineGlobally(_add_up)
        )


def _add_up(many: Iterable[SeveralMarks]) -> SeveralMarks:
    return sum(many, start=SeveralMarks())


class _Compare(beam.DoFn):  # type: ignore[misc]
    def __init__(self, spill: Spilling) -> None:
        self._spill = spill

    def setup(self) -> None:
        storage.configure(self._spill.storage_options)

    def process(self, shard: PlainShard) -> Iterator[SeveralMarks]:
        (limit,) = shard.streams.limits
        with Slot(self._spill.run_id, self._spill.slots):
            for piece in shard.pieces:
                for found in read_parts(piece.group, piece.part, limit=limit):
                    for page in found:
                        require_intact(page.block, page.digests)
                    given = [blocks.payload(one) for one in take_blocks(found)]
                    yield find_several(
                        np.concatenate([np.frombuffer(one, MARKED) for one in given])
                    )
        if self._spill.release:
            shard.release()
