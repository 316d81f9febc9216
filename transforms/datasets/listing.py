"""From patterns to the files of a source, with the names that give records their identity."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import stat
import sys
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from transforms.datasets.dataset_inputs import holds_dataset, whole_datasets
from transforms.datasets.sieve import JSON_LINES, Sieve
from transforms.datasets.source_files import SCHEMA, Files, SourceFile
from transforms.errors import InputError
from transforms.formats.codecs import strip_suffix
from transforms.formats.detection import FileFormat
from transforms.formats.foreign import HEAD, foreign
from transforms.kernels.records.compact import pack, unpack
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.row_hashes import row_hashes
from transforms.storage import files as storage
from transforms.storage.layout import (
    DATA,
    EXTENSION,
    FORMAT,
    MANIFEST,
    MARKER,
    is_our_manifest,
    is_shard_path,
    why_not_read,
)
from transforms.storage.patterns import WILD, alternatives, fixed_length, normal

_AT_ONCE = 1 << 14  # files of which more than a row of a table is held
_RANGE, _SAMPLED = (
    1 << 16,
    64,
)  # files that are sorted together, and of which one is looked at before


Sifted = Callable[[Sieve], object]


def list_source(
    source: str,
    patterns: Sequence[str],
    *,
    extensions: Sequence[str] = (),
    apart: str = "",
    sifted: Sifted = lambda sieve: None,
) -> Files:
    """List the files of a source, sorted by name.

    A pattern is a file, a folder (all files below it that a Sieve lets through; of a folder with a
    manifest, the shards it lists) or a glob with ``*``, ``?``, ``[…]`` and ``**``; one with braces,
    ``{a,b}`` or ``{00..15}``, is several. Names are paths below the source's root, the longest common
    folder of the patterns' fixed parts.

    Args:
        source: its name.
        patterns: what it is made of.
        extensions: those that files in folders, or that match a glob, have to have; any if none.
        apart: a folder that is written, of which nothing is read.
        sifted: told of each folder and glob, what was passed over.

    Raises:
        InputError: a pattern matches nothing, or two files have one name.
    """
    found: list[bytes] = []
    folders = []
    for pattern in (one for given in patterns for one in alternatives(given)):
        fs, path = storage.filesystem(pattern)
        if isinstance(fs, LocalFileSystem):  # one spelling of each path, or a file is two
            path = normal(path)
        sieve = Sieve(pattern, extensions, source=source)
        folder, matches = _expand(fs, path, sieve, apart)
        if "/../" in path:  # behind a wildcard
            matches = ((normal(match), info) for match, info in matches)
        before = len(found)
        found += _packed(fs, matches)
        sifted(sieve)
        if len(found) == before:
            why = _why_all_passed_over(sieve) if sieve.held else ""
            why = why or _why_nothing(fs, path, source, pattern)
            raise InputError(f"--input={pattern}: {why}")
        folders.append(folder)
    if len({os.path.isabs(folder) for folder in folders}) > 1:
        raise InputError(
            f"source {source}: some of its files lie on this machine and some on a store, so that they "
            "have no folder in common, below which they would be named; make two sources of them, as "
            "in --input=here=PATTERN --input=there=PATTERN"
        )
    root = os.path.commonpath(folders) if len(folders) > 1 else folders[0]
    return Files(_sorted(found, source, root))


def list_sources(
    sources: Mapping[str, Sequence[str]],
    *,
    extensions: Sequence[str] = (),
    apart: str = "",
    sifted: Sifted = lambda sieve: None,
) -> Files:
    """List all sources' files, sorted by source and name; else as ``list_source``."""
    files = Files.join(
        list_source(name, sources[name], extensions=extensions, apart=apart, sifted=sifted)
        for name in sorted(sources)
    )
    pa.default_memory_pool().release_unused()  # of very many files, the tables took much
    return files


_Match = tuple[str, dict[str, Any]]
"""A path, and what its filesystem says of it."""
_MATCHES = pa.schema([("path", pa.large_string()), *list(SCHEMA)[2:]])


