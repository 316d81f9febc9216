"""What the tests of the transforms share: pipelines in this process, keyed blocks, plain oracles."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tests.transforms.kernels import oracles
from transforms.kernels.records import blocks, sorting
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.ranges import WHOLE
from transforms.shuffling.groups import BlockGroup
from transforms.shuffling.partition import PartitionIntoBuckets, Spilled
from transforms.shuffling.shuffle import PlainShard, ShuffleWithinBuckets
from transforms.shuffling.spill_files import SpillFiles, Spilling, pages_of_stream, read_tables
from transforms.shuffling.spill_pages import Page
from transforms.shuffling.streams import Streams

THREADS = {"direct_num_workers": 3, "direct_running_mode": "multi_threading"}
"""Options under which a stage's input is cut into three bundles."""

_kept: dict[str, list[Any]] = {}


class Row(NamedTuple):
    """One record as the oracles see it."""

    key: int
    record: bytes
    source: int = 0


def run(build: Callable[[Any], Any], **options: Any) -> None:
    """Run a pipeline in this process; pytest's own arguments must not become its options."""
    with beam.Pipeline(runner=FnApiRunner(), options=PipelineOptions([], **options)) as root:
        build(root)


def collect(build: Callable[[Any], Any], **options: Any) -> list[Any]:
    """Run a pipeline and return the elements of the PCollection that ``build`` makes."""
    name = uuid.uuid4().hex
    _kept[name] = []
    run(lambda root: build(root) | "Keep" >> beam.Map(_keep, name), **options)
    return _kept.pop(name)


def create(elements: Iterable[Any], *, spread: bool = False) -> Any:
    """Make a PCollection; spread over bundles where there are several, else quicker to run."""
    return beam.Create(list(elements), reshuffle=spread)


def _keep(element: Any, name: str) -> None:
    _kept[name].append(element)


def hashed(i: int) -> int:
    """Return the i-th of a fixed row of keys that lie anywhere in the 64-bit space."""
    return int.from_bytes(hashlib.sha256(b"%d" % i).digest()[:8], "big")


def make_rows(count: int, *, sources: int = 1) -> list[Row]:
    """Make records of 0 to some 60 bytes, no two alike but for the empty ones."""
    return [
        Row(hashed(i), b"" if i % 11 == 0 else b"%d " % i * (1 + i % 9), i % sources)
        for i in range(count)
    ]


def make_run(rows: Iterable[Row], *, sources: int = 1, line_end: bytes = b"\n") -> pa.RecordBatch:
    """Lay rows into one block sorted by key, with hash columns, as PartitionIntoBuckets spills it."""
    found = list(rows)
    parts = []
    for source in range(sources):
        mine = [row for row in found if row.source == source]
        block = blocks.from_records(
            [row.record for row in mine],
            np.array([row.key for row in mine], np.uint64),
            line_end=line_end,
            source=source if sources > 1 else None,
        )
        parts.append(block.set_column(0, "key", block.column(0)))
    return sorting.sort_run(parts)


def make_runs(rows: Sequence[Row], count: int, *, sources: int = 1) -> list[pa.RecordBatch]:
    """Deal rows out to ``count`` runs."""
    return [make_run(rows[i::count], sources=sources) for i in range(count)]


def rows_of(found: Iterable[pa.RecordBatch | Page]) -> list[Row]:
    """Read blocks or pages back as rows, in their order."""
    out = []
    for item in found:
        block = item.block if isinstance(item, Page) else item
        many = "source" in block.schema.names
        of = block.column("source").to_pylist() if many else [0] * len(block)
        keys = block.column("key").to_pylist()
        out += list(map(Row, keys, blocks.records(block), of))
    return out


