"""GroupBlocksByKey: Beam's GroupByKey for blocks, with two implementations of one contract.

The contract: sorted blocks go in, in any bundles and order; out comes ``(partition, group)`` once
for each of P equal ranges of keys, those without records included; a group gives the blocks of any
range of keys inside its partition, as often as it is asked, and the digests of what was read.
"""

from __future__ import annotations

import pickle
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.errors import RunError
from transforms.kernels import blocks, pages, ranges
from transforms.kernels.digest import Digest
from transforms.kernels.pages import TABLE, Page
from transforms.kernels.ranges import KeyRange


class OverLimit(Exception):
    """A range of keys holds more than was allowed: take its halves."""


class BlockGroup(ABC):
    """The blocks of one partition, held or referred to."""

    @property
    @abstractmethod
    def records(self) -> int:
        """How many records the partition has."""

    @abstractmethod
    def estimate(self, part: KeyRange) -> int:
        """Return about the footprint of a range's records."""

    @abstractmethod
    def read(self, part: KeyRange, *, limit: int) -> list[Page]:
        """Return the pages, cut to a range, with their digests.

        Raises:
            OverLimit: their footprint is over ``limit``.
            RunError: a page is damaged.
        """

    def release(self) -> None:  # noqa: B027  # most groups have nothing to give back
        """Give back the storage behind the group, which can't be read afterwards."""

    @abstractmethod
    def to_bytes(self) -> bytes:
        """Return a form that travels through a runner."""


class GroupCoder(beam.coders.Coder):  # type: ignore[misc]
    """The coder of groups; inside a fused stage none is needed, and a group stays as it is."""

    def encode(self, value: BlockGroup) -> bytes:
        """Return the group's bytes."""
        return value.to_bytes()

    def decode(self, encoded: bytes) -> BlockGroup:
        """Return the group."""
        kind, content = pickle.loads(encoded)
        return FileGroup(content) if kind == "files" else MemoryGroup(content)

    def estimate_size(self, value: BlockGroup) -> int:
        """Return 0: Beam samples sizes for its metrics, and must not encode a group for one."""
        return 0

    def is_deterministic(self) -> bool:
        """Groups are no keys."""
        return False

    def to_type_hint(self) -> type[BlockGroup]:
        """Return the type that this coder is for."""
        return BlockGroup


beam.coders.registry.register_coder(BlockGroup, GroupCoder)


def _slice(block: pa.RecordBatch, part: KeyRange) -> pa.RecordBatch:
    inside = ranges.find(blocks.column(block, "key"), part)
    return block.slice(inside.start, inside.stop - inside.start)


def _cut_page(page: Page, part: KeyRange) -> Page:
    """Cut a page to a range of keys; one that reaches beyond is checked whole, then copied."""
    kept = _slice(page.block, part)
    if len(kept) == len(page.block):
        return page
    sources = len(page.digests)
    if blocks.digests(page.block, sources=sources) != page.digests:
        raise RunError("a page of spilled records is damaged: its digest is not what was written")
    kept = kept.take(pa.array(np.arange(len(kept))))  # let go of the rest
    return Page(kept, blocks.digests(kept, sources=sources))


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


class MemoryGroup(BlockGroup):
    """A group whose pages are here."""

    def __init__(self, encoded: list[bytes]) -> None:
        self._encoded = encoded
        self._pages = [pages.decode_page(data) for data in encoded]

    @property
    def records(self) -> int:
        """How many records the partition has."""
        return sum(len(page.block) for page in self._pages)

    def estimate(self, part: KeyRange) -> int:
        """Return the footprint of a range's records."""
        return sum(blocks.block_footprint(_slice(page.block, part)) for page in self._pages)

    def read(self, part: KeyRange, *, limit: int) -> list[Page]:
        """Return the pages, cut to a range."""
        return _collect(self._pages, part, limit)

    def to_bytes(self) -> bytes:
        """Return the pages themselves."""
        return pickle.dumps(("memory", self._encoded), protocol=5)


SpillPart = tuple[str, int, bytes]
"""URL of a spill file, where this group's pages begin in it, and their rows of TABLE."""


