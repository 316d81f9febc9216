"""Hash-bucketed random partitioning: records get their keys, and are spilled by streams and buckets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.identity import REREAD, Origin
from transforms.datasets.reports import Tally
from transforms.errors import LosslessError
from transforms.kernels.randomness import pass_key, record_keys
from transforms.kernels.records import blocks, sorting
from transforms.kernels.records.ranges import WHOLE
from transforms.shuffling.file_ranges import FileRange, write_references
from transforms.shuffling.groups import BlockGroup, require_intact
from transforms.shuffling.packed import pack, unpack
from transforms.shuffling.references import Pages, cut_pages, pack_pages, unpack_pages
from transforms.shuffling.spill_files import SpillFiles, Spilling, pages_of_stream, read_tables
from transforms.shuffling.streams import Streams
from transforms.storage import files as storage
from transforms.workers.progress import Progress
from transforms.workers.round_robin import GroupRoundRobin
from transforms.workers.slots import Slot


class Spilled(NamedTuple):
    """PCollections of what PartitionIntoBuckets gives."""

    spills: Any
    tallies: Any


@dataclass(eq=False, kw_only=True)
class PartitionIntoBuckets(beam.PTransform):  # type: ignore[misc]
    """Give records their keys, sort them, spill them by stream and bucket: (FileId, block) -> Spilled.

    ``spills`` are (partition, packed reference): one spill file holds the runs of all streams that a
    worker has gathered together, and what goes on is where the table of its pages lies. Streams that
    take two levels are spilled by partitions first; then each partition is gathered anew into runs
    that are cut at its own buckets alone, so that segments are larger by as many times as there are
    partitions. The number is that of the partition where there is one stream in two levels.
    ``tallies`` are of type Tally, where less than all is spilled.

    Attributes:
        streams: how records are cut.
        spill: how they are spilled.
    """

    streams: Streams
    spill: Spilling

    def expand(self, located: Any) -> Spilled:
        """Key, gather, sort, spill; some of it twice."""
        self.spill.make_folders(self.streams.levels)
        found = located | "SpillRuns" >> beam.ParDo(
            SpillRuns(self.streams, self.spill, measure=self.streams.measure)
        ).with_output_types(tuple[int, bytes], first=tuple[int, bytes], tallies=Tally).with_outputs(
            "first", "tallies", main="spills"
        )
        return self.second_level(found)

    def second_level(self, found: Any) -> Spilled:
        """Take what was spilled in the first of two levels to the second, where there are two.

        Args:
            found: PCollections ``spills``, ``first`` and ``tallies``.
        """
        if self.streams.levels == 1:
            return Spilled(found.spills, found.tallies)
        second = (
            found.first
            | "FirstSpills" >> beam.GroupByKey()
            | "CutFirst"
            >> beam.ParDo(_ReferToPartitions(self.streams, self.spill)).with_output_types(
                tuple[int, bytes]
            )
            | "InTurn" >> GroupRoundRobin(bytes)
            | "SpillAgain"
            >> beam.ParDo(_SpillPartitions(self.streams, self.spill)).with_output_types(
                tuple[int, bytes]
            )
        )
        return Spilled((found.spills, second) | "Levels" >> beam.Flatten(), found.tallies)


class AllSpills(beam.PTransform):  # type: ignore[misc]
    """Wait until all is spilled: PCollections of spills -> (partition, its references).

    Each partition comes, with a reference b"" beside the others, and the first level's space goes.

    Args:
        spill: how they were spilled.
        levels: in how many levels, at most.
        partitions: that are kept apart; 1 for all together.
    """

    def __init__(self, spill: Spilling, *, levels: int, partitions: int = 1) -> None:
        self._spill, self._levels, self._partitions = spill, levels, partitions

    def expand(self, spills: Any) -> Any:
        """Add what is none, group, give back."""
        every = beam.FlatMap(lambda _, n: ((i, b"") for i in range(n)), self._partitions)
        none = (
            spills[0].pipeline
            | beam.Create([None])
            | "NoSpill" >> every.with_output_types(tuple[int, bytes])
        )
        found = (*spills, none) | "WithNone" >> beam.Flatten()
        if self._partitions == 1:
            found = found | "Together" >> beam.MapTuple(
                lambda _, spill: (0, spill)
            ).with_output_types(tuple[int, bytes])
        grouped = found | "AllSpills" >> beam.GroupByKey()
        if self._levels == 1 or not self._spill.release:
            return grouped
        return grouped | "GiveBack" >> beam.MapTuple(self._give_back)

    def _give_back(self, partition: int, packed: Iterable[bytes]) -> tuple[int, Iterable[bytes]]:
        if partition == 0:
            storage.configure(self._spill.storage_options)
            self._spill.remove_first_level()
        return partition, packed


class _GatherRuns(beam.DoFn):  # type: ignore[misc]
    """Gathers keyed blocks of streams into sorted runs, and spills them before they are too large."""

    def __init__(self, streams: Streams, spill: Spilling) -> None:
        self._streams, self._spill = streams, spill

    def setup(self) -> None:
        spill = self._spill
        storage.configure(spill.storage_options)
        self._slot = Slot(spill.run_id, spill.slots)
        self._progress = Progress.open(spill.progress)
        streams = self._streams
        self._files = SpillFiles(
            spill, streams.buckets, sources=streams.digests, measure=streams.measure
        )
        self._clear()

    def _clear(self) -> None:
        self._gathered: dict[int, list[pa.RecordBatch]] = defaultdict(list)
        self._held = 0

    def start_bundle(self) -> None:
        self.teardown()
        self._clear()

    def finish_bundle(self) -> Iterator[Any]:
        self._slot.leave()
        yield from ()

    def teardown(self) -> None:
        self._slot.leave()

    def _wait(self) -> None:
        with self._progress.doing("waiting for memory"):
            self._slot.take()

    def _add(self, stream: int, keyed: pa.RecordBatch) -> Iterator[Any]:
        """Take a block in; spill those before it where it doesn't fit in."""
        cost = blocks.block_footprint(keyed)
        if self._held + cost > self._spill.run_bytes:
            yield from self._rest()
        self._gathered[stream].append(keyed)
        self._held += cost

    def _rest(self) -> Iterator[Any]:
        """Spill what is held."""
        if self._held:
            with self._progress.doing("sorting records"):
                runs = {stream: sorting.sort_run(held) for stream, held in self._gathered.items()}
            self._clear()
            yield from self._write(runs)

    def _write(self, runs: dict[int, pa.RecordBatch]) -> Iterator[Any]:
        raise NotImplementedError


