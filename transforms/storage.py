"""Files and folders by URL: local paths directly, everything else through fsspec."""

from __future__ import annotations

import ctypes
import io
import os
from typing import Any, BinaryIO, cast

import fsspec
import fsspec.core
import numpy as np
from fsspec.implementations.local import LocalFileSystem

from transforms.errors import UsageError

_WRITE = 1 << 20  # in one call: a kernel copies pieces that fit its caches faster than 64 MiB


def filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec filesystem of a URL and the path inside it.

    Raises:
        UsageError: nothing serves URLs of this kind.
    """
    # not left to url_to_fs: it takes `::` for a chain of filesystems
    if "://" not in url or url.startswith("file://"):
        fs = LocalFileSystem()
        return fs, fs._strip_protocol(url)
    try:
        fs, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{url}: expected a path or a URL that fsspec knows: {error}") from None
    return fs, path


def is_local(url: str) -> bool:
    """Return whether a URL names a path on this machine's own disks."""
    return isinstance(filesystem(url)[0], LocalFileSystem)


def local_path(url: str) -> str:
    """Return the absolute path that a local URL (``file://…`` or a path) names."""
    return os.path.abspath(filesystem(url)[1])


def join(folder: str, *names: str) -> str:
    """Join names to a folder's URL."""
    return (
        "/".join([folder.rstrip("/") or "/", *names]).replace("//", "/", 1)
        if folder == "/"
        else "/".join([folder.rstrip("/"), *names])
    )


def open_read(url: str) -> io.RawIOBase | BinaryIO:
    """Open a file for unbuffered reading; it has ``seek`` and ``readinto``."""
    fs, path = filesystem(url)
    if isinstance(fs, LocalFileSystem):
        return open(path, "rb", buffering=0)
    return cast(BinaryIO, fs.open(path, "rb"))


def open_write(url: str) -> io.RawIOBase | BinaryIO:
    """Open a new file for writing, in a folder that is there."""
    fs, path = filesystem(url)
    if isinstance(fs, LocalFileSystem):
        return open(path, "wb", buffering=0)
    return cast(BinaryIO, fs.open(path, "wb"))


def make_folder(url: str) -> None:
    """Make a folder that isn't there yet, where the storage has such things."""
    fs, path = filesystem(url)
    fs.makedirs(path, exist_ok=True)


def write_all(file: io.RawIOBase | BinaryIO, data: Any) -> int:
    """Write a whole buffer, however little one call takes, and return its size."""
    view = memoryview(data).cast("B")
    done = 0
    while done < len(view):
        done += file.write(view[done : done + _WRITE]) or 0
    return done


def read_into(file: io.RawIOBase | BinaryIO, target: memoryview) -> int:
    """Read until ``target`` is full or the file ends; return how much was read."""
    done = 0
    while done < len(target):
        got = cast(io.RawIOBase, file).readinto(target[done:])
        if not got:
            break
        done += got
    return done


def read_range(url: str, offset: int, length: int) -> memoryview:
    """Read a range of a file; shorter where the file ends."""
    data = np.empty(length, np.uint8).data
    with open_read(url) as file:
        file.seek(offset)
        return data[: read_into(file, data)]


def version_of(info: dict[str, Any]) -> str:
    """Return what tells one version of a file from the next: size, and modification time or tag."""
    stamp = next((info[k] for k in ("ETag", "etag", "mtime", "LastModified") if k in info), "")
    return f"{info['size']}:{stamp}"


def remove_tree(url: str) -> None:
    """Remove a folder and all in it; one that is not there is fine."""
    fs, path = filesystem(url)
    if fs.exists(path):
        fs.rm(path, recursive=True)


def rename(source: str, target: str) -> None:
    """Rename a file, over one that is there already; missing local folders are made."""
    fs, path = filesystem(source)
    _, to = filesystem(target)
    if isinstance(fs, LocalFileSystem):
        os.makedirs(os.path.dirname(to), exist_ok=True)
        os.replace(path, to)
    else:
        fs.mv(path, to)


_KEEP_SIZE_AND_PUNCH_HOLE = 3
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def punch_hole(url: str, offset: int, length: int) -> None:
    """Give a range of a local file back to the disk; where that can't be done, do nothing.

    What was not yet on disk never goes there, and its pages serve the next writes.
    """
    if is_local(url) and hasattr(_libc, "fallocate"):
        fd = os.open(local_path(url), os.O_RDWR)
        try:
            _libc.fallocate(fd, _KEEP_SIZE_AND_PUNCH_HOLE, offset, length)
        finally:
            os.close(fd)
