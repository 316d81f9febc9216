"""Whether the splits of a dataset add up, and the files are whole that stand beside its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.datasets.check_sources import digest_of
from pipelines.datasets.shard_files import opened, sha256
from transforms.datasets.manifest import LikeFileEntry, Manifest, SplitEntry
from transforms.errors import DataError
from transforms.kernels.records.digest import Digest
from transforms.storage import layout


def check_splits(splits: Sequence[SplitEntry], manifest: Manifest, read: Digest) -> Iterator[str]:
    """Yield what of the splits, by the manifest's own account, doesn't add up, a line each.

    Args:
        splits: its own.
        manifest: of the dataset.
        read: digest of all records of its sources.
    """
    names = [split.name for split in splits]
    if len(set(names)) < len(names):
        yield f"manifest: a split is listed twice: {', '.join(names)}"
    for split in splits:
        shards = [s for s in manifest.shards if layout.split_of(s.path) == split.name]
        for what, says, have in (
            ("records", split.records, sum(shard.records for shard in shards)),
            ("bytes", split.bytes, sum(shard.bytes for shard in shards)),
            ("records", split.digest.records, split.records),
        ):
            if says != have:
                yield f"manifest: {split.name} has {says} {what}, its shards have {have}"
        yield from _check_written(split, manifest)
    if Digest.total(digest_of(split.digest) for split in splits) != digest_of(manifest.digest):
        yield "manifest: its splits don't add up to its digest"
    left_out = digest_of(manifest.left_out) if manifest.left_out else Digest()
    if Digest.total(digest_of(split.read) for split in splits) + left_out != read:
        yield (
            "manifest: the input's records in its splits, and those left out, aren't what was read"
        )


def _check_written(split: SplitEntry, manifest: Manifest) -> Iterator[str]:
    """Yield where a split was written otherwise than it was read, though nobody asked for that."""
    drawn, weighed = manifest.recipe.get("draw"), manifest.recipe.get("weights_column")
    if drawn is not None:  # copies, with a column of how many
        return
    if split.records != split.read.records:
        yield (
            f"manifest: {split.name} has {split.records} records, but {split.read.records} "
            "records of the input"
        )
    elif weighed is None and split.digest != split.read:
        yield f"manifest: the records written to {split.name} differ from those read for it"


def check_like(manifest: Manifest, folder: str) -> Iterator[str]:
    """Yield what is wrong with the files that ``--like`` wrote beside the manifest."""
    if manifest.like is None:
        return
    files = [LikeFileEntry.model_validate(file) for file in manifest.like.get("files", [])]
    if layout.LIKE_MODEL not in [file.path for file in files]:
        yield f"manifest: it has a report of --like, but doesn't list {layout.LIKE_MODEL}"
    for file in files:
        try:
            with opened(folder, file.path) as found:
                if sha256(found) != file.sha256:
                    yield f"{file.path}: its bytes differ (SHA-256)"
        except DataError as error:
            yield str(error)
