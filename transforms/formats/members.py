"""Compressed streams, read and written: gzip, bzip2, xz, zstd and lz4.

A compressed file is a sequence of members (xz calls them streams, zstd and lz4 frames). The
libraries' own file classes won't do: some of them end without a word where a file is cut, or drop
what follows the first member. Here the end of a stream means that every member was whole and that
the file was read to its last byte.

Everything that Dovetail writes carries a checksum. Of others' files, zstd and lz4 frames and xz
streams may have none: there a flipped bit can go unnoticed.
"""

from __future__ import annotations

import io
from abc import abstractmethod
from typing import Any, BinaryIO

from transforms.errors import DataError
from transforms.formats.codecs import (
    DAMAGE,
    LARGEST,
    Compressor,
    Member,
    MemberCodec,
    codec_of_head,
    skippable_size,
)
from transforms.storage import files as storage

_READ = 1 << 16  # compressed bytes at a time; small, as tiny members copy what follows them
_OUT = 1 << 18  # decompressed bytes at a time: fits the processor's caches
_PIECE = 1 << 18  # what an Encoder compresses at a time
_HEAD = 64  # bytes of a member that hold its magic and what it says of its window


class Compressed(io.RawIOBase):
    """A compressed file, read as the stream it holds. The caller closes ``file``.

    Args:
        file: stands at its beginning; its reads may return less than was asked for.
        name: what errors call it.

    Attributes:
        trailing: bytes behind the last member that aren't part of any: zeros, or ends of lines.
        produced: decompressed bytes so far.
        consumed: compressed bytes so far that were decoded.
        truncated: the file ended inside a member.
        last: the last decompressed byte so far, if any.
    """

    def __init__(self, file: io.RawIOBase | BinaryIO, name: str) -> None:
        super().__init__()
        self.name = name
        self._file = file
        self._begin()

    def _begin(self) -> None:
        self.produced = self.consumed = self.trailing = 0
        self.truncated = False
        self.last = b""
        self._out = memoryview(b"")  # produced, not yet read from here

    @abstractmethod
    def _decode(self) -> bytes | None:
        """Decode a piece, which may be empty; None at the stream's end."""

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        """Return the place in the decompressed stream."""
        return self.produced - len(self._out)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go forward by decoding, to the stream's end at most, or back to its beginning."""
        if whence != io.SEEK_SET or 0 < offset < self.tell():
            raise io.UnsupportedOperation(f"{self.name}: a compressed file is read forward only")
        if offset < self.tell():
            self._file.seek(0)
            self._begin()
        while self.tell() < offset and self._fill():
            self._out = self._out[offset - self.tell() :]
        return self.tell()

    def readinto(self, target: Any) -> int:
        """Fill the front of a buffer; 0 only at the stream's end (or for an empty buffer)."""
        view = memoryview(target).cast("B")
        if not len(view) or not self._fill():
            return 0
        size = min(len(view), len(self._out))
        view[:size] = self._out[:size]
        self._out = self._out[size:]
        return size

    def _fill(self) -> bool:
        """See that something can be read; return False at the stream's end."""
        while not len(self._out):
            out = self._decode()
            if out is None:
                return False
            self.produced += len(out)
            self.last = out[-1:] or self.last
            self._out = memoryview(out)
        return True


