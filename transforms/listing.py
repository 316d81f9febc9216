"""From patterns to the files of a source, with the names that give records their identity."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from transforms import storage
from transforms.errors import InputError
from transforms.formats.codecs import strip_suffix
from transforms.formats.detection import FileFormat, Kind
from transforms.layout import EXTENSION, FORMAT, MANIFEST, MARKER, is_shard_path, why_not_read

_WILD = "*?["


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One input file.

    Attributes:
        source: name of its source.
        name: its path below the source's root without a codec's suffix, a part of its records'
            identity.
        url: where it lies.
        size: bytes.
        version: changes when the file does.
        told: kind and compression that the manifest of a dataset of ours says; None for other files.
    """

    source: str
    name: str
    url: str
    size: int
    version: str
    told: tuple[Kind, str] | None = None

    @property
    def format(self) -> FileFormat | None:
        """What the file is, where that is told."""
        return FileFormat.told(*self.told) if self.told else None


def list_source(source: str, patterns: Sequence[str]) -> list[SourceFile]:
    """List the files of a source, sorted by name.

    A pattern is a file, a folder (all files below it, save those whose name or folder begins with
    a dot; of a folder with a manifest, the shards it lists) or a glob with ``*``, ``?``, ``[…]``
    and ``**``. Names are paths below the source's root, the longest common folder of the patterns'
    fixed parts.

    Raises:
        InputError: a pattern matches nothing, or two files have one name.
    """
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    folders = []
    for pattern in patterns:
        fs, path = storage.filesystem(pattern)
        folder, matches = _expand(fs, path, pattern)
        if not matches:
            raise InputError(f"--input={pattern}: {_why_nothing(fs, path, source, pattern)}")
        folders.append(folder)
        found |= {fs.unstrip_protocol(match): (match, info) for match, info in matches.items()}
    root = os.path.commonpath(folders) if len(folders) > 1 else folders[0]
    files: dict[str, SourceFile] = {}
    for url, (path, info) in sorted(found.items()):
        _require_text(url)
        name = strip_suffix(os.path.relpath(path, root).replace(os.sep, "/") if root else path)
        if name in files:
            raise InputError(
                f"source {source}: two files have the name {name}: {files[name].url} and {url}; "
                "give them to two sources (NAME=PATTERN) or rename one"
            )
        version = storage.version_of(info)
        files[name] = SourceFile(source, name, url, int(info["size"]), version, info.get("told"))
    return [files[name] for name in sorted(files)]


def list_sources(sources: Mapping[str, Sequence[str]]) -> list[SourceFile]:
    """List all sources' files, sorted by source and name; errors as of ``list_source``."""
    return [file for name in sorted(sources) for file in list_source(name, sources[name])]


