"""Prepared datasets among the inputs: rows of ids, of one split, in a format that holds rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from transforms.errors import InputError
from transforms.storage import layout

READABLE = ("parquet", "arrow")
"""Formats whose files are read as rows."""


def roots_of(folder: str) -> Iterator[tuple[str, str]]:
    """Yield folders whose dataset may have shards in this one, and this one's path below each.

    >>> list(roots_of("/x/epoch-0/flat/data"))
    [('/x/epoch-0/flat', 'data'), ('/x/epoch-0', 'flat/data'), ('/x', 'epoch-0/flat/data')]
    >>> list(roots_of("/x/mine/data"))
    [('/x/mine', 'data')]
    """
    root, inner = folder.rstrip("/"), ""
    for _ in range(3):
        root, _, name = root.rpartition("/")
        inner = f"{name}/{inner}".rstrip("/")
        if not layout.is_our_folder(inner) or not inner.endswith(layout.DATA):
            return
        yield root, inner


def is_prepared(manifest: Mapping[str, Any]) -> bool:
    """Return whether a manifest is that of a prepared dataset."""
    return "prepared" in manifest


class Listed(NamedTuple):
    """A file that a manifest lists: its bytes, its split where there are several, its trainer's format
    where it has one.
    """

    size: int
    split: str = ""
    form: str = ""


def sizes_in(manifest: Mapping[str, Any], inner: str) -> dict[str, Listed]:
    """Return the files of a folder of shards by name."""
    return {
        path.rpartition("/")[2]: Listed(size, split, form)
        for path, size, form, split in _files(manifest)
        if path.rpartition("/")[0] == inner
    }


def the_only_shards(
    manifest: Mapping[str, Any], folder: str, pattern: str
) -> Sequence[tuple[str, int]]:
    """Return paths and sizes of the shards of a dataset that has one epoch, format and split.

    Args:
        manifest: as JSON.
        folder: the dataset's.
        pattern: what the user gave.

    Raises:
        InputError: it has several, or files of a format that isn't read.
        LookupError, TypeError, ValueError: the manifest isn't one of ours.
    """
    files = list(_files(manifest))
    for path, *_ in files:
        if not layout.is_our_file(path):
            raise ValueError(f"expected paths of shards, got {path}")
    formats = {form for _, _, form, _ in files}
    require_readable(formats, folder, pattern)
    above = {path.rpartition("/")[0] for path, *_ in files}
    splits = {split for *_, split in files}
    if max(len(formats), len(above), len(splits)) > 1:
        first = next(path for path, _, form, _ in files if form in READABLE)
        split = first.rpartition("-of-")[0].rpartition("-")[0]
        raise InputError(
            f"--input={pattern}: {folder} holds a prepared dataset of {len(splits)} splits, "
            f"{len(formats)} formats and {len(manifest['epochs'])} epochs; pass the shards of "
            f"one, as in {folder.rstrip('/')}/{split}-*"
        )
    return [(path, size) for path, size, _, _ in files]


def require_readable(formats: set[str], folder: str, pattern: str) -> None:
    """Raise InputError where none of these formats is read as rows."""
    if not formats & set(READABLE):
        names = ", ".join(sorted(formats))
        raise InputError(
            f"--input={pattern}: {folder} holds a prepared dataset in the format {names}, which "
            f"can't be read back as rows of ids; prepare it as {' or '.join(READABLE)} too"
        )


def require_one_split(splits: Iterable[str], folder: str, pattern: str) -> None:
    """Raise InputError where files of a folder that match a pattern are of several splits."""
    names = sorted(set(splits))
    if len(names) > 1:
        raise InputError(
            f"--input={pattern}: it matches {len(names)} splits of the dataset in {folder} "
            f"({', '.join(names)}); pass the shards of one, as in {folder}/{names[0]}-*"
        )


def _files(manifest: Mapping[str, Any]) -> Iterator[tuple[str, int, str, str]]:
    """Yield path, bytes, format and split of all files of shards."""
    for shard in manifest["shards"]:
        for file in shard["files"]:
            path, size = file["path"], file["bytes"]
            if not isinstance(path, str) or type(size) is not int:
                raise TypeError("a file without path or bytes")
            yield path, size, str(shard["format"]), str(shard["split"])
