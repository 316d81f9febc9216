"""The manifest of a dataset of several splits: all that was read is in one of them, or left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import apache_beam as beam

from transforms.datasets.files_read import FilesRead
from transforms.datasets.manifest import Manifest, PartedEntry, SplitEntry
from transforms.datasets.max_bad import require_few
from transforms.datasets.reports import ShardReport, ShardReports, SpanReports, digests_in
from transforms.datasets.write_manifest import (
    WriteManifest,
    digest_entry,
    publish_manifest,
    require_numbered,
    sum_up,
)
from transforms.errors import LosslessError
from transforms.kernels.records.digest import Digest
from transforms.splitting.placed import Placed, add_up
from transforms.splitting.split_in_order import LaidDown
from transforms.splitting.split_records import require_splits


@dataclass(eq=False, kw_only=True)
class WriteSplitManifest(WriteManifest):
    """Compare what was read with what each split has, and write the manifest last of all.

    LaidDown -> None.

    Attributes:
        asked: of each split, in the order in which they are listed, its share or count as one would
            write it; None of what has the rest.
        parted: a PCollection of one PartedEntry or None: contents that stand in several splits.
        like: a PCollection of one JSON-able value: what ``--like`` found.
    """

    asked: Mapping[str, str | None]
    parted: Any = None
    like: Any = None

    def expand(self, laid: LaidDown) -> Any:
        """One step, which waits for all branches."""
        add = partial(_add_reports, sources=len(self.sources))
        reports = laid.shards | "AddUp" >> beam.CombinePerKey(add)
        nothing = laid.shards.pipeline | "Nothing" >> beam.Create([None])
        return (
            laid.shards.pipeline
            | "Once" >> beam.Create([None])
            | "CheckAndWrite"
            >> beam.Map(
                _write,
                beam.pvalue.AsIter(laid.spans),
                beam.pvalue.AsDict(reports),
                beam.pvalue.AsIter(laid.placed),
                beam.pvalue.AsSingleton(nothing if self.parted is None else self.parted),
                beam.pvalue.AsSingleton(nothing if self.like is None else self.like),
                config=self,
            )
        )


def _add_reports(reports: Iterable[ShardReport | ShardReports], *, sources: int) -> ShardReports:
    return ShardReports.of(reports, sources=sources)


def _write(
    _: None,
    spans: Iterable[SpanReports],
    reports: Mapping[str, ShardReports],
    placed: Iterable[Placed],
    parted: PartedEntry | None,
    like: dict[str, Any] | None,
    *,
    config: WriteSplitManifest,
) -> None:
    def make(files: FilesRead) -> Manifest:
        return make_split_manifest(files, reports, placed, config, parted=parted, like=like)

    publish_manifest(spans, config, make)


def make_split_manifest(
    files: FilesRead,
    reports: Mapping[str, ShardReports],
    placed: Iterable[Placed],
    config: WriteSplitManifest,
    *,
    parted: PartedEntry | None = None,
    like: dict[str, Any] | None = None,
) -> Manifest:
    """Prove that each source's records are in one split or left out, and that splits hold them.

    Args:
        files: what was read.
        reports: what was written of each split.
        placed: what became of the records, by split and source.
        config: what to say of it.
        parted, like: for the manifest.

    Raises:
        LosslessError: a shard is missing or double, or digests differ.
        DataError: too many records were bad.
    """
    found = add_up(placed)
    read, dropped = files.digests(), files.digests(dropped=True)
    require_few(Digest.total(dropped.values()), Digest.total(read.values()), config.max_bad)
    require_splits(
        read, [{p.source: p.was} for p in found.values()], what="the input (with what is left out)"
    )
    shards, entries, total = [], [], Digest()
    for name, asked in config.asked.items():
        report = reports[name]
        mine = require_numbered(report.shards, f"split {name}: ")
        written = digests_in(report.digests)
        for source, have in zip(config.sources, written, strict=True):
            made = found.get((name, source))
            want = Digest() if made is None else made.made
            if have != want:
                raise LosslessError(
                    f"split {name}, source {source}: expected {want.records:,} records of "
                    f"{want.bytes:,} bytes written, got {have.records:,} of {have.bytes:,}; "
                    "check memory and disk, then run again"
                )
        shards += mine
        total += Digest.total(written)
        entries.append(
            SplitEntry(
                name=name,
                asked=asked,
                records=Digest.total(written).records,
                bytes=sum(shard.bytes for shard in mine),
                digest=digest_entry(Digest.total(written)),
                read=digest_entry(Digest.total(p.was for p in found.values() if p.split == name)),
            )
        )
    left_out = Digest.total(p.was for p in found.values() if p.split is None)
    return sum_up(
        files,
        shards,
        total,
        config,
        splits=entries,
        left_out=digest_entry(left_out) if left_out.records else None,
        parted=parted,
        like=like,
    )
