"""Hash-bucketed random partitioning: blocks to sorted runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.identity import Origin
from transforms.errors import LosslessError
from transforms.kernels.records import blocks
from transforms.kernels.records.ranges import WHOLE
from transforms.shuffling.groups import BlockGroup, require_intact
from transforms.storage import files as storage
from transforms.workers.budget import Place
from transforms.workers.progress import Progress, Watched


@dataclass(eq=False, kw_only=True)
class PartitionIntoBuckets(beam.PTransform):  # type: ignore[misc]
    """Give records their keys and gather sorted runs: (FileId, block) -> block sorted by key.

    A run, cut at the buckets' boundaries, is one segment a bucket: the exchange does the cutting.

    Attributes:
        seed, epoch: of the dataset.
        run_bytes: footprint at which a run is handed on.
        run_id, places: whose budget this is, and how many bundles of a process hold payload.
        progress: where to count, as of ``transforms.workers.progress``, if somebody watches.
    """

    seed: int
    epoch: int = 0
    run_bytes: int = 64 << 20
    run_id: str = ""
    places: int = 1
    progress: Watched = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, located: Any) -> Any:
        """One step: key, gather, sort."""
        return located | "SortRuns" >> beam.ParDo(_SortRuns(self)).with_output_types(pa.RecordBatch)


@dataclass(eq=False, kw_only=True)
class PartitionAgain(beam.PTransform):  # type: ignore[misc]
    """Gather what a first level has grouped into runs anew: (partition, group) -> (partition, run).

    The second of two levels. A run, a sorted block, holds records of one partition only, so that the
    next exchange cuts it at this partition's buckets alone, and segments are larger by as many times
    as there are partitions.

    Attributes:
        run_bytes, run_id, places, progress: as of PartitionIntoBuckets.
        name: says which partition it is, where something is wrong with one.
        release: give a group's spill space back once its runs are handed on; only where the next step
            has spilled them by then, and the runner never runs a step a second time.
        storage_options: of fsspec, for the stores; None leaves them as they are.
    """

    name: Callable[[Any], str] = "partition {}".format
    run_bytes: int = 64 << 20
    run_id: str = ""
    places: int = 1
    release: bool = False
    storage_options: dict[str, Any] | None = None
    progress: Watched = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, groups: Any) -> Any:
        """One step: read, prove, gather, sort."""
        return groups | "SortRuns" >> beam.ParDo(_SortAgain(self)).with_output_types(
            tuple[Any, pa.RecordBatch]
        )


class _GatherRuns(beam.DoFn):  # type: ignore[misc]
    """Gathers keyed blocks to sorted runs of a bounded size."""

    def __init__(self, config: PartitionIntoBuckets | PartitionAgain) -> None:
        self._config: Any = config

    def setup(self) -> None:
        self._place = Place(self._config.run_id, self._config.places)
        self._progress = Progress.open(self._config.progress)
        self._blocks: list[pa.RecordBatch] = []
        self._gathered = 0

    def start_bundle(self) -> None:
        self.teardown()
        self._blocks.clear()
        self._gathered = 0

    def teardown(self) -> None:
        self._place.leave()

    def finish_bundle(self) -> Iterator[Any]:
        for run in self._rest():
            yield GlobalWindows.windowed_value(run)
        self._place.leave()

    def _add(self, block: pa.RecordBatch, cost: int) -> Iterator[pa.RecordBatch]:
        """Take a block in; yield the run of those before it where it doesn't fit in."""
        if self._gathered + cost > self._config.run_bytes:
            yield from self._rest()
        self._blocks.append(block)
        self._gathered += cost

    def _rest(self) -> Iterator[pa.RecordBatch]:
        if self._blocks:
            self._gathered = 0
            with self._progress.doing("sorting a run"):
                run = blocks.sort_run(self._blocks)
            yield run

    def _wait(self) -> None:
        with self._progress.doing("waiting for memory"):
            self._place.take()


class _SortRuns(_GatherRuns):
    def process(self, element: tuple[Origin, pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        file, block = element
        pair = file.key(seed=self._config.seed, epoch=self._config.epoch, pass_number=0)
        self._wait()
        keyed = blocks.with_keys(block, pair)
        yield from self._add(keyed, blocks.block_footprint(block))


class _SortAgain(_GatherRuns):
    def setup(self) -> None:
        super().setup()
        storage.configure(self._config.storage_options)

    def process(self, element: tuple[Any, BlockGroup]) -> Iterator[tuple[Any, pa.RecordBatch]]:
        partition, group = element
        self._wait()
        found = 0
        for page in group.fetch(WHOLE):
            block = blocks.with_hashes(page.block)
            require_intact(block, page.digests)
            found += len(block)
            for run in self._add(block, blocks.block_footprint(block)):
                yield partition, run
        for run in self._rest():  # one of two partitions would be cut at the buckets of both
            yield partition, run
        if found != group.records:
            raise LosslessError(
                f"{self._config.name(partition)}: {group.records} records were spilled, {found} are "
                "there; check memory and disk, then run again"
            )
        if self._config.release:
            group.release()
