"""The manifest of a prepared dataset: packed rows or documents, by split, format and epoch."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from transforms.datasets.manifest import (
    FORMAT_VERSION,
    EndEntry,
    ListingEntry,
    QuarantineEntry,
    Sha256,
    SourceEntry,
    TokensEntry,
)
from transforms.kernels.randomness import ORDER_VERSION

MOST_PASSES = 1000
"""Passes of a source that an entry lists."""


_Count = Annotated[int, Field(ge=0, lt=2**63)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileOfShard(_Part):
    """One file.

    Attributes:
        path: below the manifest's folder.
        bytes: its size.
        sha256: of the file.
    """

    path: str
    bytes: _Count
    sha256: Sha256


class PreparedShard(_Part):
    """A shard, and what its files hold.

    Attributes:
        epoch: None if all epochs share it.
        format: of its files.
        split: whose rows it holds.
        number, of: as in its name: shard 3 of 8.
        files: the main one first.
        rows: of the file; documents, if it is made of documents.
        ids: of the documents, with special ones.
        filler: ids that fill rows up.
        digest: of the rows as a reader of the format sees them (``transforms.trainers.digest``).
        dropped_rows, dropped_ids: of these, those in none of its files, as the format can't hold them.
    """

    epoch: int | None
    format: str
    split: str
    number: _Count
    of: _Count
    files: list[FileOfShard]
    rows: _Count
    ids: _Count
    filler: _Count
    digest: str = Field(pattern=r"^[0-9a-f]{32}$")
    dropped_rows: _Count = 0
    dropped_ids: _Count = 0


class PassEntry(_Part):
    """One pass of a source.

    Attributes:
        number: of the pass, from 0.
        documents, tokens: that were used.
        digest: of the ids of these documents.
    """

    number: _Count
    documents: _Count
    tokens: _Count
    digest: str = Field(pattern=r"^[0-9a-f]{32}$")


class SourceOfSplit(_Part):
    """What a split took of one source.

    Attributes:
        source: its name.
        asked: the requested share, of what ``weigh_by`` of the recipe says; None without weights.
        share_of_documents, share_of_tokens: the actual shares.
        records: of the source, that fell to the split; None in older datasets.
        documents, tokens: that the split took, again for each pass.
        tokenized_documents, tokenized_tokens: that went through the tokenizer for it.
        passes_begun: of the source.
        passes: each of them.
    """

    source: str
    asked: float | None = None
    records: _Count | None = None
    share_of_documents: float
    share_of_tokens: float
    documents: _Count
    tokens: _Count
    tokenized_documents: _Count
    tokenized_tokens: _Count
    passes_begun: _Count
    passes: list[PassEntry]


class StageEntry(_Part):
    """A stage of train.

    Attributes:
        first_row: of the stage, counted from 0.
        rows, documents, tokens: of the stage.
        sources: what each source gave.
    """

    first_row: _Count
    rows: _Count
    documents: _Count
    tokens: _Count
    sources: list[SourceOfSplit]


class SplitEntry(_Part):
    """A split of one epoch (``epoch`` None where all epochs share it).

    Attributes:
        split: its name.
        epoch: None if all epochs share it.
        asked: what the recipe asked for, None for the rest.
        records: that fell to it, of one pass.
        documents, tokens: used, without special ids.
        empty: documents without ids that packing left out.
        rows: in all.
        special: ids that packing put around documents and at cuts.
        filler: ids that fill rows up.
        cut: tokens of the last documents that lie beyond the last row.
        dropped: tokens of documents longer than a row that ``--long`` truncates or drops.
        long: how many documents were longer than a row.
        padding, truncation, concatenation: shares and documents per row (arXiv 2407.07495).
        stages: of the split; one, but for train with ``stages``.
    """

    split: str
    epoch: int | None
    asked: str | None = None
    records: _Count
    documents: _Count
    tokens: _Count
    empty: _Count
    rows: _Count
    special: _Count
    filler: _Count
    cut: _Count
    dropped: _Count
    long: _Count
    padding: float
    truncation: float
    concatenation: float
    stages: list[StageEntry]


class PassesOf(NamedTuple):
    """How often a source was passed.

    Attributes:
        finished, begun: passes.
        unused: records of the last pass that weren't used.
    """

    finished: int
    begun: int
    unused: int


def passes_of(split: SplitEntry, stage: int, source: int) -> PassesOf | None:
    """Return how often a source had been passed when a stage ended.

    Args:
        split: of which.
        stage: its number; a pass that one stage begins goes on in the next.
        source: its place in the stages' lists.

    Returns:
        None if the manifest doesn't say it: an older one, or one with too many passes to list.
    """
    used: Counter[int] = Counter()
    for entry in (one.sources[source] for one in split.stages[: stage + 1]):
        if entry.records is None or len(entry.passes) < entry.passes_begun:
            return None
        records = entry.records
        used.update({one.number: one.documents for one in entry.passes})
    finished = sum(number == records for number in used.values())
    return PassesOf(finished, len(used), records - (used[max(used)] if used else 0))


class PreparedManifest(_Part):
    """``manifest.json`` of a prepared dataset.

    Attributes:
        format: always ``dovetail-manifest``.
        format_version: of the manifest's fields; another version is refused.
        order_version: of the order of records; the same recipe gives the same order while it stays.
        prepared: tells this manifest from the other kind.
        run_id: of the run that wrote it.
        started, ended: when the run did, in UTC.
        seed: of the recipe.
        epochs: that were written.
        recipe: everything that determined the dataset; ``--recipe=manifest.json`` makes it again.
        packing: how documents became rows.
        tokens: what tokenizing came to; None if the input was rows of ids.
        splits: what each split holds, by epoch.
        shards: of all splits, formats and epochs.
        sources: what was read.
        quarantine: files of bad records that were kept.
        files_listing: the file that lists input files, if they are many.
        versions: of Dovetail, Python and the packages that shape the output.
        special: the special ids: eos, bos and pad, as of EndEntry; those that there are.
        ids: how many ids there can be.
        length: ids of a row, None for rows of any length.
        formats: what the small JSON files say, by format.
        model: of the tokenizer, as of TokensEntry, where there was one.
        blank_lines, byte_order_marks, trailing_bytes: left out of the input, as of Manifest.
    """

    format: Literal["dovetail-manifest"] = "dovetail-manifest"
    format_version: int = FORMAT_VERSION
    order_version: int = ORDER_VERSION
    prepared: Literal[1] = 1
    run_id: str
    started: str
    ended: str
    seed: int
    epochs: list[int]
    recipe: dict[str, Any]
    ids: _Count
    length: int | None
    packing: str
    special: dict[str, EndEntry]
    model: dict[str, Any] | None
    tokens: TokensEntry | None
    formats: dict[str, dict[str, Any]]
    splits: list[SplitEntry]
    shards: list[PreparedShard]
    sources: list[SourceEntry]
    quarantine: list[QuarantineEntry]
    blank_lines: _Count = 0
    byte_order_marks: _Count = 0
    trailing_bytes: _Count = 0
    files_listing: ListingEntry | None = None
    versions: dict[str, str]


def recipe_sha256(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a recipe as JSON with sorted keys, by which formats' files name it.

    It doesn't say which editions there are: each is that of a run by itself, its small files too.

    >>> recipe_sha256({"seed": 1, "epoch": 0, "epochs": 2}) == recipe_sha256({"seed": 1, "epoch": 1})
    True
    """
    said = {name: value for name, value in recipe.items() if name not in {"epoch", "epochs"}}
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
