"""Scoring: each record by the model of its content's fold, counted, and kept where draws need it.

To draw, scores have to stand in an order that nothing moves: the input's. They lie in temporary files
by pages, each a stretch of records of one group of spans.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache, partial
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from transforms.datasets.read import ReadRecords, SpanReader, list_groups
from transforms.datasets.spans import Spans
from transforms.errors import RunError
from transforms.kernels.arrays import I64, U32
from transforms.kernels.likeness.folds import folds_of
from transforms.kernels.likeness.weights import Weighing, counted, joined, weigh
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import content_hashes
from transforms.likeness.model import LikeModel
from transforms.likeness.seen import parted, seen
from transforms.likeness.temporary_tables import read_table, write_tables
from transforms.shuffling.file_ranges import FileRange, write_references
from transforms.shuffling.packed import int_of, pack, require, unpack
from transforms.shuffling.spill_files import Spilling
from transforms.splitting.contents_of import HashContents, by_content, by_identity
from transforms.storage import files as storage
from transforms.workers.round_robin import GroupRoundRobin

_PAGE_RECORDS = 1 << 18  # of 36 bytes each

Counts = tuple[U32, I64]


class Scored(NamedTuple):
    """PCollections of what scoring gives.

    Attributes:
        counts: one reference to how many records have each score (``weigh_counts``).
        pages: references to pages of scores (``Page``), in any order; None where they aren't kept.
    """

    counts: Any
    pages: Any


class Page(NamedTuple):
    """Where some records' scores lie.

    Attributes:
        place: number and start of the group of spans, and the page's number in it: pages in the order of
            their places are the input in its order.
        records: how many.
        where: the table: ``score`` (uint32), ``hash0`` and ``hash1`` of the content, ``id0`` and ``id1``
            of the identity (uint64).
    """

    place: tuple[int, int, int]
    records: int
    where: FileRange

    def to_bytes(self) -> bytes:
        """Return a form that travels through a runner."""
        return pack([*self.place, self.records, *self.where])

    @classmethod
    def from_bytes(cls, data: bytes) -> Page:
        """Return what ``to_bytes`` gave; raises Malformed."""
        values = unpack(data)[0]
        require(isinstance(values, list) and len(values) == 7, "no page of scores")
        number, start, page, records = map(int_of, values[:4])
        return cls((number, start, page), records, FileRange.of(values[4:]))


@dataclass(eq=False, kw_only=True)
class ScoreRecords(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Read files and score their records: PBegin -> Scored.

    Attributes:
        reading: how files are read, with what is to be seen beside the records.
        model: a PCollection of one reference to the model, as of ``write_model``.
        contents: hashes what may not stand in train where it was drawn: the contents, or groups.
        spill: where temporary files lie.
        keep: whether pages of scores are kept, to draw by them.
    """

    reading: ReadRecords
    model: Any
    contents: HashContents = by_content
    spill: Spilling
    keep: bool = False

    def expand(self, root: Any) -> Scored:
        """List, hand out, score, count."""
        self.spill.make_folders(1)
        found = (
            root
            | "Sources" >> beam.Create([dict(self.reading.sources)])
            | "ListSpans"
            >> beam.FlatMap(list_groups, self.reading).with_output_types(tuple[int, Spans])
            | "InTurn" >> GroupRoundRobin(Spans)
            | "Score"
            >> beam.ParDo(_Score(self), beam.pvalue.AsSingleton(self.model))
            .with_output_types(bytes, pages=bytes)
            .with_outputs("pages", main="counts")
        )
        counts = found.counts | "AddUp" >> beam.CombineGlobally(_joined).with_output_types(bytes)
        return Scored(counts, found.pages if self.keep else None)


@dataclass(eq=False, kw_only=True)
class WeighScores(beam.PTransform):  # type: ignore[misc]
    """Make weights of scores: one reference to their counts -> one reference to a Weighing.

    Attributes:
        max_weight: what weights are clipped at, in terms of their mean; None for nothing.
        spill: where temporary files lie.
    """

    max_weight: Fraction | None = None
    spill: Spilling

    def expand(self, counts: Any) -> Any:
        """One small step."""
        weigh_all = partial(weigh_counts, max_weight=self.max_weight, spill=self.spill)
        return counts | "Weigh" >> beam.Map(weigh_all).with_output_types(bytes)


def write_model(model: LikeModel, folder: str) -> bytes:
    """Write a model to a temporary file of a folder; return a reference that travels."""
    (where,) = write_references(folder, lambda: [model.to_json()])
    return where.to_bytes()


@lru_cache(maxsize=2)  # several bundles of a process have it once
def read_model(reference: bytes) -> LikeModel:
    """Read what ``write_model`` wrote."""
    where = FileRange.from_bytes(reference)
    return LikeModel.of_json(bytes(where.read_checked()), what=where.url)


