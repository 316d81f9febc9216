"""Paths in messages as the user wrote them, not as URLs of absolute paths."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator

from transforms.errors import DovetailError, UsageError
from transforms.storage import files as storage

_FIXED = re.compile(r"[^*?\[{]*")


@contextlib.contextmanager
def naming_as_given(patterns: Iterable[str]) -> Iterator[None]:
    """Let errors name what local patterns match in the words of these patterns.

    Names of input files are URLs in whatever works with them; errors come through here, those of
    workers too.
    """
    try:
        yield
    except DovetailError as error:
        said = str(error)
        told = as_given(said, patterns)
        if told == said:
            raise
        raise type(error)(told) from error


def as_given(message: str, patterns: Iterable[str]) -> str:
    """Return a message in which local files are called as their patterns call them.

    >>> as_given("file:///in/a.txt: expected x", ["/in/*.txt"])
    '/in/a.txt: expected x'
    """
    names: dict[str, str] = {}
    urls = False
    for pattern in patterns:
        urls = urls or pattern.startswith("file://")
        try:
            if pattern == "-" or not storage.is_local(pattern):
                continue
        except UsageError:  # no protocol that is known, which the message says
            continue
        given = _FIXED.match(pattern)[0]  # type: ignore[index]  # it always matches
        if given != pattern:  # up to the first wildcard: only whole folders are sure to be there
            given = given[: given.rfind("/") + 1]
        path = storage.local_path(given or ".")
        if given in ("", ".") or given.endswith("/"):
            path = path.rstrip("/") + "/"
            given = "" if given in (".", "./") else given
        names[path] = given
    for path in sorted(names, key=len, reverse=True):
        end = "" if path.endswith("/") else r"(?![^/\s:;,)'\"])"
        known = re.compile(rf"(?:file://|(?<![^\s('\"])){re.escape(path)}{end}")
        message = known.sub(lambda _, name=names[path]: name, message)  # type: ignore[misc]
    # also what no pattern named, such as the target of a link
    return message if urls else re.sub(r"(?<![^\s('\"])file:///", "/", message)
