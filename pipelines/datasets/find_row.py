"""One row of a dataset, by its number: found in its shard, of which little else is read."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.datasets.prepared_shards import open_files
from pipelines.datasets.shard_files import line_format_of, opened
from transforms.datasets.manifest import Manifest, ShardEntry
from transforms.datasets.prepared import PreparedManifest, PreparedShard
from transforms.errors import DataError, UsageError
from transforms.formats.detection import FileFormat
from transforms.formats.readers import ReadOptions, ReadTask
from transforms.formats.reading import Buffered, open_span
from transforms.formats.schemas import faults_named
from transforms.kernels.packing.rows import Rows
from transforms.kernels.records import blocks
from transforms.trainers.contract import Dataset
from transforms.trainers.of_manifest import dataset_of, format_of

_CHUNK = 1 << 20
_Shard = TypeVar("_Shard")


@dataclass(frozen=True)
class Place:
    """Where a row stands: the main file of its shard, and its number there, from 0."""

    path: str
    row: int


@dataclass(frozen=True, kw_only=True)
class PreparedSplit:
    """One split of a prepared dataset, in one format.

    Attributes:
        split, epoch, form: which; ``epoch`` None where all epochs share it.
        dataset: what the format's readers are told.
        shards: its own, in order.
    """

    split: str
    epoch: int | None
    form: str
    dataset: Dataset
    shards: Sequence[PreparedShard]

    @property
    def unit(self) -> str:
        """What a row of its files is, ``row`` or ``document``."""
        return format_of(self.form).unit(self.dataset).removesuffix("s")

    @property
    def rows(self) -> int | None:
        """How many there are; None where the files don't say where one begins."""
        keeps = format_of(self.form).keeps(self.dataset)
        return sum(shard.rows for shard in self.shards) if keeps.rows else None


def choose_split(
    manifest: PreparedManifest, *, split: str | None, epoch: int | None, form: str | None
) -> PreparedSplit:
    """Return the part of a dataset that is asked for; by default train, the first epoch, a format that
    keeps where documents begin.

    Raises:
        UsageError: there is no such.
    """
    names = list(dict.fromkeys(entry.split for entry in manifest.splits))
    split = split or ("train" if "train" in names or not names else names[0])
    _require("--split", split, names)
    if epoch is not None:
        _require("--epoch", epoch, manifest.epochs)
    if form is not None:
        _require("--format", form, list(manifest.formats))
    datasets = {name: dataset_of(manifest, name) for name in manifest.formats}
    if form is None and datasets:
        keeps = {name: format_of(name).keeps(dataset) for name, dataset in datasets.items()}
        form = max(keeps, key=lambda name: (keeps[name].rows, keeps[name].pieces))
    if form is None:
        raise DataError("manifest: it names no format")
    epochs = [entry.epoch for entry in manifest.splits if entry.split == split]
    wanted = None if epochs == [None] else epochs[0] if epoch is None else epoch
    shards = [
        shard
        for shard in manifest.shards
        if (shard.split, shard.format, shard.epoch) == (split, form, wanted)
    ]
    if not shards:
        raise DataError(f"manifest: no shard holds {split} as {form}")
    return PreparedSplit(
        split=split, epoch=wanted, form=form, dataset=datasets[form], shards=shards
    )


def prepared_row(folder: str, chosen: PreparedSplit, row: int) -> tuple[Place, Rows]:
    """Return where a row of a split stands, and the row; all of a batch that begins a shard where
    the files don't say where rows begin.

    Raises:
        UsageError: there is no such row.
        DataError: it can't be read.
    """
    if chosen.rows is None:
        shard, inner = chosen.shards[0], 0
        if row:
            raise UsageError(
                f"--row={row}: files of {chosen.form} don't say where a row of any length begins; leave "
                "--row out to see how the first shard begins, or give another --format"
            )
    else:
        counts = [shard.rows for shard in chosen.shards]
        shard, inner = _find(chosen.shards, counts, row, what=f"{chosen.unit}s of {chosen.split}")
    form, before = format_of(chosen.form), 0
    place = Place(shard.files[0].path if shard.files else "", inner)
    with contextlib.ExitStack() as stack:
        for some in form.read(open_files(stack, folder, shard, chosen.dataset), chosen.dataset):
            if inner < before + len(some):
                return place, some.slice(inner - before, inner - before + 1)
            before += len(some)
    raise DataError(f"{place.path}: it has {before} rows, the manifest says {shard.rows}")


