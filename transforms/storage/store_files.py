"""Files on stores: read by ranges, written whole."""

from __future__ import annotations

import contextlib
import errno
import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

from transforms.errors import PassingError, StoreError
from transforms.storage.stores import request, retry, store_of

T = TypeVar("T")
U = TypeVar("U")
Guard = Callable[[], contextlib.AbstractContextManager[None]]
"""Makes what is entered while something appears, anew for each attempt."""
_HEAD, _BLOCK = 64 << 10, 4 << 20  # of a read anywhere, and of one that goes on where one ended
_PART = 8 << 20  # of an upload in parts; they grow to a thousandth of what has gone up
_SHARE, _STEP, _LARGEST = 1000, 1 << 18, 1 << 30
MAX_PARTS = 10_000  # that S3 takes, and those that speak its language


def in_parallel(work: Callable[[T], U], items: Iterable[T], *, limit: int = 16) -> Iterator[U]:
    """Yield ``work(item)`` for each item, in order, with ``limit`` of them in flight at most."""
    if limit == 1:
        yield from map(work, items)
        return
    pool = ThreadPoolExecutor(limit, "in-parallel")
    try:
        waiting: deque[Future[U]] = deque()
        for item in items:
            if len(waiting) == limit:
                yield waiting.popleft().result()
            waiting.append(pool.submit(work, item))
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def read_range(url: str, offset: int, length: int) -> memoryview:
    """Read a range of an object in one request; shorter where the object ends.

    Raises:
        StoreError: it can't be read, or comes shorter than it is again and again.
    """
    store, path = store_of(url)
    if length <= 0:
        return memoryview(b"")

    def once() -> memoryview:
        try:
            data = store.raw.cat_file(path, start=offset, end=offset + length)
        except FileNotFoundError:
            raise
        except Exception:
            if offset >= store.raw.info(path)["size"]:  # such ranges are an error in most stores
                return memoryview(b"")
            raise
        if len(data) < length:
            _require_whole(data, url, min(store.raw.info(path)["size"] - offset, length))
        return memoryview(data)

    return retry(lambda: request(once, url), url)


def _require_whole(data: bytes, url: str, length: int) -> None:
    if len(data) != max(length, 0):
        raise PassingError(
            f"{url}: expected a range of {length:,} bytes, the store sent {len(data):,}"
        )


def drop_uploads(folder: str, ours: Callable[[str], bool] = lambda name: True) -> None:
    """End the uploads in parts that were begun below a folder of a store and not completed.

    A worker that is killed leaves one: its parts are seen by nobody, and paid for. On S3 alone; Google's
    end by themselves. Nothing is raised: not everybody may list or end uploads, and what stays is no
    part of anything.

    Args:
        folder: URL.
        ours: whether a path below it is one of this run's; all others are left alone.
    """
    store, path = store_of(folder)
    if not hasattr(store.raw, "call_s3"):
        return
    bucket, key, _ = store.raw.split_path(path)
    below = key.rstrip("/") + "/" if key else ""
    call = store.raw.call_s3
    begun: list[tuple[str, str]] = []
    with contextlib.suppress(StoreError, FileNotFoundError):
        begun.extend(_uploads(call, folder, bucket, below))
    for name, upload in begun:
        if ours(name.removeprefix(below)):
            which = {"Bucket": bucket, "Key": name, "UploadId": upload}
            with contextlib.suppress(StoreError, FileNotFoundError):  # it may just have ended
                _call(call, folder, "abort_multipart_upload", **which)


def _uploads(call: Any, folder: str, bucket: str, below: str) -> Iterator[tuple[str, str]]:
    """Yield the keys and ids of the uploads whose keys begin so, a page of them at a time."""
    marks: dict[str, str] = {}
    while True:
        which = {"Bucket": bucket, "Prefix": below, **marks}
        page = _call(call, folder, "list_multipart_uploads", **which)
        for one in page.get("Uploads", []):
            if one["Key"].startswith(below):  # also where a store doesn't look at the prefix
                yield one["Key"], one["UploadId"]
        after = {
            "KeyMarker": page.get("NextKeyMarker", ""),
            "UploadIdMarker": page.get("NextUploadIdMarker", ""),
        }
        if not page.get("IsTruncated") or after in (marks, dict.fromkeys(after, "")):
            return  # the last page, or a store that gives the same one for ever
        marks = after


def _call(call: Any, url: str, name: str, **which: str) -> Any:
    return retry(lambda: request(lambda: call(name, **which), url), url)


