"""Placing by a plan: shares and counts of contents, or of records by their identity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from transforms.datasets.identity import Origin
from transforms.kernels.arrays import U8
from transforms.kernels.records import blocks
from transforms.kernels.splitting.plan import SplitPlan
from transforms.splitting.contents_of import HashContents, by_content
from transforms.splitting.placing import Part, parts_of


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
        splits = self.splits(origin, block, told)
        yield from parts_of(origin, blocks.without_kept(block), splits, range(len(self.names)))

    def splits(self, origin: Origin, block: pa.RecordBatch, told: Any) -> U8:
        """Return uint8[n]: the number of each record's split; arguments as of ``place``."""
        return self.plan.split(*self.contents(origin, block), told or ())
