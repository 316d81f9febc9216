"""Files that many workers write in parts, each where it belongs: whole when they appear.

Locally a file of the final size lies in the run's temporary folder, is written at offsets and renamed.
On S3 it is one upload, whose parts the workers send, each its own numbers of them. Other stores can't:
Google's join objects that lie there already, 32 at a time, which costs each byte twice; a file has one
writer there. What a killed run leaves goes with its temporary folder, or with its uploads
(``layout.drop_uploads``).
"""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from transforms.errors import LosslessError, PassingError, RunError
from transforms.storage import files as storage
from transforms.storage import layout
from transforms.storage.stores import Store, request, store_of

LEAST = 5 << 20
"""Bytes of a part that isn't the last, at least, as S3 has it."""
_SENT = 8 << 20  # bytes that go up at once, at least, and are held for it
_PARTS = 8000  # of an upload; S3 takes 10,000, and no part is less than half of its share


@dataclass(frozen=True)
class FileInParts:
    """A file that was begun; it goes to the workers.

    Attributes:
        output: URL of the dataset's folder.
        path: below it.
        run_id: whose marker has to stand there; "" for none.
        size: of the whole file, in bytes.
        upload: locally the URL of the temporary file, on S3 the upload's id.
    """

    output: str
    path: str
    run_id: str
    size: int
    upload: str

    @property
    def url(self) -> str:
        """Where it appears."""
        return storage.join(self.output, self.path)


class Sent(NamedTuple):
    """A part of an upload: its number, from 1, and the store's tag; none of a local file."""

    number: int
    tag: str


def takes_parts(output: str) -> bool:
    """Return whether files below a folder can be written in parts."""
    if storage.is_local(output):
        return True
    raw = store_of(output)[0].raw
    # with parts of one size alone, as some stores want them, edges of rows couldn't be those of parts
    return hasattr(raw, "call_s3") and not getattr(raw, "fixed_upload_size", False)


def begin(output: str, path: str, *, size: int, run_id: str) -> FileInParts:
    """Begin a file that many workers write; done twice, the first one's is cleared at the run's end.

    Args:
        output: URL of the dataset's folder.
        path: of the file below it.
        size: in bytes, of all parts together.
        run_id: whose marker stands in the output.
    """
    if storage.is_local(output):
        folder = storage.join(output, layout.TEMPORARY + run_id)
        storage.make_folder(folder)
        place = storage.join(folder, uuid.uuid4().hex + os.path.splitext(path)[1])
        with storage.disk_full_is_ours(place), open(storage.local_path(place), "wb") as file:
            file.truncate(size)
        return FileInParts(output, path, run_id, size, place)
    url = storage.join(output, path)
    answer = _call(url, "create_multipart_upload")
    return FileInParts(output, path, run_id, size, str(answer["UploadId"]))


