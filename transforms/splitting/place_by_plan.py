"""Placing by a plan: shares and counts of contents, or of records by their identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.datasets.identity import Origin
from transforms.kernels.arrays import U8
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.splitting.plan import SplitPlan
from transforms.splitting.contents_of import HashContents, by_content
from transforms.splitting.placing import Part
from transforms.splitting.split_records import take


@dataclass(frozen=True, kw_only=True)
class PlaceByPlan:
    """A Placing by shares and counts; told the Counted of each count, or nothing.

    Attributes:
        plan: what is asked.
        contents: what decides for each record; picklable.
    """

    plan: SplitPlan
    contents: HashContents = by_content

    @property
    def names(self) -> tuple[str, ...]:
        """The splits."""
        return self.plan.names

    def place(self, origin: Origin, block: pa.RecordBatch, told: Any) -> Iterator[Part]:
        """Yield a Part for each split that has records of the block."""
        yield from parts_of(origin, block, self.splits(origin, block, told))

    def splits(self, origin: Origin, block: pa.RecordBatch, told: Any) -> U8:
        """Return uint8[n]: the number of each record's split; arguments as of ``place``."""
        return self.plan.split(*self.contents(origin, block), told or ())


def parts_of(origin: Origin, block: pa.RecordBatch, splits: U8) -> Iterator[Part]:
    """Yield a Part for each split of a block's records, uint8[n], without what was read beside them."""
    block = blocks.without_kept(block)
    for split in np.unique(splits).tolist():
        mine = take(origin, block, splits, split)
        if mine is not None:
            yield Part(split, Digest.total(blocks.digests(mine[1], sources=1)), *mine)
