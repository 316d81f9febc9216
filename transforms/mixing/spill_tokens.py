"""Tokenizing on the way into the exchange: what is spilled are rows of ids, not texts.

A record's key is known before its text is tokenized, so what a mixture doesn't need isn't tokenized.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.pvalue import TaggedOutput

from transforms.datasets.identity import Origin
from transforms.datasets.reports import Tally
from transforms.datasets.token_counts import TokenCounts
from transforms.errors import DataError, LosslessError
from transforms.kernels.arrays import I64, U64
from transforms.kernels.packing.enough import Filling
from transforms.kernels.packing.rows import Packing
from transforms.kernels.records import blocks
from transforms.kernels.records.bad_ids import find_bad_ids
from transforms.kernels.records.digest import Digest
from transforms.mixing.mean_tokens import count_levels
from transforms.shuffling.partition import PartitionIntoBuckets, SpillRuns, windowed
from transforms.tokenization.encoded import identity_keys
from transforms.tokenization.models.model import RecordError
from transforms.tokenization.tokenize import BlockTokenizer

_NONE = np.zeros((0, 2), np.int64)
_PLACE = "place"  # of a record in the block that was read


class ToIds(Protocol):
    """What makes rows of ids of a keyed block: the ids are the first column, kept ones follow."""

    @property
    def column(self) -> str:
        """Name of the column of ids."""

    def ids_of(
        self, file: Origin, block: pa.RecordBatch, kept: pa.RecordBatch
    ) -> tuple[pa.StructArray, TokenCounts]:
        """Return rows in the places of the records of ``kept``, and what there was to count.

        Args:
            file: whose records they are.
            block: as it was read, with positions.
            kept: those of its records that are wanted, with keys, and their places in the block.
        """


@dataclass(frozen=True, kw_only=True)
class TextsToIds:
    """Tokenizes; the key that a record has in a pass keys its draws."""

    work: BlockTokenizer

    @property
    def column(self) -> str:
        return self.work.column

    def ids_of(
        self, file: Origin, block: pa.RecordBatch, kept: pa.RecordBatch
    ) -> tuple[pa.StructArray, TokenCounts]:
        keys = identity_keys(blocks.column(kept, "key"), seed=self.work.seed, epoch=self.work.epoch)
        try:
            return self.work.rows(kept, keys)
        except RecordError as error:
            place = int(blocks.column(kept, _PLACE)[error.record])
            positions = blocks.column(block, "position")
            raise self.work.naming(error, file, positions, place, block) from error


@dataclass(frozen=True, kw_only=True)
class RowsToIds:
    """Takes the ids out of rows that have a column of them.

    Attributes:
        column: its name.
        dtype: what ids become, ``uint16`` or ``uint32``.
        ids: how many there can be.
        kept: names of columns to keep beside them.
    """

    column: str
    dtype: str
    ids: int
    kept: tuple[str, ...] = ()

    def ids_of(
        self, file: Origin, block: pa.RecordBatch, kept: pa.RecordBatch
    ) -> tuple[pa.StructArray, TokenCounts]:
        record = kept.column("record")
        lists = record.field(self.column)
        bad = find_bad_ids(lists, ids=self.ids)
        if bad:
            raise self._error(file, block, kept, bad)
        lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False).astype(np.int64)
        numbers = lists.flatten().to_numpy()
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        ids = pa.array(numbers.astype(self.dtype))
        columns = [pa.ListArray.from_arrays(pa.array(offsets), ids)]
        fields = [pa.field(self.column, columns[0].type)]
        for name in self.kept:
            place = record.type.get_field_index(name)
            columns.append(record.field(place))
            fields.append(record.type.field(place))
        counts = TokenCounts.of(lengths, bytes=0)
        return pa.StructArray.from_arrays(columns, fields=fields), counts

    def _error(
        self, file: Origin, block: pa.RecordBatch, kept: pa.RecordBatch, bad: dict[int, str]
    ) -> DataError:
        first, why = next(iter(bad.items()))
        place = int(blocks.column(kept, _PLACE)[first])
        row = blocks.column(block, "position")[place]
        return DataError(
            f"{file.name_of(place)} of source {file.source}: row {row}, column {self.column}: {why}"
        )


@dataclass(frozen=True, kw_only=True)
class Made:
    """What tokenizing came to, of one source in one pass; adds up.

    Attributes:
        source: its name.
        number: of the pass.
        read: digest of the texts that were tokenized.
        made: digest of the rows of their ids.
        payload: bytes of memory that these take.
        counts: of tokens.
        levels: documents and their tokens by levels of their keys, as of ``count_levels``; of later
            passes none.
        filling: what the documents give to rows.
    """

    source: str
    number: int
    read: Digest
    made: Digest
    payload: int
    counts: TokenCounts
    levels: I64 = field(compare=False)
    filling: Filling

    def __add__(self, other: Made) -> Made:
        return replace(
            self,
            **{
                name: getattr(self, name) + getattr(other, name)
                for name in self.__dataclass_fields__
                if name not in ("source", "number")
            },
        )


def add_made(found: Iterable[Made]) -> dict[tuple[str, int], Made]:
    """Add up by source and pass."""
    total: dict[tuple[str, int], Made] = {}
    for made in found:
        key = made.source, made.number
        total[key] = total[key] + made if key in total else made
    return total


class SpilledTokens(NamedTuple):
    """PCollections of what SpillTokens gives; ``made`` are of type Made."""

    spills: Any
    tallies: Any
    made: Any


@dataclass(eq=False, kw_only=True)
class SpillTokens(PartitionIntoBuckets):
    """PartitionIntoBuckets, of rows of ids that are made of records: (FileId, block) -> SpilledTokens.

    Tallies count records of all buckets, and texts' bytes.

    Attributes:
        work: what makes ids.
        packing: how documents are packed.
    """

    work: ToIds
    packing: Packing

    def expand(self, located: Any) -> SpilledTokens:  # type: ignore[override]
        """Key, tokenize, gather, sort, spill."""
        self.spill.make_folders(self.streams.levels)
        found = located | "Tokenize" >> beam.ParDo(
            _SpillTokens(self.streams, self.spill, self.work, self.packing)
        ).with_output_types(
            tuple[int, bytes], first=tuple[int, bytes], tallies=Tally, made=Made
        ).with_outputs("first", "tallies", "made", main="spills")
        spilled = self.second_level(found)
        return SpilledTokens(spilled.spills, spilled.tallies, found.made)


class _SpillTokens(SpillRuns):
    def __init__(self, streams: Any, spill: Any, work: ToIds, packing: Packing) -> None:
        super().__init__(streams, spill, measure=None)
        self._work, self._packing = work, packing

    def start_bundle(self) -> None:
        super().start_bundle()
        self._made: dict[tuple[str, int], Made] = {}

    def process(self, element: tuple[Origin, pa.RecordBatch]) -> Iterator[Any]:
        file, block = element
        self._wait()
        for one in _passes_of(file):
            yield from self._spill_pass(one, block)

    def _spill_pass(self, file: Origin, block: pa.RecordBatch) -> Iterator[Any]:
        keyed = self._keyed(file, block)
        keyed = keyed.append_column(_PLACE, pa.array(np.arange(len(block), dtype=np.uint64)))
        kept = self._needed(file, keyed)
        if not len(kept):
            self._progress.add("tokenize", payload=-blocks.payload_bytes(block))
            return
        with self._progress.doing("tokenizing"):
            rows, counts = self._work.ids_of(file, block, kept)
        keys = blocks.column(kept, "key")
        made = blocks.from_rows(rows, positions=keys)
        made = made.rename_columns(["key", *made.schema.names[1:]])
        if "source" in kept.schema.names:
            made = blocks.with_source(made, blocks.column(kept, "source"))
        self._report(file, kept, made, counts, keys)
        # of what is read the texts' bytes were counted, and the ids' go on
        more = blocks.payload_bytes(made) - blocks.payload_bytes(block)
        self._progress.add("tokenize", payload=more, tokens=counts.tokens)
        yield from self._add(self._streams.number(file), made)

    def _report(
        self,
        file: Origin,
        kept: pa.RecordBatch,
        made: pa.RecordBatch,
        counts: TokenCounts,
        keys: U64,
    ) -> None:
        number = max(file.pass_number, 0)
        lengths = blocks.measures(made, self._work.column)
        found = Made(
            source=file.source,
            number=number,
            read=Digest.of_hashes(*blocks.hashes(kept)),
            made=Digest.of_hashes(*blocks.hashes(made)),
            payload=blocks.payload_bytes(made),
            counts=counts,
            levels=_NONE if number else count_levels(keys, lengths),
            filling=Filling.of(lengths, self._packing),
        )
        key = file.source, number
        self._made[key] = self._made[key] + found if key in self._made else found

    def finish_bundle(self) -> Iterator[Any]:
        yield from super().finish_bundle()
        for made in self._made.values():
            yield windowed(TaggedOutput("made", made))


def _passes_of(file: Origin) -> Iterator[Origin]:
    """Yield the passes that a reading serves: after the first, several where it says so."""
    if file.pass_number <= 0:
        yield file
        return
    for number in range(max(file.buckets, 1)):
        yield file._replace(pass_number=file.pass_number + number, buckets=0)


def require_tokenized(
    made: dict[tuple[str, int], Made], read: dict[str, Digest], beyond: dict[str, Digest]
) -> None:
    """Raise LosslessError where what was tokenized isn't what was read, in any pass.

    Args:
        made: by source and pass.
        read: of each source, in one pass.
        beyond: of each source, what its first pass didn't tokenize.
    """
    for (source, number), found in sorted(made.items()):
        have = found.read + (beyond.get(source, Digest()) if number == 0 else Digest())
        want = read.get(source, Digest())
        if have != want:
            raise LosslessError(
                f"source {source}, pass {number}: {want.records:,} records of {want.bytes:,} "
                f"bytes were read, but {have.records:,} of {have.bytes:,} were tokenized or left "
                "out; check memory and disk, then run again"
            )
