"""Levels of the exchange: when to take two.

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

STORE_SEGMENT = 256 << 10
"""Of smaller segments a store would spend more time on answering than on sending."""
LOCAL_SEGMENT = 64 << 10
"""Of smaller segments opening and decoding take longer than to write and read all once more: 0.6 ms
each beside 3 s per GB, and twice the disk's time (bench/levels.py)."""
_TABLE_ROW = 84  # bytes of memory for a page: a row of its spill file's table, one of references
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
    needed: Sequence[int],
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
        needed: how many of them are spilled of its first pass.
        run_bytes: of a run.
        workers, payload, segment_bytes: as of ``choose_partitions``.
    """
    near = [size * some // all_ for size, some, all_ in zip(sizes, needed, buckets, strict=True)]
    later = [size * (many - 1) for size, many in zip(sizes, passes, strict=True)]
    runs = math.ceil(max(sum(near), sum(later)) / run_bytes)  # the first passes', or all others'
    found = []
    for i, size in enumerate(near):
        chosen = choose_partitions(
            input_bytes=size,
            runs=min(runs, spans[i] + math.ceil(size / run_bytes)),
            buckets=needed[i],
            workers=workers,
            payload=payload * size // max(sum(near) + sum(later), 1),
            segment_bytes=segment_bytes,
        )
        # partitions of hardly more than a bucket would gather nothing, and those beyond are empty
        worth = 2 * chosen <= needed[i]
        found.append(math.ceil(chosen * buckets[i] / needed[i]) if worth and chosen > 1 else 1)
    return tuple(found)
