"""Streams: the records of one source in one pass, spilled by ranges of their keys."""

from __future__ import annotations

import itertools
import os
import uuid
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms import storage
from transforms.budget import Place
from transforms.exchange import end_spill
from transforms.kernels import blocks, pages
from transforms.kernels.digest import Digest
from transforms.kernels.pages import STREAM_TABLE
from transforms.kernels.randomness import file_key, pass_key, record_keys
from transforms.progress import Progress, Watched
from transforms.read import FileId


@dataclass(frozen=True, kw_only=True)
class Streams:
    """How sources are cut into streams, and streams into buckets.

    A stream's number is pass * sources + source; where all sources are shuffled as one there is one
    stream of all of them, 0.

    Attributes:
        sources: their names, sorted.
        union: whether all are shuffled as one.
        seed, epoch: of the dataset.
        buckets: how many equal ranges of keys each source's streams are cut into.
        limits: footprint that one bucket of each source may have in memory.
        together: footprint of light buckets, of several sources, that are gathered at once.
    """

    sources: tuple[str, ...]
    union: bool
    seed: int
    epoch: int
    buckets: tuple[int, ...]
    limits: tuple[int, ...]
    together: int = 0

    @property
    def count(self) -> int:
        """How many streams a pass has."""
        return 1 if self.union else len(self.sources)

    @property
    def digests(self) -> int:
        """How many sources the records of one stream are of."""
        return len(self.sources) if self.union else 1

    def name(self, source: int) -> str:
        """Return what a source's streams are called where something is wrong with them."""
        return ", ".join(self.sources) if self.union else self.sources[source]

    def number(self, file: FileId) -> int:
        """Return the stream that a file's records belong to in a pass."""
        if self.union:
            return 0
        return file.pass_number * self.count + self.sources.index(file.source)


@dataclass(eq=False, kw_only=True)
class SpillStreams(beam.PTransform):  # type: ignore[misc]
    """Give records their keys, sort them, hand them on by stream and bucket.

    ``files``: (FileId, block) -> (0, packed reference). One spill file holds the runs of all streams
    that a worker has gathered together, stream by stream, with a table of their pages at its end;
    what goes on is where the table lies. ``engine``: (FileId, block) -> ((stream, bucket), page).

    Attributes:
        streams: how records are cut.
        exchange: ``files`` or ``engine``.
        run_bytes: footprint that is gathered before it is spilled.
        page_bytes: footprint above which a segment is cut into pages.
        folders: URLs of the folders for spill files, which take turns.
        compression: of pages, ``lz4``, ``zstd`` or None.
        run_id, places: whose budget this is, and how many bundles of a process hold payload.
        storage_options: of fsspec, for the stores; None leaves them as they are.
        progress: where to count, as of ``transforms.progress``, if somebody watches.
    """

    streams: Streams
    exchange: str = "files"
    run_bytes: int = 64 << 20
    page_bytes: int = 8 << 20
    folders: Sequence[str] = ()
    compression: str | None = None
    run_id: str = ""
    places: int = 1
    storage_options: dict[str, Any] | None = None
    progress: Watched = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, located: Any) -> Any:
        """One step: key, gather, sort, hand on."""
        if self.exchange == "engine":
            return located | "CutRuns" >> beam.ParDo(_CutStreams(self)).with_output_types(
                tuple[tuple[int, int], bytes]
            )
        return located | "SpillRuns" >> beam.ParDo(_SpillStreams(self)).with_output_types(
            tuple[int, bytes]
        )


