"""Where the shards of a prepared dataset lie, and how they are opened."""

from __future__ import annotations

import contextlib
from typing import BinaryIO, TypedDict

from pipelines.datasets.shard_files import opened
from transforms.datasets.prepared import FileOfShard, PreparedManifest, PreparedShard
from transforms.errors import DataError
from transforms.storage import layout
from transforms.trainers.contract import Dataset
from transforms.trainers.of_manifest import format_of


class Levels(TypedDict):
    """Which levels lie above a shard's ``data``, as of ``layout.levels``."""

    epoch: int | None
    form: str | None


def levels_of(manifest: PreparedManifest, shard: PreparedShard) -> Levels:
    """Return the levels above a shard: those of which the dataset has several."""
    return {
        "epoch": shard.epoch if len(manifest.epochs) > 1 else None,
        "form": shard.format if len(manifest.formats) > 1 else None,
    }


def folders_of(manifest: PreparedManifest) -> dict[str, tuple[str, int | None]]:
    """Return the levels that folders of shards lie below, each with its format and epoch."""
    return {
        layout.levels(**levels_of(manifest, shard)): (shard.format, shard.epoch)
        for shard in manifest.shards
    }


def files_by_suffix(shard: PreparedShard, dataset: Dataset) -> dict[str, FileOfShard]:
    """Return a shard's files by the suffixes that its format gives them.

    Raises:
        DataError: it has others.
    """
    suffixes = format_of(shard.format).suffixes(dataset)
    found = {
        suffix: file
        for suffix, file in zip(suffixes, shard.files, strict=False)
        if file.path.endswith(suffix)
    }
    if len(found) != len(suffixes) or len(shard.files) != len(suffixes):
        names = ", ".join(file.path for file in shard.files) or "none"
        raise DataError(
            f"manifest: expected files of {shard.format} that end in {', '.join(suffixes)}, in this "
            f"order, got {names}"
        )
    return found


def open_files(
    stack: contextlib.ExitStack, folder: str, shard: PreparedShard, dataset: Dataset
) -> dict[str, BinaryIO]:
    """Open a shard's files for its format's reader, until the stack is closed.

    Raises:
        DataError: one isn't there, or isn't of our layout.
    """
    files = files_by_suffix(shard, dataset)
    return {s: stack.enter_context(opened(folder, file.path)) for s, file in files.items()}
