"""What is said when a dataset is prepared."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence

from pipelines.jobs.plan_report import table
from pipelines.jobs.special_ids import write_special
from pipelines.jobs.summary import (
    bad_records,
    beside_records,
    command_words,
    token_lines,
    token_warnings,
)
from pipelines.recipes.cli import LOG
from pipelines.recipes.recipe import RunSettings
from pipelines.recipes.values import write_bytes, write_count
from pipelines.runners.clusters import CLUSTERS
from transforms.datasets.prepared import PreparedManifest, SplitEntry, StageEntry
from transforms.storage import layout

_MOST = 12  # sources of a mixture, and splits of epochs, that are listed

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
    for line in (*bad_records(manifest), *warnings(manifest), *token_warnings(manifest)):
        LOG.warning("%s", line)
    for line in beside_records(manifest):
        LOG.info("%s", line)
    for line in lines_of(manifest, settings.output):
        LOG.info("%s", line)
    modules = manifest.recipe.get("codec_module")
    flags = [f"--codec_module={','.join(modules)}"] if modules else []
    words = command_words()
    LOG.info("look into it with: %s", shlex.join([*words, "show", settings.output]))
    LOG.info("verify it with: %s", shlex.join([*words, "verify", settings.output, *flags]))


def lines_of(manifest: PreparedManifest, folder: str) -> Iterator[str]:
    """Yield what the splits have, what was asked and what came, special ids, and how to open it."""
    yield from split_lines(manifest.splits)
    yield from stage_lines(manifest.splits)
    yield from token_lines(manifest)
    for role, entry in manifest.special.items():
        yield f"{role}: {write_special(entry)}"
    yield from format_lines(manifest, folder)


def warnings(manifest: PreparedManifest) -> Iterator[str]:
    """Yield what is likely not to be meant."""
    from transforms.trainers.of_manifest import dataset_of, format_of  # late: they take numba along

    for split in manifest.splits:
        name = _name(split)
        if not split.rows:
            # only train ends by tokens; it is what wasn't asked for
            beyond = "" if split.asked else ", or the first exceeds --max_tokens"
            yield f"{name} is empty: no record fell to it, or none had tokens{beyond}"
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
    units = {form: format_of(form).unit(dataset_of(manifest, form)) for form in manifest.formats}
    if manifest.packing != "none" and "rows" not in units.values():
        yield (
            f"no format that was asked for is made of rows, so that those of {manifest.packing} are "
            f"written nowhere: {', '.join(units)} holds documents as they are"
        )
    for form, unit in units.items():
        own = [shard for shard in manifest.shards if shard.format == form]
        empty = sum(not shard.ids for shard in own)
        if empty and manifest.formats[form].get("header_bytes"):
            yield (
                f"{form}: {write_count(empty, 'shard')} without ids, which llm.c can't open; give fewer "
                "--num_shards"
            )
        if unit == "rows":
            rows, ids = sum(one.dropped_rows for one in own), sum(one.dropped_ids for one in own)
            if rows:
                yield (
                    f"{form}: {write_count(rows, 'short row')} with {ids:,} ids left out of its files, "
                    "for want of a pad token that isn't EOS"
                )


def _name(split: SplitEntry) -> str:
    return split.split if split.epoch is None else f"{split.split} of epoch {split.epoch}"


def split_lines(splits: Sequence[SplitEntry]) -> Iterator[str]:
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
    rows = [[*head, "padding", "truncation", "concatenation"]]
    for split in splits[:_MOST]:
        numbers = [split.records, split.documents, split.tokens, split.rows]
        rows.append(
            [
                split.split,
                "all" if split.epoch is None else str(split.epoch),
                split.asked or "the rest",
                *(f"{number:,}" for number in [*numbers, split.special, split.filler]),
                f"{split.padding:.4%}",
                f"{split.truncation:.4%}",
                f"{split.concatenation:.4%}",
            ]
        )
    yield from table(rows)
    if len(splits) > _MOST:
        yield f"and {len(splits) - _MOST:,} more"
    for split in splits[:_MOST]:
        lost = (
            (split.cut, "token", "beyond the last row"),
            (split.dropped, "token", "of documents longer than a row left out"),
            (split.empty, "document", "without tokens left out"),
        )
        words = [f"{write_count(number, what)} {why}" for number, what, why in lost if number]
        if words:
            yield f"{_name(split)}: {', '.join(words)}"


def stage_lines(splits: Sequence[SplitEntry]) -> Iterator[str]:
    """Yield tables of what was asked of each source and what came, of one epoch's stages."""
    seen = set()
    for split in splits:
        if split.split not in seen:  # each epoch has the same law
            seen.add(split.split)
            yield from _mixtures(split)


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
    rows = [
        *[["source", "asked", "tokens", "share", "documents", "share", "tokenized", "passes begun"]]
    ]
    rows += [
        [
            source.source,
            "" if source.asked is None else f"{source.asked:.4%}",
            f"{source.tokens:,}",
            f"{source.share_of_tokens:.4%}",
            f"{source.documents:,}",
            f"{source.share_of_documents:.4%}",
            f"{source.tokenized_tokens:,}",
            f"{source.passes_begun:,}",
        ]
        for source in stage.sources[:_MOST]
    ]
    yield from table(rows)
    if len(stage.sources) > _MOST:
        yield f"and {len(stage.sources) - _MOST:,} more sources"


def format_lines(manifest: PreparedManifest, folder: str) -> Iterator[str]:
    """Yield what there is of each format, and the line of code that opens it in its trainer."""
    from transforms.trainers.of_manifest import dataset_of, format_of  # late: they take numba along

    sizes: Counter[str] = Counter()
    files: Counter[str] = Counter()
    for shard in manifest.shards:
        sizes[shard.format] += sum(file.bytes for file in shard.files)
        files[shard.format] += len(shard.files)
    # train, unless it is empty and another split isn't
    first = min(manifest.splits, key=lambda split: (not split.rows, split.asked is not None))
    for name in manifest.formats:
        dataset, form = dataset_of(manifest, name), format_of(name)
        level = layout.levels(
            epoch=first.epoch,
            form=name if len(manifest.formats) > 1 else None,
        )
        where = f"{folder.rstrip('/')}/{level}".rstrip("/")
        yield (
            f"{name}: {form.unit(dataset)}, {write_count(files[name], 'file')}, "
            f"{write_bytes(sizes[name])}; open it with:"
        )
        yield f"  {form.how_to_open(dataset, where, first.split)}"
