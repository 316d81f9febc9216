"""Files and folders by URL: local paths directly, everything else through fsspec."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO, cast

import numpy as np
from fsspec.implementations.local import LocalFileSystem

from transforms.errors import RunError
from transforms.storage import store_files
from transforms.storage.store_files import (
    Guard,
    StoreReader,
    StoreWriter,
    drop_uploads,
    in_parallel,
)
from transforms.storage.stores import configure, configured, retry, store_of

# of what comes from elsewhere
__all__ = ["configure", "configured", "drop_uploads", "in_parallel", "retry"]

_LOCAL = LocalFileSystem()
File = io.RawIOBase | BinaryIO | StoreWriter
_WRITE = 1 << 20  # in one call: a kernel copies pieces that fit its caches faster than 64 MiB


def filesystem(url: str) -> tuple[Any, str]:
    """Return the filesystem of a URL, fsspec's own or a Store, and the path inside it.

    Raises:
        UsageError: nothing serves URLs of this kind.
    """
    # not left to fsspec's url_to_fs: it takes `::` for a chain of filesystems
    if "://" not in url or url.startswith("file://"):
        return _LOCAL, _LOCAL._strip_protocol(url)
    return store_of(url)


def is_local(url: str) -> bool:
    """Return whether a URL names a path on this machine's own disks."""
    return filesystem(url)[0] is _LOCAL


def local_path(url: str) -> str:
    """Return the absolute path that a local URL (``file://…`` or a path) names."""
    return os.path.abspath(filesystem(url)[1])


def join(folder: str, *names: str) -> str:
    """Join names to a folder's URL."""
    return "/".join([folder.rstrip("/"), *names])


def canonical(url: str) -> str:
    """Return one name for all names of a place: a real path, or PROTOCOL://PATH."""
    fs, path = filesystem(url)
    return os.path.realpath(path) if isinstance(fs, LocalFileSystem) else fs.unstrip_protocol(path)


def open_read(url: str) -> io.RawIOBase | BinaryIO:
    """Open a file for unbuffered reading; it has ``seek`` and ``readinto``."""
    if is_local(url):
        return open(filesystem(url)[1], "rb", buffering=0)
    return StoreReader(url)


def read_all(url: str) -> bytes:
    """Read a whole file, a small one."""
    with open_read(url) as file:
        return b"".join(iter(lambda: file.read(1 << 20) or b"", b""))


def read_small(url: str, size: int) -> tuple[bytes, str]:
    """Read a file of about ``size`` bytes in few calls; return what it holds, and its version.

    A file that has changed since it had another version has another one now, whatever was read.

    Raises:
        FileNotFoundError: there is none.
    """
    if is_local(url):
        fd = os.open(filesystem(url)[1], os.O_RDONLY | os.O_CLOEXEC)
        try:
            data = b""
            while len(data) < size and (more := os.read(fd, size - len(data))):
                data += more
            found = os.fstat(fd)
        finally:
            os.close(fd)
        return data, version_of({"size": found.st_size, "mtime": found.st_mtime})
    data = bytes(store_files.read_range(url, 0, size))
    fs, path = filesystem(url)
    return data, version_of(fs.info(path))


@contextlib.contextmanager
def open_write(url: str, *, guard: Guard = contextlib.nullcontext) -> Iterator[File]:
    """Open a new file for writing, in a folder that is there.

    On a store it appears whole when the block ends well, inside ``guard``; ``retry`` the block
    where it may be written once more.
    """
    if is_local(url):
        with disk_full_is_ours(url), open(filesystem(url)[1], "wb", buffering=0) as local:
            yield local
        return
    file = StoreWriter(url)
    try:
        yield file
        file.commit(guard)
    except BaseException:
        file.discard()
        raise


@contextlib.contextmanager
def disk_full_is_ours(url: str) -> Iterator[None]:
    """Raise RunError where a disk is full, or a quota is used up."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"{url}: the disk is full: {error.strerror}; free some space, or choose another "
                "--temp_location or --output"
            ) from error
        raise


def make_folder(url: str) -> None:
    """Make a folder that isn't there yet; stores have none, only names with slashes."""
    if is_local(url):
        os.makedirs(local_path(url), exist_ok=True)


def write_all(file: File, data: Any) -> int:
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
    if not is_local(url):
        return store_files.read_range(url, offset, length)
    with open_read(url) as file:
        return read_from(file, offset, length)


def read_from(file: Any, offset: int, length: int) -> memoryview:
    """Read a range of an open file; shorter where the file ends."""
    data = np.empty(length, np.uint8).data
    file.seek(offset)
    return data[: read_into(file, data)]


def version_of(info: dict[str, Any]) -> str:
    """Return what tells one version of a file from the next: size, and modification time or tag."""
    stamp = next((info[k] for k in ("ETag", "etag", "mtime", "LastModified") if k in info), "")
    return f"{info['size']}:{stamp}"


def remove_file(url: str) -> None:
    """Remove a file that is there."""
    fs, path = filesystem(url)
    fs.rm_file(path)


def remove_tree(url: str) -> None:
    """Remove a folder with all in it, or a file; one that isn't there is fine, a local one may stay."""
    if is_local(url):
        local = local_path(url)
        for _ in range(20):  # a thread of ours may just be making a file in it
            shutil.rmtree(local, ignore_errors=True)
            if not os.path.lexists(local) or os.path.islink(local):
                return
            with contextlib.suppress(OSError):
                os.remove(local)
            time.sleep(0.05)
        return
    store, path = store_of(url)
    for _ in range(5):  # a thread of ours may just be writing one more
        # one by one: to remove many at once, fsspec takes names for patterns
        found = [name for name in store.find(path) if name.startswith(path.rstrip("/") + "/")]
        if not found:
            return
        for _done in in_parallel(store.remove, found):
            pass


def remove_temporary(url: str) -> None:
    """Remove a folder that is a run's own, with all in it, and what was begun to be uploaded there."""
    remove_tree(url)
    if not is_local(url):
        drop_uploads(url)


def remove_made(folders: Iterable[str]) -> None:
    """Remove local folders that a run has made, innermost first, unless somebody uses them."""
    for folder in folders:
        with contextlib.suppress(OSError):  # not empty
            os.rmdir(folder)


def rename(source: str, target: str) -> None:
    """Rename a local file, over one that is there already; missing folders are made."""
    to = local_path(target)
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.replace(local_path(source), to)


_KEEP_SIZE_AND_PUNCH_HOLE = 3
_libc = ctypes.CDLL(None, use_errno=True)
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def punch_hole(url: str, offset: int, length: int) -> None:
    """Give a range of a local file back to the disk; where that can't be done, do nothing.

    What was not yet on disk never goes there, and its pages serve the next writes.
    """
    if is_local(url):
        fd = os.open(local_path(url), os.O_RDWR)
        try:
            _punch(fd, offset, length)
        finally:
            os.close(fd)


def punches_holes(folder: str) -> bool:
    """Return whether ranges of files in a local folder can be given back, by trying it there.

    The file that this takes has no name, and is gone at once.
    """
    size = 1 << 16
    try:
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(size))
            return _punch(file.fileno(), 0, size)
    except OSError:  # nothing can be written there; who does will say so
        return False


def _punch(fd: int, offset: int, length: int) -> bool:
    """Return whether a hole was made."""
    if not hasattr(_libc, "fallocate"):
        return False
    return bool(_libc.fallocate(fd, _KEEP_SIZE_AND_PUNCH_HOLE, offset, length) == 0)