def _expand(fs: Any, path: str, pattern: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return a pattern's fixed folder, and info of the files that it matches, by path."""
    if fs.isdir(path):
        listed = f"{path.rstrip('/')}/{MANIFEST}"
        if fs.exists(listed):  # complete, also where its run died before it took its marker away
            return path, _shards_of(fs, path, pattern)
        if fs.exists(f"{path.rstrip('/')}/{MARKER}"):
            raise InputError(
                f"--input={pattern}: holds a {MARKER}: a run is writing a dataset there, or died; wait "
                "for it, or run it again"
            )
        found = fs.find(path, detail=True)
        seen = {p: info for p, info in found.items() if not _hidden(os.path.relpath(p, path))}
        return path, _follow_links(fs, seen)
    if fs.isfile(path) or not any(mark in path for mark in _WILD):
        return os.path.dirname(path), {path: fs.info(path)} if fs.isfile(path) else {}
    wild = min(path.index(mark) for mark in _WILD if mark in path)
    folder = os.path.dirname(path[:wild])
    found = fs.glob(path, detail=True)
    if "/." not in path[len(folder) :]:  # as a shell: only a dot finds a dot
        found = {p: info for p, info in found.items() if not _hidden(os.path.relpath(p, folder))}
    return folder, _follow_links(fs, found)


def _why_nothing(fs: Any, path: str, source: str, pattern: str) -> str:
    if fs.exists(path) and not fs.isdir(path):
        return "no file matches: it is a pipe or a device; read standard input with --input=-"
    if fs.isdir(path):
        return "no file matches: the folder holds none whose name doesn't begin with a dot"
    if not storage.is_local(pattern):
        there = fs.exists(path.strip("/").partition("/")[0])
        return f"no file matches; {'check the path' if there else 'there is no such bucket'}"
    if storage.filesystem(f"{source}={pattern}")[0].exists(f"{source}={pattern}"):
        return f"no file matches; for the file {source}={pattern} give ./{source}={pattern}"
    return "no file matches; check the path, and quote patterns so that the shell leaves them alone"


def _shards_of(fs: Any, folder: str, pattern: str) -> dict[str, dict[str, Any]]:
    """Return info of the shards that a dataset's manifest lists, by path."""
    local = isinstance(fs, LocalFileSystem)
    try:
        if local and (why := why_not_read(folder, MANIFEST)):
            raise ValueError(f"{MANIFEST}: {why}")
        manifest = json.loads(fs.cat_file(f"{folder.rstrip('/')}/{MANIFEST}"))
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise InputError(
                f"--input={pattern}: {folder} holds a {MANIFEST} that is not Dovetail's (it has no "
                f'"format": "{FORMAT}"), so it doesn\'t say which files are the data; give a pattern of '
                f"files, as in {folder}/*.jsonl"
            )
        shards = manifest["shards"]
        told = (manifest["kind"], manifest["compression"]) if "kind" in manifest else None
        if told is not None:
            FileFormat.told(*told)
        for number, shard in enumerate(shards):
            if not is_shard_path(shard["path"], number=number, of=len(shards)):
                raise ValueError(f"{shard['path']} is not the path of shard {number}")
            if local and (why := why_not_read(folder, shard["path"])):
                raise ValueError(f"{shard['path']}: {why}")
        found = _infos(fs, [f"{folder.rstrip('/')}/{shard['path']}" for shard in shards])
        for shard, info in zip(shards, found.values(), strict=True):
            if info["size"] != shard["bytes"]:
                raise ValueError(
                    f"{shard['path']} has {info['size']} bytes, expected {shard['bytes']}"
                )
        return {path: {**info, "told": told} for path, info in found.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        said = f"no {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"--input={pattern}: {folder} holds a {MANIFEST}, but the dataset can't be read: {said}; "
            f"give a pattern of files (as in {folder}/data/*) to read them as plain files"
        ) from None


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


def dataset_of(pattern: str) -> dict[str, Any] | None:
    """Return the manifest where a pattern is a folder with a dataset of ours."""
    fs, path = storage.filesystem(pattern)
    listed = f"{path.rstrip('/')}/{MANIFEST}"
    if not fs.isdir(path) or not fs.exists(listed):
        return None
    found = json.loads(fs.cat_file(listed))
    return found if isinstance(found, dict) else None


def fixed_folder(pattern: str) -> str | None:
    """Return the folder everything below which a pattern may match, None where it goes no deeper
    than the files it names.
    """
    fs, path = storage.filesystem(pattern)
    if fs.isdir(path) and not fs.exists(f"{path.rstrip('/')}/{MANIFEST}"):
        return str(fs.unstrip_protocol(path))
    if "**" not in path:
        return None
    return str(fs.unstrip_protocol(os.path.dirname(path[: path.index("**")])))


def _require_text(url: str) -> None:
    """Raise InputError where a name can't stand in a manifest."""
    try:
        url.encode()
    except UnicodeEncodeError:
        raise InputError(f"{url!r}: the file's name is not UTF-8; rename it") from None


def _follow_links(fs: Any, found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Keep files, links to files among them.

    Raises:
        InputError: a link leads nowhere, or to a folder, which a listing doesn't follow.
    """
    files = {path: info for path, info in found.items() if info["type"] != "directory"}
    for path, info in list(files.items()):
        if info.get("islink") and not fs.isfile(path):
            what = "a folder, which is not followed" if fs.isdir(path) else "nothing"
            raise InputError(f"{path}: a symbolic link to {what}; give it an --input of its own")
        if not (info["type"] == "file" or info.get("islink")):
            raise InputError(
                f"{path}: expected a file, it is a pipe, a socket or a device; move it"
            )
        if info.get("islink"):  # a listing gives the link's own time, not its target's
            files[path] = fs.info(path)
    return files


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def fingerprint(files: Iterable[SourceFile]) -> str:
    """Return a hash of a listing: it changes when a file comes, goes or changes."""
    hasher = hashlib.blake2b(digest_size=16)
    for file in files:
        hasher.update(repr((file.source, file.name, file.url, file.version)).encode())
    return hasher.hexdigest()


def extension(files: Iterable[SourceFile]) -> str:
    """Return the extension that all files share, ``.txt`` where they don't, or where it is odd."""
    found = {os.path.splitext(file.name)[1] for file in files}
    shared = found.pop() if len(found) == 1 else ""
    return shared if EXTENSION.fullmatch(shared) else ".txt"
