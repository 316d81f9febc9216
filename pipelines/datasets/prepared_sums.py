"""Whether the manifest of a prepared dataset agrees with itself."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from transforms.datasets.prepared import (
    MOST_PASSES,
    PreparedManifest,
    PreparedShard,
    SourceOfSplit,
    SplitEntry,
    StageEntry,
    recipe_sha256,
)
from transforms.trainers.contract import Dataset
from transforms.trainers.of_manifest import format_of

_SAME = 1e-9  # by which a share may differ that was computed anew


def check_splits(manifest: PreparedManifest, datasets: Mapping[str, Dataset]) -> list[str]:
    """Return what doesn't add up, a line each: shards to splits, stages to splits, sources to stages."""
    problems = []
    shards: dict[tuple[str, str, int | None], list[PreparedShard]] = defaultdict(list)
    for shard in manifest.shards:
        shards[shard.format, shard.split, shard.epoch].append(shard)
    if manifest.recipe.get("seed", manifest.seed) != manifest.seed:
        problems.append("manifest: its seed differs from that of its recipe")
    first, many = manifest.recipe.get("epoch"), manifest.recipe.get("epochs")
    if isinstance(first, int) and isinstance(many, int):
        asked = [first + number for number in range(min(many, len(manifest.epochs) + 1))]
        if manifest.epochs != asked:
            problems.append("manifest: its epochs differ from those of its recipe")
    names = Counter((split.split, split.epoch) for split in manifest.splits)
    problems += [
        f"manifest: the split {name} is listed twice" for name, n in names.items() if n > 1
    ]
    for split in manifest.splits:
        where = f"manifest: split {split.split}" + (
            f" of epoch {split.epoch}" if split.epoch is not None else ""
        )
        if split.epoch is not None and split.epoch not in manifest.epochs:
            problems.append(f"{where}: this epoch is none of {manifest.epochs}")
        problems += [f"{where}: {what}" for what in _check_stages(split)]
        ids = split.tokens - split.cut - split.dropped + split.special + split.filler
        padding = split.filler / max(ids, 1)
        if abs(split.padding - padding) > _SAME:
            problems.append(
                f"{where}: {padding:.6f} of its ids are filler, not {split.padding:.6f}"
            )
        for form, dataset in datasets.items():
            mine = shards[form, split.split, split.epoch]
            problems += [f"{where}: {what}" for what in _check_shards(split, form, dataset, mine)]
    if manifest.tokens is not None:
        made = [source for split in manifest.splits for source in _tokenized(split)]
        problems += [
            f"manifest: tokens: {what}"
            for what in _unequal(
                (
                    "documents that were tokenized for the splits",
                    sum(source.tokenized_documents for source in made),
                    manifest.tokens.records,
                ),
                (
                    "tokens of these",
                    sum(source.tokenized_tokens for source in made),
                    manifest.tokens.tokens,
                ),
            )
        ]
    problems += [f"manifest: {what}" for what in _check_records(manifest)]
    problems += [f"manifest: formats.{what}" for what in _check_formats(manifest)]
    known = [source.name for source in manifest.sources]
    used = {s.source for split in manifest.splits for stage in split.stages for s in stage.sources}
    problems += [
        f"manifest: {name} is a source of a split, but wasn't read"
        for name in sorted(used - set(known))
    ]
    return problems


def _check_records(manifest: PreparedManifest) -> list[str]:
    """Check that the splits of each epoch have, together, the records that were read."""
    read = sum(source.digest.records for source in manifest.sources)
    shared = sum(split.records for split in manifest.splits if split.epoch is None)
    own: Counter[int] = Counter()
    for split in manifest.splits:
        if split.epoch is not None:
            own[split.epoch] += split.records
    if not own:
        return _unequal(("records of its splits", shared, read))
    return _unequal(
        *(
            (f"records of its splits in epoch {epoch}", shared + mine, read)
            for epoch, mine in own.items()
        )
    )