def _packed(fs: Any, matches: Iterable[_Match]) -> Iterator[bytes]:
    """Pack matches, as many as there are at once in a folder: what fsspec says of each takes a kB."""
    rest = iter(matches)
    local = isinstance(fs, LocalFileSystem)
    while part := list(islice(rest, _AT_ONCE)):
        paths = [path for path, _ in part]
        urls = [f"file://{path}" if local else fs.unstrip_protocol(path) for path in paths]
        for url, (path, info) in zip(urls, part, strict=True):
            _require_text(url)
            _require_readable(url, path if local else None, info)
        sizes = [int(info["size"]) for _, info in part]
        versions = [storage.version_of(info) for _, info in part]
        told = [info.get("told") or (None, None) for _, info in part]
        columns = paths, urls, sizes, versions, [t[0] for t in told], [t[1] for t in told]
        arrays = [pa.array(c, f.type) for c, f in zip(columns, _MATCHES, strict=True)]
        yield pack(pa.RecordBatch.from_arrays(arrays, schema=_MATCHES))


def _named(table: pa.RecordBatch, source: str, root: str) -> pa.RecordBatch:
    """Give matches their source, and names below its root."""
    below = root.rstrip("/") + "/"
    names = []
    for path in table.column("path").to_pylist():
        name = path
        if root and path.startswith(below):
            name = path[len(below) :]
        elif root:
            name = os.path.relpath(path, root).replace(os.sep, "/")
        names.append(strip_suffix(name))
    columns = [pa.repeat(pa.scalar(source, pa.large_string()), len(table))]
    columns += [pa.array(names, pa.large_string()), *table.columns[1:]]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _sorted(found: list[bytes], source: str, root: str) -> Iterator[pa.RecordBatch]:
    """Yield a source's files sorted by name, each once; empties the list.

    Raises:
        InputError: two have one name.
    """
    last: tuple[str, str] | None = None
    for packed in _ranges_of_names(found, source, root):
        table = pa.Table.from_batches(map(unpack, packed), SCHEMA).combine_chunks()
        packed.clear()
        order = pc.sort_indices(table, [("name", "ascending"), ("url", "ascending")])
        for begin in range(0, len(table), _AT_ONCE):
            part = table.take(order[begin : begin + _AT_ONCE])
            (batch,) = part.combine_chunks().to_batches()
            names, urls = (batch.column(c).to_pylist() for c in ("name", "url"))
            once = []
            for place, name_url in enumerate(zip(names, urls, strict=True)):
                if name_url == last:  # two patterns match it
                    continue
                if last is not None and name_url[0] == last[0]:
                    raise InputError(
                        f"source {source}: two files have the name {name_url[0]}: {last[1]} and "
                        f"{name_url[1]}; {_remedy_for_twins(last[1], name_url[1])}"
                    )
                once.append(place)
                last = name_url
            yield batch if len(once) == len(batch) else batch.take(pa.array(once, pa.int64()))


def _remedy_for_twins(*urls: str) -> str:
    """Say what to do about two files of one name: an archive's other name would not help."""
    for url in urls:
        kind = foreign(storage.read_range(url, 0, HEAD).tobytes())
        if kind is not None:
            return f"{url} is {kind.word}: {kind.remedy}"
    return "give them to two sources (NAME=PATTERN) or rename one"


