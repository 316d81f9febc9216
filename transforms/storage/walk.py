"""All that lies below a folder, or that a pattern matches there; nothing is passed over in silence."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NoReturn

from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from transforms.errors import InputError
from transforms.storage.patterns import WILD

Match = tuple[str, dict[str, Any]]
"""A path, and what its filesystem says of it."""
Unread = Callable[[str], None]
"""Told of a folder that can't be read: raises, or passes it over."""


def refuse_unread(place: str) -> NoReturn:
    """Raise InputError that names a folder."""
    raise InputError(
        f"{place}: the folder can't be read (permission denied); change its permissions, or pass "
        "patterns that leave it out"
    ) from None


def require_reachable(path: str) -> None:
    """Raise InputError where nobody may look whether a path is there."""
    try:
        os.stat(path)
    except PermissionError:
        above = os.path.dirname(path)
        require_reachable(above)
        refuse_unread(above)
    except OSError:  # a pattern, or it isn't there
        return


def _is_folder(path: str, unread: Unread) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except PermissionError:
        unread(os.path.dirname(path))
    except OSError:
        return False
    return False


def find_below(
    fs: Any, folder: str, unread: Unread, *, depth: int | None = None
) -> Iterator[Match]:
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


def _objects(found: Mapping[str, dict[str, Any]]) -> Iterator[Match]:
    """Yield a store's objects, without the empty ones that consoles and Hadoop make for folders.

    Raises:
        InputError: one is called as a folder and isn't empty, so that nothing can open it.
    """
    for path, info in found.items():
        if not path.endswith(("/", "_$folder$")):
            yield path, info
        elif info["size"] and info["type"] != "directory":
            raise InputError(
                f"{path}: expected an empty object, as its name is a folder's, got "
                f"{info['size']:,} bytes; rename it, or pass patterns that leave it out"
            )


def glob_below(fs: Any, folder: str, wild: str, unread: Unread) -> Iterator[Match]:
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
        found = find_below(fs, folder or "/", unread)
        yield from (match for match in found if matches(match[0]))
    elif rest and not any(mark in part for mark in WILD):
        if _is_folder(f"{folder}/{part}", unread):
            yield from glob_below(fs, f"{folder}/{part}", rest, unread)
    elif rest:
        for name in _folders(folder or "/", re.compile(glob_translate(part)).match, unread):
            yield from glob_below(fs, f"{folder}/{name}", rest, unread)
    elif _is_folder(folder or "/", unread):
        matches, below = re.compile(glob_translate(part)).match, len(folder) + 1
        found = find_below(fs, folder or "/", unread, depth=1)
        yield from (match for match in found if matches(match[0][below:]))


def _folders(place: str, matches: Callable[[str], object], unread: Unread) -> list[str]:
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


def follow_links(fs: Any, found: Iterable[Match]) -> Iterator[Match]:
    """Yield files, links to files among them.

    Raises:
        InputError: a link leads nowhere, or to a folder, which a listing doesn't follow.
    """
    for path, info in found:
        if info["type"] == "directory":
            continue
        if info.get("islink") and not fs.isfile(path):
            if fs.isdir(path):
                raise InputError(
                    f"{path}: a symbolic link to a folder, which a pattern doesn't follow; pass it as "
                    "an --input of its own"
                )
            raise InputError(
                f"{path}: a symbolic link to nothing; remove it, or restore its target"
            )
        if not (info["type"] == "file" or info.get("islink")):
            raise InputError(f"{path}: expected a file, got a pipe, a socket or a device; move it")
        # a listing gives the link's own time, not its target's
        yield path, fs.info(path) if info.get("islink") else info
