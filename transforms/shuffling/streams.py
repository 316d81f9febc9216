"""Streams: the records of one source in one pass, spilled by ranges of their keys."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.identity import AGAIN, Origin
from transforms.datasets.reports import Tally
from transforms.kernels.randomness import pass_key, record_keys
from transforms.kernels.records import blocks
from transforms.mixing.stream_files import StreamFiles
from transforms.mixing.streams_again import SpillStreamsAgain
from transforms.storage import files as storage
from transforms.workers.budget import Place
from transforms.workers.progress import Progress, Watched


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
        reach: how many buckets of each source's first pass are spilled before it is known which are
            needed; empty for all.
        partitions: into how many equal ranges of keys each source's streams are cut first, where
            they take two levels; 1 for those that take one, and empty where all do.
    """

    sources: tuple[str, ...]
    union: bool
    seed: int
    epoch: int
    buckets: tuple[int, ...]
    limits: tuple[int, ...]
    together: int = 0
    reach: tuple[int, ...] = ()
    partitions: tuple[int, ...] = ()

    @property
    def count(self) -> int:
        """How many streams a pass has."""
        return 1 if self.union else len(self.sources)

    @property
    def digests(self) -> int:
        """How many sources the records of one stream are of."""
        return len(self.sources) if self.union else 1

    @property
    def tallied(self) -> bool:
        """Whether records are counted by buckets, as not all of them are spilled."""
        return bool(self.reach) and self.reach != self.buckets

    @property
    def levels(self) -> int:
        """How many levels the exchange takes, of any stream."""
        return 2 if any(parts > 1 for parts in self.partitions) else 1

    def level(self, stream: int) -> int:
        """Return how many levels a stream takes."""
        return 2 if self.partitions and self.partitions[stream % self.count] > 1 else 1

    def name_part(self, part: tuple[int, int]) -> str:
        """Return what a stream's partition is called where something is wrong with it."""
        number, source = divmod(part[0], self.count)
        return f"source {self.name(source)}, pass {number}, partition {part[1]}"

    def wanted(self, file: Origin) -> tuple[int, int]:
        """Return which buckets of a pass are to be spilled: from the first to before the second."""
        source = self.number(file) % self.count
        reach = self.reach[source] if self.tallied else self.buckets[source]
        if file.pass_number == AGAIN:
            return reach, file.until
        return 0, self.buckets[source] if file.pass_number else reach

    def name(self, source: int) -> str:
        """Return what a source's streams are called where something is wrong with them."""
        return ", ".join(self.sources) if self.union else self.sources[source]

    def number(self, file: Origin) -> int:
        """Return the stream that a file's records belong to in a pass."""
        if self.union:
            return 0
        number = max(file.pass_number, 0)  # read again it is still the first
        return number * self.count + self.sources.index(file.source)


@dataclass(eq=False, kw_only=True)
class SpillStreams(beam.PTransform):  # type: ignore[misc]
    """Give records their keys, sort them, spill them by stream and bucket.

    (FileId, block) -> Spilled. ``spills`` are (0, packed reference): one spill file holds
    the runs of all streams that a worker has gathered together, stream by stream, with a table of
    their pages at its end, and what goes on is where the table lies. Streams that take two levels are
    spilled by partitions first, then gathered anew. ``tallies`` are of type Tally, where less than all
    is spilled.

    Attributes:
        streams: how records are cut.
        run_bytes: footprint that is gathered before it is spilled.
        page_bytes: footprint above which a segment is cut into pages.
        folders: URLs of the folders for spill files, which take turns.
        compression: of pages, ``lz4``, ``zstd`` or None.
        run_id, places: whose budget this is, and how many bundles of a process hold payload.
        release: give the first level's spill space back as early as may be; only where the runner
            never runs a step a second time.
        storage_options: of fsspec, for the stores; None leaves them as they are.
        progress: where to count, as of ``transforms.workers.progress``, if somebody watches.
    """

    streams: Streams
    run_bytes: int = 64 << 20
    page_bytes: int = 8 << 20
    folders: Sequence[str] = ()
    compression: str | None = None
    run_id: str = ""
    places: int = 1
    release: bool = False
    storage_options: dict[str, Any] | None = None
    progress: Watched = None

    def __post_init__(self) -> None:
        super().__init__()

    @property
    def first_folders(self) -> list[str]:
        """URLs of the folders for the first level's spill files."""
        return [storage.join(folder, "first") for folder in self.folders]

    def make_folders(self) -> None:
        """Make the folders; not by the workers: a late one would make them anew."""
        first = self.first_folders if self.streams.levels == 2 else []
        for folder in [*self.folders, *first]:
            storage.make_folder(folder)

    def expand(self, located: Any) -> Any:
        """Key, gather, sort, spill; some of it twice."""
        found = located | "SpillRuns" >> beam.ParDo(_SpillStreams(self)).with_output_types(
            tuple[int, bytes], first=tuple[int, bytes], tallies=Tally
        ).with_outputs("first", "tallies", main="spills")
        if self.streams.levels == 1:
            return Spilled(found.spills, found.tallies)
        again = found.first | "SecondLevel" >> SpillStreamsAgain(self)
        return Spilled((found.spills, again) | "Levels" >> beam.Flatten(), found.tallies)


