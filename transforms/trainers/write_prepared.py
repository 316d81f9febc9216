"""The manifest of a prepared dataset, written last of all, once everything is proved."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam

from transforms.datasets import manifest_files
from transforms.datasets.files_read import FilesRead, add_up
from transforms.datasets.manifest import (
    MOST,
    EndEntry,
    FileEntry,
    ListingEntry,
    QuarantineEntry,
    SourceEntry,
    TokensEntry,
    now,
    versions,
)
from transforms.datasets.max_bad import MostBad, require_few
from transforms.datasets.prepared import PreparedManifest, SplitEntry
from transforms.datasets.reports import SpanReports
from transforms.datasets.token_counts import TokenCounts
from transforms.datasets.write_manifest import digest_entry, file_entries, is_written
from transforms.errors import LosslessError, RunError
from transforms.kernels.records.digest import Digest
from transforms.mixing.prove_documents import OrderedSplit
from transforms.splitting.split_records import require_splits
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.trainers.beside import files_beside
from transforms.trainers.contract import Dataset
from transforms.trainers.formats import FORMATS
from transforms.trainers.shards import WrittenShard
from transforms.trainers.split_entries import split_entry


@dataclass(eq=False, kw_only=True)
class WritePrepared(beam.PTransform):  # type: ignore[misc]
    """Compare everything, and write the manifest: (splits, shards, spans, …) -> None.

    ``splits`` is a PCollection of ((level, name), OrderedSplit), ``shards`` one of WrittenShard, and
    ``spans`` one of SpanReports for each epoch.

    Attributes:
        output: URL of the dataset's folder.
        sources: names of the sources.
        recipe: what determines the output, as JSON-able data.
        seed, started: for the manifest.
        epochs: numbers of the epochs.
        asked: what was asked for of each split; None for the rest.
        formats: names.
        levels: whether formats have folders of their own.
        dataset: what is true of all files.
        special: entries of the special ids.
        model: of the tokenizer, None for rows of ids whose model isn't known.
        tokens: what to say of the tokens.
        run_id, expected, max_bad, storage_options: as of WriteManifest.
    """

    output: str
    sources: Sequence[str]
    recipe: dict[str, Any]
    seed: int
    epochs: Sequence[int]
    asked: Mapping[str, str | None]
    formats: Sequence[str]
    levels: bool
    dataset: Dataset
    special: Mapping[str, EndEntry]
    model: dict[str, Any] | None = None
    tokens: Any = None
    started: str = field(default_factory=now)
    run_id: str = ""
    expected: str | None = None
    max_bad: MostBad | None = None
    storage_options: dict[str, Any] | None = None

    def expand(self, inputs: tuple[Any, ...]) -> Any:
        """One step, which waits for everything."""
        splits, shards, *spans = inputs
        return (
            shards.pipeline
            | "Once" >> beam.Create([None])
            | "CheckAndWrite"
            >> beam.Map(
                partial(_write, self),
                beam.pvalue.AsList(splits),
                beam.pvalue.AsList(shards),
                *map(beam.pvalue.AsIter, spans),
            )
        )


def _write(
    config: WritePrepared,
    _: None,
    splits: list[tuple[tuple[int | None, str], OrderedSplit]],
    shards: list[WrittenShard],
    *spans: Iterable[SpanReports],
) -> None:
    storage.configure(config.storage_options)
    every = [add_up(one, config.sources, config.expected) for one in spans]
    for other in every[1:]:
        if other.digests() != every[0].digests():
            raise LosslessError(
                "an epoch read other records than the first one: the files changed during "
                "the run; run again when nothing writes to them"
            )
    files = every[0]
    _require_splits(config, files, dict(splits))
    manifest = _manifest(config, files, dict(splits), shards)
    folders = sorted({(shard.shard.epoch, shard.shard.format) for shard in shards}, key=repr)
    try:
        for epoch, name in folders:
            _write_about(config, epoch, name, shards)
        if len(files) > MOST:
            data = manifest_files.to_parquet(files)
            layout.publish_whole(config.output, layout.LISTING, data, run_id=config.run_id)
            sha256 = hashlib.sha256(data).hexdigest()
            entry = ListingEntry(path=layout.LISTING, files=len(files), sha256=sha256)
            manifest = manifest.model_copy(update={"files_listing": entry})
        text = manifest.model_dump_json(indent=1).encode() + b"\n"
        layout.publish_whole(config.output, layout.MANIFEST, text, run_id=config.run_id)
    except RunError:
        # an attempt before this one may have come to the end, and taken the marker away
        if not is_written(config.output, config.run_id):
            raise


def _require_splits(
    config: WritePrepared,
    files: FilesRead,
    splits: Mapping[tuple[int | None, str], OrderedSplit],
) -> None:
    """Raise LosslessError where splits aren't what was read, or one has more than was asked for."""
    others = [split.read for (_, name), split in splits.items() if config.asked[name] is not None]
    for (level, name), split in splits.items():
        asked = config.asked[name]
        if asked is None:
            what = "the input" if level is None else f"epoch {level}"
            require_splits(files.digests(), [split.read, *others], what=what)
        elif asked.isdigit() and Digest.total(split.read.values()).records > int(asked):
            raise LosslessError(
                f"split {name}: expected {asked} records, got more; check memory and disk, then "
                "run again"
            )