class FileGroup(BlockGroup):
    """A group whose pages lie in spill files, one stretch a file."""

    def __init__(self, parts: list[SpillPart]) -> None:
        self._parts = parts
        tables = [np.frombuffer(rows, TABLE) for _, _, rows in parts]
        self._table = np.concatenate([np.zeros(0, TABLE), *tables])
        sizes = np.array([len(table) for table in tables], np.int64)
        self._ends = np.cumsum(sizes)  # of each file's rows in the joined table
        self._offset = np.concatenate(
            [np.zeros(0, np.int64)]
            + [
                base + np.cumsum(table["length"], dtype=np.int64) - table["length"]
                for (_, base, _), table in zip(parts, tables, strict=True)
            ]
        )

    @property
    def records(self) -> int:
        """How many records the partition has."""
        return int(self._table["rows"].sum())

    def _footprints(self, rows: Any) -> Any:
        return rows["payload"].astype(np.int64) + rows["rows"].astype(np.int64) * blocks.ROW_COST

    def _inside(self, part: KeyRange) -> Any:
        """Return which pages may have records in a range."""
        below = self._table["first"] <= np.uint64(part.high - 1)
        above = self._table["last"] >= np.uint64(part.low)
        return below & above

    def estimate(self, part: KeyRange) -> int:
        """Return about the footprint of a range's records: keys are uniform inside a page."""
        rows = self._table[self._inside(part)]
        first, last = rows["first"].astype(np.float64), rows["last"].astype(np.float64)
        shared = np.minimum(last, float(part.high)) - np.maximum(first, float(part.low))
        share = np.where(last > first, shared / np.maximum(last - first, 1.0), 1.0)
        return int((self._footprints(rows) * share).sum())

    def read(self, part: KeyRange, *, limit: int) -> list[Page]:
        """Return the pages, cut to a range, from one range read a spill file."""
        return _collect(self._fetch(part), part, limit)

    def _fetch(self, part: KeyRange) -> Iterator[Page]:
        mine = np.flatnonzero(self._inside(part))
        of_file = np.searchsorted(self._ends, mine, side="right")
        for file in np.unique(of_file):
            rows = mine[of_file == file]
            url = self._parts[file][0]
            begin = int(self._offset[rows[0]])
            end = int(self._offset[rows[-1]]) + int(self._table["length"][rows[-1]])
            yield from _read_pages(url, begin, end, self._table["length"][rows])

    def release(self) -> None:
        """Give the group's stretches of the spill files back to the disk."""
        for url, base, rows in self._parts:
            size = int(np.frombuffer(rows, TABLE)["length"].sum(dtype=np.int64))
            storage.punch_hole(url, base, size)

    def to_bytes(self) -> bytes:
        """Return the references."""
        return pickle.dumps(("files", self._parts), protocol=5)


def _read_pages(url: str, begin: int, end: int, lengths: Any) -> Iterator[Page]:
    try:
        data = pa.py_buffer(storage.read_range(url, begin, end - begin))
    except OSError as error:
        raise RunError(
            f"{url}: expected a spill file of this run, it can't be read: {error}; something else "
            "writes to --temp_location, or its disk is at fault"
        ) from error
    at = 0
    for length in lengths.tolist():
        if at + length > data.size:
            raise RunError(
                f"{url}: expected a page of {length} bytes at {begin + at}, the file ends before it "
                "does; something else writes to --temp_location"
            )
        try:
            yield pages.decode_page(data.slice(at, length))
        except pa.ArrowInvalid as error:
            raise RunError(f"{url}: the page at byte {begin + at} is damaged: {error}") from error
        at += length


