"""Groups: the pages of a range of keys in spill files, found, read and checked."""

from __future__ import annotations

import bisect
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.errors import LosslessError, RunError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.records import blocks, ranges
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import KeyRange
from transforms.shuffling import spill_pages
from transforms.shuffling.file_ranges import TEMPORARY_AT_FAULT, FileRange, read_each, read_in_turn
from transforms.shuffling.references import Pages, joined
from transforms.shuffling.spill_pages import Page
from transforms.storage import files as storage


class OverLimit(Exception):
    """A range of keys holds more than was allowed: take its halves."""


def _slice(block: pa.RecordBatch, part: KeyRange) -> pa.RecordBatch:
    inside = ranges.find(blocks.column(block, "key"), part)
    return block.slice(inside.start, inside.stop - inside.start)


def _cut_page(page: Page, part: KeyRange) -> Page:
    """Cut a page to a range of keys; one that reaches beyond is checked whole, then copied."""
    kept = _slice(page.block, part)
    if len(kept) == len(page.block):
        return page
    require_intact(page.block, page.digests)
    sources = len(page.digests)
    kept = kept.take(pa.array(np.arange(len(kept))))  # let go of the rest
    return Page(kept, blocks.digests(kept, sources=sources))


def require_intact(block: pa.RecordBatch, digests: list[Digest]) -> None:
    """Raise RunError where a page's block hasn't the digests that were written with it."""
    if blocks.digests(block, sources=len(digests)) != digests:
        raise RunError(
            "a page of spilled records is damaged: its digest isn't the one written; "
            + TEMPORARY_AT_FAULT
        )


def _inside(table: npt.NDArray[np.void], part: KeyRange) -> npt.NDArray[np.bool_]:
    """Return which pages may have records in a range."""
    found: npt.NDArray[np.bool_] = table["first"] <= np.uint64(part.high - 1)
    return found & (table["last"] >= np.uint64(part.low))


def _collect(found: Iterable[Page], part: KeyRange, limit: int) -> list[Page]:
    out: list[Page] = []
    spent = 0
    for page in found:
        cut = _cut_page(page, part)
        spent += blocks.block_footprint(cut.block)
        # a single record can't be cut further
        if spent > limit and sum(len(p.block) for p in out) + len(cut.block) > 1:
            raise OverLimit
        if len(cut.block):
            out.append(cut)
    return out


