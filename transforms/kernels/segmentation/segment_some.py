"""Short records, some at a time: what a processor waits for in one overlaps with the work of others."""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import part
from transforms.kernels.segmentation.backward import set_out, walk
from transforms.kernels.segmentation.forward import begin, fill, is_decoding
from transforms.kernels.segmentation.lattice import ONE, ZERO, stride_of

SOME = np.dtype(
    [
        *((name, "u8") for name in ("free", "end")),
        *((name, "i8") for name in ("unknown", "exponent")),
        *((name, "f8") for name in ("product", "value")),
        ("done", "?"),
    ],
    align=True,
)
"""What came of a record: its ids from ``free`` to ``end``, and what its TRAIL came to; ``value`` is that
of its last position. It isn't ``done`` where it doesn't fit float64's range, or can't be covered."""


@part
def segment_some(
    t: Any, text: Any, offsets: Any, keys: Any, last: Any, count: Any, law: Any, room: Any
) -> None:
    """Segment some records that lie in the window.

    Args:
        t: Tables.
        text: uint8[m].
        offsets: int64[r + 1].
        keys: uint64[r].
        last: int64, the last one.
        count: int64, how many; 0 for none.
        law: a tuple, as of ``forward``; of any but NBEST.
        room: Room; ``some`` and ``some_ids`` are what comes out, the last record first.
    """
    lattice, stretches, some = room.some_lattice, room.stretches, room.some
    trails = room.some_trails
    unreached = -np.inf if is_decoding(law) else 0.0
    at, ids = ZERO, ZERO
    for i in range(count):
        number = last - i
        start, end = np.uint64(offsets[number]), np.uint64(offsets[number + 1])
        stretch, one = stretches[i], some[i]
        stretch.start, stretch.end, stretch.begin, stretch.stop = start, end, start, end
        stretch.base = start - at
        stretch.key, stretch.stride = keys[number], stride_of(keys[number])
        begin(lattice, stretch, law, t.longest)
        at += end - start + ONE
        ids += end - start
        one.free = one.end = ids
        one.unknown, one.exponent, one.product = 0, 0, 1.0
    fill(t, text, lattice, room.heads, room.window[0], stretches[:count], law, False)
    for i in range(count):
        stretch, one = stretches[i], some[i]
        one.value = lattice[stretch.end - stretch.base].value
        one.done = stretch.fits and one.value != unreached
    live: Any = ZERO
    following: Any = ZERO
    records = np.uint64(count)
    while live or following < records:
        while live < np.uint64(trails.size) and following < records:
            stretch, one = stretches[following], some[following]
            if one.done and stretch.start < stretch.end:
                set_out(trails[live], stretch, one.free, stretch.moves == 0)
                trails[live].number = following
                live += ONE
            following += ONE
        if live:
            walk(t, text, lattice, trails, live, room.some_ids, law, False)
        i = live
        while i:
            i -= ONE
            trail = trails[i]
            if trail.at <= trail.until:
                one = some[trail.number]
                one.free, one.unknown = trail.free, trail.unknown
                one.product, one.exponent = trail.product, trail.exponent
                live -= ONE
                if i != live:
                    trails[i] = trails[live]
