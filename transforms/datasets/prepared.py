"""The manifest of a prepared dataset: packed rows or documents, by split, format and epoch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from transforms.datasets.manifest import (
    FORMAT_VERSION,
    EndEntry,
    ListingEntry,
    QuarantineEntry,
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
    """One file: its path below the manifest's folder, its size and digest."""

    path: str
    bytes: _Count
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class PreparedShard(_Part):
    """A shard: of its files, the main one first, and what they hold.

    ``rows`` are rows of the file (documents, where it is made of them), ``ids`` those of documents with
    their special ones, ``filler`` those that fill rows up. ``digest`` is of the rows as a reader of
    the format sees them (``transforms.trainers.digest``). ``dropped_rows`` and ``dropped_ids`` of these
    stand in none of its files, as the format can't have them.
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
    """One pass of a source: documents, tokens, and the digest of their ids, of those that were used."""

    number: _Count
    documents: _Count
    tokens: _Count
    digest: str = Field(pattern=r"^[0-9a-f]{32}$")


class SourceOfSplit(_Part):
    """What a split took of one source; ``asked`` as ``weigh_by`` of the recipe says.

    ``tokenized`` counts the documents and their tokens that went through the tokenizer for it.
    """

    source: str
    asked: float | None = None
    share_of_documents: float
    share_of_tokens: float
    documents: _Count
    tokens: _Count
    tokenized_documents: _Count
    tokenized_tokens: _Count
    passes_begun: _Count
    passes: list[PassEntry]


class StageEntry(_Part):
    """A stage of train: which of its rows and documents, in order, and each source's."""

    first_row: _Count
    rows: _Count
    documents: _Count
    tokens: _Count
    sources: list[SourceOfSplit]


class SplitEntry(_Part):
    """A split of one epoch (``epoch`` None where all epochs share it).

    Attributes:
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


class PreparedManifest(_Part):
    """``manifest.json`` of a prepared dataset.

    Attributes:
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