class SpillRuns(_GatherRuns):
    """What is read to spill files of the only level, or of the first of two.

    Args:
        streams, spill: as of PartitionIntoBuckets.
        measure: what tallies measure.
    """

    def __init__(self, streams: Streams, spill: Spilling, *, measure: str | None) -> None:
        super().__init__(streams, spill)
        self._measure = measure

    def setup(self) -> None:
        super().setup()
        streams = self._streams
        self._first = SpillFiles(
            self._spill,
            streams.partitions,
            sources=streams.digests,
            measure=streams.measure,
            first=True,
        )

    def start_bundle(self) -> None:
        super().start_bundle()
        self._tallies: dict[tuple[int, bool], Tally] = {}

    def process(self, element: tuple[Origin, pa.RecordBatch]) -> Iterator[Any]:
        file, block = element
        self._wait()
        keyed = self._needed(file, self._keyed(file, block))
        if len(keyed):
            yield from self._add(self._streams.number(file), keyed)

    def finish_bundle(self) -> Iterator[Any]:
        for spill in self._rest():
            yield windowed(spill)
        yield from super().finish_bundle()
        for tally in self._tallies.values():
            yield windowed(TaggedOutput("tallies", tally))

    def _keyed(self, file: Origin, block: pa.RecordBatch) -> pa.RecordBatch:
        streams = self._streams
        seed, epoch, source = streams.seed, streams.epoch, file.source
        pair = file.key(seed=seed, epoch=epoch, pass_number=0)
        keyed = blocks.with_keys(block, pair)
        if file.pass_number > 0:
            later = pass_key(seed=seed, epoch=epoch, source=source, pass_number=file.pass_number)
            keys = record_keys(later, blocks.column(keyed, "key"))
            keyed = keyed.set_column(0, "key", pa.array(keys))
        return keyed if streams.union else blocks.without_source(keyed)

    def _needed(self, file: Origin, keyed: pa.RecordBatch) -> pa.RecordBatch:
        """Return the records that are to be spilled; count them and the others."""
        streams = self._streams
        if not streams.tallied or file.pass_number > 0:
            return keyed
        stream = streams.number(file)
        low, high = streams.wanted(file)
        kept, tally = blocks.cut_to_buckets(
            keyed, low, high, of=streams.buckets[stream], measure=self._measure
        )
        found = Tally(stream, file.pass_number == REREAD, *tally)
        key = stream, found.reread
        self._tallies[key] = self._tallies[key] + found if key in self._tallies else found
        return kept

    def _write(self, runs: dict[int, pa.RecordBatch]) -> Iterator[Any]:
        level = self._streams.level
        if once := {stream: run for stream, run in runs.items() if level(stream) == 1}:
            yield 0, self._files.write(once)
        if first := {stream: run for stream, run in runs.items() if level(stream) == 2}:
            yield TaggedOutput("first", (0, self._first.write(first)))