class Decoder(Compressed):
    """A file compressed by a codec of ours: all its members, one after another.

    Holds under 6 MiB beside the library's own window, whatever the ratio.

    Args:
        file, name: as of Compressed.
        codec: what it is compressed with.
        window: bytes; a member that needs a larger one is refused.

    Raises:
        DataError: on reading: the file is empty, is of another kind, is cut or damaged (also in a
            later member), or something else follows a member.
    """

    def __init__(
        self,
        file: io.RawIOBase | BinaryIO,
        codec: MemberCodec,
        name: str = "a compressed file",
        *,
        window: int = LARGEST,
    ) -> None:
        self._window = window
        self.codec = codec
        super().__init__(file, name)

    def _begin(self) -> None:
        super()._begin()
        self._data = b""  # read from the file, not yet consumed
        self._member: Member | None = None
        self._members = 0
        self._member_begins = 0

    def _decode(self) -> bytes | None:
        """Let the member decode once; forget it where it ends."""
        self._member = member = self._member or self._next_member()
        if member is None:
            return None
        data = b""
        if member.needs_input:
            if not self._peek(1):
                raise self._cut(f"the {self._which()} has no end")
            data, self._data = self._data, b""
        try:
            out = member.decompress(data, _OUT)
        except DAMAGE as error:
            raise self._damage(error) from None
        self.consumed += len(data)
        if member.eof:
            self._data = member.unused_data or b""
            self.consumed -= len(self._data)
            self._member = None
        return out

    def _next_member(self) -> Member | None:
        """Go to the next member, over what may lie before it; None where the file ends."""
        if self._members and self.codec.padding:
            self._skip_zeros()
        head = self._peek(_HEAD)
        behind_newlines = False
        if self._members and self.codec.newlines and head[:1] in (b"\n", b"\r"):
            self._skip_newlines()
            head = self._peek(_HEAD)
            behind_newlines = True
        while self.codec.skippable and (size := skippable_size(head)):
            self._skip(size)
            head = self._peek(_HEAD)
        if not head and self.consumed:
            return None
        if not head:
            raise DataError(
                f"{self.name}: expected {self.codec.name}, got an empty file (0 bytes); "
                "fetch or compress the file again"
            )
        self._member_begins = self.consumed
        self._members += 1
        if behind_newlines or not head.startswith(self.codec.magics):
            raise self._foreign(head)
        if lacks := self.codec.lacks(head[:_HEAD]):
            raise DataError(f"{self.name}: the {self._which()} {lacks}")
        if self.codec.window_of(head[:_HEAD]) > self._window:
            raise self._too_wide()
        self.trailing = 0
        return self.codec.new_member(self._window)

    def _peek(self, size: int) -> bytes:
        """Return all that is read and not consumed: ``size`` bytes or more, save at the end."""
        while len(self._data) < size and (more := self._file.read(_READ)):
            self._data += more
        return self._data

    def _skip_zeros(self) -> None:
        begin = self.consumed
        while self._peek(1)[:1] == b"\0":
            rest = self._data.lstrip(b"\0")
            self.consumed += len(self._data) - len(rest)
            if self.codec.newlines:  # gzip, which warns of them; to others they are padding
                self.trailing += len(self._data) - len(rest)
            self._data = rest
        if (self.consumed - begin) % self.codec.padding:
            raise DataError(
                f"{self.name}: expected zeros in multiples of {self.codec.padding} after the "
                f"{self._which()}, got {self.consumed - begin} at byte {begin}; fetch or compress "
                "the file again"
            )

    def _skip_newlines(self) -> None:
        """Skip ends of lines and zeros, if nothing else is left of the file."""
        while not self._peek(1).strip(b"\0\r\n"):
            if not self._data:
                return
            self.consumed += len(self._data)
            self.trailing += len(self._data)
            self._data = b""

    def _skip(self, size: int) -> None:
        """Skip a skippable frame."""
        begin = self.consumed
        while self.consumed < begin + size:
            if not self._peek(1):
                raise self._cut(f"the skippable frame that begins at byte {begin} has no end")
            skipped = min(len(self._data), begin + size - self.consumed)
            self._data = self._data[skipped:]
            self.consumed += skipped

    def _which(self) -> str:
        return f"{self.codec.name} member {self._members} that begins at byte {self._member_begins}"

    def _cut(self, what: str) -> DataError:
        self.truncated = True
        return DataError(
            f"{self.name}: truncated: {what} (file ends at byte {self.consumed + len(self._data)});"
            " fetch or compress the file again"
        )

    def _damage(self, error: Exception) -> DataError:
        if "memory" in str(error).lower():  # xz: a later block of the member
            return self._too_wide()
        return DataError(
            f"{self.name}: damaged: the {self._which()} can't be decoded near byte {self.consumed} "
            f"({error}); fetch or compress the file again"
        )

    def _too_wide(self) -> DataError:
        return DataError(
            f"{self.name}: the {self._which()} needs a window of more than {self._window >> 20} "
            "MiB, the memory planned from the files' first members; compress the file again with "
            "a smaller window (zstd --long=27)"
        )

    def _foreign(self, head: bytes) -> DataError:
        """Say what is wrong with what stands in a member's place."""
        codec = self.codec.name
        if any(magic.startswith(head) for magic in self.codec.magics):
            return self._cut(f"the {self._which()} has no end")
        if self._members > 1:
            return DataError(
                f"{self.name}: expected another {codec} member or the file's end at byte "
                f"{self.consumed}, after {self._members - 1} members, got {head[:4]!r}; "
                "fetch or compress the file again"
            )
        other = codec_of_head(head)
        what = f"those of {other.name}" if other else repr(head[:4])
        return DataError(
            f"{self.name}: expected {codec}, but its first bytes are {what}; rename it for what "
            "it holds, or fetch it again"
        )


class Encoder(io.RawIOBase):
    """Compresses a stream into one member; equal streams give equal bytes, however written.

    Args:
        sink: takes the compressed bytes; the caller closes it.
        compressor: of one member.
    """

    def __init__(self, sink: io.RawIOBase | BinaryIO, compressor: Compressor) -> None:
        super().__init__()
        self._sink = sink
        self._compressor = compressor
        # pieces of one size: no library promises bytes that don't depend on how its input is cut,
        # and zlib's level 0 makes others
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Compress a buffer of any type of elements."""
        view = memoryview(data).cast("B")
        taken = len(view)
        if self._held:
            size = min(len(view), _PIECE - len(self._held))
            self._held += view[:size]
            view = view[size:]
            if len(self._held) < _PIECE:
                return taken
            self._compress(self._held)
            self._held.clear()
        whole = len(view) - len(view) % _PIECE
        for begin in range(0, whole, _PIECE):
            self._compress(view[begin : begin + _PIECE])
        self._held += view[whole:]
        return taken

    def close(self) -> None:
        """Write what is left and end the member; nothing can be written after."""
        if self.closed:
            return
        super().close()
        if self._held:  # zstd says of a frame that was begun with nothing that its size isn't known
            self._compress(self._held)
        storage.write_all(self._sink, self._compressor.flush())

    def __del__(self) -> None:
        """Not ``close``, as of other files: what was left unfinished by an error isn't whole."""

    def _compress(self, piece: bytearray | memoryview) -> None:
        storage.write_all(self._sink, self._compressor.compress(piece))
