"""Hash-bucketed random partitioning: blocks to sorted runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.budget import Place
from transforms.kernels import blocks
from transforms.kernels.randomness import file_key
from transforms.progress import Progress, Watched
from transforms.read import FileId


@dataclass(eq=False, kw_only=True)
class PartitionIntoBuckets(beam.PTransform):  # type: ignore[misc]
    """Give records their keys and gather sorted runs: (FileId, block) -> block sorted by key.

    A run, cut at the buckets' boundaries, is one segment a bucket: the exchange does the cutting.

    Attributes:
        seed, epoch: of the dataset.
        run_bytes: footprint at which a run is handed on.
        run_id, places: whose budget this is, and how many bundles of a process hold payload.
        progress: where to count, as of ``transforms.progress``, if somebody watches.
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


class _SortRuns(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: PartitionIntoBuckets) -> None:
        self._config = config

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

    def process(self, element: tuple[FileId, pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        file, block = element
        pair = file_key(
            seed=self._config.seed,
            epoch=self._config.epoch,
            source=file.source,
            pass_number=0,
            file_name=file.name,
        )
        with self._progress.doing("waiting for memory"):
            self._place.take()
        cost = blocks.block_footprint(block)
        if self._blocks and self._gathered + cost > self._config.run_bytes:
            yield self._run()
        self._blocks.append(blocks.with_keys(block, pair))
        self._gathered += cost

    def finish_bundle(self) -> Iterator[Any]:
        if self._blocks:
            yield GlobalWindows.windowed_value(self._run())
        self._place.leave()

    def _run(self) -> pa.RecordBatch:
        self._gathered = 0
        with self._progress.doing("sorting a run"):
            return blocks.sort_run(self._blocks)
