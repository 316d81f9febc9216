"""What spilling and reading back ask of a store, on average: for scaling_model.py, and held to by tests.

What levels are: ``transforms.kernels.planning.levels``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

PART = 8 << 20
"""Bytes of an object that go in one request; those of ``transforms.storage.store_files``."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What spilling and reading back ask of a store.

    Attributes:
        segments: ranges of spill files that are read.
        tables: ranges of their tables and of references that are read.
        written: requests that write (S3 calls them class A: PUT, POST; gs:// has as many).
        looked: looks at the size of what was written.
        removed: objects that go in the end, or before.
    """

    segments: float = 0.0
    tables: float = 0.0
    written: float = 0.0
    looked: float = 0.0
    removed: float = 0.0

    def __add__(self, other: Requests) -> Requests:
        return Requests(
            self.segments + other.segments,
            self.tables + other.tables,
            self.written + other.written,
            self.looked + other.looked,
            self.removed + other.removed,
        )

    @property
    def read(self) -> float:
        """Requests that read."""
        return self.segments + self.tables


def count_requests(
    *,
    footprint: int,
    spilled: int,
    records: int,
    run_bytes: int,
    page_bytes: int,
    chunk_bytes: int,
    buckets: int,
    partitions: int,
    first: int = 1,
    bundles: int = 1,
    mixed: bool = False,
) -> Requests:
    """Return what a shuffle will ask of a store that its spill files lie on, on average.

    Args:
        footprint, spilled, records: memory that all records take, bytes of their spill files, and
            how many there are.
        run_bytes, page_bytes: footprints of a run and of a page, from the plan.
        chunk_bytes: footprint of the blocks that runs are gathered from.
        buckets, partitions: that runs are cut at, and that are grouped: shards mostly.
        first: partitions of the first of two levels; 1 for one level.
        bundles: that gather runs apart from each other.
        mixed: whether ``partitions`` are shards of a mixture of one stream, all of which is spilled.
            They end inside buckets, which two of them read, and are referred to by one file.
    """
    runs = _runs(footprint / bundles, run_bytes, chunk_bytes) * bundles
    twice = 1 + partitions / buckets if mixed else 1.0
    groups = partitions * (3 if mixed else 1)
    if first == 1:
        return _level(
            runs, spilled, records, cuts=buckets, groups=groups, references=1, twice=twice
        )
    piece = min(page_bytes, footprint / (runs * first))
    again = _runs(footprint / first, run_bytes, piece) * first
    # partitions and buckets whose boundaries differ cut one segment a run in two
    cuts = buckets / first + (0 if buckets % first == 0 else 1)
    straddled = 0 if mixed or partitions % first == 0 else first - 1
    return _level(runs, spilled, records, cuts=first, groups=first, references=1) + _level(
        again,
        spilled,
        records,
        cuts=cuts,
        groups=groups + straddled,
        references=1 if mixed else first,
        twice=twice,
    )


def _runs(footprint: float, run_bytes: int, piece: float) -> int:
    """Return how many runs so much makes, gathered in pieces until the next doesn't fit in."""
    whole = max(run_bytes // max(piece, 1), 1) * piece  # of a size that never varied
    return max(1, math.ceil(footprint / whole))


def _level(
    runs: int,
    spilled: int,
    records: int,
    *,
    cuts: float,
    groups: int,
    references: int,
    twice: float = 1.0,
) -> Requests:
    """Return what one level asks: of so many runs, each cut ``cuts`` times and read ``twice``."""
    empty = math.exp(-records / (runs * cuts))  # the share of segments without records
    parts = math.ceil(spilled / runs / PART)
    table = 1 if parts <= 1 else parts + 2  # begun, each part, completed
    return Requests(
        segments=runs * cuts * (1 - empty) * twice,
        tables=runs + groups,
        written=runs * table + references,
        looked=runs + references,
        removed=runs + references,
    )