def _check_formats(manifest: PreparedManifest) -> Iterator[str]:
    """Check what each format's small JSON says beside that of the files."""
    recipe = recipe_sha256(manifest.recipe)
    for name, about in manifest.formats.items():
        if about.get("recipe_sha256") not in (None, recipe):
            yield (
                f"{name}: made by another recipe: SHA-256 {about['recipe_sha256']}, the "
                f"manifest says {recipe}"
            )
        model = None if manifest.model is None else manifest.model.get("sha256")
        if model is not None and about.get("tokenizer_sha256") not in (None, model):
            yield f"{name}: made by another tokenizer than the manifest says"
        if about.get("vocab_size") not in (None, manifest.ids):
            yield f"{name}: has {about['vocab_size']} ids, the manifest says {manifest.ids}"
        for role, end in manifest.special.items():
            if about.get(role) is not None and end.ids != [about[role]]:
                yield f"{name}: {role} is {about[role]}, the manifest says {end.ids}"


def _tokenized(split: SplitEntry) -> Sequence[SourceOfSplit]:
    """Return what was tokenized for a split, which each of its stages says."""
    return split.stages[0].sources if split.stages else ()


def _check_shards(
    split: SplitEntry, form: str, dataset: Dataset, mine: Sequence[PreparedShard]
) -> list[str]:
    """Compare what a split holds with what its shards do, in one format."""
    rows, ids = sum(shard.rows for shard in mine), sum(shard.ids for shard in mine)
    if format_of(form).unit(dataset) == "documents":  # as they were before packing
        if rows > split.documents - split.empty:
            return [f"{rows} documents of its shards as {form}, it has {split.documents}"]
        return _unequal(
            (
                f"ids in its shards as {form}, special ones included,",
                ids,
                split.tokens + rows * dataset.packing.special,
            ),
        )
    return _unequal(
        (f"rows of its shards as {form}", rows, split.rows),
        (f"ids of filler in its shards as {form}", sum(s.filler for s in mine), split.filler),
        (
            f"ids in its shards as {form}, special ones included,",
            ids,
            split.tokens - split.cut - split.dropped + split.special,
        ),
    )


def _check_stages(split: SplitEntry) -> list[str]:
    stages = split.stages
    problems = _unequal(
        *(
            (f"{what} of its stages", sum(getattr(s, what) for s in stages), getattr(split, what))
            for what in ("rows", "documents", "tokens")
        )
    )
    first = 0
    for number, stage in enumerate(stages):
        if stage.first_row != first:
            problems.append(f"stage {number} begins at row {stage.first_row}, expected {first}")
        first = stage.first_row + stage.rows
        problems += [f"stage {number}: {what}" for what in _check_sources(stage)]
        records = [source.records for source in stage.sources if source.records is not None]
        if len(records) == len(stage.sources):
            problems += [
                f"stage {number}: {what}"
                for what in _unequal(("records of its sources", sum(records), split.records))
            ]
    return problems


def _check_sources(stage: StageEntry) -> list[str]:
    sources = stage.sources
    problems = _unequal(
        ("documents of its sources", sum(s.documents for s in sources), stage.documents),
        ("tokens of its sources", sum(s.tokens for s in sources), stage.tokens),
    )
    for source in sources:
        problems += [f"source {source.source}: {what}" for what in _check_source(source, stage)]
    return problems


def _check_source(source: SourceOfSplit, stage: StageEntry) -> Iterable[str]:
    for what, says, part, whole in (
        ("documents", source.share_of_documents, source.documents, stage.documents),
        ("tokens", source.share_of_tokens, source.tokens, stage.tokens),
    ):
        if abs(says - part / max(whole, 1)) > _SAME:
            yield f"it has {part / max(whole, 1):.6f} of the {what}, not {says:.6f}"
    if MOST_PASSES == len(source.passes) < source.passes_begun:  # too many to list
        return
    yield from _unequal(("passes", len(source.passes), source.passes_begun))
    yield from _unequal(
        ("documents of its passes", sum(p.documents for p in source.passes), source.documents),
        ("tokens of its passes", sum(p.tokens for p in source.passes), source.tokens),
    )


def _unequal(*sums: tuple[str, int, int]) -> list[str]:
    """Say which sums aren't what they should be: what they are of, they, and what was expected."""
    return [f"{came} {what}, expected {asked}" for what, came, asked in sums if came != asked]
