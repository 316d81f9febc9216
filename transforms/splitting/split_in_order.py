"""Splitting in the input's order: one reading, each split's records in shards of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.datasets.map_shards import cut_shards, list_shards
from transforms.datasets.read import ReadRecords, SpanReader
from transforms.datasets.reports import ShardReport, SpanReports
from transforms.datasets.spans import Spans, group_spans
from transforms.datasets.write import Ordered, ShardWriter, WriteShards
from transforms.kernels.planning.plan import SHARD_BYTES, count_shards
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.shuffling.file_ranges import FileRange
from transforms.shuffling.packed import pack, unpack
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.aside import AsideWriter, read_aside
from transforms.splitting.placed import Placed, Tally
from transforms.splitting.placing import Placing
from transforms.workers.round_robin import GroupRoundRobin


class LaidDown(NamedTuple):
    """PCollections of what laying splits down gives.

    Attributes:
        shards: (split, ShardReport).
        spans: SpanReports.
        placed: Placed, several for each split and source.
    """

    shards: Any
    spans: Any
    placed: Any


@dataclass(eq=False, kw_only=True)
class SplitInOrder(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Read files, place their records, write the splits in order: PBegin -> LaidDown.

    A unit is some spans, one after another. What it has of the largest split is a shard, written while
    it is read; what it has of others is laid aside, and joined to shards once all is read. So what a
    shard holds depends on the files, the units and the sizes of splits alone.

    Attributes:
        reading: how files are read.
        placing: where records go; its ``names`` are the splits.
        told: a PCollection of the one value that ``placing`` is told; None for none.
        writing: how shards of each split are written.
        largest: the split whose records are written at once.
        units: how many; fewer where there are fewer spans.
        shard_bytes: of a shard of the other splits, about; their number is rounded as ``count_shards``
            has it.
        spill: where files are laid aside.
    """

    reading: ReadRecords
    placing: Placing
    told: Any = None
    writing: Mapping[str, WriteShards]
    largest: str
    units: int
    shard_bytes: int = SHARD_BYTES
    spill: Spilling

    def expand(self, root: Any) -> LaidDown:
        """List, hand out, write the largest, join what was laid aside."""
        self.spill.make_folders(1)
        told = [] if self.told is None else [beam.pvalue.AsSingleton(self.told)]
        found = (
            root
            | "Sources" >> beam.Create([dict(self.reading.sources)])
            | "ListUnits"
            >> beam.FlatMap(list_shards, self.reading, self.units).with_output_types(
                tuple[int, tuple[int, Spans]]
            )
            | "InTurn" >> GroupRoundRobin(tuple[int, Spans])
            | "SplitUnits"
            >> beam.ParDo(_SplitUnit(self), *told)
            .with_output_types(
                tuple[str, ShardReport], spans=SpanReports, placed=Placed, aside=bytes
            )
            .with_outputs("spans", "placed", "aside", main="shards")
        )
        shards = [found.shards]
        if len(self.placing.names) > 1:
            shards.append(
                root
                | "Once" >> beam.Create([None])
                | "CutAside"
                >> beam.FlatMap(
                    _cut_aside, beam.pvalue.AsIter(found.aside), self
                ).with_output_types(tuple[int, bytes])
                | "AsideInTurn" >> GroupRoundRobin(bytes)
                | "WriteAside"
                >> beam.ParDo(_WriteAside(self)).with_output_types(tuple[str, ShardReport])
            )
        return LaidDown(tuple(shards) | "Shards" >> beam.Flatten(), found.spans, found.placed)


