"""Placing what was drawn: as often as it was; all else to train, but what has a drawn content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from transforms.datasets.identity import FileIds, Located, Origin, keep
from transforms.kernels.arrays import I64, cuts, offsets_of
from transforms.kernels.records import blocks
from transforms.kernels.records.attach import attach
from transforms.kernels.records.digest import Digest
from transforms.likeness.drawn import read_drawn
from transforms.splitting.contents_of import HashContents, by_content, by_identity
from transforms.splitting.placing import LEFT_OUT, Part, parts_of

_COPIES_BYTES = 4 << 20  # of copies that are made at a time: a record may have any number

_TRAIN, _DRAWN, _NOWHERE = range(3)


@dataclass(frozen=True, kw_only=True)
class PlaceDrawn:
    """A Placing by draws; it is told a reference to Drawn.

    Attributes:
        rest: the split of records whose contents weren't drawn.
        split: that of drawn records.
        column: says how often each record was drawn; of those in ``rest``, 0: all splits of a dataset
            have the same columns.
        in_order: whether copies of a record stand beside it, in a block whose positions then come
            several times; else each copy is a Part with a pass of its own.
        contents: hashes the contents.
    """

    rest: str = "train"
    split: str = "validation"
    column: str = "drawn"
    in_order: bool = True
    contents: HashContents = by_content

    @property
    def names(self) -> tuple[str, ...]:
        """The splits."""
        return self.rest, self.split

    def place(self, origin: Origin, block: pa.RecordBatch, told: bytes) -> Iterator[Part]:
        """Yield a Part for train, one for what is left out, and one or more for what was drawn."""
        found = read_drawn(told)
        times = found.times_of(by_identity(origin, block))
        known = found.holds(self.contents(origin, block))
        splits = np.where(times > 0, _DRAWN, np.where(known, _NOWHERE, _TRAIN)).astype(np.uint8)
        block = blocks.without_kept(block)
        for part in parts_of(origin, block, splits, (_TRAIN, _DRAWN, _NOWHERE)):
            if part.split == _TRAIN:
                none = np.zeros(part.was.records, np.int64)
                yield part._replace(block=self._attached(part.origin, part.block, none))
            elif part.split == _NOWHERE:
                yield part._replace(split=LEFT_OUT, block=None)
            else:
                yield from self._copies(part.origin, part.block, times[times > 0], part.was)

    def _attached(self, origin: Origin, block: pa.RecordBatch, times: I64) -> pa.RecordBatch:
        return attach(block, self.column, pa.array(times), name_of=origin.name_of)

    def _copies(
        self, origin: Origin, block: pa.RecordBatch, times: I64, was: Digest
    ) -> Iterator[Part]:
        block = self._attached(origin, block, times)
        copies = _repeated if self.in_order else _passes
        for mine, records in copies(origin, block, times):
            yield Part(1, was, mine, records)
            was = Digest()  # each record once


def _passes(origin: Origin, block: pa.RecordBatch, times: I64) -> Iterator[Located]:
    """Yield the records pass by pass, each in as many as it was drawn."""
    for number in range(int(times.max())):
        found = keep(origin, block, times > number)
        assert found is not None
        yield found[0]._replace(pass_number=number), found[1]


def _repeated(origin: Origin, block: pa.RecordBatch, times: I64) -> Iterator[Located]:
    """Yield the records in order, each as often as it was drawn, some MB at a time."""
    if (times == 1).all():
        yield origin, block
        return
    places = np.repeat(np.arange(len(block)), times)
    copies = offsets_of(np.diff(blocks.payload_offsets(block))[places])
    for begin, end in cuts(copies, limit=_COPIES_BYTES):
        some = places[begin:end]
        mine = origin
        if isinstance(origin, FileIds):
            edges = np.searchsorted(some, offsets_of(origin.rows))
            mine = origin._replace(rows=tuple(np.diff(edges).tolist()))
        yield mine, block.take(pa.array(some))
