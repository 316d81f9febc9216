"""What the sources of a mixture hold, counted, and where their streams' pages lie."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from transforms.datasets.reports import Mixed, Tally
from transforms.kernels.arrays import I64
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.pages import STREAM_TABLE, plain_rows
from transforms.kernels.records.ranges import KeyRange
from transforms.kernels.schedules.mixture import Draft
from transforms.shuffling.references import Pages, page_starts
from transforms.shuffling.spill_files import read_tables


@dataclass(frozen=True)
class Counted:
    """A mixture of counted sources.

    Attributes:
        draft: with the schedule counted.
        length: positions, or the most that may be needed.
        read: digest of each source, of one pass.
        footprints: of each stream's records, of one pass, in memory.
        small: which streams' passes are all made of the first one's records, held in memory.
        passes: begun, at most, of each stream.
        asked: as of Mixed.
        until: how many buckets of each stream's first pass are spilled in the end; empty for all.
        missed: which streams have to be read once more for it.
    """

    draft: Draft
    length: int
    read: tuple[Digest, ...]
    footprints: tuple[int, ...]
    small: tuple[bool, ...]
    passes: tuple[int, ...]
    asked: tuple[float, ...] | None
    until: tuple[int, ...] = ()
    missed: tuple[bool, ...] = ()

    def spilled(self, source: int) -> int:
        """Return how many passes of a stream are read."""
        return 1 if self.small[source] else max(self.passes[source], 1)

    def read_by_stream(self, *, union: bool) -> list[Digest]:
        """Return the digest of each stream, of one pass."""
        return [Digest.total(self.read)] if union else list(self.read)

    def beyond(self, tallies: Iterable[Tally]) -> list[Digest]:
        """Return the digest of what was read of each stream's first pass and not spilled."""
        total = [Digest()] * len(self.passes)
        for tally in tallies:
            if tally.again == bool(self.missed and self.missed[tally.stream]):
                total[tally.stream] += tally.beyond
        return total

    def mixed(self, length: int, *, shards: int, unused: Sequence[Digest], union: bool) -> Mixed:
        """Sum up; ``unused`` of each stream, as far as shards don't report it."""
        used = self.draft.schedule.counts_before(length).tolist()
        begun = passes_begun(used, self.draft.amounts.records)
        return Mixed(
            length=length,
            shards=shards,
            records=tuple(used),
            passes=tuple(begun),
            accounted=tuple(
                max(many, 1) if self.small[source] else self.spilled(source)
                for source, many in enumerate(begun)
            ),
            unused=tuple(unused),
            asked=self.asked,
            union=union,
        )

    def bytes_before(self, length: int) -> int:
        """Return about how many bytes the records before a position have."""
        return self._share_of(self.draft.amounts.bytes, length)

    def footprint_before(self, length: int) -> int:
        """Return about how much memory the records before a position take."""
        return self._share_of(self.footprints, length)

    def _share_of(self, sizes: Sequence[int], length: int) -> int:
        """Return about how much of each stream's size the records before a position have."""
        used = self.draft.schedule.counts_before(length).tolist()
        return sum(
            count * size // max(records, 1)
            for count, records, size in zip(used, self.draft.amounts.records, sizes, strict=True)
        )


def passes_begun(used: Sequence[int], records: Sequence[int]) -> list[int]:
    """Return how many passes each stream begins that gives so many records and has so many."""
    return [-(-count // have) if have else 0 for count, have in zip(used, records, strict=True)]


@dataclass
class StreamPages:
    """The pages of one stream.

    Attributes:
        rows: of the joined table, one a page.
        bucket: of each page.
        starts: [buckets + 1], where each bucket's ranks begin.
        footprints: of each bucket, in bytes.
    """

    rows: npt.NDArray[np.intp]
    bucket: npt.NDArray[np.intp]
    starts: I64
    footprints: I64

    @property
    def size(self) -> int:
        """How many records it has."""
        return int(self.starts[-1])


@dataclass
class Spills:
    """All spill files' tables, joined."""

    urls: list[str]
    table: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, STREAM_TABLE))
    file: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    offset: I64 = field(default_factory=lambda: np.zeros(0, np.int64))

    @classmethod
    def read(cls, packed: Iterable[bytes]) -> Spills:
        """Read the tables that lie at the spill files' ends; raises RunError as of ``read_tables``."""
        found = list(read_tables(packed))
        if not found:
            return cls([])
        tables = [table for _, table in found]
        return cls(
            [url for url, _ in found],
            np.concatenate(tables),
            np.repeat(np.arange(len(tables)), [len(table) for table in tables]),
            np.concatenate([page_starts(table) for table in tables]),
        )

    @functools.cached_property
    def _plain(self) -> npt.NDArray[np.void]:
        return plain_rows(self.table)

    def pages(self, rows: npt.NDArray[np.intp]) -> list[Pages]:
        """Return the pages of some rows, rising, which lie one after another in each file."""
        if not len(rows):
            return []
        of = self.file[rows]
        begins = [0, *(np.flatnonzero(of[1:] != of[:-1]) + 1).tolist()]
        table = self._plain[rows]
        return [
            Pages(self.urls[of[begin]], int(self.offset[rows[begin]]), table[begin:end])
            for begin, end in zip(begins, [*begins[1:], len(rows)], strict=True)
        ]

    def stream(self, number: int, buckets: int) -> StreamPages:
        """Return one stream's pages."""
        rows = np.flatnonzero(self.table["stream"] == number)
        bounds = np.array([KeyRange(i, buckets).low for i in range(buckets)], np.uint64)
        bucket = np.searchsorted(bounds, self.table["first"][rows], side="right") - 1
        counts, sizes = np.zeros((2, buckets), np.int64)
        np.add.at(counts, bucket, self.table["rows"][rows])
        np.add.at(sizes, bucket, self.table["payload"][rows].astype(np.int64))
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        return StreamPages(rows, bucket, starts, sizes + counts * blocks.ROW_COST)

    def digest(self, rows: npt.NDArray[np.intp]) -> Digest:
        """Return what some pages were made of."""
        mine = self.table[rows]
        return Digest(
            int(mine["rows"].sum(dtype=np.int64)),
            int(mine["bytes"].sum(dtype=np.int64)),
            int(mine["hash0"].sum(dtype=np.uint64)),
            int(mine["hash1"].sum(dtype=np.uint64)),
        )