def inside(rows: Iterable[Row], index: int, count: int) -> list[Row]:
    """Return the rows whose key lies in part ``index`` of ``count``, sorted, in plain integers."""
    return sorted(row for row in rows if row.key * count // 2**64 == index)


def size_of(rows: Sequence[Row]) -> int:
    """Return the footprint of rows: their lines, and 64 bytes each."""
    return sum(len(row.record) + 1 + 64 for row in rows)


def digests_of(rows: Iterable[Row], *, sources: int = 1) -> list[Digest]:
    """Digest rows per source, with the slow oracle."""
    out = []
    found = list(rows)
    for source in range(sources):
        mine = [row.record for row in found if row.source == source]
        sums = [sum(oracles.record_hash(record, k) for record in mine) % 2**64 for k in (0, 1)]
        out.append(Digest(len(mine), sum(map(len, mine)), *sums))
    return out


def lay_out(
    runs: Sequence[pa.RecordBatch], *, options: dict[str, Any] | None = None, **how: Any
) -> list[PlainShard]:
    """Spill runs, shuffle them as ``shuffle_runs`` does, and return the shards in order."""
    shards = collect(
        lambda root: shuffle_runs(root | create(runs, spread=bool(options)), **how),
        **(options or {}),
    )
    return sorted(shards, key=lambda shard: shard.number)


def shuffle_runs(
    runs: Any,
    *,
    ranges: int,
    folder: Any,
    buckets: int = 0,
    page_bytes: int = 2000,
    bucket_bytes: int = 1 << 20,
    sources: int = 1,
    shard_records: int | None = None,
) -> Any:
    """Spill runs of keys that somebody chose, and shuffle them: runs -> PlainShard."""
    spill = Spilling(folders=[str(folder)], page_bytes=page_bytes)
    spill.make_folders(1)
    names = [f"s{i}" for i in range(sources)]
    streams = Streams.as_one(names, seed=0, buckets=buckets or ranges, bucket_bytes=bucket_bytes)
    shuffle = ShuffleWithinBuckets(
        streams=streams, spill=spill, ranges=ranges, shard_records=shard_records
    )

    spills = runs | "Spill" >> beam.Map(_spill, streams, spill).with_output_types(tuple[int, bytes])
    return Spilled(spills, tallies=spills) | shuffle  # which looks at no tallies


def shuffle_blocks(
    located: Any,
    *,
    folder: Any,
    shards: int,
    seed: int = 0,
    sources: Sequence[str] = ("default",),
    shard_records: int | None = None,
) -> Any:
    """Shuffle blocks of records as one: (FileId, block) -> PlainShard."""
    spill = Spilling(folders=[str(folder)])
    streams = Streams.as_one(sources, seed=seed, buckets=shards)
    return (
        located
        | PartitionIntoBuckets(streams=streams, spill=spill)
        | ShuffleWithinBuckets(
            streams=streams, spill=spill, ranges=shards, shard_records=shard_records
        )
    )


def _spill(run: pa.RecordBatch, streams: Streams, spill: Spilling) -> tuple[int, bytes]:
    return 0, SpillFiles(spill, streams.buckets, sources=streams.digests).write({0: run})


def partition(
    folder: Any, *, seed: int = 0, epoch: int = 0, sources: Sequence[str] = ("s",), **how: Any
) -> PartitionIntoBuckets:
    """Return what spills blocks of some sources as one, uncut; ``how`` as of Spilling."""
    return PartitionIntoBuckets(
        streams=Streams.as_one(sources, seed=seed, epoch=epoch),
        spill=Spilling(folders=[str(folder)], **how),
    )


def spilled_rows(spill: tuple[int, bytes]) -> list[Row]:
    """Read the records of one spill file back, in their order."""
    pages = pages_of_stream(read_tables([spill[1]]), 0)
    return rows_of(BlockGroup(pages).fetch(WHOLE))


def groups_of(shards: Iterable[PlainShard]) -> dict[int, BlockGroup]:
    """Return what each shard, a range of keys, is made of."""
    return {shard.number: piece.group for shard in shards for piece in shard.pieces}


def plain_lines(data: bytes, *, separator: int = 10, begin: int = 0) -> list[tuple[int, bytes]]:
    """Return (position, line) of each line from ``begin`` on, by splitting the bytes."""
    lines = data[begin:].split(bytes([separator]))
    if lines[-1] == b"":
        lines.pop()
    places = accumulate((len(line) + 1 for line in lines), initial=begin)
    return list(zip(places, lines, strict=False))
