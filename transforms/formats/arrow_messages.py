"""What pyarrow doesn't show of Arrow IPC messages: how a batch is compressed, how large it will be.

Nothing but the messages' headers is read. They are flatbuffers: Message.fbs and File.fbs of Arrow's
format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from transforms.errors import DataError

COMPRESSIONS = ("none", "lz4", "zstd")
_CONTINUES = b"\xff\xff\xff\xff"
_SCHEMA = 1  # a message's type
_PREFIX = 8  # bytes before a message's header: the mark above and its size
_DICTIONARY_BATCH, _RECORD_BATCH = 2, 3  # a message's type
_BUFFER = 16  # bytes of a header's entry for a buffer: where in the body, and its size
_MOST = 1 << 26  # bytes of a header that is looked at
_TRAILER = 10  # bytes after a file's footer: its size, and the magic
_BLOCK = 24  # bytes of a footer's entry for a batch: where it is, sizes of header and body


class _Header(NamedTuple):
    """Header of a message: a flatbuffer, where its root lies, where its body begins, and its size."""

    data: memoryview
    root: int
    begin: int
    body: int

    @property
    def kind(self) -> int:
        """The message's type; 0 for none."""
        kind = _slot(self.data, self.root, 1)
        return 0 if kind is None else self.data[kind]

    @property
    def is_batch(self) -> bool:
        return self.kind == _RECORD_BATCH

    def decoded(self, file: Any) -> int:
        """Return the size of the body when decompressed, which each of its buffers begins with."""
        batch = _field(self.data, self.root, 2)
        if batch is not None and self.kind == _DICTIONARY_BATCH:
            batch = _field(self.data, batch, 1)
        if batch is None or _field(self.data, batch, 3) is None:
            return self.body
        buffers = _field(self.data, batch, 2)
        total = 0
        for i in range(_int(self.data, buffers, 4) if buffers is not None else 0):
            at = (buffers or 0) + 4 + _BUFFER * i
            offset, length = _int(self.data, at, 8), _int(self.data, at + 8, 8)
            if length > 0:
                _seek(file, self.begin + max(offset, 0))
                total += max(int.from_bytes(file.read(8), "little", signed=True), length)
        return total


def begins_old_stream(head: bytes, size: int) -> bool:
    """Say whether a stream of before Arrow 0.15 begins so: with a schema, without a mark before it.

    Args:
        head: at least 4 bytes, as many as the first message's header has if it is one.
        size: of the file.
    """
    length = int.from_bytes(head[:4], "little")
    if not 16 <= length <= min(size - 4, _MOST) or length % 4:
        return False
    data = memoryview(head)[4 : 4 + length]
    try:
        header = _Header(data, _int(data, 0, 4), 0, 0)
        return header.kind == _SCHEMA and _field(data, header.root, 2) is not None
    except IndexError:
        return False


def first_batch(file: Any, *, stream: bool, name: str) -> tuple[str, int]:
    """Return how a file's first record batch is compressed, and the bytes of its body.

    Raises:
        DataError: its header can't be read.
    """
    try:
        for header in _headers(file, 0 if stream else 8):
            if header.is_batch:
                data = header.data
                batch = _field(data, header.root, 2)
                how = _field(data, batch, 3) if batch is not None else None
                codec = _slot(data, how, 0) if how is not None else None
                which = 0 if how is None else 1 + (data[codec] if codec is not None else 0)
                return COMPRESSIONS[which], header.body
    except IndexError as error:
        raise DataError(
            f"{name}: expected Arrow IPC, the header of its first record batch can't be read; fetch "
            "or make the file again"
        ) from error
    return "none", 0


def body_of_next_batch(file: Any) -> int:
    """Return the largest body of the next record batch of a stream and the dictionaries before it.

    What is wrong, the reader says. Leaves the file where it was.
    """
    begin, largest = file.tell(), 0
    try:
        for header in _headers(file, begin):
            largest = max(largest, header.decoded(file))
            if header.is_batch:
                break
    except IndexError:
        pass
    file.seek(begin)
    return largest


def bodies_of_batches(file: Any, size: int) -> list[int]:
    """Return the sizes of the bodies of a file's record batches, with its dictionaries in the first.

    Empty where the footer can't be read: what is wrong then, the reader says. Leaves the file where
    it was.
    """
    begin = file.tell()
    file.seek(max(size - _TRAILER, 0))
    length = int.from_bytes(file.read(4), "little")
    file.seek(max(size - _TRAILER - length, 0))
    data = memoryview(file.read(min(length, size)))
    try:
        batches = _bodies(file, data, 3)
        return [max(batches[0], sum(_bodies(file, data, 2))), *batches[1:]] if batches else []
    except IndexError:
        return []
    finally:
        file.seek(begin)


def _bodies(file: Any, footer: memoryview, field: int) -> list[int]:
    """Return the sizes of the bodies that a footer's field lists."""
    blocks = _field(footer, _int(footer, 0, 4), field)
    if blocks is None:
        return []
    count = min(_int(footer, blocks, 4), len(footer) // _BLOCK)
    places = [_int(footer, blocks + 4 + _BLOCK * i, 8) for i in range(count)]
    return [next((h.decoded(file) for h in _headers(file, place)), 0) for place in places]


def _headers(file: Any, at: int) -> Iterator[_Header]:
    """Yield the headers of messages that lie one after another, up to the end of the stream.

    Raises:
        IndexError: one is damaged.
    """
    while True:
        _seek(file, at)
        prefix = file.read(_PREFIX)
        # before version 0.15 there was no mark before the size
        marked = prefix[:4] == _CONTINUES
        length = int.from_bytes(prefix[4:] if marked else prefix[:4], "little")
        if not length:
            return
        head = at + (_PREFIX if marked else _PREFIX // 2)
        _seek(file, head)
        data = memoryview(file.read(min(length, _MOST)))
        root = _int(data, 0, 4)
        slot = _slot(data, root, 3)
        body = _int(data, slot, 8) if slot is not None else 0
        if body < 0:
            raise IndexError(body)
        yield _Header(data, root, head + length, body)
        at = head + length + body


def _seek(file: Any, at: int) -> None:
    """Go to a place that a header names."""
    if not 0 <= at < 1 << 62:
        raise IndexError(at)
    file.seek(at)


def _int(data: memoryview, at: int, size: int) -> int:
    if not 0 <= at <= len(data) - size:
        raise IndexError(at)
    return int.from_bytes(data[at : at + size], "little", signed=True)


def _slot(data: memoryview, table: int, field: int) -> int | None:
    """Return where a flatbuffer table holds a field, None where it doesn't."""
    vtable = table - _int(data, table, 4)
    at = 4 + 2 * field
    offset = _int(data, vtable + at, 2) if at < _int(data, vtable, 2) else 0
    return table + offset if offset else None


def _field(data: memoryview, table: int, field: int) -> int | None:
    """Return where the table or vector lies that a field of a table refers to."""
    slot = _slot(data, table, field)
    return slot + _int(data, slot, 4) if slot is not None else None
