"""A dataset's manifest in short, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.datasets.manifests import AnyManifest
from pipelines.jobs.prepare_summary import format_lines, stage_lines
from pipelines.jobs.prepare_summary import split_lines as prepared_split_lines
from pipelines.jobs.split_lines import split_lines
from pipelines.jobs.summary import bad_records, beside_records, mixture_lines, token_lines
from pipelines.recipes.wording import write_bytes, write_count, write_epochs
from transforms.datasets.manifest import Manifest
from transforms.datasets.prepared import PreparedManifest

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
    yield from split_lines(manifest)
    for source in [] if manifest.mixture else manifest.sources[:_MOST]:
        dropped = f", {source.dropped.records:,} bad ones left out" if source.dropped else ""
        yield (
            f"source {source.name}: {write_count(source.digest.records, 'record')}, "
            f"{write_bytes(source.digest.bytes)}{dropped}"
        )
    if not manifest.mixture and (more := len(manifest.sources) - _MOST) > 0:
        yield f"and {write_count(more, 'more source')}"
    yield from mixture_lines(manifest, most=_MOST)
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
    keys = f"seed {manifest.seed}, {write_epochs(manifest.epochs, most=_MOST)}"
    yield f"{folder}: prepared, {_made(manifest)}, {keys}"
    rows = f"rows of {manifest.length:,} ids" if manifest.length else "rows of any length"
    yield f"packing: {manifest.packing}, {rows}; the vocabulary has {manifest.ids:,} ids"
    if manifest.model is not None:
        yield _model(manifest.model)
    for name, end in sorted(manifest.special.items()):
        named = zip(end.ids, end.tokens, strict=False)
        words = [f"{token} (id {id_})" if token else f"id {id_}" for id_, token in named]
        yield f"{name}: {' '.join(words)}, by {end.found}"
    yield from (*bad_records(manifest), *beside_records(manifest))
    yield from prepared_split_lines(manifest.splits)
    yield from stage_lines(manifest.splits)
    yield from format_lines(manifest, folder)
