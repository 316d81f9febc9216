"""A dataset's files: opened where they may be, and told from what nobody listed."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Any, Protocol, TypeVar

from transforms.datasets.manifest import Manifest
from transforms.errors import DataError
from transforms.formats.codecs import CODECS
from transforms.formats.line_format import LineFormat
from transforms.formats.reading import first_bytes
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.workers.progress import Progress

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Each(Protocol):
    """Does the same work for each of many things, several at a time, and shows how far it is."""

    def __call__(
        self, work: Callable[[_Item, Progress], _Result], items: Sequence[_Item], /
    ) -> list[_Result]:
        """Return what ``work`` gave for each, in order."""


_CHUNK = 1 << 20
EXTRA = ": extra: the manifest doesn't list it"


@contextlib.contextmanager
def opened(folder: str, path: str) -> Iterator[Any]:
    """Open one of a dataset's files; raise DataError where it can't be read."""
    if (why := layout.why_not_read(folder, path)) is not None:
        raise DataError(f"{path}: {why}")
    url = storage.join(folder, path)
    fs, place = storage.filesystem(url)
    try:
        if fs.exists(place) and not fs.isfile(place):
            raise OSError("not a file")
        with storage.open_read(url) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: missing") from None
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error}") from None


def extra(folder: str, inner: str, listed: Set[str]) -> list[str]:
    """Say which files of an inner folder, "" for the dataset's own, nobody listed."""
    fs, path = storage.filesystem(storage.join(folder, inner) if inner else folder)
    names = fs.ls(path, detail=False) if fs.isdir(path) else []
    found = sorted(f"{inner}/{os.path.basename(name.rstrip('/'))}".lstrip("/") for name in names)
    return [f"{name}{EXTRA}" for name in found if name not in listed]


def line_format_of(file: Any, path: str, manifest: Manifest) -> LineFormat:
    """Return how a shard of lines is laid out, its own header included; the file stands at 0 after.

    Raises:
        DataError: it ends inside of its header.
    """
    file.seek(0)
    header = b""
    if manifest.header_bytes:
        codec = CODECS.get(manifest.compression)
        header = first_bytes(file, manifest.header_bytes, name=path, codec=codec)
        file.seek(0)
        if len(header) < manifest.header_bytes:
            raise DataError(f"{path}: truncated: its header has more bytes than are there")
    return LineFormat(separator=manifest.separator, header=header, quoted=manifest.quoted)


def sha256(file: Any, progress: Callable[[int], object] = lambda count: None) -> str:
    """Return a file's SHA-256 as 64 hex digits, from where it stands.

    Args:
        file: open for reading.
        progress: is called with bytes as they are read.
    """
    digest = hashlib.sha256()
    while data := file.read(_CHUNK):
        digest.update(data)
        progress(len(data))
    return digest.hexdigest()