def record(folder: str, manifest: Manifest, row: int) -> tuple[Place, bytes | dict[str, Any]]:
    """Return where a record stands, and the record: a line, or a row by its columns.

    Raises:
        UsageError: there is no such record.
        DataError: it can't be read.
    """
    counts = [shard.records for shard in manifest.shards]
    shard, inner = _find(manifest.shards, counts, row, what="records")
    with opened(folder, shard.path) as file:
        if manifest.kind == "parquet":
            found: bytes | dict[str, Any] = _row_of_parquet(file, shard, inner)
        else:
            found = _streamed(file, shard, manifest, inner)
    return Place(shard.path, inner), found


def _row_of_parquet(file: Any, shard: ShardEntry, row: int) -> dict[str, Any]:
    """Read one row, of its row group alone."""
    with faults_named(lambda: f"{shard.path}: row {row} can't be read"):
        parquet = pq.ParquetFile(Buffered(file, shard.bytes))
        counts = [
            parquet.metadata.row_group(i).num_rows for i in range(parquet.metadata.num_row_groups)
        ]
        if row < sum(counts):
            group, inner = _find(range(len(counts)), counts, row, what="rows")
            for batch in parquet.iter_batches(1024, row_groups=[group]):
                if inner < len(batch):
                    return _as_dict(batch, inner)
                inner -= len(batch)
    raise DataError(f"{shard.path}: it has {sum(counts)} rows, the manifest says {shard.records}")


def _streamed(file: Any, shard: ShardEntry, manifest: Manifest, row: int) -> bytes | dict[str, Any]:
    """Read a shard until a record comes."""
    line_format = line_format_of(file, shard.path, manifest)
    reader = open_span(
        file,
        ReadTask(
            name=shard.path,
            size=shard.bytes,
            stop=shard.bytes,
            options=ReadOptions(
                line_format=line_format,
                format="lines",
                rows=manifest.kind != "lines",
                chunk_bytes=_CHUNK,
                record_limit=sys.maxsize,
            ),
        ),
        told=FileFormat.told(manifest.kind, manifest.compression),
    )
    before = 0
    for block, bad, reasons in reader:
        if bad is not None:
            raise DataError(f"{shard.path}: a record can't be read: {reasons[0]}")
        if row < before + len(block):
            one = block.slice(row - before, 1)
            if manifest.kind == "lines":
                return blocks.records(one)[0]
            return _as_dict(pa.RecordBatch.from_struct_array(one.column("record")), 0)
        before += len(block)
    raise DataError(f"{shard.path}: it has {before} records, the manifest says {shard.records}")


def _as_dict(batch: pa.RecordBatch, row: int) -> dict[str, Any]:
    """Return a row by its columns, a list of numbers as an array."""
    return {
        name: column[row].values.to_numpy(zero_copy_only=False)
        if _is_ids(column.type) and column[row].is_valid and not column[row].values.null_count
        else column[row].as_py()
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }


def _is_ids(kind: pa.DataType) -> bool:
    return hasattr(kind, "value_type") and pa.types.is_integer(kind.value_type)


def _find(
    shards: Sequence[_Shard], counts: Sequence[int], row: int, *, what: str
) -> tuple[_Shard, int]:
    """Return the shard that holds a row, and the row's number in it."""
    before = 0
    for shard, end in zip(shards, accumulate(counts), strict=True):
        if row < end:
            return shard, row - before
        before = end
    there = f"they are counted from 0 to {before - 1}" if before else "there are none"
    raise UsageError(f"--row={row}: there are {before:,} {what}; {there}")


def _require(flag: str, asked: object, known: Sequence[object]) -> None:
    if asked not in known:
        raise UsageError(f"{flag}={asked}: expected {', '.join(map(str, known)) or 'none'}")
