"""Levels of the exchange: when to take two, and what either asks of a store.

With one level each of R runs is cut at all of B buckets: R * B segments, each a request when it is
read. As input grows with the memory as it is, runs and buckets both grow, and segments shrink as the
square. With two, runs are cut at the boundaries of P partitions first (by the top bits of the keys);
then each partition's segments are gathered into runs anew, which are cut at that partition's B / P
buckets alone. That reads and writes everything once more, in R * P + R * B / P segments: fewest, and
largest, where P is the square root of B.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIB = 1 << 20
STORE_SEGMENT = 256 << 10
"""Of smaller segments a store would spend more time on answering than on sending."""
LOCAL_SEGMENT = 64 << 10
"""Of smaller segments opening and decoding take longer than to write and read all once more: 0.6 ms
each beside 3 s per GB, and twice the disk's time (bench/levels.py)."""
PART = 8 * MIB
"""Bytes of an object that go in one request; those of ``transforms.storage.store_files``."""
_TABLE_ROW = 48  # bytes of memory for a page, where references are made of tables
LEAST_PARTITIONS = 16  # a dozen segments are in flight at once, beside a run


def choose_partitions(
    *, input_bytes: int, runs: int, buckets: int, workers: int, payload: int, segment_bytes: int
) -> int:
    """Return by how many partitions to go first; 1 for one level alone.

    Args:
        input_bytes: footprint or bytes of all records.
        runs: how many they make.
        buckets: that runs are cut at in the end.
        workers: bundles that run at once, each of which takes a partition at a time.
        payload: bytes that a bundle may hold; the tables of all pages must fit in it.
        segment_bytes: the least that a segment should have.
    """
    segment = input_bytes / (max(runs, 1) * buckets)
    if runs <= 1 or (segment >= segment_bytes and runs * buckets * _TABLE_ROW <= payload):
        return 1
    wanted = max(math.isqrt(buckets), LEAST_PARTITIONS)
    wanted = math.ceil(wanted / workers) * workers  # they are alike, so that all end together
    return min(wanted, buckets, max(runs, LEAST_PARTITIONS))  # more would fill no run each


def partition_streams(
    *,
    sizes: Sequence[int],
    spans: Sequence[int],
    passes: Sequence[int],
    buckets: Sequence[int],
    reach: Sequence[int],
    run_bytes: int,
    workers: int,
    payload: int,
    segment_bytes: int,
) -> tuple[int, ...]:
    """Return by how many partitions the streams of each source of a mixture go first; 1 for one level.

    Runs are gathered of all sources together, so a small one lies in many of them.

    Args:
        sizes: bytes of each source, of one pass.
        spans: that it is read in.
        passes: that are spilled of it.
        buckets: that its streams are cut into.
        reach: how many of them are spilled of its first pass.
        run_bytes: of a run.
        workers, payload, segment_bytes: as of ``choose_partitions``.
    """
    near = [size * some // all_ for size, some, all_ in zip(sizes, reach, buckets, strict=True)]
    later = [size * (many - 1) for size, many in zip(sizes, passes, strict=True)]
    runs = math.ceil(max(sum(near), sum(later)) / run_bytes)  # the first passes', or all others'
    found = []
    for i, size in enumerate(near):
        chosen = choose_partitions(
            input_bytes=size,
            runs=min(runs, spans[i] + math.ceil(size / run_bytes)),
            buckets=reach[i],
            workers=workers,
            payload=payload * size // max(sum(near) + sum(later), 1),
            segment_bytes=segment_bytes,
        )
        # partitions of hardly more than a bucket would gather nothing, and those beyond are empty
        worth = 2 * chosen <= reach[i]
        found.append(math.ceil(chosen * buckets[i] / reach[i]) if worth and chosen > 1 else 1)
    return tuple(found)


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