class StoreReader(io.RawIOBase):
    """An object, read by ranges; where reading goes on, the next range is fetched meanwhile.

    Raises:
        FileNotFoundError: there is none.
        StoreError: it can't be read.
    """

    def __init__(self, url: str) -> None:
        self._store, self._path = store_of(url)
        self._url = url
        info = self._store.info(self._path)
        if info["type"] == "directory":
            raise IsADirectoryError(errno.EISDIR, "a folder, not a file", url)
        self._size = int(info["size"])
        self._at = 0
        self._begin, self._window = 0, memoryview(b"")
        self._pool: ThreadPoolExecutor | None = None
        self._next: tuple[int, Future[memoryview]] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        """Return where reading goes on."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere; nothing is read yet."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, target: Any) -> int:
        """Read what is there, ``len(target)`` bytes at most; 0 at the end."""
        view = memoryview(target).cast("B")
        want = min(len(view), self._size - self._at)
        if want <= 0:
            return 0
        if not self._begin <= self._at < self._begin + len(self._window):
            self._load(want)
        part = self._window[self._at - self._begin :][:want]
        view[: len(part)] = part
        self._at += len(part)
        return len(part)

    def _load(self, want: int) -> None:
        goes_on = self._at == self._begin + len(self._window) > 0
        if self._next is not None and self._next[0] == self._at:
            window = self._next[1].result()
        else:
            window = self._fetch(self._at, max(want, _BLOCK if goes_on else _HEAD))
        self._begin, self._window, self._next = self._at, window, None
        end = self._begin + len(window)
        if goes_on and end < self._size:
            self._pool = self._pool or ThreadPoolExecutor(1, "read-ahead")
            self._next = end, self._pool.submit(self._fetch, end, _BLOCK)

    def _fetch(self, begin: int, length: int) -> memoryview:
        end = min(begin + length, self._size)

        def once() -> memoryview:
            data = self._store.raw.cat_file(self._path, start=begin, end=end)
            _require_whole(data, self._url, end - begin)
            return memoryview(data)

        return retry(lambda: request(once, self._url), self._url)

    def close(self) -> None:
        """Let go of what was fetched."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        self._window, self._next = memoryview(b""), None
        super().close()


def part_size(sent: int) -> int:
    """Return the bytes of an upload's next part, when so many have gone up.

    S3 takes 10,000 parts of an object. With parts of one size a small object would need large ones,
    or a large one couldn't go. So parts are of 8 MiB for the first 8 GB, then a thousandth of what has
    gone up, and 1 GiB at most: 10,000 of them are over 5 TiB.

    >>> part_size(0) >> 20, part_size(100 << 30) >> 20, part_size(4 << 40) >> 20
    (8, 102, 1024)
    """
    return min(max(_PART, sent // _SHARE // _STEP * _STEP), _LARGEST)


class StoreWriter:
    """A new object, which is there whole when ``commit`` returns and not at all before.

    One of less than 8 MiB goes in one request, a larger one in parts of ``part_size``, of which two
    are held in memory. A part that fails is sent again by itself. An error ends the upload:
    ``retry`` begins anew.
    """

    def __init__(self, url: str) -> None:
        self.name = url
        self._store, self._path = store_of(url)
        self._held = bytearray()
        self._size = 0
        self._file: Any = None
        self._part, self._filled, self._parts = _PART, 0, 0

    def write(self, data: Any) -> int:
        """Take all of a buffer."""
        view = memoryview(data).cast("B")
        taken = len(view)
        self._size += taken
        if self._file is None:
            self._held += view
            if len(self._held) < _PART or isinstance(self._store.raw, MemoryFileSystem):
                return taken
            view, self._held = memoryview(self._held), bytearray()
            self._file = request(self._open, self.name)
        while view:
            piece, view = view[: self._part - self._filled], view[self._part - self._filled :]
            self._file.blocksize = self._part + 1  # so that it doesn't send by itself
            self._file.write(piece)
            self._filled += len(piece)
            if self._filled == self._part:
                self._send()
        return taken

    def _open(self) -> Any:
        file = self._store.raw.open(self._path, "wb", autocommit=False, block_size=_PART)
        if getattr(type(file), "commit", None) in (None, AbstractBufferedFile.commit):
            raise StoreError(
                f"{self.name}: {self._store.protocol}:// has no uploads that appear only when "
                "complete; write to a local folder, to s3:// or to gs://, and copy from there"
            )
        return file

    def _send(self, *, last: bool = False) -> None:
        """Send what the file holds: a part."""
        self._file.blocksize = self._part
        if self._filled and self._parts == MAX_PARTS and self._equal_parts:
            raise StoreError(
                f"{self.name}: the shard needs more than {MAX_PARTS:,} parts of "
                f"{self._part >> 20} MiB, the most that the store takes with fixed_upload_size; "
                "pass a larger --num_shards"
            )

        def once() -> None:
            if self._file.closed:  # by fsspec, where the upload couldn't be begun
                self._file.closed, self._file.offset = False, None
            self._file.forced = False
            self._file.flush(force=last)

        retry(lambda: request(once, self.name), self.name)
        self._parts += 1
        self._filled = 0
        if not self._equal_parts and hasattr(self._store.raw, "call_s3"):
            self._part = part_size(self._size)

    @property
    def _equal_parts(self) -> bool:
        return bool(getattr(self._store.raw, "fixed_upload_size", False))

    def commit(self, guard: Guard = contextlib.nullcontext) -> None:
        """Let the object appear, inside ``guard``, and make sure that all of it is there."""
        if self._file is not None:
            self._send(last=True)
            self._file.closed = True
        failed = False

        def once() -> None:
            nonlocal failed
            try:
                with guard():
                    request(self._appear, self.name)
            except FileNotFoundError:
                if not failed:
                    raise  # else it had succeeded, and only the answer was lost
            except PassingError:
                failed = True
                raise

        retry(once, self.name)
        size = self._store.info(self._path)["size"]
        if size != self._size:
            raise PassingError(f"{self.name}: wrote {self._size:,} bytes, the store has {size:,}")

    def _appear(self) -> None:
        if self._file is None:
            self._store.raw.pipe_file(self._path, bytes(self._held))
        else:
            self._file.commit()

    def discard(self) -> None:
        """End an upload that isn't committed; nothing of it stays."""
        if self._file is not None:
            with contextlib.suppress(Exception):  # there is an error to report already
                self._file.discard()
            with contextlib.suppress(AttributeError):
                self._file.closed = True  # else fsspec would complete it when it is forgotten
