"""Spill files: sorted runs of streams, cut into pages, with a table of the pages at the end."""

from __future__ import annotations

import itertools
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.shuffling import spill_pages
from transforms.shuffling.file_ranges import FileRange, read_each
from transforms.shuffling.packed import require
from transforms.shuffling.references import Pages, require_table, spill_url
from transforms.shuffling.spill_pages import STREAM_TABLE, plain_rows
from transforms.storage import files as storage
from transforms.workers.progress import Progress, Watched

Table = npt.NDArray[np.void]
"""Rows of STREAM_TABLE, stream by stream."""


@dataclass(frozen=True, kw_only=True)
class Spilling:
    """Where a run's spill files lie, and how they are made.

    Attributes:
        folders: URLs of the folders for them, which take turns.
        run_bytes: footprint that is gathered before it is spilled.
        page_bytes: footprint above which a segment is cut into pages.
        compression: of pages, ``lz4``, ``zstd`` or None.
        run_id, slots: whose budget this is, and how many bundles of a process hold payload.
        release: give the first level's space back as early as may be; only where the runner never
            runs a step a second time.
        storage_options: of fsspec, for the stores; None leaves them as they are.
        progress: where to count, as of ``transforms.workers.progress``, if somebody watches.
    """

    folders: Sequence[str]
    run_bytes: int = 64 << 20
    page_bytes: int = 8 << 20
    compression: str | None = None
    run_id: str = ""
    slots: int = 1
    release: bool = False
    storage_options: dict[str, Any] | None = None
    progress: Watched = None

    def __post_init__(self) -> None:
        if not self.folders or isinstance(self.folders, str) or "" in self.folders:
            raise ValueError(f"expected URLs of folders for spill files, got {self.folders!r}")

    @property
    def first_folders(self) -> list[str]:
        """URLs of the folders for spill files of the first of two levels."""
        return [storage.join(folder, "first") for folder in self.folders]

    def make_folders(self, levels: int) -> None:
        """Make the folders; not by the workers: a late one would make them anew."""
        for folder in [*self.folders, *(self.first_folders if levels == 2 else [])]:
            storage.make_folder(folder)

    def remove_first_level(self) -> None:
        """Give the first level's space back, once all of it is spilled a second time."""
        for folder in self.first_folders:
            storage.remove_tree(folder)


class SpillFiles:
    """Writes spill files, for one worker.

    Args:
        spill: how, and where.
        parts: into how many equal ranges of keys each source's streams are cut, one after another.
        sources: how many sources the records of a stream are of.
        measure: as of Streams.
        first: whether they are those of the first of two levels.
    """

    def __init__(
        self,
        spill: Spilling,
        parts: Sequence[int],
        *,
        sources: int,
        measure: str | None = None,
        first: bool = False,
    ) -> None:
        self._spill, self._parts, self._sources, self._measure = spill, parts, sources, measure
        self._folders = spill.first_folders if first else spill.folders
        self._turn = itertools.count(os.getpid())  # workers begin with different folders
        self._progress = Progress.open(spill.progress)

    def write(self, runs: Mapping[int, pa.RecordBatch]) -> bytes:
        """Write sorted runs by stream, cut into segments; return where the table lies, packed."""
        folder = self._folders[next(self._turn) % len(self._folders)]
        return storage.retry(lambda: self._write(runs, folder), folder)

    def _write(self, runs: Mapping[int, pa.RecordBatch], folder: str) -> bytes:
        spill = self._spill
        url = spill_url(folder, uuid.uuid4().hex)  # no attempt meets another
        rows = []
        with self._progress.doing(f"writing {url}"), storage.open_write(url) as file:
            for stream, run in sorted(runs.items()):
                parts = self._parts[stream % len(self._parts)]
                for _, block in spill_pages.cut_run(run, parts=parts, page_bytes=spill.page_bytes):
                    digests = blocks.digests(block, sources=self._sources)
                    page = spill_pages.encode_page(
                        block,
                        sources=self._sources,
                        compression=spill.compression,
                        digests=digests,
                    )
                    size = sum(storage.write_all(file, part) for part in page)
                    total = Digest.total(digests)
                    measured = total.bytes
                    if self._measure is not None:
                        measured = int(blocks.measures(block, self._measure).sum())
                    rows.append(
                        spill_pages.stream_row(
                            block, size, stream=stream, digest=total, measured=measured
                        )
                    )
            return end_spill(file, url, rows)


def end_spill(file: Any, url: str, rows: list[tuple[int, ...]]) -> bytes:
    """Write the table of a spill file's pages at its end; return where it is, packed."""
    table = np.array(rows, STREAM_TABLE)
    begin = int(table["length"].sum(dtype=np.int64))
    return FileRange.write(file, url, begin, table.tobytes()).to_bytes()


def read_tables(packed: Iterable[bytes]) -> Iterator[tuple[str, Table]]:
    """Yield the URL and the table of each spill file that ``end_spill`` ended; b"" is none.

    Raises:
        RunError: a table can't be read, or isn't one.
    """
    spills = [FileRange.from_bytes(data) for data in packed if data]
    for spill, data in zip(spills, read_each(FileRange.read_checked, spills), strict=True):
        yield spill.url, spill.parse_data(data, _table_of)


def _table_of(data: memoryview) -> Table:
    size = STREAM_TABLE.itemsize
    require(len(data) % size == 0, f"{len(data)} bytes, which aren't whole rows of {size}")
    table = np.frombuffer(data, STREAM_TABLE)
    require_table(table)
    streams = table["stream"]
    later = streams[1:] > streams[:-1]
    within = (streams[1:] == streams[:-1]) & (table["first"][1:] >= table["last"][:-1])
    require((later | within).all(), "pages out of order")
    return table


def pages_of_stream(tables: Iterable[tuple[str, Table]], stream: int) -> list[Pages]:
    """Return the pages of one stream, of each spill file that has some."""
    found = []
    for url, table in tables:
        begin, end = np.searchsorted(table["stream"], [stream, stream + 1])
        if begin < end:
            offset = int(table["length"][:begin].sum(dtype=np.int64))
            found.append(Pages(url, offset, plain_rows(table[begin:end])))
    return found
