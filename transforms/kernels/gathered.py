"""Blocks that are gathered for runs."""

from __future__ import annotations

from collections import defaultdict

import pyarrow as pa

from transforms.kernels import blocks

_SMALL = 1 << 16  # footprint of a block that may be joined with others
_MOST = 256  # small blocks that lie there apart: each takes some kB beside its records


class Gathered:
    """Keyed blocks by stream, until they are sorted.

    Small ones, of small files, are joined now and then, or what a block takes beside its records would
    be more than all that is counted.

    Attributes:
        footprint: of all records.
    """

    def __init__(self) -> None:
        self._clear()

    def _clear(self) -> None:
        self._blocks: dict[int, list[pa.RecordBatch]] = defaultdict(list)
        self._apart: dict[int, int] = defaultdict(int)  # small blocks at a list's end
        self.footprint = 0

    def add(self, block: pa.RecordBatch, *, stream: int = 0) -> None:
        """Take a block in."""
        cost = blocks.block_footprint(block)
        self.footprint += cost
        if cost >= _SMALL:
            self._join(stream)
        self._blocks[stream].append(block)
        if cost < _SMALL:
            self._apart[stream] += 1
            if sum(self._apart.values()) >= _MOST:
                for mine in list(self._apart):
                    self._join(mine)

    def _join(self, stream: int) -> None:
        count = self._apart.pop(stream, 0)
        if count > 1:
            mine = self._blocks[stream]
            mine[-count:] = [blocks.join(mine[-count:])]

    def sort(self) -> dict[int, pa.RecordBatch]:
        """Return a run of each stream, by number, sorted by key; nothing is left."""
        runs = {stream: blocks.sort_run(mine) for stream, mine in sorted(self._blocks.items())}
        self._clear()
        return runs
