"""A bounded sample of records, the same wherever they are read: the first by a keyed hash of identity.

Each record has a key that follows from its identity and the split's seed. The sample is the first
records by key, as many as are asked for and as their bytes allow: so the sample of all is found from
samples of any parts. Each bundle writes its own to a temporary file, and only keys and sizes travel
through the runner. Whoever needs the sample reads from each file what is among the first of all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.identity import Located, Origin
from transforms.kernels.arrays import I64, U64, cuts, offsets_of
from transforms.kernels.randomness import content_keys, record_keys, split_pair
from transforms.kernels.records import blocks
from transforms.kernels.records.arrow_values import row_sizes
from transforms.kernels.records.contents import content_hashes
from transforms.likeness.seen import cut_long, seen
from transforms.likeness.temporary_tables import read_table, write_tables
from transforms.shuffling.file_ranges import FileRange
from transforms.shuffling.packed import pack, unpack
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.contents_of import by_identity
from transforms.storage import files as storage

_PAGE = 1 << 20  # bytes of records that are read at a time
_BESIDE = 32  # bytes that a record takes beside what is seen of it
_WORTH = 4 << 20  # bytes that wait at least until they are sorted in


@dataclass(frozen=True)
class SampleSize:
    """How large a sample may be, part of the recipe: it decides which records are in it.

    Attributes:
        records: at most.
        bytes: of texts and columns, at most.
    """

    records: int = 100_000
    bytes: int = 32 << 20


class Times(Protocol):
    """Says how often each record of a block stands in what is sampled."""

    def __call__(self, origin: Origin, block: pa.RecordBatch, told: Any) -> I64:
        """Return int64[n]."""


@dataclass(eq=False, kw_only=True)
class SampleRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Sample records: (Origin, block) -> one reference to the sample, which ``read_sample`` reads.

    Attributes:
        seed: of the split.
        size: how large the sample may be.
        spill: where temporary files lie.
        times: how often each record stands in what is sampled; None for once.
        told: a PCollection of one element, what ``times`` is told; None where there is no ``times``.
    """

    seed: int
    size: SampleSize = field(default_factory=SampleSize)
    spill: Spilling
    times: Times | None = None
    told: Any = None

    def expand(self, located: Any) -> Any:
        """Sample in each bundle, then join what travelled of them."""
        self.spill.make_folders(1)
        side = [] if self.told is None else [beam.pvalue.AsSingleton(self.told)]
        return (
            located
            | "Sample" >> beam.ParDo(_Sample(self), *side).with_output_types(bytes)
            | "Join" >> beam.CombineGlobally(partial(_joined, self.size)).with_output_types(bytes)
        )