@dataclass(eq=False, kw_only=True)
class GroupBlocksByKey(beam.PTransform):  # type: ignore[misc]
    """Group sorted blocks by ranges of their keys: block -> (partition, BlockGroup).

    Attributes:
        partitions: how many equal ranges of keys to group by.
        exchange: ``files`` (payload to spill files, references through the runner) or ``engine``
            (payload through the runner's own GroupByKey).
        buckets: for ``files``, at how many boundaries runs are cut; a multiple of ``partitions``.
        page_bytes: footprint above which a segment is cut into pages.
        sources: how many sources the records are of.
        folder: URL of the folder for spill files; for ``files``.
    """

    partitions: int
    exchange: str = "files"
    buckets: int = 0
    page_bytes: int = 8 << 20
    sources: int = 1
    folder: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        if self.exchange not in ("files", "engine"):
            raise ValueError(f"expected exchange files or engine, got {self.exchange!r}")
        if self.exchange == "files" and not self.folder:
            raise ValueError("exchange files needs a folder for spill files")
        if self.buckets % self.partitions:
            raise ValueError(f"buckets ({self.buckets}) is no multiple of {self.partitions}")

    def expand(self, runs: Any) -> Any:
        """Send the payload, or write it and send references."""
        every = runs.pipeline | "Partitions" >> beam.Create([b""])
        if self.exchange == "engine":
            sent = runs | "CutRuns" >> beam.ParDo(_CutRuns(self)).with_output_types(
                tuple[int, bytes]
            )
            all_ = every | "All" >> beam.FlatMap(
                lambda empty, n: ((i, empty) for i in range(n)), self.partitions
            ).with_output_types(tuple[int, bytes])
            return (
                (sent, all_)
                | "WithEmpty" >> beam.Flatten()
                | "Group" >> beam.GroupByKey()
                | "Hold" >> beam.MapTuple(_hold).with_output_types(tuple[int, BlockGroup])
            )
        spilled = runs | "SpillRuns" >> beam.ParDo(_SpillRuns(self)).with_output_types(
            tuple[int, bytes]
        )
        none = every | "NoSpill" >> beam.Map(lambda empty: (0, empty)).with_output_types(
            tuple[int, bytes]
        )
        return (
            (spilled, none)
            | "WithNone" >> beam.Flatten()
            | "AllSpills" >> beam.GroupByKey()
            | "Refer" >> beam.ParDo(_Refer(self.partitions)).with_output_types(tuple[int, bytes])
            | "DealOut" >> beam.GroupByKey()
            | "Open" >> beam.MapTuple(_open).with_output_types(tuple[int, BlockGroup])
        )


def _hold(partition: int, encoded: Iterable[bytes]) -> tuple[int, BlockGroup]:
    return partition, MemoryGroup([data for data in encoded if data])


def _open(partition: int, packed: Iterable[bytes]) -> tuple[int, BlockGroup]:
    (one,) = packed
    return partition, FileGroup(pickle.loads(one))


class _Refer(beam.DoFn):  # type: ignore[misc]
    """Turn the spill files' tables into references per partition."""

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        parts: list[list[SpillPart]] = [[] for _ in range(self._partitions)]
        for packed in filter(None, element[1]):
            url, rows = pickle.loads(packed)
            table = np.frombuffer(rows, TABLE)
            starts = np.cumsum(table["length"], dtype=np.int64) - table["length"]
            places = ranges.cut(table["first"], self._partitions)
            for partition in np.flatnonzero(np.diff(places)).tolist():
                begin, end = places[partition], places[partition + 1]
                parts[partition].append((url, int(starts[begin]), table[begin:end].tobytes()))
        for partition, mine in enumerate(parts):
            yield partition, pickle.dumps(mine, protocol=5)


class _CutRuns(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: GroupBlocksByKey) -> None:
        self._config = config

    def process(self, run: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
        config = self._config
        for partition, block in pages.cut_run(
            run, parts=config.partitions, page_bytes=config.page_bytes
        ):
            yield partition, pages.encode_page(block, sources=config.sources).to_pybytes()


class _SpillRuns(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: GroupBlocksByKey) -> None:
        self._config = config

    def process(self, run: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
        config = self._config
        url = storage.join(config.folder, f"{uuid.uuid4().hex}.pages")  # no attempt meets another
        rows = []
        with storage.open_write(url) as file:
            for _, block in pages.cut_run(
                run, parts=config.buckets or config.partitions, page_bytes=config.page_bytes
            ):
                page = pages.encode_page(block, sources=config.sources)
                storage.write_all(file, page)
                rows.append(pages.table_row(block, page.size))
        yield 0, pickle.dumps((url, np.array(rows, TABLE).tobytes()), protocol=5)


def expected_digests(found: Iterable[Page], *, sources: int) -> list[Digest]:
    """Add up the digests of pages, source by source."""
    total = [Digest()] * sources
    for page in found:
        total = blocks.add_digests(total, page.digests)
    return total
