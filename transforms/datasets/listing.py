"""From patterns to the files of a source, with the names that give records their identity."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from transforms.datasets.dataset_inputs import (
    holds_dataset,
    refuse_dataset,
    shards_in,
    whole_datasets,
)
from transforms.datasets.matches import pack_matches, sort_matches
from transforms.datasets.sieve import Sieve
from transforms.datasets.source_files import Files
from transforms.errors import InputError
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
        found += pack_matches(fs, _count(matches, sieve))
        sifted(sieve)
        if len(found) == before:
            why = _why_all_passed_over(sieve) if sieve.held else ""
            why = why or _why_nothing(fs, path, source, pattern)
            raise InputError(f"--input={pattern}: {why}")
        folders.append(folder)
    if len({os.path.isabs(folder) for folder in folders}) > 1:
        raise InputError(
            f"source {source}: expected files with a common folder, below which they are named, "
            "got some on this machine and some on a store; make two sources of them, as in "
            "--input=here=PATTERN --input=there=PATTERN"
        )
    root = os.path.commonpath(folders) if len(folders) > 1 else folders[0]
    return Files(sort_matches(found, source, root))


def list_sources(
    sources: Mapping[str, Sequence[str]],
    *,
    extensions: Sequence[str] = (),
    apart: str = "",
    sifted: Sifted = lambda sieve: None,
) -> Files:
    """List all sources' files, sorted by source and name.

    ``sources`` are patterns by source name; other arguments and errors are those of ``list_source``.
    """
    files = Files.join(
        list_source(name, sources[name], extensions=extensions, apart=apart, sifted=sifted)
        for name in sorted(sources)
    )
    pa.default_memory_pool().release_unused()  # of very many files, the tables took much
    return files


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


def _count(matches: Iterable[Match], sieve: Sieve) -> Iterator[Match]:
    for match in matches:
        sieve.matched += 1
        yield match


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
    return f"no file matches; {held}; pass them by name, or by a pattern that says more than *"


def _why_nothing(fs: Any, path: str, source: str, pattern: str) -> str:
    if fs.exists(path) and not fs.isdir(path):
        return "no file matches: it is a pipe or a device; read standard input with --input=-"
    if fs.isdir(path):
        return "no file matches: the folder is empty"
    if not storage.is_local(pattern):
        if pattern.partition("://")[0] in ("http", "https", "hf", "memory"):  # they have no buckets
            return "no file matches; check the URL"
        there = fs.exists(path.strip("/").partition("/")[0])
        return f"no file matches; {'check the path' if there else 'there is no such bucket'}"
    some = islice(glob.iglob(path, recursive=True), 100)
    if any(mark in path for mark in WILD) and any(map(os.path.isdir, some)):
        return (
            "no file matches, only folders; to read everything in them, pass "
            f"{pattern.rstrip('/')}/**"
        )
    hint = "check the path, and quote patterns so that the shell doesn't expand them"
    if "[" in path:
        hint = "[...] matches one of the characters in it, [[] matches a bracket; check the path"
    if source != "default":
        hint += (
            f"; {source} was read as the name of a source; if it is part of a path, pass "
            f"./{source}={pattern}"
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