def numbers(size: int, *, of: int) -> int:
    """Return how many numbered parts of an upload so many bytes are sent as.

    Args:
        size: of a part that one worker writes.
        of: of the whole file.

    >>> numbers(5 << 20, of=1 << 30), numbers(64 << 20, of=1 << 30), numbers(1 << 30, of=1 << 40)
    (1, 8, 7)
    """
    return max(1, size // max(_SENT, -(-of // _PARTS)))


class PartWriter:
    """Writes one part, some bytes after another.

    Args:
        file: which one.
        offset: where the part begins, in bytes.
        size: how many bytes it has.
        first: number of its first part of an upload, from 1; it takes ``numbers(size)``.
    """

    def __init__(self, file: FileInParts, *, offset: int, size: int, first: int) -> None:
        self._file, self._offset, self._size, self._first = file, offset, size, first
        self._done = 0
        self._local = storage.is_local(file.output)
        self._fd = -1
        if self._local:
            with _begun(file):
                self._fd = os.open(storage.local_path(file.upload), os.O_WRONLY | os.O_CLOEXEC)
        self._count = numbers(size, of=file.size)
        self._held, self._sent = bytearray(), list[Sent]()

    def write(self, data: Any) -> int:
        """Take all of a buffer."""
        view = memoryview(data).cast("B")
        taken = len(view)
        if self._done + taken > self._size:
            raise RunError(
                f"{self._file.url}: expected a part of {self._size} bytes at {self._offset}, got "
                "more: a bug in Dovetail; report it with the recipe"
            )
        if self._local:
            with storage.disk_full_is_ours(self._file.url):
                while view:
                    written = os.pwrite(self._fd, view[: 1 << 20], self._offset + self._done)
                    view, self._done = view[written:], self._done + written
            return taken
        while view:
            room = self._end_of(len(self._sent)) - self._done
            self._held += view[:room]
            self._done += min(room, len(view))
            view = view[room:]
            if self._done == self._end_of(len(self._sent)) and self._done < self._size:
                self._send()
        return taken

    def _end_of(self, number: int) -> int:
        return (number + 1) * self._size // self._count

    def _send(self) -> None:
        number = self._first + len(self._sent)
        data, self._held = bytes(self._held), bytearray()
        more = {"UploadId": self._file.upload, "PartNumber": number, "Body": data}
        with _begun(self._file):
            answer = storage.retry(
                lambda: _call(self._file.url, "upload_part", **more), self._file.url
            )
        self._sent.append(Sent(number, str(answer["ETag"])))

    def close(self) -> list[Sent]:
        """Make sure that all of it lies there, and return what completing has to know.

        Raises:
            RunError: it was to have more bytes.
        """
        if self._done != self._size:
            raise RunError(
                f"{self._file.url}: expected a part of {self._size} bytes at {self._offset}, got "
                f"{self._done}: a bug in Dovetail; report it with the recipe"
            )
        if self._local:
            with storage.disk_full_is_ours(self._file.url):
                os.fsync(self._fd)  # a full disk may say so only now, and other machines read it
        else:
            self._send()
        return self._sent

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def complete(
    file: FileInParts, sent: list[Sent], *, check: Callable[[str], None] = lambda url: None
) -> None:
    """Let a file appear whose parts are all written, while the output is still this run's.

    Done twice it checks what appeared.

    Args:
        file: which one.
        sent: what all its parts' ``close`` returned.
        check: looks at the URL of the whole file, and raises LosslessError where it is wrong: locally
            before the file appears, on a store, where it is removed then, as soon as it does.
    """
    if storage.is_local(file.output):
        if not os.path.exists(storage.local_path(file.upload)):
            with _begun(file):
                os.stat(storage.local_path(file.url))
            check(file.url)  # it appeared, the answer was lost
            return
        check(file.upload)
        with layout.owned(file.output, file.run_id):
            storage.rename(file.upload, file.url)
        return
    parts = [{"PartNumber": one.number, "ETag": one.tag} for one in sorted(sent)]

    def once() -> None:
        with layout.owned(file.output, file.run_id):
            _call(
                file.url,
                "complete_multipart_upload",
                UploadId=file.upload,
                MultipartUpload={"Parts": parts},
            )

    # an upload that is unknown was completed, and only the answer was lost: the size tells
    with contextlib.suppress(FileNotFoundError):
        storage.retry(once, file.url)
    store, path = store_of(file.url)
    with _begun(file):
        size = store.info(path)["size"]
    if size != file.size:
        raise PassingError(f"{file.url}: wrote {file.size:,} bytes, the store has {size:,}")
    try:
        check(file.url)
    except LosslessError:
        with contextlib.suppress(RunError), layout.owned(file.output, file.run_id):
            storage.remove_file(file.url)
        raise


@contextlib.contextmanager
def _begun(file: FileInParts) -> Iterator[None]:
    """Raise a RunError where what was begun of a file isn't there any more."""
    try:
        yield
    except FileNotFoundError:
        raise RunError(
            f"{file.url}: the part of it written so far is gone: another run cleared the output, "
            "taking this one for dead; let only one run write there, and run again"
        ) from None


def _call(url: str, name: str, **more: Any) -> Any:
    """Make one request about an object, in the words of S3's API."""
    store: Store
    store, path = store_of(url)
    bucket, key, _ = store.raw.split_path(path)
    return request(lambda: store.raw.call_s3(name, Bucket=bucket, Key=key, **more), url)
