"""Packing a part: its windows are counted by all workers, then it is known where its rows end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import numpy as np

from transforms.errors import LosslessError, RunError
from transforms.kernels.arrays import offsets_of
from transforms.kernels.packing.counts import Counts, count_pieces, count_window
from transforms.kernels.packing.enough import fillings_of
from transforms.kernels.packing.rows import Packing
from transforms.packing.document_files import DocumentFile, DocumentIndex
from transforms.packing.laid import PackedPart
from transforms.packing.lay_documents import LaidChunk
from transforms.packing.parts import Part, PartKey, window_groups
from transforms.storage import files as storage
from transforms.workers.round_robin import GroupRoundRobin

_TOO_FEW = (
    "fewer of them, or none, got into rows than estimated; pass a longer --sequence_length, or "
    "--long=split, so that fewer are cut off or dropped"
)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Where a split ends at the latest.

    Attributes:
        rows: at most.
        multiple: rows end at a multiple of it.
    """

    rows: int | None = None
    multiple: int | None = None

    def rows_left(self, begun: Begun) -> int | None:
        """Return how many rows the split may have yet; None for any number."""
        return None if self.rows is None else max(self.rows - begun.rows, 0)


@dataclass(frozen=True)
class Begun:
    """What is packed of a split already: its parts, in order, and where they end.

    Attributes:
        parts: with their windows.
        records: how many records of the mixture each part used.
    """

    parts: tuple[PackedPart, ...] = ()
    records: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows."""
        return sum(part.rows for part in self.parts)

    @property
    def tokens(self) -> int:
        """Tokens of all documents that are used."""
        return sum(part.tokens for part in self.parts)


@dataclass(eq=False, kw_only=True)
class PackDocuments(beam.PTransform):  # type: ignore[misc]
    """Pack one part: (PCollection of LaidChunk, of one Begun) -> of one Begun, with the part.

    Attributes:
        packing: how.
        key: what keys it.
        rows: where the part ends at the latest, None for where its documents do.
        endless: whether sources are repeated until these rows are there, so that fewer are an error.
        budget: where the split does.
        storage_options: of fsspec, for the stores; None leaves them as they are.
    """

    packing: Packing
    key: PartKey
    rows: int | None = None
    endless: bool = False
    budget: Budget = field(default_factory=Budget)
    storage_options: dict[str, Any] | None = None

    def expand(self, inputs: tuple[Any, Any]) -> Any:
        """Cut into windows, count each, and find the end."""
        chunks, begun = inputs
        once = chunks.pipeline | "Once" >> beam.Create([None])
        part = once | "CutWindows" >> beam.Map(
            self._cut, beam.pvalue.AsList(chunks), beam.pvalue.AsSingleton(begun)
        )
        counts = (
            part
            | "ListWindows" >> beam.FlatMap(_list_windows).with_output_types(tuple[int, Any])
            | "InTurn" >> GroupRoundRobin(Any)
            | "CountWindows" >> beam.FlatMap(self._count, beam.pvalue.AsSingleton(part))
        )
        return once | "FindRows" >> beam.Map(
            self._end,
            beam.pvalue.AsSingleton(part),
            beam.pvalue.AsList(counts),
            beam.pvalue.AsSingleton(begun),
        )

    def _cut(self, _: None, chunks: list[LaidChunk], begun: Begun) -> Part:
        storage.configure(self.storage_options)
        files = files_of(chunks)
        documents = sum(file.documents for file in files)
        part = Part(files, documents=documents, packing=self.packing, key=self.key)
        most = [n for n in (self.rows, self.budget.rows_left(begun)) if n is not None]
        if most and self.packing.is_joined and not self.packing.is_lossless:
            # how many were laid down was estimated, and a window's rows depend on all its documents
            documents = documents_filling(part.index, min(most), self.packing)
            part = Part(files, documents=documents, packing=self.packing, key=self.key)
        return part

    def _count(
        self, numbered: tuple[int, Iterable[range]], part: Part
    ) -> Iterator[tuple[int, Counts]]:
        storage.configure(self.storage_options)
        for windows in numbered[1]:
            for number in windows:
                yield number, count_one(part, number)

    def _end(self, _: None, part: Part, counts: list[tuple[int, Counts]], begun: Begun) -> Begun:
        storage.configure(self.storage_options)
        packed = packed_part(part, in_order(part, counts))
        most = [n for n in (self.rows, self.budget.rows_left(begun)) if n is not None]
        if most and min(most) < packed.rows:
            packed = cut_part(packed, min(most))
        if self.endless and self.rows is not None and packed.rows < min(most):
            raise RunError(
                f"stage {self.key.stage + 1}, until rows: expected {min(most):,} rows, the "
                f"documents fill {packed.rows:,}; {_TOO_FEW}"
            )
        return Begun((*begun.parts, packed), (*begun.records, packed.part.documents))


def documents_filling(index: DocumentIndex, rows: int, packing: Packing) -> int:
    """Return how many documents, from the first on, surely make so many rows; all where none do."""
    wanted, before = rows * packing.most, 0
    for lengths in index.walk_lengths(0, index.documents):
        sums = np.cumsum(fillings_of(lengths, packing))
        if sums[-1] >= wanted:
            return before + int(np.searchsorted(sums, wanted)) + 1
        wanted, before = wanted - int(sums[-1]), before + len(lengths)
    return index.documents


def _list_windows(part: Part) -> Iterator[tuple[int, range]]:
    yield from enumerate(window_groups(part))


def count_one(part: Part, number: int) -> Counts:
    """Count one window, of lengths alone."""
    window, lengths = part.lengths(number)
    with part.naming_long(window):
        return count_window(
            lengths,
            part.packing,
            key=part.key.of_window(number),
            first=window.first,
            last=window.last,
        )


def files_of(chunks: Sequence[LaidChunk]) -> list[DocumentFile]:
    """Return the document files of all chunks, in order.

    Raises:
        LosslessError: one is missing, or there twice.
    """
    found = sorted(chunks, key=lambda chunk: chunk.number)
    of = found[0].of if found else 1  # where there are no documents there is one chunk
    if [chunk.number for chunk in found] != list(range(of)):
        raise LosslessError(
            f"expected chunks 0 to {of - 1} of documents in order, got {len(found)} of them, or "
            "some twice: a bug in the runner; run again, and report it"
        )
    return [chunk.file for chunk in found]


def in_order(part: Part, counts: Sequence[tuple[int, Counts]]) -> list[Counts]:
    """Return the counts of all windows of a part, from (number, counts).

    Raises:
        LosslessError: one is missing, or there twice.
    """
    found = sorted(counts, key=lambda pair: pair[0])
    if [number for number, _ in found] != list(range(part.windows)):
        raise LosslessError(
            f"{part.key.split}: expected counts of windows 0 to {part.windows - 1}, got "
            f"{len(found)} of them, or some twice: a bug in the runner; run again, and report it"
        )
    return [one for _, one in found]


def packed_part(part: Part, counts: Sequence[Counts]) -> PackedPart:
    """Put a part and the counts of its windows together."""
    rows, ids, filler = (
        offsets_of([getattr(found, name) for found in counts]) for name in ("rows", "ids", "filler")
    )
    return PackedPart(part, rows, ids, filler, int(rows[-1]), tuple(counts))


def cut_part(packed: PackedPart, rows: int) -> PackedPart:
    """Return a part that ends after so many rows, with the documents that have ids in them, or might.

    Rows of ``best_fit`` are in no order of documents: all those of the last window stay.
    """
    part = packed.part
    if rows >= packed.rows:
        return packed
    if not rows:
        return empty_part(packed)
    last = int(np.searchsorted(packed.rows_before, rows, side="left")) - 1  # holds the last row
    if part.packing.kind == "concat":
        place = part.place_of_row(last, rows - int(packed.rows_before[last]))
        documents, _ = part.index.first_from(place)
    else:
        window, _, pieces = part.pieces(last)
        documents = window.end
        if part.packing.kind != "best_fit":  # a document a row, in order
            piece = int(pieces.row_offsets[rows - int(packed.rows_before[last])]) - 1
            documents = window.begin + int(pieces.document[piece]) + 1
        place = part.index.place_of(documents)
    shorter = Part(
        part.files,
        documents=documents,
        packing=part.packing,
        key=part.key,
        starts=np.append(part.starts[: last + 1], place),
    )
    counts = [*packed.counts[:last], count_one(shorter, last)]
    cut = packed_part(shorter, counts)
    if cut.rows > rows:  # of a window that is packed whole
        _, lengths, pieces = shorter.pieces(last)
        used = count_pieces(lengths, pieces, part.packing, rows - int(cut.rows_before[last]))
        cut = replace(cut, rows=rows, used_of_last=used)
    return cut


def empty_part(packed: PackedPart) -> PackedPart:
    """Return a part that has no documents, and so no rows."""
    part = packed.part
    none = np.zeros(1, np.int64)
    nothing = Part(part.files, documents=0, packing=part.packing, key=part.key, starts=none)
    return packed_part(nothing, [])


def end_split(begun: Begun, budget: Budget) -> Begun:
    """Return the parts with rows that end at a multiple, where one is asked for.

    Raises:
        RunError: there are fewer rows than were asked for.
    """
    rows = begun.rows
    if budget.rows is not None and rows < budget.rows:
        raise RunError(
            f"--rows={budget.rows}: expected {budget.rows:,} rows, the documents fill {rows:,}; "
            "pass --weights or --repeats, so that sources repeat, or fewer --rows. If "
            "--max_tokens or --max_records ends train earlier, raise it"
        )
    if budget.multiple is None or rows % budget.multiple == 0:
        return begun
    left = rows - rows % budget.multiple
    parts, records = [], []
    for part, used in zip(begun.parts, begun.records, strict=True):
        # behind the last row no part has documents, not even those that are in no row
        mine = cut_part(part, min(left, part.rows)) if left else empty_part(part)
        parts.append(mine)
        records.append(min(used, mine.part.documents))
        left -= mine.rows
    return Begun(tuple(parts), tuple(records))
