"""Datasets of ours among the inputs: what their manifests say of the shards that are read."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from transforms.datasets.prepared_inputs import (
    Listed,
    is_prepared,
    require_one_split,
    require_readable,
    roots_of,
    sizes_in,
    the_only_shards,
)
from transforms.errors import InputError, StoreError
from transforms.formats.detection import FileFormat
from transforms.storage import files as storage
from transforms.storage.layout import (
    ABOUT,
    DATA,
    FORMAT,
    MANIFEST,
    MARKER,
    is_our_manifest,
    misplaced,
    split_of,
    why_not_read,
)

_ABOUT_BYTES = 1 << 16  # more than such a file has, kept schemas of some hundred columns aside


def manifest_beside(shards: str) -> dict[str, Any] | None:
    """Return the manifest of the dataset whose shards are in a folder; None where there is none.

    Args:
        shards: a path or URL; of the name ``data``, or nothing is looked for. The manifest of a
            prepared dataset may lie further up.
    """
    for root, _ in roots_of(shards):
        url = storage.join(root, MANIFEST)
        if why_not_read(root, MANIFEST) is not None:
            continue
        with contextlib.suppress(OSError, StoreError, ValueError, RecursionError):
            found = json.loads(storage.retry(functools.partial(storage.read_all, url), url))
            if isinstance(found, dict) and found.get("format") == FORMAT:
                return found
    return None  # none of ours: the files are read as they lie there


def whole_datasets(
    fs: Any, found: Iterable[tuple[str, dict[str, Any]]], *, pattern: str, wild: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield files, with what their filesystem says of them; of datasets of ours, only whole ones.

    Args:
        fs: of the files.
        found: they.
        pattern: what the user gave.
        wild: the path with wildcards that matches them; None where all do that lie in a folder.

    Raises:
        InputError: a run died that wrote a dataset among them, or one of its shards is missing that
            the pattern matches, or isn't what the manifest says.
    """
    datasets: dict[str, _Shards | None] = {}
    for path, info in found:
        folder, _, name = path.rpartition("/")
        if (shards := _shards_above(folder)) is not None:
            if shards not in datasets:
                datasets[shards] = _look_beside(fs, shards, pattern)
            dataset = datasets[shards]
            if dataset is not None and shards == folder:
                dataset.see(name, info["size"])
        yield path, info
    matches = re.compile(glob_translate(wild)).match if wild is not None else None
    for dataset in datasets.values():
        if dataset is not None:
            dataset.require_seen(matches)


def _shards_above(folder: str) -> str | None:
    """Return a folder, or the one that it is in, if it is called as those of shards are."""
    above = folder.rpartition("/")[0]
    return next((f for f in (folder, above) if f.rpartition("/")[2] == DATA), None)


def holds_dataset(fs: Any, folder: str, pattern: str) -> bool:
    """Say whether a folder holds a dataset, also where its run died before it took its marker away.

    Raises:
        InputError: the dataset is being written, or its run died.
    """
    if fs.exists(f"{folder}/{MANIFEST}"):
        return True
    if fs.exists(f"{folder}/{MARKER}"):
        raise InputError(
            f"--input={pattern}: {folder} holds a {MARKER}: a run is writing a dataset there, or "
            "died there; wait for it, or run it again"
        )
    return False


def shards_in(fs: Any, folder: str, pattern: str) -> dict[str, dict[str, Any]]:
    """Return info of the shards that a dataset's manifest lists, by path."""
    local = isinstance(fs, LocalFileSystem)
    hint = f"pass a pattern of files, as in {folder}/{DATA}/*, to read them as plain files"
    try:
        if local and (why := why_not_read(folder, MANIFEST)):
            raise ValueError(f"{MANIFEST}: {why}")
        manifest = json.loads(fs.cat_file(f"{folder.rstrip('/')}/{MANIFEST}"))
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise InputError(
                f"--input={pattern}: {folder} holds a {MANIFEST} that is not Dovetail's (it has "
                f'no "format": "{FORMAT}"), so it doesn\'t say which files are the data; pass '
                f"a pattern of files, as in {folder}/*.jsonl"
            )
        if is_prepared(manifest):
            shards = the_only_shards(manifest, folder, pattern)
            return _whole(fs, folder, shards, told=None)
        shards = manifest["shards"]
        told = (manifest["kind"], manifest["compression"]) if "kind" in manifest else None
        if told is not None:
            FileFormat.told(*told)
        for name, most in (("separator", 255), ("header_bytes", sys.maxsize)):
            value = manifest.get(name, 0)
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(f"{name}: expected 0 to {most}, got {value!r:.40}")
        splits = _splits_of(manifest)
        for wrong in misplaced([shard["path"] for shard in shards], splits):
            raise ValueError(wrong)
        if splits is not None and len(splits) > 1:
            raise InputError(
                f"--input={pattern}: {folder} holds a dataset of {len(splits)} splits "
                f"({', '.join(splits)}); pass the shards of one, as in "
                f"{folder.rstrip('/')}/{DATA}/{splits[0]}-*"
            )
        hint = f"write it again, or pass the intact shards in {folder}/{DATA} by name"
        sizes = [(shard["path"], shard["bytes"]) for shard in shards]
        return _whole(fs, folder, sizes, told=told)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"--input={pattern}: {folder} holds a {MANIFEST}, but the dataset can't be read: "
            f"{said}; {hint}"
        ) from None