class Spilled(NamedTuple):
    """PCollections of what SpillStreams gives."""

    spills: Any
    tallies: Any


class _SpillStreams(beam.DoFn):  # type: ignore[misc]
    """Gathers sorted runs of streams, and spills them."""

    def __init__(self, config: SpillStreams) -> None:
        self._config = config

    def setup(self) -> None:
        storage.configure(self._config.storage_options)
        self._place = Place(self._config.run_id, self._config.places)
        self._progress = Progress.open(self._config.progress)
        self._files = StreamFiles(self._config)
        self._first = StreamFiles(self._config, first=True)
        self._clear()

    def _clear(self) -> None:
        self._gathered: dict[int, list[pa.RecordBatch]] = defaultdict(list)
        self._held = 0

    def start_bundle(self) -> None:
        self.teardown()
        self._clear()
        self._tallies: dict[tuple[int, bool], Tally] = {}

    def teardown(self) -> None:
        self._place.leave()

    def process(self, element: tuple[Origin, pa.RecordBatch]) -> Iterator[Any]:
        file, block = element
        with self._progress.doing("waiting for memory"):
            self._place.take()
        keyed = self._within_reach(file, self._keyed(file, block))
        if not len(keyed):
            return
        cost = blocks.block_footprint(keyed)
        if self._held and self._held + cost > self._config.run_bytes:
            yield from self._spill(self._sorted())
        self._gathered[self._config.streams.number(file)].append(keyed)
        self._held += cost

    def finish_bundle(self) -> Iterator[Any]:
        if self._held:
            for element in self._spill(self._sorted()):
                yield _windowed(element)
        self._place.leave()
        for tally in self._tallies.values():
            yield _windowed(TaggedOutput("tallies", tally))

    def _within_reach(self, file: Origin, keyed: pa.RecordBatch) -> pa.RecordBatch:
        """Return the records that are to be spilled; count them and the others."""
        streams = self._config.streams
        if not streams.tallied or file.pass_number > 0:
            return keyed
        stream = streams.number(file)
        low, high = streams.wanted(file)
        kept, tally = blocks.cut_to_buckets(keyed, low, high, of=streams.buckets[stream])
        found = Tally(stream, file.pass_number == AGAIN, *tally)
        key = stream, found.again
        self._tallies[key] = self._tallies[key] + found if key in self._tallies else found
        return kept

    def _keyed(self, file: Origin, block: pa.RecordBatch) -> pa.RecordBatch:
        streams = self._config.streams
        seed, epoch, source = streams.seed, streams.epoch, file.source
        pair = file.key(seed=seed, epoch=epoch, pass_number=0)
        keyed = blocks.with_keys(block, pair)
        if file.pass_number > 0:
            later = pass_key(seed=seed, epoch=epoch, source=source, pass_number=file.pass_number)
            keys = record_keys(later, blocks.column(keyed, "key"))
            keyed = keyed.set_column(0, "key", pa.array(keys))
        return keyed if streams.union else blocks.without_source(keyed)

    def _sorted(self) -> dict[int, pa.RecordBatch]:
        with self._progress.doing("sorting a run"):
            runs = {stream: blocks.sort_run(held) for stream, held in self._gathered.items()}
        self._clear()
        return dict(sorted(runs.items()))

    def _spill(self, runs: dict[int, pa.RecordBatch]) -> Iterator[Any]:
        level = self._config.streams.level
        if once := {stream: run for stream, run in runs.items() if level(stream) == 1}:
            yield self._files.write(once)
        if first := {stream: run for stream, run in runs.items() if level(stream) == 2}:
            yield TaggedOutput("first", self._first.write(first))


def _windowed(element: Any) -> Any:
    if isinstance(element, TaggedOutput):
        return TaggedOutput(element.tag, GlobalWindows.windowed_value(element.value))
    return GlobalWindows.windowed_value(element)
