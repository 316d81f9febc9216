"""A shuffle of references alone, for driver.py: the real exchange between two stand-ins.

``ShuffleWithinBuckets`` runs on FnApiRunner with worker processes as in a shuffle. In the place of
``PartitionIntoBuckets`` stands a step that emits the same tables for
runs that were never written: keys as real keys fall, cut by the real kernel into the pages of
records of one size. In the place of WriteShards stands one that opens each shard's group and counts
its records. Nothing is read or spilled; the reports of spans are left out.
"""

from __future__ import annotations

import json
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

import pipelines.shuffle as pipelines_shuffle  # what a launcher has loaded counts
from pipelines.runners.local import run_local
from pipelines.runners.worker_processes import WorkerProcesses
from transforms.kernels.planning.plan import Plan, make_plan, share_memory
from transforms.kernels.randomness import mix
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.shuffling import spill_pages
from transforms.shuffling.partition import Spilled
from transforms.shuffling.references import pack_pages, spill_url
from transforms.shuffling.shuffle import PlainShard, ShuffleWithinBuckets
from transforms.shuffling.spill_files import Spilling, end_spill
from transforms.shuffling.streams import Streams
from transforms.storage import files as storage
from transforms.workers.follow_launcher import follow_launcher

assert pipelines_shuffle


class Counted(NamedTuple):
    """What the stand-in for WriteShards reports of a shard: counts, and bytes of its references."""

    number: int
    records: int
    pages: int
    references: int


class SimulateSpills(beam.DoFn):
    """Stand-in for PartitionIntoBuckets: (number, _) -> (0, URL and table of a run never written)."""

    def __init__(
        self,
        spill: Spilling,
        *,
        buckets: int,
        records: int,
        record_bytes: int,
        launcher: int,
    ) -> None:
        self._spill, self._buckets = spill, buckets
        self._records = records
        self._record_bytes = record_bytes
        self._launcher = launcher

    def setup(self) -> None:
        follow_launcher(self._launcher)

    def process(self, element: tuple[int, Iterable[int]]) -> Iterator[tuple[int, bytes]]:
        number, count = element[0], self._records
        offsets = np.arange(count + 1, dtype=np.int64) * self._record_bytes
        untouched = np.zeros(int(offsets[-1]), np.uint8)  # address space, no memory
        record = pa.LargeBinaryArray.from_buffers(
            pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(untouched)]
        )
        keys = mix(np.arange(count, dtype=np.uint64) + np.uint64(number * count))
        keys.sort()
        run = pa.RecordBatch.from_arrays([pa.array(keys), record], names=["key", "record"])
        rows = [
            spill_pages.stream_row(
                block, blocks.block_footprint(block), stream=0, digest=Digest(), measured=0
            )
            for _, block in spill_pages.cut_run(
                run, parts=self._buckets, page_bytes=self._spill.page_bytes
            )
        ]
        url = spill_url(self._spill.folders[0], uuid.uuid4().hex)
        with storage.open_write(url) as file:
            file.seek(sum(row[2] for row in rows))  # a hole in place of the payload
            packed = end_spill(file, url, rows)
        yield 0, packed


class CountShards(beam.DoFn):
    """Stand-in for WriteShards: Shard -> Counted."""

    def process(self, shard: PlainShard) -> Iterator[Counted]:
        (piece,) = shard.pieces
        parts = piece.group._parts
        rows = sum(len(part.table) for part in parts)
        packed = len(pack_pages(parts, shard.folders))
        yield Counted(shard.number, piece.group.records, rows, packed)


def list_runs(count: int) -> Iterator[tuple[int, int]]:
    """Yield (number, 0) of each run, to be dealt out."""
    return ((number, 0) for number in range(count))


def report(
    _: None, shards: list[Counted], *, runs: int, records: int, plan: Plan, to: Path
) -> None:
    """Check that each shard came once and no record is missing; write the figures."""
    found = sum(shard.records for shard in shards)
    numbers = sorted(shard.number for shard in shards)
    if found != records * runs or numbers != list(range(plan.partitions)):
        raise ValueError(f"expected {records * runs} records in {plan.partitions} shards, {found}")
    figures = {
        "runs": runs,
        "buckets": plan.buckets,
        "shards": len(shards),
        "tables": sum(shard.pages for shard in shards) * spill_pages.TABLE.itemsize,
        "references": sum(shard.references for shard in shards),
    }
    to.write_text(json.dumps(figures))


def launch() -> None:
    """Run the simulation that the command line describes (JSON, see driver.py)."""
    wanted: dict[str, Any] = json.loads(sys.argv[1])
    size, record_bytes, folder = wanted["size"], wanted["record_bytes"], Path(wanted["folder"])
    workers = share_memory(wanted["memory"], count=wanted["workers"], processes=wanted["workers"])
    plan = make_plan(input_bytes=size, workers=workers)
    # a run holds whole blocks of chunk_bytes; each worker's last run holds what is left
    chunk = plan.chunk_bytes // record_bytes
    records = chunk * max(1, plan.run_bytes // blocks.footprint(chunk, plan.chunk_bytes))
    runs = -(-size // (records * record_bytes)) + workers.count - 1

    def build(root: beam.Pipeline) -> None:
        spill = Spilling(
            folders=[str(folder / "out" / "_tmp-0123456789ab" / "spill")],
            page_bytes=plan.page_bytes,
        )
        spill.make_folders(1)
        streams = Streams.as_one(["default"], seed=0, buckets=plan.buckets)
        stand_in = SimulateSpills(
            spill,
            buckets=plan.buckets,
            records=records,
            record_bytes=record_bytes,
            launcher=os.getpid(),
        )
        dealt = (
            root
            | "Runs" >> beam.Create([runs])
            | "ListRuns" >> beam.FlatMap(list_runs).with_output_types(tuple[int, int])
            | "DealOutRuns" >> beam.GroupByKey()
        )
        spills = dealt | "Simulate" >> beam.ParDo(stand_in).with_output_types(tuple[int, bytes])
        counted = (
            Spilled(spills, tallies=spills)
            | ShuffleWithinBuckets(streams=streams, spill=spill, ranges=plan.partitions)
            | "CountShards" >> beam.ParDo(CountShards())
        )
        _ = (
            root
            | "Once" >> beam.Create([None])
            | "Report"
            >> beam.Map(
                report,
                beam.pvalue.AsList(counted),
                runs=runs,
                records=records,
                plan=plan,
                to=folder / "figures.json",
            )
        )

    with WorkerProcesses(workers.processes, log_file=folder / "workers.log") as processes:
        run_local(build, workers=workers, processes=processes)
