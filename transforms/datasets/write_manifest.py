"""Writing the manifest last of all, once what was read and what was written are proved the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import apache_beam as beam

from transforms.datasets import manifest_files
from transforms.datasets.files_read import DROPPED, FilesRead, add_up
from transforms.datasets.manifest import (
    MOST,
    CountedEntry,
    DigestEntry,
    FileEntry,
    ListingEntry,
    Manifest,
    MixtureEntry,
    QuarantineEntry,
    ShardEntry,
    SourceEntry,
    TokenizerEntry,
    TokensEntry,
    now,
    versions,
)
from transforms.datasets.max_bad import MostBad, require_few
from transforms.datasets.reports import (
    Mapped,
    Mixed,
    ShardReport,
    ShardReports,
    SpanReports,
    digests_in,
)
from transforms.datasets.reports import add_up as add_up_mapped
from transforms.datasets.token_counts import TokenCounts
from transforms.errors import LosslessError, RunError
from transforms.formats.writing import ShardFormat
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import PARTS, Digest
from transforms.storage import files as storage
from transforms.storage import layout


@dataclass(eq=False, kw_only=True)
class WriteManifest(beam.PTransform):  # type: ignore[misc]
    """Compare what was read with what was written, and write the manifest last of all.

    ``(spans, shards) -> None``, a tuple of PCollections of SpanReports and of ShardReport; of a
    mixture ``(spans, shards, mixed)``, as InterleaveSources gives them.

    Workers raise LosslessError, which names the source, where what was written, left out and unused
    isn't what was read, or where a shard is missing. There is no manifest then.

    Attributes:
        output: URL of the dataset's folder.
        sources: names of the sources.
        recipe: what determines the output, as JSON-able data.
        seed, epoch, started: for the manifest.
        form: what shards are.
        run_id: as for WriteShards.
        expected: ``fingerprint`` of the listing that has to be read whole, if there was one.
        max_bad: how many records may have been left out as bad ones; None for any but all.
        storage_options: as for WriteShards.
        tokens: what to say of records that were tokenized, or of the way back; the third input is then
            that of MapIntoShards, not Mixed.
        tokenizers: what the manifests of the input say of the tokenizers that made its ids.
    """

    output: str
    sources: Sequence[str]
    recipe: dict[str, Any]
    seed: int
    epoch: int
    started: str = field(default_factory=now)
    form: ShardFormat = field(default_factory=ShardFormat)
    run_id: str = ""
    expected: str | None = None
    max_bad: MostBad | None = None
    storage_options: dict[str, Any] | None = None
    tokens: Callable[[TokenCounts], TokensEntry | None] | None = None
    tokenizers: Sequence[TokenizerEntry] = ()

    def expand(self, reports: Any) -> Any:
        """One step, which waits for both branches."""
        spans, shards, *more = reports
        after = beam.pvalue.AsSingleton if self.tokens is None else beam.pvalue.AsList
        return (
            shards.pipeline
            | "Once" >> beam.Create([None])
            | "CheckAndWrite"
            >> beam.Map(
                _write_manifest,
                beam.pvalue.AsIter(spans),
                # added up where they are written: (shards * sources) digests go nowhere
                beam.pvalue.AsSingleton(
                    shards
                    | "AddUp"
                    >> beam.CombineGlobally(partial(ShardReports.of, sources=len(self.sources)))
                ),
                *map(after, more),
                config=self,
            )
        )


def _write_manifest(
    _: None,
    spans: Iterable[SpanReports],
    shards: ShardReports,
    more: Mixed | list[Mapped] | None = None,
    *,
    config: WriteManifest,
) -> None:
    publish_manifest(spans, config, lambda files: make_manifest(files, shards, more, config))


def publish_manifest(
    spans: Iterable[SpanReports], config: WriteManifest, make: Callable[[FilesRead], Manifest]
) -> None:
    """Add up what was read, make the manifest of it, and write it.

    Args:
        spans: what was read.
        config: where it is written.
        make: compares what was read with what was written, and returns the manifest.

    Raises:
        DovetailError: as ``make`` does; or the manifest can't be written.
    """
    storage.configure(config.storage_options)
    files = add_up(spans, config.sources, config.expected)
    manifest = _list_apart(make(files), files, config)
    text = manifest.model_dump_json(indent=1).encode() + b"\n"
    try:
        layout.publish_whole(config.output, layout.MANIFEST, text, run_id=config.run_id)
    except RunError:
        # an attempt before this one may have come to the end, and taken the marker away
        if not is_written(config.output, config.run_id):
            raise
    if not config.run_id:  # else whoever owns the output clears it
        storage.remove_tree(storage.join(config.output, layout.TEMPORARY))


def is_written(output: str, run_id: str) -> bool:
    """Return whether the manifest that lies in an output is that of a run."""
    try:
        text = storage.read_all(storage.join(output, layout.MANIFEST))
        return bool(run_id) and json.loads(text).get("run_id") == run_id
    except (FileNotFoundError, ValueError):
        return False


def _list_apart(manifest: Manifest, files: FilesRead, config: WriteManifest) -> Manifest:
    """Write the listing of input files to a file of its own, where they are many."""
    if len(files) <= MOST:
        return manifest
    data = manifest_files.to_parquet(files)
    layout.publish_whole(config.output, layout.LISTING, data, run_id=config.run_id)
    sha256 = hashlib.sha256(data).hexdigest()
    entry = ListingEntry(path=layout.LISTING, files=len(files), sha256=sha256)
    return manifest.model_copy(update={"files_listing": entry})


def make_manifest(
    files: FilesRead,
    reports: ShardReports,
    more: Mixed | Sequence[Mapped] | None,
    config: WriteManifest,
) -> Manifest:
    """Compare what was read with what was written, and sum up.

    The files that were read are in it where they are MOST at most.

    Args:
        files: what was read.
        reports: what was written.
        more: what a mixture came to, or what records became that were changed on their way.
        config: what to say of it.

    Raises:
        LosslessError: a shard is missing or double, or a source's digests differ.
        DataError: too many records were bad.
    """
    shards = require_numbered(reports.shards)
    read, dropped = files.digests(), files.digests(dropped=True)
    require_few(Digest.total(dropped.values()), Digest.total(read.values()), config.max_bad)
    written = digests_in(reports.digests)
    mixture = None
    mapped: Sequence[Mapped] = ()
    if isinstance(more, Mixed):
        unused = digests_in(reports.unused)
        mixture = mixture_entries(more, read, written=written, unused=unused)
    elif more is not None:
        mapped = more
        _require_mapped(mapped, read, written)
    else:
        blocks.compare_digests(
            written, list(read.values()), what=f"the sources {', '.join(read)} (numbered from 0)"
        )
    tokens = None
    if config.tokens is not None:
        tokens = config.tokens(sum((part.counts for part in mapped), start=TokenCounts()))
    return sum_up(
        files,
        shards,
        Digest.total(written),
        config,
        counted=_counted(more) if isinstance(more, Mixed) else None,
        mixture=mixture,
        tokens=tokens,
    )


def require_numbered(shards: Sequence[ShardReport], what: str = "") -> list[ShardReport]:
    """Return shards in order; raise LosslessError where one is missing or double.

    Args:
        shards: all of one split.
        what: they are, for the error.
    """
    found = sorted(shards, key=lambda shard: shard.number)
    of = found[0].of if found else 0
    if [shard.number for shard in found] != list(range(of)) or not found:
        raise LosslessError(
            f"{what}expected shards 0 to {of - 1}, got {[shard.number for shard in found]}: a "
            "bug in Dovetail or the runner; run again, and report it"
        )
    return found


def sum_up(
    files: FilesRead,
    shards: Sequence[ShardReport],
    total: Digest,
    config: WriteManifest,
    **more: Any,
) -> Manifest:
    """Return the manifest of what was read and written, both proved already.

    Args:
        files: what was read; they are in it where they are MOST at most.
        shards: in order.
        total: digest of all that was written.
        config: what to say of it.
        more: other fields of the manifest.
    """
    read, dropped = files.digests(), files.digests(dropped=True)
    entries: dict[str, list[FileEntry]] = {name: [] for name in config.sources}
    if len(files) <= MOST:
        for name, entry in file_entries(files):
            entries[name].append(entry)
    form = config.form
    return Manifest(
        run_id=config.run_id,
        started=config.started,
        ended=now(),
        seed=config.seed,
        epoch=config.epoch,
        records=total.records,
        bytes=sum(shard.bytes for shard in shards),
        digest=digest_entry(total),
        recipe=config.recipe,
        kind=form.kind,
        compression=form.compression,
        records_are=form.records_are,
        separator=form.line_format.separator,
        header_bytes=len(form.line_format.header),
        quoted=form.line_format.quoted,
        blank_lines=files.left_out["blank"],
        byte_order_marks=files.left_out["marks"],
        trailing_bytes=files.left_out["trailing"],
        shards=[
            ShardEntry(path=s.path, records=s.records, bytes=s.bytes, sha256=s.sha256)
            for s in shards
        ],
        sources=[
            SourceEntry(
                name=name,
                digest=digest_entry(read[name]),
                dropped=digest_entry(dropped[name]) if dropped[name].records else None,
                files=entries[name],
            )
            for name in read
        ],
        quarantine=[QuarantineEntry(**kept._asdict()) for kept in sorted(files.quarantine)],
        tokenizers=list(config.tokenizers) or None,
        versions=versions(of_tokens=config.tokens is not None),
        **more,
    )


def _counted(mixed: Mixed) -> CountedEntry | None:
    if mixed.tokens is None or mixed.token_column is None:
        return None
    return CountedEntry(column=mixed.token_column, tokens=sum(mixed.tokens))


def file_entries(files: FilesRead) -> Iterator[tuple[str, FileEntry]]:
    """Yield the name of its source and the entry of each file; not of very many."""
    numbers = (files.numbers[name].tolist() for name in ("size", *PARTS, *DROPPED))
    for source, name, size, *parts in zip(
        files.source.tolist(), files.name.to_pylist(), *numbers, strict=True
    ):
        digest, dropped = Digest(*parts[: len(PARTS)]), Digest(*parts[len(PARTS) :])
        yield (
            files.sources[source],
            FileEntry(
                name=name,
                size=size,
                records=digest.records,
                digest=digest_entry(digest),
                dropped=digest_entry(dropped) if dropped.records else None,
            ),
        )


def _require_mapped(
    mapped: Sequence[Mapped], read: Mapping[str, Digest], written: list[Digest]
) -> None:
    """Raise LosslessError where not all that was read was changed, or not all of that written."""
    total = {part.source: part for part in add_up_mapped(mapped)}
    for i, name in enumerate(read):
        mine = total.get(name, Mapped(name, Digest(), Digest(), TokenCounts()))
        for what, have, want in (
            ("to be transformed", mine.read, read[name]),
            ("to be written", written[i], mine.written),
        ):
            if have != want:
                raise LosslessError(
                    f"source {name}: expected {want.records:,} records of {want.bytes:,} bytes "
                    f"{what}, got {have.records:,} of {have.bytes:,}; check memory and disk, "
                    "then run again"
                )


def mixture_entries(
    mixed: Mixed, read: Mapping[str, Digest], *, written: list[Digest], unused: list[Digest]
) -> list[MixtureEntry]:
    """Check that each stream's records were written or left unused, and sum up by source.

    Args:
        mixed: what the mixture came to.
        read: of each source, one pass.
        written, unused: of each source, as the writers of shards report it.

    Raises:
        LosslessError: a stream doesn't add up.
    """
    union = mixed.union
    streams = [", ".join(read)] if union else list(read)
    for i, name in enumerate(streams):
        have = Digest.total(written) if union else written[i]
        rest = mixed.unused[i] + (Digest.total(unused) if union else unused[i])
        want = (Digest.total(read.values()) if union else read[name]).times(mixed.accounted[i])
        if have.records != mixed.records[i]:
            raise LosslessError(
                f"source {name}: the schedule takes {mixed.records[i]:,} records, but "
                f"{have.records:,} were written; check memory and disk, then run again"
            )
        if have + rest != want:
            raise LosslessError(
                f"source {name}: expected {want.records:,} records of {want.bytes:,} bytes "
                f"written or unused, in {mixed.accounted[i]} passes, got "
                f"{(have + rest).records:,} of {(have + rest).bytes:,}; check memory and disk, "
                "then run again"
            )
    total = Digest.total(written)
    entries = []
    apart = not union or len(read) == 1
    tokens, tokens_read = (mixed.tokens, mixed.tokens_read) if apart else (None, None)
    for i, (name, once) in enumerate(read.items()):
        stream = 0 if union else i
        entries.append(
            MixtureEntry(
                source=name,
                asked=mixed.asked[i] if mixed.asked else None,
                share_of_records=written[i].records / max(total.records, 1),
                share_of_bytes=written[i].bytes / max(total.bytes, 1),
                share_of_tokens=tokens[i] / max(sum(tokens), 1) if tokens else None,
                tokens=tokens[i] if tokens else None,
                tokens_read=tokens_read[i] if tokens_read else None,
                passes_begun=mixed.passes[stream],
                passes_finished=written[i].records // once.records if once.records else 0,
                passes_read=mixed.accounted[stream],
                written=digest_entry(written[i]),
                unused=digest_entry(once.times(mixed.accounted[stream]) - written[i]),
            )
        )
    return entries


def digest_entry(digest: Digest) -> DigestEntry:
    """Return a digest as a manifest has it."""
    return DigestEntry(**digest.to_json())
