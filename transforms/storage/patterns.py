"""Patterns of paths, as shells have them: braces, fixed folders, brackets that are part of a name."""

from __future__ import annotations

import glob
import os
from typing import Any

import bracex

from transforms.errors import UsageError
from transforms.storage import files as storage

WILD = "*?["
_MOST = 100_000  # patterns that one may stand for


def alternatives(pattern: str) -> list[str]:
    """Return the patterns that one with braces stands for, as a shell does; else itself alone.

    A path that is there under that very name is no pattern.

    Raises:
        UsageError: it stands for too many.

    >>> alternatives("x/{a,b}.txt"), alternatives("part-{08..10}")
    (['x/a.txt', 'x/b.txt'], ['part-08', 'part-09', 'part-10'])
    """
    try:
        found = bracex.expand(pattern, keep_escapes=True, limit=_MOST)
    except bracex.ExpansionLimitException:
        raise UsageError(
            f"{pattern}: expected a pattern that expands to at most {_MOST:,}, got more; use "
            "wildcards"
        ) from None
    if found == [pattern] or not found:
        return [pattern]
    fs, path = storage.filesystem(pattern)
    return [pattern] if fs.exists(path) else list(dict.fromkeys(found))


def fixed_length(fs: Any, path: str) -> int:
    """Return how long the folder is that a pattern's path begins with, all of it by name.

    A folder that is there as it stands is one, though there are brackets in its name.
    """
    at = 0
    while (end := path.find("/", at + 1)) >= 0:
        part = path[at:end]
        if any(mark in part for mark in WILD) and (
            "*" in part or "?" in part or not fs.isdir(path[:end])
        ):
            break
        at = end
    return at


def normal(path: str) -> str:
    """Return one spelling of an absolute local path, or of a pattern's, for all spellings of it.

    Links stay, but for those of which ``..`` says what lies above where they lead to. Behind a wildcard
    ``..`` stays too: what it lies above, only the files say.

    >>> normal("/a//b/./../c"), normal("/a/*/../b"), normal("//")
    ('/a/c', '/a/*/../b', '/')
    """
    found = ""
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != ".." or (any(mark in found for mark in WILD) and not os.path.isdir(found)):
            found += f"/{part}"
        else:
            found = os.path.dirname(os.path.realpath(found) if os.path.islink(found) else found)
            found = found.rstrip("/")
    return found or "/"


def matches_here(pattern: str) -> bool:
    """Say whether a pattern matches anything on this machine."""
    if "://" in pattern:
        return False
    return any(
        os.path.lexists(one) or next(glob.iglob(one, recursive=True), None) is not None
        for one in alternatives(pattern)
    )
