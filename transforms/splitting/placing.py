"""Placing: which split each record of a block goes to, and what is written of it there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from transforms.datasets.identity import Origin, keep
from transforms.kernels.arrays import U8
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest

LEFT_OUT = -1
"""In the place of a split's number: of records that go nowhere, as was asked for; they are counted."""


class Part(NamedTuple):
    """Records of a block that go the same way.

    Attributes:
        split: its place in ``Placing.names``; or LEFT_OUT.
        was: digest of the records as they were read, each once, however often it is written.
        origin: whose records they are; a copy that is written once more has a pass of its own, where
            splits are shuffled.
        block: what is written; None of what is left out.
    """

    split: int
    was: Digest
    origin: Origin
    block: pa.RecordBatch | None


class Placing(Protocol):
    """Says where a block's records go: a pure function of records, their origin, and what is told.

    Attributes:
        names: of the splits, at least one; the largest is laid down at once, the others aside.
    """

    names: tuple[str, ...]

    def place(self, origin: Origin, block: pa.RecordBatch, told: Any) -> Iterator[Part]:
        """Yield Parts with all records of the block; those of a split (and pass) in their order.

        Those of a split are one Part, unless copies of records would make it large. Nothing stands
        beside them any more.

        Args:
            origin: whose records the block holds.
            block: whole records, with what was read beside them (``kept``).
            told: what was found out before, the same everywhere: of counted splits, of weights, of
                draws; None for nothing.
        """


def parts_of(
    origin: Origin, block: pa.RecordBatch, splits: U8, wanted: Iterable[int]
) -> Iterator[Part]:
    """Yield a Part for each wanted split that has records of a block.

    Args:
        origin: whose records they are.
        block: of n records; it isn't copied where all of them are of one split.
        splits: uint8[n], the number of each record's split.
        wanted: numbers of splits; records of others are dropped.
    """
    for split in wanted:
        mine = keep(origin, block, splits == split)
        if mine is not None:
            yield Part(split, Digest.total(blocks.digests(mine[1], sources=1)), *mine)
