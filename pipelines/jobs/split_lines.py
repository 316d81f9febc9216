"""What the splits of a dataset have, in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.jobs.plan_report import table
from pipelines.recipes.wording import write_bytes, write_count, write_share
from transforms.datasets.manifest import Manifest, PartedEntry
from transforms.storage import layout


def split_lines(manifest: Manifest, *, warned: bool = False) -> Iterator[str]:
    """Yield a table of a dataset's splits, and what stands in several of them, or in none.

    Args:
        manifest: of the dataset.
        warned: what ``split_warnings`` says too is left out.
    """
    splits = manifest.splits or ()
    rows = [["split", "requested", "actual", "records", "bytes", "shards"]]
    copies = any(split.records != split.read.records for split in splits)
    if copies:
        rows[0].append("distinct")
    for split in splits:
        shards = sum(layout.split_of(shard.path) == split.name for shard in manifest.shards)
        rows.append(
            [
                split.name,
                split.asked or "the rest",
                write_share(split.records / max(manifest.records, 1)),
                f"{split.records:,}",
                write_bytes(split.bytes),
                f"{shards:,}",
                *([f"{split.read.records:,}"] if copies else []),
            ]
        )
    if splits:
        yield from table(rows)
    if (left_out := manifest.left_out) is not None:
        why = ""
        if manifest.recipe.get("draw"):
            why = f", as another record of the same {_what_is_kept(manifest.recipe)} was drawn"
        yield (
            f"in no split: {write_count(left_out.records, 'record')} "
            f"({write_bytes(left_out.bytes)}){why}"
        )
    if (parted := manifest.parted) is not None:
        if not parted.contents:
            yield "no content is in more than one split"
        elif not warned:
            yield _parted(parted)
    if manifest.like is not None:
        yield from manifest.like.get("words", ())


def split_warnings(manifest: Manifest) -> Iterator[str]:
    """Yield what is less than was asked for, or likely not to be meant."""
    for split in manifest.splits or ():
        if not split.records and manifest.records:
            yield (
                f"{split.name} is empty: no record was assigned to it; datasets.load_dataset "
                "refuses a folder with an empty split, so name the splits to read, as in "
                'split="train"'
            )
        asked = split.asked or ""
        if asked.isdigit() and split.records < int(asked):
            yield (
                f"{split.name} has {split.records:,} of the {int(asked):,} records requested: "
                + _why_short(manifest.recipe)
            )
    if manifest.parted is not None and manifest.parted.contents:
        yield f"{_parted(manifest.parted)}; leave out --by=identity to keep duplicates together"


def _parted(parted: PartedEntry) -> str:
    """Say how many contents are in several splits."""
    return (
        f"{write_count(parted.contents, 'content')} of {write_count(parted.records, 'record')} "
        f"{'is' if parted.contents == 1 else 'are'} in more than one split, as records were split by "
        "identity"
    )


def _why_short(recipe: Mapping[str, Any]) -> str:
    if recipe.get("by") == "identity":
        return "there are no more"
    kept = _what_is_kept(recipe)
    if kept == "group":
        return "groups stay together, and no remaining group fits"
    return (
        "duplicates stay together, and no remaining group of them fits; --by=identity meets a count "
        "exactly, but separates duplicates"
    )


def _what_is_kept(recipe: Mapping[str, Any]) -> str:
    """Return the word for what is kept in one split."""
    return "group" if recipe.get("split_by") else "content"