def windowed(element: Any) -> Any:
    """Return an element, tagged or not, as ``finish_bundle`` has to yield it."""
    if isinstance(element, TaggedOutput):
        return TaggedOutput(element.tag, GlobalWindows.windowed_value(element.value))
    return GlobalWindows.windowed_value(element)


class _ReferToPartitions(beam.DoFn):  # type: ignore[misc]
    """Turn the first level's tables into references per stream and partition, in one file."""

    def __init__(self, streams: Streams, spill: Spilling) -> None:
        self._streams, self._spill = streams, spill

    def setup(self) -> None:
        storage.configure(self._spill.storage_options)

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[int, bytes]]:
        tables = list(read_tables(element[1]))
        folders = self._spill.first_folders
        held: list[tuple[int, int]] = []

        def pieces() -> Iterator[bytes]:  # one partition's at a time: they are many
            held.clear()  # where it is tried again
            for stream, partition, found in self._cut(tables):
                held.append((stream, partition))
                yield pack_pages(found, folders)

        written = write_references(folders[0], pieces)
        for number, (part, where) in enumerate(zip(held, written, strict=True)):
            yield number, pack([part, where])

    def _cut(self, tables: list[Any]) -> Iterator[tuple[int, int, list[Pages]]]:
        """Yield each stream's partitions that have any pages, and these."""
        numbers = [np.unique(table["stream"]).tolist() for _, table in tables]
        for stream in sorted(set().union(*numbers)):
            parts = self._streams.partitions[stream % self._streams.count]
            mine = pages_of_stream(tables, stream)
            for partition, found in enumerate(cut_pages(mine, range(parts), parts)):
                if found:
                    yield stream, partition, found


class _SpillPartitions(_GatherRuns):
    """Partitions of the first level, read and proved, to spill files of the second."""

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[Any]:
        (packed,) = element[1]
        ((stream, self._partition), where), _ = unpack(packed)
        folders = self._spill.first_folders
        group = BlockGroup(FileRange.of(where).parse(lambda data: unpack_pages(data, folders)))
        self._wait()
        found = 0
        for page in group.fetch(WHOLE):
            block = blocks.with_hashes(page.block)
            require_intact(block, page.digests)
            found += len(block)
            yield from self._add(stream, block)
        yield from self._rest()  # one of two partitions would be cut at the buckets of both
        if found != group.records:
            name = self._streams.name_part((stream, self._partition))
            raise LosslessError(
                f"{name}: {group.records:,} records were spilled, but {found:,} came back; check "
                "memory and disk, then run again"
            )
        if self._spill.release:  # its records lie in the second level by now
            group.release()

    def _write(self, runs: dict[int, pa.RecordBatch]) -> Iterator[Any]:
        yield self._partition, self._files.write(runs)
