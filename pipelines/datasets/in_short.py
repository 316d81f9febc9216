"""A dataset's manifest in short, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from pipelines.datasets.manifests import AnyManifest
from pipelines.jobs.plan_report import table
from pipelines.jobs.summary import beside_records, mixture_lines, token_lines
from pipelines.recipes.values import write_bytes, write_count
from transforms.datasets.manifest import Manifest
from transforms.datasets.prepared import PreparedManifest, SplitEntry, StageEntry
from transforms.storage import layout

_MOST = 12  # sources of a mixture, or special ids, that are listed


def in_short(manifest: AnyManifest, folder: str) -> Iterator[str]:
    """Yield lines about a dataset: what it is, what it holds, how it was mixed, how it is opened."""
    if isinstance(manifest, PreparedManifest):
        yield from _prepared(manifest, folder)
    else:
        yield from _records(manifest, folder)


def _made(manifest: AnyManifest) -> str:
    version = manifest.versions.get("dovetail", "?")
    return f"made by dovetail {version}, ended {manifest.ended}"


def _records(manifest: Manifest, folder: str) -> Iterator[str]:
    keys = f"seed {manifest.seed}, epoch {manifest.epoch}"
    yield f"{folder}: {manifest.records_are}, {_made(manifest)}, {keys}"
    yield (
        f"{write_count(manifest.records, 'record')}, {write_bytes(manifest.bytes)} in "
        f"{write_count(len(manifest.shards), 'shard')} of {manifest.kind}, compression "
        f"{manifest.compression}; digest {manifest.digest.hash}"
    )
    yield from beside_records(manifest)
    for source in [] if manifest.mixture else manifest.sources[:_MOST]:
        dropped = f", {source.dropped.records:,} bad ones left out" if source.dropped else ""
        yield (
            f"source {source.name}: {write_count(source.digest.records, 'record')}, "
            f"{write_bytes(source.digest.bytes)}{dropped}"
        )
    lines = mixture_lines(manifest)
    yield from lines[: _MOST + 1]
    if len(lines) > _MOST + 1:
        yield f"and {len(lines) - _MOST - 1:,} more sources"
    if manifest.tokens is not None:
        yield _model(manifest.tokens.model)
    yield from token_lines(manifest)
    if manifest.kind == "parquet":
        yield f'open it with: datasets.load_dataset("{folder}")'


def _model(model: dict[str, Any]) -> str:
    ids, sha = model.get("ids"), f"SHA-256 {model.get('sha256')!s:.12}…"
    many = f", {ids:,} ids" if isinstance(ids, int) else ""
    return f"tokenizer: {model.get('url')}, {model.get('kind')}{many} ({sha})"


def _prepared(manifest: PreparedManifest, folder: str) -> Iterator[str]:
    epochs = ", ".join(map(str, manifest.epochs[:_MOST]))
    yield f"{folder}: prepared, {_made(manifest)}, seed {manifest.seed}, epochs {epochs}"
    rows = f"rows of {manifest.length:,} ids" if manifest.length else "rows of any length"
    yield f"packing: {manifest.packing}, {rows}, of {manifest.ids:,} ids there can be"
    if manifest.model is not None:
        yield _model(manifest.model)
    for name, end in sorted(manifest.special.items()):
        words = [f"{token} (id {id_})" for id_, token in zip(end.ids, end.tokens, strict=False)]
        yield f"{name}: {' '.join(words)}, by {end.found}"
    yield from _splits(manifest.splits)
    seen = set()
    for split in manifest.splits:
        if split.split not in seen:  # each epoch has the same law
            seen.add(split.split)
            yield from _mixtures(split)
    yield from _formats(manifest, folder)


def _splits(splits: Sequence[SplitEntry]) -> Iterator[str]:
    """Yield a table of splits, with padding, truncation and concatenation of arXiv 2407.07495."""
    head = [
        "split",
        "epoch",
        "asked",
        "records",
        "documents",
        "tokens",
        "rows",
        "special",
        "filler",
    ]
    rows = [[*head, "padding", "truncation", "documents a row"]]
    for split in splits:
        numbers = [split.records, split.documents, split.tokens, split.rows]
        rows.append(
            [
                split.split,
                "all" if split.epoch is None else str(split.epoch),
                split.asked or "the rest",
                *(f"{number:,}" for number in [*numbers, split.special, split.filler]),
                f"{split.padding:.4%}",
                f"{split.truncation:.4%}",
                f"{split.concatenation:.2f}",
            ]
        )
    yield from table(rows)
    for split in splits:
        lost = {
            "tokens beyond the last row": split.cut,
            "tokens of long documents dropped": split.dropped,
            "documents without ids left out": split.empty,
        }
        words = [f"{number:,} {what}" for what, number in lost.items() if number]
        if words:
            epoch = "" if split.epoch is None else f" of epoch {split.epoch}"
            yield f"{split.split}{epoch}: {', '.join(words)}"


def _mixtures(split: SplitEntry) -> Iterator[str]:
    """Yield a table of what was asked of each source and what came, for each stage."""
    for number, stage in enumerate(split.stages):
        if len(stage.sources) < 2 and len(split.stages) < 2:
            continue
        of = split.split
        if len(split.stages) > 1:
            last = stage.first_row + stage.rows - 1
            of += f", stage {number}, rows {stage.first_row:,} to {last:,}"
        yield f"mixture of {of}:"
        yield from _sources(stage)


def _sources(stage: StageEntry) -> Iterator[str]:
    rows = [["source", "asked", "tokens", "share", "documents", "share", "passes begun"]]
    rows += [
        [
            source.source,
            "" if source.asked is None else f"{source.asked:.4%}",
            f"{source.tokens:,}",
            f"{source.share_of_tokens:.4%}",
            f"{source.documents:,}",
            f"{source.share_of_documents:.4%}",
            f"{source.passes_begun:,}",
        ]
        for source in stage.sources[:_MOST]
    ]
    yield from table(rows)
    if len(stage.sources) > _MOST:
        yield f"and {len(stage.sources) - _MOST:,} more sources"


def _formats(manifest: PreparedManifest, folder: str) -> Iterator[str]:
    from transforms.trainers.of_manifest import dataset_of, format_of  # late: they take numba along

    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for shard in manifest.shards:
        sizes[shard.format] += sum(file.bytes for file in shard.files)
        files[shard.format] += len(shard.files)
    for name in manifest.formats:
        dataset, form = dataset_of(manifest, name), format_of(name)
        level = layout.levels(
            epoch=manifest.epochs[0] if len(manifest.epochs) > 1 else None,
            form=name if len(manifest.formats) > 1 else None,
        )
        where = f"{folder.rstrip('/')}/{level}".rstrip("/")
        yield (
            f"{name}: {form.unit(dataset)}, {write_count(files[name], 'file')}, "
            f"{write_bytes(sizes[name])}; open it with:"
        )
        yield f"  {form.how_to_open(dataset, where)}"