class BlockGroup:
    """Records of a range of keys, whose pages lie in spill files.

    Args:
        parts: the pages, sorted by key in each file.
    """

    def __init__(self, parts: Sequence[Pages]) -> None:
        self._parts = parts

    @functools.cached_property
    def _table(self) -> npt.NDArray[np.void]:
        return joined(self._parts)

    @property
    def records(self) -> int:
        """How many records the partition has."""
        return int(self._table["rows"].sum())

    def _footprints(self, rows: Any) -> Any:
        return rows["payload"].astype(np.int64) + rows["rows"].astype(np.int64) * blocks.ROW_COST

    def estimate(self, part: KeyRange) -> int:
        """Return about the footprint of a range's records: keys are uniform inside a page."""
        rows = self._table[_inside(self._table, part)]
        first, last = rows["first"].astype(np.float64), rows["last"].astype(np.float64)
        shared = np.minimum(last, float(part.high)) - np.maximum(first, float(part.low))
        share = np.where(last > first, shared / np.maximum(last - first, 1.0), 1.0)
        return int((self._footprints(rows) * share).sum())

    def read(self, part: KeyRange, *, limit: int) -> list[Page]:
        """Return the pages, cut to a range, from one range read a spill file."""
        return _collect(self.fetch(part), part, limit)

    def fetch(self, part: KeyRange) -> Iterator[Page]:
        """Yield the pages that may have records in a range, whole, a spill file's after another's.

        Raises:
            RunError: one is damaged, or isn't what its row of the table says.
        """
        wanted: list[FileRange] = []
        tables = []
        for url, offset, table in self._parts:
            inside = np.flatnonzero(_inside(table, part))
            if len(inside):
                before, mine = table[: inside[0]], table[inside[0] : inside[-1] + 1]
                sizes = [int(rows["length"].sum(dtype=np.int64)) for rows in (before, mine)]
                wanted.append(FileRange(url, offset + sizes[0], sizes[1]))
                tables.append(mine)
        for one, rows, data in zip(wanted, tables, read_each(FileRange.read, wanted), strict=True):
            pages_found = _decode_pages(one, data, rows["length"])
            for page, row in zip(pages_found, rows.tolist(), strict=True):
                if spill_pages.table_row(page.block, row[2]) != row:
                    raise LosslessError(
                        f"{one.url}: expected a page of {row[3]:,} records and {row[4]:,} bytes, "
                        f"as spilled, got {len(page.block):,} and "
                        f"{blocks.payload_bytes(page.block):,}; {TEMPORARY_AT_FAULT}"
                    )
                yield page

    @functools.cached_property
    def _by_key(self) -> tuple[list[int], list[FileRange]]:
        """Each page's first key, rising, and where it lies."""
        found = []
        for url, begin, table in self._parts:
            lengths = table["length"].tolist()
            offsets = itertools.accumulate(lengths[:-1], initial=begin)
            for first, *where in zip(table["first"].tolist(), offsets, lengths, strict=True):
                found.append((first, FileRange(url, *where)))
        found.sort()
        return [first for first, _ in found], [where for _, where in found]

    def where(self, part: KeyRange) -> list[FileRange]:
        """Return where the pages of a range lie that no page crosses."""
        firsts, places = self._by_key
        low, high = bisect.bisect_left(firsts, part.low), bisect.bisect_left(firsts, part.high)
        return places[low:high]

    def release(self) -> None:
        """Give the group's parts of the spill files back to the disk."""
        for part in self._parts:
            size = int(part.table["length"].sum(dtype=np.int64))
            storage.punch_hole(part.url, part.offset, size)


def _decode_pages(
    one: FileRange, content: memoryview, lengths: npt.NDArray[np.uint32]
) -> Iterator[Page]:
    data = pa.py_buffer(content)
    for at, length in zip(offsets_of(lengths).tolist(), lengths.tolist(), strict=False):
        try:
            yield spill_pages.decode_page(data.slice(at, length))
        except pa.ArrowInvalid as error:
            raise RunError(
                f"{one.url}: the page at byte {one.offset + at} is damaged: {error}; "
                + TEMPORARY_AT_FAULT
            ) from error


def read_batch(wanted: Sequence[tuple[BlockGroup, KeyRange]]) -> list[list[Page]]:
    """Read the pages of each range, whole; those that lie one after another in a file at once."""
    places = sorted(
        (where, number)
        for number, (group, part) in enumerate(wanted)
        for where in group.where(part)
    )
    runs: list[list[tuple[FileRange, int]]] = []
    before = None
    for place in places:
        where = place[0]
        if before is None or (before.url, before.end) != (where.url, where.offset):
            runs.append([])
        runs[-1].append(place)
        before = where
    joined_up = [
        FileRange(run[0][0].url, run[0][0].offset, run[-1][0].end - run[0][0].offset)
        for run in runs
    ]
    found: list[list[Page]] = [[] for _ in wanted]
    for one, run, data in zip(joined_up, runs, read_in_turn(joined_up), strict=True):
        lengths = np.array([where.length for where, _ in run], np.uint32)
        decoded = _decode_pages(one, data, lengths)
        for (_, number), page in zip(run, decoded, strict=True):
            found[number].append(page)
    return found


def expected_digests(found: Iterable[Page], *, sources: int) -> list[Digest]:
    """Add up the digests of pages, source by source."""
    total = [Digest()] * sources
    for page in found:
        total = blocks.add_digests(total, page.digests)
    return total
