"""Identity: which file and which pass a record is from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.arrays import U64
from transforms.kernels.randomness import KeyPair, file_key

REREAD = -1
"""Number of a first pass that is read once more, for buckets that weren't thought to be needed."""


class FileId(NamedTuple):
    """Which file a block's records are from, and in which pass: with the position, their identity.

    ``buckets`` goes with REREAD: how many of its stream's buckets are wanted. With a later pass it is
    how many passes, from that one on, the reading serves; 0 is one.
    """

    source: str
    name: str
    pass_number: int = 0
    buckets: int = 0

    def key(self, *, seed: int, epoch: int, pass_number: int) -> KeyPair:
        """Return the pair that keys the records; see ``record_keys``."""
        return file_key(
            seed=seed,
            epoch=epoch,
            source=self.source,
            pass_number=pass_number,
            file_name=self.name,
        )

    def name_of(self, row: int) -> str:
        """Return the name of the file that a record of the block is from."""
        return self.name

    def each(self, block: pa.RecordBatch) -> Iterator[tuple[FileId, pa.RecordBatch]]:
        """Yield each file of the block, and its records."""
        yield self, block


class FileIds(NamedTuple):
    """Which files a block's records are from where they are of several small ones: as FileId.

    ``rows`` are how many records of each file lie in the block, one file after another.
    """

    source: str
    names: tuple[str, ...]
    rows: tuple[int, ...]
    pass_number: int = 0
    buckets: int = 0

    def key(self, *, seed: int, epoch: int, pass_number: int) -> Any:
        """Return what keys the records, as of FileId: two uint64 for each of them."""
        pairs = [
            file_key(
                seed=seed,
                epoch=epoch,
                source=self.source,
                pass_number=pass_number,
                file_name=name,
            )
            for name in self.names
        ]
        halves: list[U64] = [np.array(half, np.uint64) for half in zip(*pairs, strict=True)]
        return KeyPair(*(np.repeat(half, self.rows) for half in halves))  # type: ignore[arg-type]

    def name_of(self, row: int) -> str:
        return self.names[int(np.searchsorted(np.cumsum(self.rows), row, side="right"))]

    def each(self, block: pa.RecordBatch) -> Iterator[tuple[FileId, pa.RecordBatch]]:
        begin = 0
        for name, count in zip(self.names, self.rows, strict=True):
            yield (
                FileId(self.source, name, self.pass_number, self.buckets),
                block.slice(begin, count),
            )
            begin += count


Origin = FileId | FileIds
"""Whose records a block holds."""
Located = tuple[Origin, pa.RecordBatch]
"""A block, and whose records it holds."""


def keep(origin: Origin, block: pa.RecordBatch, mine: npt.NDArray[np.bool_]) -> Located | None:
    """Return some of a block's records, None where that is none.

    Args:
        origin: whose records they are.
        block: of n records; it isn't copied where all of them stay.
        mine: bool[n], which stay.
    """
    found = int(np.count_nonzero(mine))
    if not found:
        return None
    if found == len(block):
        return origin, block
    if isinstance(origin, FileIds):
        ends = np.cumsum(origin.rows)
        until = np.concatenate([[0], np.cumsum(mine)])[np.concatenate([[0], ends])]
        origin = origin._replace(rows=tuple(np.diff(until).tolist()))
    return origin, block.filter(pa.array(mine))
