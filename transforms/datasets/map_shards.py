"""Mapping files to shards in the input's order: read, change block by block, write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.datasets.identity import Origin
from transforms.datasets.read import ReadRecords, SpanReader, list_spans
from transforms.datasets.reports import Mapped, ShardReport, SpanReports, add_up
from transforms.datasets.spans import Spans, group_spans
from transforms.datasets.token_counts import TokenCounts
from transforms.datasets.write import Ordered, ShardWriter, WriteShards
from transforms.errors import DataError
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest
from transforms.workers.round_robin import GroupRoundRobin


class Work(Protocol):
    """What is done to a block: as many records come out as go in, in the same places."""

    def __call__(self, file: Origin, block: pa.RecordBatch) -> tuple[pa.RecordBatch, TokenCounts]:
        """Return the block that comes of a block, and what there was to count."""


@dataclass(eq=False, kw_only=True)
class MapIntoShards(beam.PTransform):  # type: ignore[misc]
    """Read files, change their records and write them in order: PBegin -> (shards, spans, mapped).

    The shards' names in order give the input's order: sources by name, files by name, records as they
    lie. A shard is some spans, one after another, so what it holds depends on the files and on how
    many shards there are alone.

    Attributes:
        reading: how files are read.
        work: what is done.
        writing: how shards are written.
        shards: how many; fewer where there are fewer spans.
    """

    reading: ReadRecords
    work: Work
    writing: WriteShards
    shards: int

    def expand(self, root: Any) -> Any:
        """List, hand out, do the work."""
        return (
            root
            | "Sources" >> beam.Create([dict(self.reading.sources)])
            | "ListShards"
            >> beam.FlatMap(list_shards, self.reading, self.shards).with_output_types(
                tuple[int, tuple[int, Spans]]
            )
            | "InTurn" >> GroupRoundRobin(tuple[int, Spans])
            | "Map"
            >> beam.ParDo(_Map(self))
            .with_output_types(ShardReport, spans=SpanReports, mapped=Mapped)
            .with_outputs("spans", "mapped", main="shards")
        )


def cut_shards(sizes: Sequence[int], shards: int) -> list[int]:
    """Cut a row of spans into so many shards, about equal in bytes; at least one span in each.

    Args:
        sizes: of the spans, in bytes.
        shards: how many; fewer where there are fewer spans.

    Returns:
        Where each shard begins, and the end of the last one: ``[0, len(sizes)]`` for one.
    """
    count = len(sizes)
    shards = min(shards, count)
    total = sum(sizes)
    edges = [0]
    before = 0
    for place, size in enumerate(sizes):
        number = len(edges) - 1
        ahead = number + 1 < shards and before * shards >= total * (number + 1)
        if place > edges[-1] and (ahead or count - place <= shards - number - 1):
            edges.append(place)
        before += size
    return [*edges, count]


def list_shards(
    sources: Mapping[str, Sequence[str]], reading: ReadRecords, shards: int
) -> Iterator[tuple[int, tuple[int, Spans]]]:
    """Yield (shard, (how many there are, spans of it)), some spans at a time, and in any case one.

    Args:
        sources: patterns by source name.
        reading: how files are listed and cut.
        shards: how many at most, as of MapIntoShards.
    """
    cut = list_spans(sources, reading)
    sizes = [size for spans in cut() for size in spans.sizes.tolist()]
    edges = cut_shards(sizes, shards)
    of = len(edges) - 1
    if not sizes:
        yield 0, (1, Spans.of([]))
    begin = number = 0
    for spans in cut():
        place = 0
        while place < len(spans):
            while edges[number + 1] <= begin + place:
                number += 1
            stop = min(len(spans), edges[number + 1] - begin)
            yield number, (of, Spans(spans.table.slice(place, stop - place)))
            place = stop
        begin += len(spans)


@dataclass(frozen=True)
class _MappedShard:
    """A shard whose records come of spans; what was read is known when it has been walked.

    ``spans`` are in order.
    """

    number: int
    of: int
    spans: list[Spans]
    reader: SpanReader
    work: Work
    reports: list[SpanReports] = field(default_factory=list)
    mapped: list[Mapped] = field(default_factory=list)

    def ordered(self) -> Iterator[Ordered]:
        """Yield blocks in order, with what they have to be when they are written."""
        self.reports.clear()
        self.mapped.clear()
        index = {name: i for i, name in enumerate(sorted(self.reader.sources))}
        for group in (group for spans in self.spans for group in group_spans(spans)):
            source = group.source
            read = written = Digest()
            counts = TokenCounts()
            for file, block in self.reader.read(group, self.reports.append):
                made, found = self.work(file, block)
                if len(made) != len(block):
                    raise DataError(
                        f"{file.name_of(0)} of source {source}: expected one record for each "
                        f"of {len(block):,}, the transform returned {len(made):,}"
                    )
                counts += found
                self.reader.count_tokens(found.tokens)
                read += Digest.total(blocks.digests(blocks.without_source(block), sources=1))
                digest = blocks.digests(made, sources=1)[0]
                written += digest
                expected = [Digest()] * len(index)
                expected[index[source]] = digest
                yield Ordered(_of_source(made, index, source), expected)
            self.mapped.append(Mapped(source, read, written, counts))

    def unused(self) -> list[Digest]:
        """Return no digests: every record is used."""
        return []

    def release(self) -> None:
        """Nothing is held."""


def _of_source(block: pa.RecordBatch, index: Mapping[str, int], name: str) -> pa.RecordBatch:
    if len(index) == 1:
        return block
    return blocks.with_source(block, np.full(len(block), index[name], np.uint16))


class _Map(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: MapIntoShards) -> None:
        self._config = config
        self._writer = ShardWriter(config.writing)
        self._reader = SpanReader(config.reading)

    def setup(self) -> None:
        self._writer.setup()
        self._reader.setup()

    def process(self, element: tuple[int, Iterable[tuple[int, Spans]]]) -> Iterator[Any]:
        number, found = element
        several = list(found)
        spans = sorted((spans for _, spans in several), key=Spans.first)
        shard = _MappedShard(number, several[0][0], spans, self._reader, self._config.work)
        yield self._writer.write(shard)
        yield from (beam.pvalue.TaggedOutput("spans", report) for report in shard.reports)
        yield from (beam.pvalue.TaggedOutput("mapped", mapped) for mapped in add_up(shard.mapped))