def _splits_of(manifest: Mapping[str, Any]) -> list[str] | None:
    """Return the names of a dataset's splits; None of one that has no several."""
    splits = manifest.get("splits")
    return None if splits is None else [split["name"] for split in splits]


def _whole(
    fs: Any, folder: str, shards: Sequence[tuple[str, int]], *, told: tuple[str, str] | None
) -> dict[str, dict[str, Any]]:
    """Return info of shards, by path; raise ValueError where one hasn't the bytes that it should."""
    if isinstance(fs, LocalFileSystem):
        for path, _ in shards:
            if why := why_not_read(folder, path):
                raise ValueError(f"{path}: {why}")
    found = _infos(fs, [f"{folder.rstrip('/')}/{path}" for path, _ in shards])
    for (path, size), info in zip(shards, found.values(), strict=True):
        if info["size"] != size:
            raise ValueError(f"{path} has {info['size']} bytes, expected {size}")
    return {path: {**info, "told": told} for path, info in found.items()}


def _infos(fs: Any, paths: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return info of files: on a store from one listing of each folder, not a request for each."""
    if isinstance(fs, LocalFileSystem):
        return {path: fs.info(path) for path in paths}
    there: dict[str, dict[str, Any]] = {}
    for folder in {os.path.dirname(path) for path in paths}:
        there |= fs.find(folder, detail=True)
    for path in paths:
        if path not in there:
            raise FileNotFoundError(path)
    return {path: there[path] for path in paths}


def refuse_dataset(fs: Any, path: str) -> None:
    """Raise InputError where a file says what a dataset of ours holds."""
    name = os.path.basename(path) if path.endswith((MANIFEST, MARKER)) else ""
    if name == MARKER or (name == MANIFEST and is_our_manifest(fs.cat_file(path, 0, 200))):
        raise InputError(
            f"{path}: the inputs include a dataset; pass its folder as an --input of its own, or "
            "patterns that leave this file out"
        )
    about = os.path.basename(path) == ABOUT and fs.cat_file(path, 0, _ABOUT_BYTES)
    if about and b'"recipe_sha256"' in about:
        raise InputError(
            f"{path}: the inputs include a prepared dataset; pass its shards, as in "
            f"{os.path.dirname(path)}/{DATA}/train-*"
        )


def _look_beside(fs: Any, folder: str, pattern: str) -> _Shards | None:
    """Return what a folder of shards should hold; None where it isn't a dataset's of ours.

    Raises:
        InputError: as of ``holds_dataset``.
    """
    url = f"file://{folder}" if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(folder)
    if url.startswith("http"):  # it lists no folders
        return None
    inner = next((i for root, i in roots_of(folder) if holds_dataset(fs, root, pattern)), None)
    if inner is None:
        return None
    try:
        manifest = manifest_beside(url) or {}
        if is_prepared(manifest):
            return _Shards(folder, sizes_in(manifest, inner), pattern)
        several = _splits_of(manifest) is not None
        shards = [(shard["path"], shard["bytes"]) for shard in manifest["shards"]]
        listed = {
            os.path.basename(path): Listed(size, split=(several and split_of(path)) or "")
            for path, size in shards
        }
    except (LookupError, TypeError, AttributeError):
        return None
    return _Shards(folder, listed, pattern)


class _Shards:
    """Shards that a manifest lists, of which some are seen."""

    def __init__(self, folder: str, listed: Mapping[str, Listed], pattern: str) -> None:
        self._folder, self._listed, self._pattern = folder, listed, pattern
        self._seen: set[str] = set()

    def see(self, name: str, size: int) -> None:
        """Take note of a file."""
        if name in self._listed:
            expected = self._listed[name].size
            if expected != size:
                raise self._broken(f"{name} has {size} bytes, expected {expected}")
            self._seen.add(name)

    def require_seen(self, matches: Callable[[str], object] | None) -> None:
        """Raise InputError where a shard is missing that the pattern would match, or it matches several
        splits.
        """
        if not self._seen:
            return
        seen = [self._listed[name] for name in self._seen]
        if forms := {one.form for one in seen if one.form}:
            require_readable(forms, self._folder, self._pattern)
        require_one_split((one.split for one in seen), self._folder, self._pattern)
        for name in sorted(self._listed.keys() - self._seen):
            if matches is None or matches(f"{self._folder}/{name}"):
                raise self._broken(f"{name} is missing")

    def _broken(self, what: str) -> InputError:
        return InputError(
            f"--input={self._pattern}: {self._folder} holds the shards of a dataset, but not as "
            f"its {MANIFEST} lists them: {what}; write the dataset again, or pass the intact "
            "shards by name"
        )
