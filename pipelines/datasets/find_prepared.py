"""One row of a prepared dataset, by its number: found in its shard, read by its format's reader."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.datasets.find_row import Place, find
from pipelines.datasets.prepared_shards import open_files
from transforms.datasets.prepared import PreparedManifest, PreparedShard
from transforms.errors import DataError, UsageError
from transforms.kernels.packing.rows import Rows
from transforms.trainers.contract import Dataset, Seeking
from transforms.trainers.of_manifest import dataset_of, format_of


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
        return sum(map(rows_in, self.shards)) if keeps.rows else None


def choose_split(
    manifest: PreparedManifest, *, split: str | None, epoch: int | None, form: str | None
) -> PreparedSplit:
    """Return the part of a dataset that is asked for; by default train, the first epoch, a format that
    keeps where documents begin.

    Raises:
        UsageError: there is no such.
    """
    names = list(dict.fromkeys(entry.split for entry in manifest.splits))
    split = split or next(iter(names), "train")  # train comes first, however it is called
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
    """Return where a row of a split stands, and the row.

    Raises:
        UsageError: there is no such row, or the files don't say where one begins.
        DataError: it can't be read.
    """
    if chosen.rows is None:
        raise UsageError(
            f"--row={row}: {chosen.form} files don't record where rows of any length begin; leave out "
            "--row to see the first ids, or pass another --format"
        )
    counts = [rows_in(shard) for shard in chosen.shards]
    shard, inner = find(chosen.shards, counts, row, what=f"{chosen.unit}s of {chosen.split}")
    form, before = format_of(chosen.form), 0
    place = Place(_path_of(shard), inner)
    with contextlib.ExitStack() as stack:
        files = open_files(stack, folder, shard, chosen.dataset)
        if isinstance(form, Seeking):
            try:
                return place, form.read_row(files, chosen.dataset, inner)
            except DataError as error:
                raise DataError(f"{place.path}: {error}") from None
        for some in form.read(files, chosen.dataset):
            if inner < before + len(some):
                return place, some.slice(inner - before, inner - before + 1)
            before += len(some)
    raise DataError(f"{place.path}: it has {before} rows, the manifest says {rows_in(shard)}")


def first_ids(folder: str, chosen: PreparedSplit, most: int | None) -> tuple[str, Sequence[int]]:
    """Return the first ids of a split whose files don't say where rows begin, and their file.

    Args:
        folder: the dataset's.
        chosen: the split.
        most: ids at most; None for all that are read at once.

    Raises:
        DataError: they can't be read.
    """
    shard = next(filter(rows_in, chosen.shards), chosen.shards[0])
    with contextlib.ExitStack() as stack:
        files = open_files(stack, folder, shard, chosen.dataset)
        for some in format_of(chosen.form).read(files, chosen.dataset):
            ids: list[int] = some.ids[:most].tolist()
            return _path_of(shard), ids
    return _path_of(shard), []


def _path_of(shard: PreparedShard) -> str:
    return shard.files[0].path if shard.files else ""


def rows_in(shard: PreparedShard) -> int:
    """Return how many rows a shard's files hold."""
    return shard.rows - shard.dropped_rows


def _require(flag: str, asked: object, known: Sequence[object]) -> None:
    if asked not in known:
        raise UsageError(f"{flag}={asked}: expected {', '.join(map(str, known)) or 'none'}")
