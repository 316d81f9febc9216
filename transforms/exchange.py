"""GroupBlocksByKey: Beam's GroupByKey for blocks, with two implementations of one contract.

The contract: sorted blocks go in, in any bundles and order; out comes ``(partition, group)`` once
for each of P equal ranges of keys, those without records included; a group gives the blocks of any
range of keys inside its partition, as often as it is asked, and the digests of what was read.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.groups import (
    BlockGroup,
    FileGroup,
    MemoryGroup,
    Pages,
    Stretch,
    pack_pages,
    page_starts,
)
from transforms.kernels import pages, ranges
from transforms.kernels.pages import TABLE
from transforms.progress import Progress


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
        progress: local folder for the counts of ``transforms.progress``, if somebody watches.
    """

    partitions: int
    exchange: str = "files"
    buckets: int = 0
    page_bytes: int = 8 << 20
    sources: int = 1
    folder: str = ""
    progress: str | None = None

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
        storage.make_folder(self.folder)  # not by the workers: a late one would make it anew
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
            | "Refer" >> beam.ParDo(_Refer(self)).with_output_types(tuple[int, bytes])
            | "DealOut" >> beam.GroupByKey()
            | "Open" >> beam.MapTuple(_open).with_output_types(tuple[int, BlockGroup])
        )


def _hold(partition: int, encoded: Iterable[bytes]) -> tuple[int, BlockGroup]:
    return partition, MemoryGroup([data for data in encoded if data])


def _open(partition: int, packed: Iterable[bytes]) -> tuple[int, BlockGroup]:
    (one,) = packed
    return partition, FileGroup(Stretch(*pickle.loads(one)))


class _Refer(beam.DoFn):  # type: ignore[misc]
    """Turn the spill files' tables into references per partition, in a file of their own."""

    def __init__(self, config: GroupBlocksByKey) -> None:
        self._config = config

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        spills = [Stretch(*pickle.loads(packed)) for packed in element[1] if packed]
        tables = [np.frombuffer(spill.read_checked(), TABLE) for spill in spills]
        starts = [page_starts(table) for table in tables]
        count = self._config.partitions
        places = [ranges.cut(table["first"], count).tolist() for table in tables]
        url = storage.join(self._config.folder, f"{uuid.uuid4().hex}.references")
        written = []
        with storage.open_write(url) as file:
            at = 0
            for partition in range(count):
                mine = [
                    Pages(spill.url, int(start[begin]), table[begin:end])
                    for spill, table, start, place in zip(
                        spills, tables, starts, places, strict=True
                    )
                    for begin, end in [place[partition : partition + 2]]
                    if begin < end
                ]
                written.append(Stretch.write(file, url, at, pack_pages(mine)))
                at += written[-1].length
        for partition, stretch in enumerate(written):
            yield partition, pickle.dumps(tuple(stretch), protocol=5)


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
        doing = Progress.open(config.progress).doing(f"writing {url}")
        with doing, storage.open_write(url) as file:
            for _, block in pages.cut_run(
                run, parts=config.buckets or config.partitions, page_bytes=config.page_bytes
            ):
                page = pages.encode_page(block, sources=config.sources)
                storage.write_all(file, page)
                rows.append(pages.table_row(block, page.size))
            packed = end_spill(file, url, rows)
        yield 0, packed


def end_spill(file: Any, url: str, rows: list[tuple[int, ...]]) -> bytes:
    """Write the table of a spill file's pages at its end; return where it is, packed."""
    table = np.array(rows, TABLE)
    begin = int(table["length"].sum(dtype=np.int64))
    return pickle.dumps(tuple(Stretch.write(file, url, begin, table.tobytes())), protocol=5)