def _write_about(
    config: WritePrepared, epoch: int | None, name: str, shards: list[WrittenShard]
) -> None:
    """Write the small files beside a format's data."""
    folder = layout.levels(epoch=epoch, form=name if config.levels else None)
    every = (written.shard for written in shards)
    for path, text in files_beside(
        FORMATS[name], config.dataset, every, epoch=epoch, folder=folder
    ):
        layout.publish_whole(config.output, path, text.encode(), run_id=config.run_id)


def _manifest(
    config: WritePrepared,
    files: FilesRead,
    splits: dict[tuple[int | None, str], OrderedSplit],
    shards: list[WrittenShard],
) -> PreparedManifest:
    """Check what the shards hold against the splits, and sum up.

    Raises:
        LosslessError: a shard is missing or double, or ids were lost.
        DataError: too many records were bad.
    """
    read, dropped = files.digests(), files.digests(dropped=True)
    require_few(Digest.total(dropped.values()), Digest.total(read.values()), config.max_bad)
    _require_shards(config, splits, shards)
    counts = TokenCounts()
    for split in splits.values():
        counts = sum((made.counts for made in split.made.values()), start=counts)
    tokens: TokensEntry | None = config.tokens(counts) if config.tokens is not None else None
    entries: dict[str, list[FileEntry]] = {name: [] for name in config.sources}
    if len(files) <= MOST:
        for name, entry in file_entries(files):
            entries[name].append(entry)
    order = {name: place for place, name in enumerate(config.asked)}
    keys = sorted(splits, key=lambda key: (order[key[1]], -1 if key[0] is None else key[0]))
    split_entries: list[SplitEntry] = [
        split_entry(splits[key], epoch=key[0], asked=config.asked[key[1]]) for key in keys
    ]
    return PreparedManifest(
        run_id=config.run_id,
        started=config.started,
        ended=now(),
        seed=config.seed,
        epochs=list(config.epochs),
        recipe=config.recipe,
        ids=config.dataset.ids,
        length=config.dataset.packing.length,
        packing=config.dataset.packing.kind,
        special=dict(config.special),
        model=config.model,
        tokens=tokens,
        formats={name: FORMATS[name].about(config.dataset) for name in config.formats},
        splits=split_entries,
        shards=sorted(
            (shard.shard for shard in shards),
            key=lambda s: (
                order[s.split],
                -1 if s.epoch is None else s.epoch,
                config.formats.index(s.format),
                s.number,
            ),
        ),
        sources=[
            SourceEntry(
                name=name,
                digest=digest_entry(read[name]),
                dropped=digest_entry(dropped[name]) if dropped[name].records else None,
                files=entries[name],
            )
            for name in read
        ],
        blank_lines=files.left_out["blank"],
        byte_order_marks=files.left_out["marks"],
        trailing_bytes=files.left_out["trailing"],
        quarantine=[QuarantineEntry(**kept._asdict()) for kept in sorted(files.quarantine)],
        versions=versions(of_tokens=tokens is not None),
    )


def _require_shards(
    config: WritePrepared,
    splits: dict[tuple[int | None, str], OrderedSplit],
    shards: list[WrittenShard],
) -> None:
    """Raise LosslessError where shards of a split don't hold, together, what it was laid down with."""
    for (level, name), split in splits.items():
        for form in config.formats:
            mine = sorted(
                (
                    s
                    for s in shards
                    if (s.shard.epoch, s.shard.split, s.shard.format) == (level, name, form)
                ),
                key=lambda written: written.shard.number,
            )
            of = mine[0].shard.of if mine else 0
            if [s.shard.number for s in mine] != list(range(of)) or not mine:
                raise LosslessError(
                    f"{form}, {name}: expected shards 0 to {of - 1}, got "
                    f"{[s.shard.number for s in mine]}: a bug in Dovetail or the runner; run "
                    "again, and report it"
                )
            have = sum(s.hash for s in mine) % (1 << 64)
            if have != split.hash:
                raise LosslessError(
                    f"{form}, {name}: the ids of its shards aren't those of its documents; check memory "
                    "and disk, then run again"
                )
