"""Mapping files to shards in the input's order: read, change block by block, write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms import storage
from transforms.deal import DealOut
from transforms.errors import DataError
from transforms.gather import Ordered
from transforms.kernels import blocks
from transforms.kernels.digest import Digest
from transforms.listing import fingerprint, list_sources
from transforms.read import FileId, ReadRecords, Span, SpanReader, cut_spans
from transforms.reports import Mapped, SpanReport
from transforms.token_counts import TokenCounts
from transforms.write import ShardWriter, WriteShards


class Work(Protocol):
    """What is done to a block: as many records come out as go in, in the same places."""

    def __call__(self, file: FileId, block: pa.RecordBatch) -> tuple[pa.RecordBatch, TokenCounts]:
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

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, root: Any) -> Any:
        """List, deal out, do the work."""
        return (
            root
            | "Sources" >> beam.Create([dict(self.reading.sources)])
            | "ListShards" >> beam.FlatMap(_list_shards, self).with_output_types(tuple[int, Any])
            | "DealOut" >> DealOut(Any)
            | "Map" >> beam.ParDo(_Map(self)).with_outputs("spans", "mapped", main="shards")
        )


def deal_spans(spans: Sequence[Span], shards: int) -> list[list[Span]]:
    """Cut a row of spans into so many shards, about equal in bytes; at least one span in each."""
    shards = min(shards, len(spans))
    total = sum(span.stop - span.start for span in spans)
    out: list[list[Span]] = [[] for _ in range(shards)]
    begin = number = 0
    for place, span in enumerate(spans):
        after = len(spans) - place  # that are still to be dealt out
        ahead = number + 1 < shards and begin * shards >= total * (number + 1)
        if out[number] and (ahead or after <= shards - number - 1):
            number += 1
        out[number].append(span)
        begin += span.stop - span.start
    return out


def _list_shards(
    sources: Mapping[str, Sequence[str]], config: MapIntoShards
) -> Iterator[tuple[int, tuple[int, list[Span]]]]:
    reading = config.reading
    storage.configure(reading.storage_options)
    files = list_sources(sources, extensions=reading.extensions, apart=reading.output)
    if reading.expected is not None and fingerprint(files) != reading.expected:
        raise DataError(
            "the input files changed between planning and reading: a file came, went, or was "
            "written to; run again when nothing writes to them"
        )
    spans = list(cut_spans(files, reading.span_bytes, reading.options))
    dealt = deal_spans(spans, config.shards) or [[]]
    for number, mine in enumerate(dealt):
        yield number, (len(dealt), mine)


@dataclass(frozen=True)
class _MappedShard:
    """A shard whose records come of spans; what was read is known when it has been walked."""

    number: int
    of: int
    spans: list[Span]
    reader: SpanReader
    work: Work
    reports: list[SpanReport] = field(default_factory=list)
    mapped: list[Mapped] = field(default_factory=list)

    def ordered(self, *, limit: int, sources: int) -> Iterator[Ordered]:
        """Yield blocks in order, with what they have to be when they are written."""
        self.reports.clear()
        self.mapped.clear()
        index = {name: i for i, name in enumerate(sorted(self.reader.sources))}
        for span in self.spans:
            read = written = Digest()
            counts = TokenCounts()
            for file, block in self.reader.read(span, self.reports.append):
                made, found = self.work(file, block)
                if len(made) != len(block):
                    raise DataError(f"{span.file.url}: {len(block)} records became {len(made)}")
                counts += found
                read += Digest.total(blocks.digests(blocks.without_source(block), sources=1))
                digest = blocks.digests(made, sources=1)[0]
                written += digest
                expected = [Digest()] * sources
                expected[index[span.file.source]] = digest
                yield Ordered(_of_source(made, index, span.file.source), expected)
            self.mapped.append(Mapped(span.file, read, written, counts))

    def unused(self, *, sources: int) -> list[Digest]:
        """Return no digests: every record is used."""
        return [Digest()] * sources

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

    def process(self, element: tuple[int, Iterable[tuple[int, list[Span]]]]) -> Iterator[Any]:
        number, found = element
        ((of, spans),) = found
        shard = _MappedShard(number, of, spans, self._reader, self._config.work)
        yield self._writer.write(shard)
        yield from (beam.pvalue.TaggedOutput("spans", report) for report in shard.reports)
        yield from (beam.pvalue.TaggedOutput("mapped", mapped) for mapped in shard.mapped)
