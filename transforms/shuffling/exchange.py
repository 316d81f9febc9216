"""GroupBlocksByKey: Beam's GroupByKey for blocks, by spill files.

The contract: sorted blocks go in, in any bundles and order; out comes ``(partition, group)`` once
for each of P equal ranges of keys, those without records included; a group gives the blocks of any
range of keys inside its partition, as often as it is asked, and the digests of what was read. The
payload goes into files, and references to it through the runner.
"""

from __future__ import annotations

import functools
import itertools
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.records import blocks, pages, ranges
from transforms.kernels.records.packed import require
from transforms.kernels.records.pages import TABLE
from transforms.kernels.records.ranges import KeyRange
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.references import Pages, cut_pages, pack_pages, require_table, spill_url
from transforms.shuffling.stretches import Stretch, read_each, write_references
from transforms.storage import files as storage
from transforms.workers.progress import Progress, Watched
from transforms.workers.round_robin import GroupRoundRobin


@dataclass(eq=False, kw_only=True)
class GroupBlocksByKey(beam.PTransform):  # type: ignore[misc]
    """Group sorted blocks by ranges of their keys: block -> (partition, BlockGroup).

    Attributes:
        partitions: how many equal ranges of keys to group by.
        buckets: at how many boundaries runs are cut; a multiple of ``partitions``.
        page_bytes: footprint above which a segment is cut into pages.
        sources: how many sources the records are of.
        folder: URL of the folder for spill files, or of several that take turns.
        compression: of pages, ``lz4``, ``zstd`` or None.
        within: each run that comes lies inside one of so many equal ranges of keys; the references to
            those of one range are made by themselves. For the second of two levels.
        used_up: URLs of folders of what the runs were made of, removed once all are spilled; only
            where the runner never runs a step a second time.
        storage_options: of fsspec, for the stores; None leaves them as they are.
        progress: where to count, as of ``transforms.workers.progress``, if somebody watches.
    """

    partitions: int
    buckets: int = 0
    within: int = 1
    used_up: Sequence[str] = ()
    page_bytes: int = 8 << 20
    sources: int = 1
    folder: str | Sequence[str]
    compression: str | None = None
    storage_options: dict[str, Any] | None = None
    progress: Watched = None

    def __post_init__(self) -> None:
        super().__init__()
        if not self.folder:
            raise ValueError("expected a folder for spill files, got none")
        if self.buckets % self.partitions:
            raise ValueError(f"buckets ({self.buckets}) is no multiple of {self.partitions}")

    @property
    def folders(self) -> list[str]:
        """Folders for spill files."""
        return [self.folder] if isinstance(self.folder, str) else list(self.folder)

    def expand(self, runs: Any) -> Any:
        """Write the payload, and send references."""
        every = runs.pipeline | "Partitions" >> beam.Create([b""])
        for folder in self.folders:
            storage.make_folder(folder)  # not by the workers: a late one would make it anew
        spilled = runs | "SpillRuns" >> beam.ParDo(_SpillRuns(self)).with_output_types(
            tuple[int, bytes]
        )
        none = every | "NoSpill" >> beam.FlatMap(
            lambda empty, n: ((i, empty) for i in range(n)), self.within
        ).with_output_types(tuple[int, bytes])
        return (
            (spilled, none)
            | "WithNone" >> beam.Flatten()
            | "AllSpills" >> beam.GroupByKey()
            | "Refer" >> beam.ParDo(_Refer(self)).with_output_types(tuple[int, bytes])
            | "InTurn" >> GroupRoundRobin(bytes)
            | "Open"
            >> beam.MapTuple(functools.partial(_open, tuple(self.folders))).with_output_types(
                tuple[int, BlockGroup]
            )
        )


def _open(
    folders: tuple[str, ...], partition: int, packed: Iterable[bytes]
) -> tuple[int, BlockGroup]:
    return partition, BlockGroup(sorted(map(Stretch.from_bytes, packed)), folders)


class _Refer(beam.DoFn):  # type: ignore[misc]
    """Turn the spill files' tables into references per partition, in a file of their own."""

    def __init__(self, config: GroupBlocksByKey) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        config = self._config
        found = [Pages(url, 0, table) for url, table in read_tables(element[1], TABLE)]
        mine = ranges.overlapping(KeyRange(element[0], config.within), config.partitions)
        stretches = write_references(
            config.folders[0],
            lambda: (
                pack_pages(parts, config.folders)
                for parts in cut_pages(found, mine, config.partitions)
            ),
        )
        if element[0] == 0:
            for folder in config.used_up:
                storage.remove_tree(folder)
        for partition, stretch in zip(mine, stretches, strict=True):
            yield partition, stretch.to_bytes()


class _SpillRuns(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: GroupBlocksByKey) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._turn = itertools.count(os.getpid())  # workers begin with different folders

    def process(self, run: pa.RecordBatch) -> Iterator[tuple[int, bytes]]:
        folders = self._config.folders
        folder = folders[next(self._turn) % len(folders)]
        if not len(run):
            return
        within = ranges.parts_of(blocks.column(run, "key")[:1], self._config.within)
        yield int(within[0]), storage.retry(lambda: self._spill(run, folder), folder)

    def _spill(self, run: pa.RecordBatch, folder: str) -> bytes:
        config = self._config
        url = spill_url(folder, uuid.uuid4().hex)  # no attempt meets another
        rows = []
        doing = Progress.open(config.progress).doing(f"writing {url}")
        with doing, storage.open_write(url) as file:
            for _, block in pages.cut_run(
                run, parts=config.buckets or config.partitions, page_bytes=config.page_bytes
            ):
                page = pages.encode_page(
                    block, sources=config.sources, compression=config.compression
                )
                storage.write_all(file, page)
                rows.append(pages.table_row(block, page.size))
            return end_spill(file, url, rows)


def end_spill(
    file: Any, url: str, rows: list[tuple[int, ...]], *, kind: np.dtype[np.void] = TABLE
) -> bytes:
    """Write the table of a spill file's pages at its end; return where it is, packed."""
    table = np.array(rows, kind)
    begin = int(table["length"].sum(dtype=np.int64))
    return Stretch.write(file, url, begin, table.tobytes()).to_bytes()


def read_tables(
    packed: Iterable[bytes], kind: np.dtype[np.void]
) -> Iterator[tuple[str, npt.NDArray[np.void]]]:
    """Yield the URL and the table of each spill file that ``end_spill`` ended; b"" is none.

    Raises:
        RunError: a table can't be read, or isn't one.
    """
    spills = [Stretch.from_bytes(data) for data in packed if data]
    for spill, data in zip(spills, read_each(Stretch.read_checked, spills), strict=True):
        yield spill.url, spill.parse_data(data, functools.partial(_table_of, kind))


def _table_of(kind: np.dtype[np.void], data: memoryview) -> npt.NDArray[np.void]:
    require(len(data) % kind.itemsize == 0, f"{len(data)} bytes, no whole rows of {kind.itemsize}")
    table = np.frombuffer(data, kind)
    require_table(table)
    return table