@lru_cache(maxsize=2)
def read_weighing(reference: bytes) -> Weighing:
    """Read a Weighing by the reference that WeighScores gives."""
    clipped, limit, mean, *where = unpack(reference)[0]
    table = read_table(FileRange.of(where))
    scores, counts, units = (blocks.column(table, name) for name in ("score", "count", "units"))
    limit = None if limit is None else Fraction(limit)
    return Weighing(scores, counts, units, clipped, limit, float.fromhex(mean))


def score_block(model: LikeModel, block: pa.RecordBatch) -> U32:
    """Return uint32[n]: scores of a block's records, each by the model that never saw its content."""
    texts, columns = parted(seen(block))
    return model.score(texts, columns, folds_of(*content_hashes(block), model.seed))


class _Score(beam.DoFn):  # type: ignore[misc]
    def __init__(self, config: ScoreRecords) -> None:
        self._config = config
        self._reader = SpanReader(config.reading)

    def setup(self) -> None:
        storage.configure(self._config.spill.storage_options)
        self._reader.setup()

    def start_bundle(self) -> None:
        self._counts: list[Counts] = []
        self._held = 0
        self._pages: list[tuple[tuple[int, int, int], pa.RecordBatch]] = []

    def process(self, element: tuple[int, Iterable[Spans]], reference: bytes) -> Iterator[Any]:
        config, model = self._config, read_model(reference)
        for spans in element[1]:
            number = 0
            waiting: list[pa.RecordBatch] = []
            rows = 0
            for origin, block in self._reader.read(spans, _ignore):
                scores = score_block(model, block)
                self._counts.append(counted(scores))
                if len(self._counts) == 64:
                    self._counts = [joined(self._counts)]
                if not config.keep:
                    continue
                contents = config.contents(origin, block)
                columns = (scores, *contents, *by_identity(origin, block))
                names = ["score", "hash0", "hash1", "id0", "id1"]
                waiting.append(pa.RecordBatch.from_arrays([*map(pa.array, columns)], names=names))
                rows += len(block)
                if rows >= _PAGE_RECORDS:
                    self._pages.append(((*spans.first(), number), blocks.join(waiting)))
                    number, self._held, rows = number + 1, self._held + rows, 0
                    yield from self._write(_PAGE_RECORDS)
            if rows:
                self._pages.append(((*spans.first(), number), blocks.join(waiting)))
                self._held += rows
                yield from self._write(_PAGE_RECORDS)

    def _write(self, least: int) -> Iterator[Any]:
        """Write the pages that wait where they have so many records."""
        if self._held < least or not self._pages:
            return
        pages, self._pages, self._held = self._pages, [], 0
        where = write_tables(self._config.spill.folders[0], lambda: (table for _, table in pages))
        for (place, table), at in zip(pages, where, strict=True):
            page = Page(place, len(table), at).to_bytes()
            yield beam.pvalue.TaggedOutput("pages", page)

    def finish_bundle(self) -> Iterator[Any]:
        for page in self._write(0):
            windowed = GlobalWindows.windowed_value(page.value)
            yield beam.pvalue.TaggedOutput("pages", windowed)
        yield GlobalWindows.windowed_value(pack_counts(joined(self._counts)))


def _ignore(_: Any) -> None:
    """What was read is reported when records are placed."""


def pack_counts(counts: Counts) -> bytes:
    """Return how many records have each score in a form that travels."""
    return pack(None, *counts)


def _counts_in(packed: bytes) -> Counts:
    scores, counts = unpack(packed, np.uint32, np.int64)[1]
    return scores, counts


def _joined(many: Iterable[bytes]) -> bytes:
    total = joined([])
    for packed in many:  # some at a time: each may have a million
        total = joined([total, _counts_in(packed)])
    return pack_counts(total)


def weigh_counts(packed: bytes, *, max_weight: Fraction | None, spill: Spilling) -> bytes:
    """Weigh what was counted; return a reference to the Weighing."""
    storage.configure(spill.storage_options)
    scores, counts = _counts_in(packed)
    if int(counts.sum()) >= 1 << 31:
        raise RunError(
            f"--like: expected fewer than {1 << 31:,} records to weigh, got "
            f"{int(counts.sum()):,}; process the input in parts"
        )
    found = weigh(scores, counts, max_weight=max_weight)
    columns = {"score": found.scores, "count": found.counts, "units": found.units}
    arrays = {name: pa.array(column) for name, column in columns.items()}
    (where,) = write_tables(spill.folders[0], lambda: [pa.record_batch(arrays)])
    limit = None if found.limit is None else str(found.limit)
    return pack([found.clipped, limit, found.mean.hex(), *where])
