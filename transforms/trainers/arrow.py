"""Arrow IPC files: the columns of Parquet's plain layout, uncompressed, so that they map into memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import pyarrow as pa

from transforms.errors import DataError
from transforms.formats.schemas import faults_named
from transforms.kernels.packing.rows import Rows
from transforms.trainers.about import quoted_pattern
from transforms.trainers.checks import Count, require_ids
from transforms.trainers.columns import batch_of, rows_of, schema_of
from transforms.trainers.contract import Dataset, ShardFacts
from transforms.trainers.parquet import Columns, require_columns
from transforms.trainers.row_groups import RowGroups, join

_SUFFIX = ".arrow"
_BATCH_BYTES, _BATCH_ROWS = 4 << 20, 1 << 16


class Arrow(Columns):
    """Record batches of 4 MiB of logical bytes."""

    name = "arrow"

    def suffixes(self, dataset: Dataset) -> tuple[str, ...]:
        return (_SUFFIX,)

    def open_writer(
        self, files: Mapping[str, BinaryIO], dataset: Dataset, shard: ShardFacts
    ) -> _Writer:
        return _Writer(files[_SUFFIX], dataset, shard)

    def read(self, files: Mapping[str, BinaryIO], dataset: Dataset) -> Iterator[Rows]:
        row = 0
        with faults_named(lambda: f"expected an Arrow file, it can't be read from row {row} on"):
            reader = pa.ipc.open_file(files[_SUFFIX])
            require_columns(reader.schema, schema_of(dataset))
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                batch.validate(full=True)
                yield rows_of(batch, dataset, first=row)
                row += len(batch)

    def how_to_open(self, dataset: Dataset, folder: str, split: str = "train") -> str:
        files = quoted_pattern(folder, split, *self.suffixes(dataset))
        return f'datasets.load_dataset("arrow", data_files={files}, split="train")'


class _Writer:
    """Writes one shard."""

    def __init__(self, file: BinaryIO, dataset: Dataset, shard: ShardFacts) -> None:
        self._dataset, self._count = dataset, Count(shard)
        options = pa.ipc.IpcWriteOptions(use_threads=False)
        self._writer = pa.ipc.new_file(file, schema_of(dataset), options=options)
        self._groups = RowGroups(most_bytes=_BATCH_BYTES, most_rows=_BATCH_ROWS)

    def write(self, rows: Rows) -> None:
        require_ids(rows, self._dataset.ids_type, dataset=self._dataset, first=self._count.rows)
        self._count.add(rows)
        for group in self._groups.add(rows):
            self._write_group(group)

    def _write_group(self, group: list[Rows]) -> None:
        try:
            self._writer.write_batch(batch_of(join(group), self._dataset))
        except pa.ArrowException as error:
            raise DataError(f"these rows can't be written as Arrow: {error}") from error

    def close(self) -> None:
        for group in self._groups.rest():
            self._write_group(group)
        self._count.require_all()
        self._writer.close()
