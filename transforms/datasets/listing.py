"""From patterns to the files of a source, with the names that give records their identity."""

from __future__ import annotations

import glob
import os
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from fsspec.implementations.local import LocalFileSystem

from transforms.datasets.dataset_inputs import (
    holds_dataset,
    refuse_dataset,
    shards_in,
    whole_datasets,
)
from transforms.datasets.sieve import Sieve
from transforms.datasets.source_files import SCHEMA, Files
from transforms.errors import InputError
from transforms.formats.codecs import strip_suffix
from transforms.formats.foreign import HEAD, foreign
from transforms.kernels.records.compact import pack, unpack
from transforms.storage import files as storage
from transforms.storage.layout import MANIFEST
from transforms.storage.patterns import WILD, alternatives, fixed_length, normal
from transforms.storage.walk import (
    Match,
    Unread,
    find_below,
    follow_links,
    glob_below,
    refuse_unread,
    require_reachable,
)

_AT_ONCE = 1 << 14  # files of which more than a row of a table is held
_RANGE, _SAMPLED = 1 << 16, 64  # files that are sorted together, of which one is looked at before
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


_MATCHES = pa.schema([("path", pa.large_string()), *list(SCHEMA)[2:]])


def _packed(fs: Any, matches: Iterable[Match]) -> Iterator[bytes]:
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
        told = zip(*(info.get("told") or (None, None) for _, info in part), strict=True)
        arrays = [
            pa.array(values, field.type)
            for values, field in zip([paths, urls, sizes, versions, *told], _MATCHES, strict=True)
        ]
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


def _expand(fs: Any, path: str, sieve: Sieve, apart: str) -> tuple[str, Iterable[Match]]:
    """Return a pattern's fixed folder, and the files that it matches, each of them once.

    They are sifted as they are taken.
    """
    wild: str | None
    if isinstance(fs, LocalFileSystem):
        require_reachable(path)
    is_folder = fs.isdir(path)
    if not is_folder and (fs.isfile(path) or not any(mark in path for mark in WILD)):
        matched: Iterable[Match] = [(path, fs.info(path))] if fs.isfile(path) else []
        for _, info in matched:
            refuse_dataset(fs, path)
            sieve.take(os.path.basename(path), info["size"])
        folder, wild = os.path.dirname(path), glob.escape(path)
    else:
        if is_folder:
            if holds_dataset(fs, path.rstrip("/"), sieve.pattern):
                return path, shards_in(fs, path, sieve.pattern).items()
            folder, wild = path, None
            below = find_below(fs, path, _refusing(path, sieve))
        else:
            fixed = fixed_length(fs, path)
            folder, wild = path[:fixed], path[fixed:].removeprefix("/")
            sieve.aim(f"/{wild}")
            below = glob_below(fs, folder, wild, _refusing(folder, sieve))
            wild = f"{glob.escape(folder)}/{wild}"
        matched = follow_links(fs, _sift(fs, below, folder, sieve, apart))
    return folder, whole_datasets(fs, matched, pattern=sieve.pattern, wild=wild)


def _sift(
    fs: Any, found: Iterable[Match], folder: str, sieve: Sieve, apart: str
) -> Iterator[Match]:
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
        refuse_dataset(fs, path)
        if sieve.lets(name, info["size"]):
            yield path, info


def _place_below(folder: str, other: str) -> str:
    """Return where another folder lies below one, with a slash at its end; empty if it doesn't."""
    above = storage.canonical(folder).rstrip("/") + "/"
    place = storage.canonical(other) + "/" if other else ""
    return place[len(above) :] if place.startswith(above) else ""


def _refusing(folder: str, sieve: Sieve) -> Unread:
    """Refuse folders below one that can't be read, but those of which nothing would be read."""

    def unread(place: str) -> None:
        below = place[len(folder.rstrip("/")) + 1 :]
        if not sieve.hides(below):
            refuse_unread(place)
        sieve.hold(f"{below}/")

    return unread


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
