"""Ranges of files: what is read of temporary files, alone or many at once."""

from __future__ import annotations

import itertools
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from transforms.errors import RunError
from transforms.shuffling.packed import Malformed, int_of, pack, require, unpack
from transforms.storage import files as storage

T = TypeVar("T")

TEMPORARY_AT_FAULT = (
    "something else writes to --temp_location, or its disk is faulty; check both, then run again"
)
_IN_FLIGHT = 12  # requests to a store: a segment is small, and each waits for an answer


class FileRange(NamedTuple):
    """Bytes [offset, offset + length)."""

    url: str
    offset: int
    length: int

    def read(self, file: Any = None) -> memoryview:
        """Read it, from ``file`` where that is open already.

        Raises:
            RunError: it can't be read, or is not there whole.
        """
        try:
            if file is None:
                data = storage.read_range(self.url, self.offset, self.length)
            else:
                data = storage.read_from(file, self.offset, self.length)
        except OSError as error:
            raise _unreadable(self.url, error) from error
        if len(data) != self.length:
            raise RunError(
                f"{self.url}: expected {self.length} bytes at byte {self.offset}, the file ends "
                f"earlier; {TEMPORARY_AT_FAULT}"
            )
        return data

    @property
    def end(self) -> int:
        """The byte after the last."""
        return self.offset + self.length

    @classmethod
    def write(cls, file: Any, url: str, offset: int, data: bytes) -> FileRange:
        """Write data and its CRC-32 at ``offset``, where the file stands; return where it lies."""
        size = storage.write_all(file, data + zlib.crc32(data).to_bytes(4, "little"))
        return cls(url, offset, size)

    def read_checked(self) -> memoryview:
        """Read what ``write`` wrote.

        Raises:
            RunError: it can't be read, or is damaged.
        """
        found = self.read()
        data, checksum = found[:-4], found[-4:]
        if zlib.crc32(data) != int.from_bytes(checksum, "little"):
            raise RunError(f"{self.url}: damaged at byte {self.offset}; {TEMPORARY_AT_FAULT}")
        return data

    def parse(self, read: Callable[[memoryview], T]) -> T:
        """Read what ``write`` wrote, and return what ``read`` makes of it.

        A checksum finds accidents, and anybody can make a right one: what is read isn't trusted.

        Raises:
            RunError: as of ``read_checked``, or ``read`` raises Malformed.
        """
        return self.parse_data(self.read_checked(), read)

    def parse_data(self, data: memoryview, read: Callable[[memoryview], T]) -> T:
        """As ``parse``, of what was read already."""
        try:
            return read(data)
        except Malformed as error:
            raise RunError(
                f"{self.url}: the data at byte {self.offset} isn't what Dovetail wrote there: "
                f"{error}; {TEMPORARY_AT_FAULT}"
            ) from error

    def to_bytes(self) -> bytes:
        """Return a form that travels through a runner."""
        return pack(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> FileRange:
        """Return what ``to_bytes`` gave."""
        return cls.of(unpack(data)[0])

    @classmethod
    def of(cls, values: Any) -> FileRange:
        """Return the range of three plain values; raises Malformed."""
        require(isinstance(values, list) and len(values) == 3, "no range of a file")
        url, offset, length = values
        require(isinstance(url, str), "a URL that isn't text")
        return cls(url, int_of(offset), int_of(length))


def write_references(folder: str, pieces: Callable[[], Iterable[bytes]]) -> list[FileRange]:
    """Write pieces of data one after another into a new file of a folder; return where each lies.

    Args:
        folder: URL.
        pieces: makes them; called once more where the storage failed and it is tried again.
    """
    url = storage.join(folder, f"{uuid.uuid4().hex}.references")  # no attempt meets another

    def write() -> list[FileRange]:
        written: list[FileRange] = []
        with storage.open_write(url) as file:
            for data in pieces():
                at = written[-1].end if written else 0
                written.append(FileRange.write(file, url, at, data))
        return written

    return storage.retry(write, url)


def _unreadable(url: str, error: OSError) -> RunError:
    return RunError(f"{url}: can't be read: {error}; {TEMPORARY_AT_FAULT}")


def read_each(
    read: Callable[[FileRange], memoryview], file_ranges: Sequence[FileRange]
) -> Iterator[Any]:
    """Read ranges of files, in order; several at a time from stores, where waiting is long."""
    local = all(storage.is_local(url) for url in {wanted.url for wanted in file_ranges})
    return storage.in_parallel(read, file_ranges, limit=1 if local else _IN_FLIGHT)


def read_in_turn(file_ranges: Sequence[FileRange]) -> Iterator[memoryview]:
    """Read ranges that are sorted by file; each local file is opened once."""
    if not all(storage.is_local(url) for url in {wanted.url for wanted in file_ranges}):
        yield from read_each(FileRange.read, file_ranges)
        return
    for url, mine in itertools.groupby(file_ranges, key=lambda wanted: wanted.url):
        try:
            file = storage.open_read(url)
        except OSError as error:
            raise _unreadable(url, error) from error
        with file:
            for wanted in mine:
                yield wanted.read(file)