class _GatherStreams(beam.DoFn):  # type: ignore[misc]
    """Gathers sorted runs of streams; what becomes of them, ``_hand_on`` says."""

    def __init__(self, config: SpillStreams) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._place = Place(self._config.run_id, self._config.places)
        self._progress = Progress.open(self._config.progress)
        self._clear()

    def _hand_on(self, runs: dict[int, pa.RecordBatch]) -> Iterator[Any]:
        raise NotImplementedError

    def _clear(self) -> None:
        self._gathered: dict[int, list[pa.RecordBatch]] = defaultdict(list)
        self._held = 0

    def start_bundle(self) -> None:
        self.teardown()
        self._clear()

    def teardown(self) -> None:
        self._place.leave()

    def process(self, element: tuple[FileId, pa.RecordBatch]) -> Iterator[Any]:
        file, block = element
        with self._progress.doing("waiting for memory"):
            self._place.take()
        cost = blocks.block_footprint(block)
        if self._held and self._held + cost > self._config.run_bytes:
            yield from self._hand_on(self._sorted())
        self._gathered[self._config.streams.number(file)].append(self._keyed(file, block))
        self._held += cost

    def finish_bundle(self) -> Iterator[Any]:
        if self._held:
            for element in self._hand_on(self._sorted()):
                yield GlobalWindows.windowed_value(element)
        self._place.leave()

    def _keyed(self, file: FileId, block: pa.RecordBatch) -> pa.RecordBatch:
        streams = self._config.streams
        seed, epoch, source = streams.seed, streams.epoch, file.source
        pair = file_key(seed=seed, epoch=epoch, source=source, pass_number=0, file_name=file.name)
        keyed = blocks.with_keys(block, pair)
        if file.pass_number:
            later = pass_key(seed=seed, epoch=epoch, source=source, pass_number=file.pass_number)
            keys = record_keys(later, blocks.column(keyed, "key"))
            keyed = keyed.set_column(0, "key", pa.array(keys))
        return keyed if streams.union else blocks.without_source(keyed)

    def _sorted(self) -> dict[int, pa.RecordBatch]:
        with self._progress.doing("sorting a run"):
            runs = {stream: blocks.sort_run(held) for stream, held in self._gathered.items()}
        self._clear()
        return dict(sorted(runs.items()))

    def _cut(self, stream: int, run: pa.RecordBatch) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Yield (bucket, block of one page)."""
        streams = self._config.streams
        count = streams.buckets[stream % streams.count]
        return pages.cut_run(run, parts=count, page_bytes=self._config.page_bytes)

    def _encode(self, block: pa.RecordBatch, digests: list[Digest] | None = None) -> pa.Buffer:
        config = self._config
        return pages.encode_page(
            block,
            sources=config.streams.digests,
            compression=config.compression,
            digests=digests,
        )


class _CutStreams(_GatherStreams):
    def _hand_on(self, runs: dict[int, pa.RecordBatch]) -> Iterator[Any]:
        for stream, run in runs.items():
            for bucket, block in self._cut(stream, run):
                yield (stream, bucket), self._encode(block).to_pybytes()


class _SpillStreams(_GatherStreams):
    def setup(self) -> None:
        super().setup()
        self._turn = itertools.count(os.getpid())  # workers begin with different folders

    def _hand_on(self, runs: dict[int, pa.RecordBatch]) -> Iterator[Any]:
        folders = self._config.folders
        folder = folders[next(self._turn) % len(folders)]
        yield 0, storage.retry(lambda: self._write(runs, folder), folder)

    def _write(self, runs: dict[int, pa.RecordBatch], folder: str) -> bytes:
        url = storage.join(folder, f"{uuid.uuid4().hex}.pages")  # no attempt meets another
        rows = []
        with self._progress.doing(f"writing {url}"), storage.open_write(url) as file:
            for stream, run in runs.items():
                for _, block in self._cut(stream, run):
                    digests = blocks.digests(block, sources=self._config.streams.digests)
                    page = self._encode(block, digests)
                    storage.write_all(file, page)
                    row = pages.stream_row(
                        block, page.size, stream=stream, digest=Digest.total(digests)
                    )
                    rows.append(row)
            return end_spill(file, url, rows, kind=STREAM_TABLE)