class FirstRecords:
    """The first records by key of those that were added, as many as a sample may have."""

    def __init__(self, size: SampleSize) -> None:
        self._size = size
        self._parts: list[pa.RecordBatch] = []
        self._waiting = self._rows = 0
        self._last = np.uint64(2**64 - 1)  # records behind it are not among the first

    def add(self, keys: U64, block: pa.RecordBatch) -> None:
        """Add a block's records by their keys, uint64[n]."""
        near = np.flatnonzero(keys <= self._last)
        if not len(near):
            return
        if len(near) < len(block):  # all else is looked at of these alone
            keys, block = keys[near], block.take(pa.array(near))
        rows = cut_long(seen(block))
        sizes = row_sizes(rows) + _BESIDE
        arrays = [*map(pa.array, (keys, *content_hashes(block), sizes)), rows]
        names = ["key", "hash0", "hash1", "size", "seen"]
        self._parts.append(pa.RecordBatch.from_arrays(arrays, names=names))
        self._waiting += int(sizes.sum())
        self._rows += len(near)
        worth = max(self._size.bytes // 4, _WORTH)
        if self._waiting > worth or self._rows > max(self._size.records // 2, 1 << 14):
            self.table()

    def table(self) -> pa.RecordBatch | None:
        """Sort in what waits, and return the first; None of nothing."""
        if not self._parts:
            return None
        found = blocks.join(self._parts)
        order = np.argsort(blocks.column(found, "key"), kind="stable")
        keys, sizes = (blocks.column(found, name)[order] for name in ("key", "size"))
        many = first_of(sizes, self._size)
        if many < len(order):
            self._last = keys[many]
        found = found.take(pa.array(order[:many]))
        self._parts, self._waiting, self._rows = [found], 0, 0
        return found


def first_of(sizes: I64, size: SampleSize) -> int:
    """Return how many records, whose sizes stand in the order of their keys, a sample has."""
    fits = int(np.searchsorted(np.cumsum(sizes), size.bytes, side="right"))
    return min(fits, size.records)


class _Sample(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: SampleRecords) -> None:
        self._config = config
        self._pair = split_pair(config.seed, "like", "sample")

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)

    def start_bundle(self) -> None:
        self._found = FirstRecords(self._config.size)

    def process(self, element: Located, told: Any = None) -> Iterator[Any]:
        origin, block = element
        keys = content_keys(self._pair, *by_identity(origin, block))
        if self._config.times is None:
            self._found.add(keys, block)
            return
        times = self._config.times(origin, block, told)
        for copy in range(int(times.max(initial=0))):
            mine = np.flatnonzero(times > copy)
            copies = record_keys(split_pair(self._config.seed, "like", "copy", copy), keys[mine])
            self._found.add(copies, block.take(pa.array(mine)))
        yield from ()

    def finish_bundle(self) -> Iterator[Any]:
        table = self._found.table()
        del self._found  # which the worker would hold until its next bundle
        packed = _packed(_Index.of(table, self._config.spill.folders[0]))
        yield GlobalWindows.windowed_value(packed)


@dataclass(frozen=True, eq=False)
class _Index:
    """What travels of samples: where they lie, and keys and sizes of their records.

    Attributes:
        pages: of each file, where the pages lie and how many records each has.
        keys, sizes, files: uint64[n], int64[n], uint32[n], of the records in order of their keys; a
            file's are its first, in their order there.
    """

    pages: list[list[tuple[FileRange, int]]]
    keys: U64
    sizes: I64
    files: Any

    @classmethod
    def of(cls, table: pa.RecordBatch | None, folder: str) -> _Index:
        """Write a sample to a temporary file."""
        if table is None or not len(table):
            return cls([], np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.uint32))
        keys, sizes = (blocks.column(table, name) for name in ("key", "size"))
        stretches = list(cuts(offsets_of(sizes), limit=_PAGE))
        ranges = write_tables(
            folder, lambda: (table.slice(begin, end - begin) for begin, end in stretches)
        )
        rows = (end - begin for begin, end in stretches)
        pages = list(zip(ranges, rows, strict=True))
        return cls([pages], keys, sizes, np.zeros(len(table), np.uint32))


def _packed(index: _Index) -> bytes:
    pages = [[[*where, rows] for where, rows in file] for file in index.pages]
    return pack(pages, index.keys, index.sizes, index.files)


def _opened(packed: bytes) -> _Index:
    pages, (keys, sizes, files) = unpack(packed, np.uint64, np.int64, np.uint32)
    found = [[(FileRange.of(page[:3]), int(page[3])) for page in file] for file in pages]
    return _Index(found, keys, sizes, files)


def _joined(size: SampleSize, many: Iterable[bytes]) -> bytes:
    """Join samples of parts to that of all of them."""
    found = [_opened(packed) for packed in many]
    pages = [file for index in found for file in index.pages]
    first = np.cumsum([0, *(len(index.pages) for index in found)])
    if not pages:
        return _packed(_Index.of(None, ""))
    keys = np.concatenate([index.keys for index in found])
    sizes = np.concatenate([index.sizes for index in found])
    files = np.concatenate(
        [index.files + np.uint32(at) for index, at in zip(found, first, strict=False)]
    )
    order = np.argsort(keys, kind="stable")
    order = order[: first_of(sizes[order], size)]
    return _packed(_Index(pages, keys[order], sizes[order], files[order].astype(np.uint32)))


def read_sample(packed: bytes) -> pa.RecordBatch | None:
    """Read a sample: its records in order of their keys; None where there are none.

    Returns:
        A table of ``key``, ``hash0`` and ``hash1`` (of the content, uint64), ``size`` (int64) and
        ``seen`` (struct, as of ``seen``).

    Raises:
        RunError: a temporary file can't be read.
    """
    index = _opened(packed)
    wanted = np.bincount(index.files, minlength=len(index.pages)).tolist()
    parts: list[pa.RecordBatch] = []
    for file, many in zip(index.pages, wanted, strict=True):
        begins = offsets_of([rows for _, rows in file])
        for (where, _), begin in zip(file, begins.tolist(), strict=False):
            if begin < many:
                parts.append(read_table(where).slice(0, many - begin))
    if not parts:
        return None
    found = blocks.join(parts)
    return found.take(pa.array(np.argsort(blocks.column(found, "key"), kind="stable")))