def _ranges_of_names(found: list[bytes], source: str, root: str) -> list[list[bytes]]:
    """Name matches, and put them apart by ranges of names: to sort all at once takes much room."""
    some: list[str] = []
    total = 0
    for place, packed in enumerate(found):
        table = _named(unpack(packed), source, root)
        found[place] = pack(table)
        some += table.column("name").take(pa.array(range(0, len(table), _SAMPLED))).to_pylist()
        total += len(table)
    count = -(-total // _RANGE)
    some.sort()
    edges = [some[len(some) * i // count] for i in range(1, count)]
    if not edges:
        return [found]
    ranges: list[list[bytes]] = [[] for _ in range(count)]
    for place, packed in enumerate(found):
        table = unpack(packed)
        found[place] = b""
        names = table.column("name").to_pylist()
        which = np.array([bisect_right(edges, name) for name in names])
        for number in np.unique(which).tolist():
            ranges[number].append(pack(table.filter(pa.array(which == number))))
    return ranges


def _expand(fs: Any, path: str, sieve: Sieve, apart: str) -> tuple[str, Iterable[_Match]]:
    """Return a pattern's fixed folder, and the files that it matches, each of them once.

    They are sifted as they are taken.
    """
    pattern = sieve.pattern
    if isinstance(fs, LocalFileSystem):
        _require_reachable(path)
    if fs.isdir(path):
        if holds_dataset(fs, path.rstrip("/"), pattern):
            return path, _shards_of(fs, path, pattern).items()
        below = _find(fs, path, _refusing(path, sieve))
        matched = _follow_links(fs, _sift(fs, below, path, sieve, apart))
        return path, whole_datasets(fs, matched, pattern=pattern)
    if fs.isfile(path) or not any(mark in path for mark in WILD):
        found = [(path, fs.info(path))] if fs.isfile(path) else []
        for _, info in found:
            sieve.take(os.path.basename(path), info["size"])
        return os.path.dirname(path), whole_datasets(
            fs, found, pattern=pattern, wild=glob.escape(path)
        )
    fixed = fixed_length(fs, path)
    folder, wild = path[:fixed], path[fixed:].removeprefix("/")
    sieve.aim(f"/{wild}")
    below = _glob(fs, folder, wild, _refusing(folder, sieve))
    matched = _follow_links(fs, _sift(fs, below, folder, sieve, apart))
    return folder, whole_datasets(
        fs, matched, pattern=pattern, wild=f"{glob.escape(folder)}/{wild}"
    )


def _sift(
    fs: Any, found: Iterable[_Match], folder: str, sieve: Sieve, apart: str
) -> Iterator[_Match]:
    """Yield what holds records.

    Raises:
        InputError: a dataset of ours lies there, whose manifest says what its records are.
    """
    below = len(folder.rstrip("/")) + 1
    written = _place_below(
        folder if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(folder), apart
    )
    for path, info in found:
        name = path[below:]
        if info["type"] == "directory":
            continue
        if written and name.startswith(written):
            sieve.hold(written)
            continue
        if name.endswith((MANIFEST, MARKER)):
            _refuse_dataset(fs, path)
        if sieve.lets(name, info["size"]):
            yield path, info


def _place_below(folder: str, other: str) -> str:
    """Return where another folder lies below one, with a slash at its end; empty if it doesn't."""
    above = storage.canonical(folder).rstrip("/") + "/"
    place = storage.canonical(other) + "/" if other else ""
    return place[len(above) :] if place.startswith(above) else ""


def _refuse_dataset(fs: Any, path: str) -> None:
    """Raise InputError where a file says what a dataset of ours holds."""
    name = os.path.basename(path)
    if name == MARKER or (name == MANIFEST and is_our_manifest(fs.cat_file(path, 0, 200))):
        raise InputError(
            f"{path}: a dataset lies among the inputs; give its folder an --input of its own, or "
            "patterns that leave this file out"
        )


_Unread = Callable[[str], None]
"""Told of a folder that can't be read: raises, or passes it over."""


def _refuse_unread(place: str) -> NoReturn:
    raise InputError(
        f"{place}: the folder can't be read (permission denied); change its permissions, or give "
        "patterns that leave it out"
    ) from None


def _refusing(folder: str, sieve: Sieve) -> _Unread:
    """Refuse folders below one that can't be read, but those of which nothing would be read."""

    def unread(place: str) -> None:
        below = place[len(folder.rstrip("/")) + 1 :]
        if not sieve.hides(below):
            _refuse_unread(place)
        sieve.hold(f"{below}/")

    return unread


def _require_reachable(path: str) -> None:
    """Raise InputError where nobody may look whether a path is there."""
    try:
        os.stat(path)
    except PermissionError:
        above = os.path.dirname(path)
        _require_reachable(above)
        _refuse_unread(above)
    except OSError:  # a pattern, or it isn't there
        return


def _is_folder(path: str, unread: _Unread) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except PermissionError:
        unread(os.path.dirname(path))
    except OSError:
        return False
    return False


def _find(fs: Any, folder: str, unread: _Unread, *, depth: int | None = None) -> Iterator[_Match]:
    """Yield all that lies below a folder, in folders up to ``depth`` levels deep.

    Raises:
        InputError: ``unread`` does, of a folder that can't be read or entered.
    """
    if not isinstance(fs, LocalFileSystem):
        yield from _objects(fs.find(folder, detail=True))
        return
    folders = [(folder, 1)]
    while folders:
        place, level = folders.pop()
        try:
            for entry in _entries(place):
                if entry.is_dir(follow_symlinks=False):
                    if depth is None or level < depth:
                        folders.append((entry.path, level + 1))
                elif entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):  # it has gone since
                        found = entry.stat(follow_symlinks=False)
                        info = {"type": "file", "size": found.st_size, "mtime": found.st_mtime}
                        yield entry.path, info
                else:
                    with contextlib.suppress(FileNotFoundError):
                        yield entry.path, fs.info(entry)
        except PermissionError:
            unread(place)


def _entries(place: str) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError), os.scandir(place) as entries:  # it has gone since
        yield from entries


def _objects(found: Mapping[str, dict[str, Any]]) -> Iterator[_Match]:
    """Yield a store's objects, without the empty ones that consoles and Hadoop make for folders.

    Raises:
        InputError: one is called as a folder and isn't empty, so that nothing can open it.
    """
    for path, info in found.items():
        if not path.endswith(("/", "_$folder$")):
            yield path, info
        elif info["size"] and info["type"] != "directory":
            raise InputError(
                f"{path}: an object of {info['size']:,} bytes that is called as a folder is; rename it, "
                "or give patterns that leave it out"
            )


def _glob(fs: Any, folder: str, wild: str, unread: _Unread) -> Iterator[_Match]:
    """Yield what a pattern below a folder matches.

    As in a shell, links to folders are followed, but by ``**``. Other than there, a folder that
    can't be read is not passed over: what it holds would be missing, and nobody would know.
    """
    if not isinstance(fs, LocalFileSystem):
        yield from _objects(fs.glob(f"{glob.escape(folder)}/{wild}", detail=True))
        return
    part, _, rest = wild.partition("/")
    if "**" in part:
        matches = re.compile(glob_translate(f"{glob.escape(folder)}/{wild}")).match
        found = _find(fs, folder or "/", unread)
        yield from (match for match in found if matches(match[0]))
    elif rest and not any(mark in part for mark in WILD):
        if _is_folder(f"{folder}/{part}", unread):
            yield from _glob(fs, f"{folder}/{part}", rest, unread)
    elif rest:
        for name in _folders(folder or "/", re.compile(glob_translate(part)).match, unread):
            yield from _glob(fs, f"{folder}/{name}", rest, unread)
    elif _is_folder(folder or "/", unread):
        matches, below = re.compile(glob_translate(part)).match, len(folder) + 1
        found = _find(fs, folder or "/", unread, depth=1)
        yield from (match for match in found if matches(match[0][below:]))


def _folders(place: str, matches: Callable[[str], object], unread: _Unread) -> list[str]:
    """Return names of folders in one, links to folders among them."""
    names = []
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                if not matches(entry.name):
                    continue
                try:
                    if entry.is_dir():
                        names.append(entry.name)
                except PermissionError:  # a link, to where one may not look
                    unread(entry.path)
    except (FileNotFoundError, NotADirectoryError):  # as a shell
        return []
    except PermissionError:
        unread(place)
    return sorted(names)


def _why_all_passed_over(sieve: Sieve) -> str:
    held = sieve.said.partition(": ")[2]
    if sieve.extensions:
        return f"no file has --extension={','.join(sorted(sieve.extensions))}; {held}"
    return f"no file matches; {held}; give them by name, or by a pattern that says more than *"


def _matches_folders(path: str) -> bool:
    """Say whether a local pattern that matches no file matches folders."""
    return any(os.path.isdir(found) for found in islice(glob.iglob(path, recursive=True), 100))


def _why_nothing(fs: Any, path: str, source: str, pattern: str) -> str:
    if fs.exists(path) and not fs.isdir(path):
        return "no file matches: it is a pipe or a device; read standard input with --input=-"
    if fs.isdir(path):
        return "no file matches: the folder is empty"
    if not storage.is_local(pattern):
        if not storage.has_buckets(pattern):
            return "no file matches; check the URL"
        there = fs.exists(path.strip("/").partition("/")[0])
        return f"no file matches; {'check the path' if there else 'there is no such bucket'}"
    if any(mark in path for mark in WILD) and _matches_folders(path):
        return f"no file matches, folders do; for all that they hold write {pattern.rstrip('/')}/**"
    hint = "check the path, and quote patterns so that the shell leaves them alone"
    if "[" in path:
        hint = "[...] stands for one of the characters in it, [[] for a bracket; check the path"
    if source != "default":
        hint += (
            f"; {source} was taken for the name of a source, for a path write ./{source}={pattern}"
        )
    return f"no file matches; {hint}"


def _shards_of(fs: Any, folder: str, pattern: str) -> dict[str, dict[str, Any]]:
    """Return info of the shards that a dataset's manifest lists, by path."""
    local = isinstance(fs, LocalFileSystem)
    hint = f"give a pattern of files (as in {folder}/{DATA}/*) to read them as plain files"
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
        for name, most in (("separator", 255), ("header_bytes", sys.maxsize)):
            value = manifest.get(name, 0)
            if type(value) is not int or not 0 <= value <= most:
                raise ValueError(f"{name}: expected 0 to {most}, got {value!r:.40}")
        for number, shard in enumerate(shards):
            if not is_shard_path(shard["path"], number=number, of=len(shards)):
                raise ValueError(f"{shard['path']} is not the path of shard {number}")
            if local and (why := why_not_read(folder, shard["path"])):
                raise ValueError(f"{shard['path']}: {why}")
        hint = f"write it anew, or give by name the shards in {folder}/{DATA} that are whole"
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
            f"--input={pattern}: {folder} holds a {MANIFEST}, but the dataset can't be read: "
            f"{said}; {hint}"
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


def _require_readable(url: str, path: str | None, info: Mapping[str, Any]) -> None:
    """Raise InputError where a file can't be opened, or not as it lies there.

    Args:
        url: of the file.
        path: of a local one.
        info: of one on a store.
    """
    if path is not None and not os.access(path, os.R_OK):
        raise InputError(
            f"{url}: can't be read (permission denied); change its permissions, or give patterns that "
            "leave it out"
        )
    if info["size"] is None:
        raise InputError(
            f"{url}: the server doesn't say how many bytes it has, so that no ranges of it can be asked "
            "for; fetch it first, and give the file"
        )
    encoding = info.get("contentEncoding")  # Google's: it decompresses, and then gives no ranges
    if path is None and encoding:
        raise InputError(
            f"{url}: stored with Content-Encoding: {encoding}, so that the store gives out other bytes "
            f"than it holds; take that off (gcloud storage objects update {url} "
            "--clear-content-encoding) and let its name end as such files do (.gz)"
        )


def _follow_links(fs: Any, found: Iterable[_Match]) -> Iterator[_Match]:
    """Yield files, links to files among them.

    Raises:
        InputError: a link leads nowhere, or to a folder, which a listing doesn't follow.
    """
    for path, info in found:
        if info["type"] == "directory":
            continue
        if info.get("islink") and not fs.isfile(path):
            what = "a folder, which is not followed" if fs.isdir(path) else "nothing"
            raise InputError(f"{path}: a symbolic link to {what}; give it an --input of its own")
        if not (info["type"] == "file" or info.get("islink")):
            raise InputError(
                f"{path}: expected a file, it is a pipe, a socket or a device; move it"
            )
        # a listing gives the link's own time, not its target's
        yield path, fs.info(path) if info.get("islink") else info


def fingerprint(files: Iterable[SourceFile]) -> str:
    """Return a hash of a listing: it changes when a file comes, goes or changes."""
    return fingerprint_of(Digest.total(map(table_digest, Files.of(files).tables())))


def fingerprint_of(digest: Digest) -> str:
    """Return the fingerprint of a listing whose tables have this ``table_digest`` together."""
    return str(digest.to_json())


def table_digest(table: pa.RecordBatch) -> Digest:
    """Return a table of files' part of the listing's digest, which no order of theirs changes."""
    names = ["source", "name", "url", "version"]
    hashes = row_hashes(pa.StructArray.from_arrays([table.column(name) for name in names], names))
    return Digest.of_hashes(*hashes, table.column("size").to_numpy())


def extension(files: Iterable[SourceFile]) -> str:
    """Return the extension that all files share, ``.txt`` where they don't, or where it is odd.

    Empty files have no say. All names of JSON lines are one, ``.jsonl``.
    """
    found: set[str] = set()
    for table in Files.of(files).tables():
        names = table.filter(pc.greater(table.column("size"), 0)).column("name").to_pylist()
        found |= {os.path.splitext(name)[1] for name in names}
    if len(found) > 1 and found <= JSON_LINES:
        return ".jsonl"
    shared = found.pop() if len(found) == 1 else ""
    return shared if EXTENSION.fullmatch(shared) else ".txt"