@dataclass(eq=False)
class _Unit:
    """One unit: the shard of the largest split, and on the way what is laid aside."""

    number: int
    of: int
    spans: list[Spans]
    told: Any
    config: SplitInOrder
    reader: SpanReader
    folder: str
    reports: list[SpanReports] = field(default_factory=list)
    tally: Tally = field(init=False)
    aside: bytes = b""

    def ordered(self) -> Iterator[Ordered]:
        """Yield the largest split's blocks in order, with what they have to be when written."""
        config = self.config
        names = config.placing.names
        largest = names.index(config.largest)
        index = {name: i for i, name in enumerate(sorted(self.reader.sources))}
        self.reports.clear()
        self.tally = Tally(names)
        with AsideWriter(self.folder, sources=len(index)) as aside:
            for group in (group for spans in self.spans for group in group_spans(spans)):
                for origin, block in self.reader.read(group, self.reports.append):
                    for part in config.placing.place(origin, block, self.told):
                        made = self.tally.add(part)
                        if part.block is None:
                            continue
                        number = index[group.source]
                        mine = _of_source(part.block, number, len(index))
                        if part.split != largest:
                            aside.add(part.split, mine)
                            continue
                        expected = [Digest()] * len(index)
                        expected[number] = made
                        yield Ordered(mine, expected)
            where = aside.close()
        self.aside = pack([self.number, where, aside.sizes(len(names))])

    def unused(self) -> list[Digest]:
        """Return no digests: what is left out is reported by itself."""
        return []

    def release(self) -> None:
        """Nothing is held."""


def _of_source(block: pa.RecordBatch, number: int, sources: int) -> pa.RecordBatch:
    if sources == 1 or "source" in block.schema.names:
        return block
    return blocks.with_source(block, np.full(len(block), number, np.uint16))


class _SplitUnit(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: SplitInOrder) -> None:
        self._config = config
        self._writer = ShardWriter(config.writing[config.largest])
        self._reader = SpanReader(config.reading)

    def setup(self) -> None:
        self._writer.setup()
        self._reader.setup()
        self._turn = os.getpid()  # workers begin with different folders

    def process(
        self, element: tuple[int, Iterable[tuple[int, Spans]]], told: Any = None
    ) -> Iterator[Any]:
        number, found = element
        several = list(found)
        config, folders = self._config, self._config.spill.folders
        self._turn += 1
        unit = _Unit(
            number,
            several[0][0],
            sorted((spans for _, spans in several), key=Spans.first),
            told,
            config,
            self._reader,
            folders[self._turn % len(folders)],
        )
        yield config.largest, self._writer.write(unit)
        yield from (beam.pvalue.TaggedOutput("spans", report) for report in unit.reports)
        yield from (beam.pvalue.TaggedOutput("placed", placed) for placed in unit.tally)
        yield beam.pvalue.TaggedOutput("aside", unit.aside)


def _cut_aside(
    _: None, aside: Iterable[bytes], config: SplitInOrder
) -> Iterator[tuple[int, bytes]]:
    """Yield which files, in order, each shard of each smaller split is made of."""
    units = sorted(unpack(packed)[0] for packed in aside)
    key = 0
    for split, name in enumerate(config.placing.names):
        if name == config.largest:
            continue
        sizes = [unit[2][split] for unit in units]
        asked = count_shards(sum(sizes), config.shard_bytes)
        edges = cut_shards(sizes, asked)
        of = len(edges) - 1
        for number in range(of):
            files = [where for _, where, _ in units[edges[number] : edges[number + 1]]]
            yield key, pack([split, number, of, files])
            key += 1


@dataclass(frozen=True)
class _AsideShard:
    """A shard of a smaller split: what some units have laid aside of it."""

    split: int
    number: int
    of: int
    files: list[FileRange]

    def ordered(self) -> Iterator[Ordered]:
        for where in self.files:
            yield from read_aside(where, self.split)

    def unused(self) -> list[Digest]:
        return []

    def release(self) -> None:
        """The run's temporary files go together."""


class _WriteAside(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: SplitInOrder) -> None:
        self._names = config.placing.names
        self._writers = {
            name: ShardWriter(config.writing[name])
            for name in self._names
            if name != config.largest
        }

    def setup(self) -> None:
        for writer in self._writers.values():
            writer.setup()

    def process(self, element: tuple[int, Iterable[bytes]]) -> Iterator[tuple[str, ShardReport]]:
        for packed in element[1]:
            split, number, of, files = unpack(packed)[0]
            shard = _AsideShard(split, number, of, [FileRange.of(where) for where in files])
            name = self._names[split]
            yield name, self._writers[name].write(shard)
