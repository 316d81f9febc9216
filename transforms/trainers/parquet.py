"""Parquet: rows as columns of lists, as TRL, transformers and Megatron-Bridge take them.

Ids are int32: uint16 of 65,536 ids overflows in readers that go on counting in it, and torch computes
with no uint32, so that ``datasets`` casts both for it (``torch_formatter.py``). Filler isn't written:
lengths tell, and collators pad. ``bench/readers_hf.py`` reads all of it by ``datasets``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from transforms.errors import DataError, UsageError
from transforms.formats.parquet_arrows import ArrowsWriter
from transforms.formats.parquet_ids import IdsWriter
from transforms.formats.schemas import faults_named, first_line
from transforms.kernels.packing.rows import Kind, Rows
from transforms.trainers.about import about, quoted_pattern
from transforms.trainers.checks import KINDS, Count, require_ids, require_needs
from transforms.trainers.columns import (
    IDS,
    LENGTHS,
    SOURCE,
    batch_of,
    lists_of,
    rows_of,
    schema_as_text,
    schema_of,
)
from transforms.trainers.contract import Dataset, Keeps, Needs, ShardFacts, Unit
from transforms.trainers.row_groups import RowGroups, join

_GROUP_BYTES, _GROUP_ROWS = 16 << 20, 1 << 20
_BRIDGE_ROWS = 500  # of a row group, of which its reader holds one
_READ_ROWS = 1 << 12
_MOST_IDS = 1 << 31  # of int32
_PACKED: frozenset[Kind] = frozenset({"concat", "best_fit", "pad", "buckets"})
_ALL: frozenset[Kind] = frozenset(KINDS)


class Columns:
    """What Parquet and Arrow files have in common. See ``contract.Format``."""

    name: str

    def unit(self, dataset: Dataset) -> Unit:
        return "rows"

    def needs(self, dataset: Dataset) -> Needs:
        if dataset.sources or dataset.kept is not None:
            because = "the kept columns of a document need a row of their own"
            return Needs(packings=frozenset({"none"}), because={"packings": because})
        return Needs(packings=_ALL)

    def keeps(self, dataset: Dataset) -> Keeps:
        return Keeps(rows=True, pieces=dataset.packing.kind != "none")

    def id_bytes(self, dataset: Dataset) -> int:
        return 4

    def most_ids(self, dataset: Dataset) -> int | None:
        return None

    def filler(self, dataset: Dataset) -> int | None:
        return None

    def seen(self, rows: Rows, dataset: Dataset) -> Rows:
        sources = rows.sources if dataset.sources else None
        kept = rows.kept if dataset.kept is not None else None
        return replace(rows, filler=np.zeros(len(rows), np.int64), sources=sources, kept=kept)

    def left_out(self, rows: Rows, dataset: Dataset) -> npt.NDArray[np.bool_]:
        return np.zeros(len(rows), np.bool_)

    def require(self, dataset: Dataset) -> None:
        if dataset.ids > _MOST_IDS:
            raise UsageError(
                f"--output_format={self.name}: expected at most {_MOST_IDS:,} ids, got "
                f"{dataset.ids:,}; pass a smaller --vocab_size"
            )
        require_needs(self.name, self.needs(dataset), dataset)
        taken = {IDS, LENGTHS, *([SOURCE] if dataset.sources else ())}
        for name in (dataset.kept or pa.schema([])).names:
            if name in taken:
                raise UsageError(
                    f"--keep_fields: {name} is a column of --output_format={self.name} itself; leave "
                    "it out, or rename it in the input"
                )

    def _schema(self, dataset: Dataset) -> pa.Schema:
        return schema_of(dataset)

    def about(self, dataset: Dataset) -> dict[str, Any]:
        schema = self._schema(dataset)
        columns = {field.name: str(field.type) for field in schema}
        kept = None if dataset.kept is None else schema_as_text(dataset.kept)
        return about(self, dataset, dtype="int32", columns=columns, kept_schema=kept)


class Parquet(Columns):
    """Row groups of 16 MiB of logical bytes, zstd, pages with checksums."""

    name = "parquet"

    def needs(self, dataset: Dataset) -> Needs:
        own = super().needs(dataset)
        if not _is_bridge(dataset):
            return own
        because = "--layout=megatron_bridge holds packed rows without other columns"
        return Needs(packings=own.packings & _PACKED, because={"packings": because})

    def suffixes(self, dataset: Dataset) -> tuple[str, ...]:
        return (".idx.parquet" if _is_bridge(dataset) else ".parquet",)

    def require(self, dataset: Dataset) -> None:
        layout = dataset.options.get("layout", "plain")
        if layout not in ("plain", "megatron_bridge"):
            raise UsageError(f"--layout: expected plain or megatron_bridge, got {layout}")
        super().require(dataset)

    def _schema(self, dataset: Dataset) -> pa.Schema:
        return schema_of(dataset, bridge=_is_bridge(dataset))

    def open_writer(
        self, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> _Writer:
        return _Writer(files[self.suffixes(dataset)[0]], dataset, shard)

    def read(self, files: Mapping[str, BinaryIO], dataset: Dataset) -> Iterator[Rows]:
        file, row, bridge = files[self.suffixes(dataset)[0]], 0, _is_bridge(dataset)
        with faults_named(lambda: f"expected Parquet, it can't be read from row {row} on"):
            parquet = self._opened(file, dataset)
            for group in range(parquet.num_row_groups):
                for batch in parquet.iter_batches(
                    batch_size=_READ_ROWS, row_groups=[group], use_threads=False
                ):
                    batch.validate(full=True)
                    yield rows_of(batch, dataset, first=row, bridge=bridge)
                    row += len(batch)
        if row != parquet.metadata.num_rows:
            raise DataError(
                f"expected {parquet.metadata.num_rows:,} rows, as the footer says, got {row:,}: "
                "the file is damaged; make it again"
            )

    def read_row(self, files: Mapping[str, BinaryIO], dataset: Dataset, row: int) -> Rows:
        """As of ``contract.Seeking``: of the row group that holds it alone."""
        file, before = files[self.suffixes(dataset)[0]], 0
        with faults_named(lambda: f"expected Parquet, row {row} can't be read"):
            parquet = self._opened(file, dataset)
            for group in range(parquet.num_row_groups):
                rows = parquet.metadata.row_group(group).num_rows
                if not before <= row < before + rows:
                    before += rows
                    continue
                for batch in parquet.iter_batches(
                    batch_size=_READ_ROWS, row_groups=[group], use_threads=False
                ):
                    if row < before + len(batch):
                        batch.validate(full=True)
                        found = rows_of(batch, dataset, first=before, bridge=_is_bridge(dataset))
                        return found.slice(row - before, row - before + 1)
                    before += len(batch)
        raise DataError(f"expected a row {row}, the file has only {before:,}")

    def _opened(self, file: BinaryIO, dataset: Dataset) -> pq.ParquetFile:
        parquet = pq.ParquetFile(file, page_checksum_verification=True)
        require_columns(parquet.schema_arrow, self._schema(dataset))
        return parquet

    def how_to_open(self, dataset: Dataset, folder: str, split: str = "train") -> str:
        files = quoted_pattern(folder, split, *self.suffixes(dataset))
        if _is_bridge(dataset):
            length = (dataset.packing.length or 1) - 1
            return (
                f"GPTSFTPackedParquetDataset({files}, tokenizer=tokenizer, max_seq_length={length})"
            )
        return f'datasets.load_dataset("parquet", data_files={files}, split="train")'


class _Writer:
    """Writes one shard: ids by the writer of pages, other columns beside them by Arrow's."""

    def __init__(self, file: BinaryIO, dataset: Dataset, shard: ShardFacts) -> None:
        self._bridge = _is_bridge(dataset)
        schema = schema_of(dataset, bridge=self._bridge)
        self._dataset, self._count = dataset, Count(shard)
        plain = dataset.kept is None and not dataset.sources
        self._writer = (IdsWriter if plain else ArrowsWriter)(file, schema, compression="zstd")
        most = _BRIDGE_ROWS if self._bridge else _GROUP_ROWS
        self._groups = RowGroups(most_bytes=_GROUP_BYTES, most_rows=most)

    def write(self, rows: Rows) -> None:
        require_ids(rows, self._dataset.ids_type, dataset=self._dataset, first=self._count.rows)
        self._count.add(rows)
        for group in self._groups.add(rows):
            self._write_group(group)

    def _write_group(self, group: list[Rows]) -> None:
        try:
            if isinstance(self._writer, IdsWriter):
                pieces = [lists_of(rows, self._dataset, bridge=self._bridge) for rows in group]
                self._writer.write_columns(list(zip(*pieces, strict=True)))
            else:
                self._writer.write_group(batch_of(join(group), self._dataset))
        except pa.ArrowException as error:
            raise DataError(
                f"these rows can't be written as Parquet: {first_line(error)}; pass "
                "--sequence_length, or other --keep_fields"
            ) from error

    def close(self) -> None:
        for group in self._groups.rest():
            self._write_group(group)
        self._count.require_all()
        self._writer.close()


def _is_bridge(dataset: Dataset) -> bool:
    return bool(dataset.options.get("layout", "plain") == "megatron_bridge")


def require_columns(found: pa.Schema, expected: pa.Schema) -> None:
    """Raise a DataError where a file has other columns than its dataset."""
    if not found.equals(expected):
        raise DataError(
            f"expected columns {_named(expected)}, got {_named(found)}: the file belongs to "
            "another dataset, or is damaged; make it again"
        )


def _named(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
