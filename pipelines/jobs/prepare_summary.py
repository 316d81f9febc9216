"""What is said when a dataset is prepared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pipelines.jobs.plan_report import table
from pipelines.jobs.special_ids import write_special
from pipelines.jobs.summary import (
    bad_records,
    beside_records,
    command_line,
    said_peak,
    token_lines,
    token_warnings,
    write_passes,
)
from pipelines.recipes.cli import LOG
from pipelines.recipes.settings import RunSettings
from pipelines.recipes.wording import (
    write_bytes,
    write_count,
    write_epochs,
    write_rate,
    write_seconds,
    write_share,
)
from transforms.datasets.prepared import (
    PreparedManifest,
    SplitEntry,
    passes_of,
)
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
        "done: %s with %s in %s (%s); %s",
        write_count(sum(split.rows for split in manifest.splits), "row"),
        write_count(tokens, "token"),
        write_count(sum(len(shard.files) for shard in manifest.shards), "file"),
        write_bytes(sum(file.bytes for shard in manifest.shards for file in shard.files)),
        ", ".join([write_seconds(seconds), *_rates(manifest, seconds), said_peak(settings, peak)]),
    )
    for line in (*lines_of(manifest, settings.output), *beside_records(manifest)):
        LOG.info("%s", line)
    LOG.info(
        "written to %s (seed %d, %s)",
        *(settings.output, manifest.seed, write_epochs(manifest.epochs, most=_MOST)),
    )
    LOG.info("look into it with: %s", command_line("show", settings.output, manifest.recipe))
    LOG.info("verify it with: %s", command_line("verify", settings.output, manifest.recipe))
    for line in (*bad_records(manifest), *warnings(manifest), *token_warnings(manifest)):
        LOG.warning("%s", line)


def _rates(manifest: PreparedManifest, seconds: float) -> Iterator[str]:
    """Yield how fast it went: text, where it is tokenized, and tokens."""
    made = manifest.tokens
    if made is not None and made.bytes:
        yield f"{write_rate(made.bytes / seconds)} of text"
    if tokens := sum(split.tokens for split in manifest.splits):
        yield f"{tokens / seconds:,.0f} tokens/s"


def lines_of(manifest: PreparedManifest, folder: str) -> Iterator[str]:
    """Yield what the splits have, shares requested and actual, special ids, and how to open it."""
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
            beyond = "" if split.asked else ", or the first one exceeds --max_tokens"
            yield f"{name} is empty: no record was assigned to it, or none has tokens{beyond}"
        if split.asked is not None and split.asked.isdigit() and split.records < int(split.asked):
            yield (
                f"{name} has {split.records:,} of the {int(split.asked):,} records "
                "requested: duplicates stay together, so counts are maxima"
            )
        lost = split.cut + split.dropped
        if split.tokens and lost > MANY_CUT * (split.tokens + split.dropped):
            yield (
                f"{name}: {write_count(lost, 'token')} in no row ({split.dropped:,} of documents longer "
                f"than a row, {split.cut:,} after the last full row)"
            )
    units = {form: format_of(form).unit(dataset_of(manifest, form)) for form in manifest.formats}
    if manifest.packing != "none" and "rows" not in units.values():
        yield (
            f"--packing={manifest.packing} has no effect on these formats: {', '.join(units)} holds "
            "whole documents, not rows"
        )
    for form, unit in units.items():
        own = [shard for shard in manifest.shards if shard.format == form]
        empty = sum(not shard.ids for shard in own)
        if empty and manifest.formats[form].get("header_bytes"):
            yield (
                f"{form}: {write_count(empty, 'shard')} without ids, which llm.c can't open; lower "
                "--num_shards"
            )
        if unit == "rows":
            rows, ids = sum(one.dropped_rows for one in own), sum(one.dropped_ids for one in own)
            if rows:
                yield (
                    f"{form}: {write_count(rows, 'short row')} with {ids:,} ids left out of its files: "
                    "they need a pad token other than EOS to be filled up"
                )


def _name(split: SplitEntry) -> str:
    return split.split if split.epoch is None else f"{split.split} of epoch {split.epoch}"


def split_lines(splits: Sequence[SplitEntry]) -> Iterator[str]:
    """Yield a table of splits, with padding, truncation and concatenation of arXiv 2407.07495."""
    head = [
        "split",
        "epoch",
        "requested",
        "records",
        "documents",
        "tokens",
        "rows",
        "special",
        "filler",
    ]
    rows = [[*head, "padding", "truncation", "concatenation"]]
    for split in splits:
        numbers = [split.records, split.documents, split.tokens, split.rows]
        rows.append(
            [
                split.split,
                "all" if split.epoch is None else str(split.epoch),
                split.asked or "the rest",
                *(f"{number:,}" for number in [*numbers, split.special, split.filler]),
                write_share(split.padding),
                write_share(split.truncation),
                write_share(split.concatenation),
            ]
        )
    yield from table(rows, most=_MOST, word="split")
    for split in splits[:_MOST]:
        lost = (
            (split.cut, "token", "after the last full row left out"),
            (split.dropped, "token", "of documents longer than a row left out"),
            (split.empty, "document", "without tokens left out"),
        )
        words = [f"{write_count(number, what)} {why}" for number, what, why in lost if number]
        if words:
            yield f"{_name(split)}: {', '.join(words)}"


def stage_lines(splits: Sequence[SplitEntry]) -> Iterator[str]:
    """Yield tables of the shares requested and actual of each source, of one epoch's stages."""
    seen = set()
    for split in splits:
        if split.split not in seen:  # each epoch has the same law
            seen.add(split.split)
            yield from _mixtures(split)


def _mixtures(split: SplitEntry) -> Iterator[str]:
    """Yield a table of the shares requested and actual of each source, for each stage."""
    for number, stage in enumerate(split.stages):
        if len(stage.sources) < 2 and len(split.stages) < 2:
            continue
        of = split.split
        if len(split.stages) > 1:
            last = stage.first_row + stage.rows - 1
            rows = f"rows {stage.first_row:,} to {last:,}" if stage.rows else "no rows"
            of += f", stage {number}, {rows}"
        yield f"mixture of {of}:"
        yield from _sources(split, number)


def _sources(split: SplitEntry, number: int) -> Iterator[str]:
    """Yield a table of a stage's sources; passes count from the first stage to the end of this one."""
    sources = split.stages[number].sources
    named = ("source", "requested", "of tokens", "of documents", "tokens", "documents")
    rows = [[*named, "passes", "unused records"]]
    for at, source in enumerate(sources):
        passed = passes_of(split, number, at)
        # of too many passes to list we know how many a stage began, but not which of them were new
        begun = f"{source.passes_begun:,} begun" if len(split.stages) == 1 else ""
        cells = [
            source.source,
            "" if source.asked is None else write_share(source.asked),
            write_share(source.share_of_tokens),
            write_share(source.share_of_documents),
            f"{source.tokens:,}",
            f"{source.documents:,}",
            begun if passed is None else write_passes(passed.finished, passed.begun),
            "" if passed is None else f"{passed.unused:,}",
        ]
        rows.append(cells)
    yield from table(rows, most=_MOST, word="source")


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
