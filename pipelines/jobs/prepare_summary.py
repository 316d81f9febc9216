"""What is said when a dataset is prepared."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from pipelines.jobs.plan_report import table
from pipelines.jobs.special_ids import write_special
from pipelines.jobs.summary import command_words, token_lines, token_warnings
from pipelines.recipes.cli import LOG
from pipelines.recipes.recipe import RunSettings
from pipelines.recipes.values import write_count
from pipelines.runners.clusters import CLUSTERS
from transforms.datasets.prepared import PreparedManifest, SplitEntry, StageEntry
from transforms.trainers.of_manifest import dataset_of, format_of

MANY_CUT = 0.01
"""More of the tokens that are lost on the way to rows is warned of."""


def summarize(
    manifest: PreparedManifest, settings: RunSettings, *, seconds: float, peak: int
) -> None:
    """Log what was written, how long it took, how to open it, and how to check it."""
    tokens = sum(split.tokens for split in manifest.splits)
    LOG.info(
        "done: %s, %s of documents in %s; %.1f s, %s tokens a second, peak memory %d MiB%s",
        write_count(sum(split.rows for split in manifest.splits), "row"),
        write_count(tokens, "token"),
        write_count(sum(len(shard.files) for shard in manifest.shards), "file"),
        seconds,
        f"{tokens / max(seconds, 1e-9):,.0f}",
        peak >> 20,
        " of the launcher" if settings.runner in CLUSTERS else "",
    )
    for line in (*warnings(manifest), *token_warnings(manifest)):
        LOG.warning("%s", line)
    for line in lines_of(manifest):
        LOG.info("%s", line)
    for name, line in open_lines(manifest, settings.output):
        LOG.info("open the %s files: %s", name, line)
    modules = manifest.recipe.get("codec_module")
    flags = [f"--codec_module={','.join(modules)}"] if modules else []
    words = command_words()
    LOG.info("look into it with: %s", shlex.join([*words, "show", settings.output]))
    LOG.info("verify it with: %s", shlex.join([*words, "verify", settings.output, *flags]))


def lines_of(manifest: PreparedManifest) -> Iterator[str]:
    """Yield what the splits have, what was asked and what came of it, and the special ids."""
    yield from table(list(_split_rows(manifest)))
    for split in manifest.splits:
        if any(len(stage.sources) > 1 for stage in split.stages) or len(split.stages) > 1:
            yield from table(list(_source_rows(split)))
    yield from token_lines(manifest)
    for role, entry in manifest.special.items():
        yield f"{role}: {write_special(entry)}"


def warnings(manifest: PreparedManifest) -> Iterator[str]:
    """Yield what is likely not to be meant."""
    for split in manifest.splits:
        name = _name(split)
        if not split.rows:
            yield f"{name} is empty: no record fell to it, or none had tokens"
        if split.asked is not None and split.asked.isdigit() and split.records < int(split.asked):
            yield (
                f"{name}: {split.records:,} records of {int(split.asked):,} that were asked for: whole "
                "groups of equal content are taken, to the count at most"
            )
        lost = split.cut + split.dropped
        if split.tokens and lost > MANY_CUT * (split.tokens + split.dropped):
            yield (
                f"{name}: {lost:,} tokens are in no row: {split.dropped:,} of documents longer than "
                f"one, {split.cut:,} behind the last row"
            )
        if split.empty:
            yield f"{name}: {write_count(split.empty, 'document')} without tokens left out"
    for form in manifest.formats:
        if format_of(form).unit(dataset_of(manifest, form)) == "rows":
            own = [shard for shard in manifest.shards if shard.format == form]
            rows, ids = sum(one.dropped_rows for one in own), sum(one.dropped_ids for one in own)
            if rows:
                yield (
                    f"{form}: {write_count(rows, 'short row')} with {ids:,} ids left out of its files, "
                    "for want of a pad token that isn't EOS"
                )


def open_lines(manifest: PreparedManifest, folder: str) -> Iterator[tuple[str, str]]:
    """Yield each format, and the line of code that opens its files in its trainer."""
    epochs = {shard.epoch for shard in manifest.shards if shard.epoch is not None}
    for name in manifest.formats:
        parts = [folder]
        if epochs:
            parts.append(f"epoch-{min(epochs)}")
        if len(manifest.formats) > 1:
            parts.append(name)
        yield name, format_of(name).how_to_open(dataset_of(manifest, name), "/".join(parts))


def _name(split: SplitEntry) -> str:
    return split.split if split.epoch is None else f"{split.split} of epoch {split.epoch}"


def _split_rows(manifest: PreparedManifest) -> Iterator[tuple[str, ...]]:
    yield (
        *("split", "asked", "records", "documents", "tokens", "rows", "special", "filler"),
        *("dropped", "cut", "padding", "truncation", "documents a row"),
    )
    for split in manifest.splits:
        yield (
            _name(split),
            split.asked or "the rest",
            f"{split.records:,}",
            f"{split.documents:,}",
            f"{split.tokens:,}",
            f"{split.rows:,}",
            f"{split.special:,}",
            f"{split.filler:,}",
            f"{split.dropped:,}",
            f"{split.cut:,}",
            f"{split.padding:.4%}",
            f"{split.truncation:.4%}",
            f"{split.concatenation:.2f}",
        )


def _source_rows(split: SplitEntry) -> Iterator[tuple[str, ...]]:
    yield (
        *(_name(split), "asked", "documents", "share", "tokens", "share", "tokenized", "passes"),
    )
    for number, stage in enumerate(split.stages):
        if len(split.stages) > 1:
            yield (f"stage {number}, {write_count(stage.rows, 'row')}", *[""] * 7)
        yield from _stage_rows(stage, "  " if len(split.stages) > 1 else "")


def _stage_rows(stage: StageEntry, indent: str) -> Iterator[tuple[str, ...]]:
    for source in stage.sources:
        yield (
            f"{indent}{source.source}",
            "" if source.asked is None else f"{source.asked:.4%}",
            f"{source.documents:,}",
            f"{source.share_of_documents:.4%}",
            f"{source.tokens:,}",
            f"{source.share_of_tokens:.4%}",
            f"{source.tokenized_tokens:,}",
            f"{source.passes_begun:,}",
        )
