"""The codecs: how each kind of compressed stream is known, and the libraries that do the work."""

from __future__ import annotations

import bz2
import lzma
import posixpath
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import lz4.frame
from backports import zstd

WINDOW = 128 << 20
"""The largest window that a decoder holds unless it may hold more; `zstd --long` and `xz -9` fit."""
LARGEST = 2 << 30
"""The largest window that a decoder can hold: `zstd --long=31`."""
DAMAGE = (
    zlib.error,
    lzma.LZMAError,
    zstd.ZstdError,
    OSError,  # bz2
    RuntimeError,  # lz4
)
"""What the libraries raise at damaged data."""
_SKIPPABLE = 8  # bytes of a skippable frame's header


class Member(Protocol):
    """Decoder of one member; ``lzma.LZMADecompressor`` is one."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class Compressor(Protocol):
    """Compressor of one member; ``lzma.LZMACompressor`` is one."""

    def compress(self, data: Any, /) -> bytes: ...
    def flush(self) -> bytes: ...


class _GzipMember:
    """zlib's decoder with the attributes that bz2's and lzma's have."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def needs_input(self) -> bool:
        return not self._decoder.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._decoder.decompress(data or self._decoder.unconsumed_tail, max_length)


class _Lz4Compressor(lz4.frame.LZ4FrameCompressor):
    """lz4's compressor, which begins its frame by itself as the others do."""

    def compress(self, data: Any) -> bytes:
        return self._begun() + bytes(super().compress(data))

    def flush(self) -> bytes:
        return self._begun() + bytes(super().flush())

    def _begun(self) -> bytes:
        return b"" if self.started() else bytes(self.begin())


def _xz_member(window: int) -> lzma.LZMADecompressor:
    """Return a decoder, which takes a little more than the window for its own state."""
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=window + (1 << 20))


def _window_of_xz(head: bytes) -> int:
    """Return a power of two that the decoder takes for enough."""
    for bits in range(18, 32):
        try:
            _xz_member(1 << bits).decompress(head, 1)
        except lzma.LZMAError as error:
            if "memory" in str(error).lower():
                continue  # else it is damaged: the decoder says so
        return 1 << bits
    return 1 << 32


def _window_of_zstd(head: bytes) -> int:
    """Return what the frame's header says: its whole content where that is one segment.

    Source: RFC 8878, section 3.1.1.1.2.
    """
    try:
        size = zstd.get_frame_info(head).decompressed_size
    except zstd.ZstdError:  # cut: the decoder says so
        return 0
    if head[4] & 0x20:
        return size or 0
    return (8 | head[5] & 7) << (head[5] >> 3) + 7


def _dictionary_of(head: bytes) -> str:
    """Say which dictionary a zstd frame needs, by its first bytes; nothing if it names none."""
    try:
        number = zstd.get_frame_info(head).dictionary_id
    except zstd.ZstdError:  # cut: the decoder says so
        return ""
    return (
        f"was compressed with dictionary {number}, which isn't in the file; decompress it with "
        "that dictionary first (zstd -d -D DICTIONARY)"
        if number
        else ""
    )


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How one kind of compressed stream is known. One of a user's is known by its suffix alone.

    Attributes:
        name: what ``--compression`` calls it.
        suffixes: of file names, in lower case; the first one is written.
        magics: what a member may begin with; none where the content isn't known.
        skippable: skippable frames may stand between members.
        window_of: the bytes that a decoder holds, by the first 64 of a file or a member; 0 where that
            is little.
    """

    name: str
    suffixes: tuple[str, ...]
    magics: tuple[bytes, ...] = ()
    skippable: bool = False
    window_of: Callable[[bytes], int] = lambda head: 0


@dataclass(frozen=True, kw_only=True)
class MemberCodec(Codec):
    """How one of ours is read and written, member by member.

    Attributes:
        level: what is written unless a level is asked for.
        new_member: makes the decoder of one member, which holds a window of so many bytes at most.
        new_compressor: makes a compressor of a level.
        padding: zeros may follow a member, in multiples of this; 0 where none may.
        newlines: so may ends of lines, behind the last one.
        lacks: of a member's first 64 bytes: what it needs that isn't in the file, or nothing.
    """

    level: int
    new_member: Callable[[int], Member]
    new_compressor: Callable[[int], Compressor]
    padding: int = 0
    newlines: bool = False
    lacks: Callable[[bytes], str] = lambda head: ""


# Levels by processor time, on 100 MB of JSON lines of source code (MB/s, ratio): gzip 1 152 4.15,
# 4 100 4.99, 6 43 5.35; bzip2 1 19 5.33, 9 14 6.64; xz 0 37 5.19, 1 27 5.82, 3 6 6.31, 6 2 7.39;
# zstd 1 452 4.91, 3 303 5.42, 5 129 5.99; lz4 0 517 3.25, 3 135 4.40. Taken is where the next
# step up costs more than half the speed for less than a tenth of the size.
BUILT_IN: dict[str, MemberCodec] = {
    codec.name: codec
    for codec in (
        MemberCodec(
            name="gzip",
            suffixes=(".gz",),
            magics=(b"\x1f\x8b\x08",),
            level=4,
            new_member=lambda window: _GzipMember(),
            # zlib's header has no name, and 0 for the time
            new_compressor=lambda level: zlib.compressobj(level, wbits=31),
            padding=1,
            newlines=True,
        ),
        MemberCodec(
            name="bzip2",
            suffixes=(".bz2",),
            # a block comes first, or where there is none the stream's end
            magics=tuple(
                b"BZh%d" % level + mark
                for level in range(1, 10)
                for mark in (b"1AY&SY", b"\x17rE8P\x90")
            ),
            level=9,
            new_member=lambda window: bz2.BZ2Decompressor(),
            new_compressor=bz2.BZ2Compressor,
        ),
        MemberCodec(
            name="xz",
            suffixes=(".xz",),
            magics=(b"\xfd7zXZ\0",),
            level=1,
            new_member=_xz_member,
            window_of=_window_of_xz,
            new_compressor=lambda level: lzma.LZMACompressor(
                lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, preset=level
            ),
            padding=4,
        ),
        MemberCodec(
            name="zstd",
            suffixes=(".zst", ".zstd"),
            magics=(b"\x28\xb5\x2f\xfd",),
            level=3,
            # the largest window that there is: the Decoder has asked the header for the frame's own
            new_member=lambda window: zstd.ZstdDecompressor(
                options={zstd.DecompressionParameter.window_log_max: LARGEST.bit_length() - 1}
            ),
            window_of=_window_of_zstd,
            lacks=_dictionary_of,
            new_compressor=lambda level: zstd.ZstdCompressor(
                options={
                    zstd.CompressionParameter.compression_level: level,
                    zstd.CompressionParameter.checksum_flag: 1,
                }
            ),
            skippable=True,
        ),
        MemberCodec(
            name="lz4",
            suffixes=(".lz4",),
            magics=(b"\x04\x22\x4d\x18",),
            level=0,
            new_member=lambda window: lz4.frame.LZ4FrameDecompressor(),
            # independent blocks of 1 MiB are as small as linked ones, to 1 in 100
            new_compressor=lambda level: _Lz4Compressor(
                block_size=lz4.frame.BLOCKSIZE_MAX1MB,
                block_linked=False,
                compression_level=level,
                content_checksum=True,
            ),
            skippable=True,
        ),
    )
}

CODECS: dict[str, Codec] = {**BUILT_IN}
"""By name; those of a user's modules too, once they are loaded."""
BY_SUFFIX: dict[str, Codec] = {
    suffix: codec for codec in CODECS.values() for suffix in codec.suffixes
}


def add_codec(suffix: str) -> None:
    """Take up a user's codec, which is called what its suffix is."""
    CODECS[suffix[1:]] = BY_SUFFIX[suffix] = Codec(name=suffix[1:], suffixes=(suffix,))


def drop_codecs() -> None:
    """Forget all users' codecs."""
    for known in (CODECS, BY_SUFFIX):
        for name in [name for name, codec in known.items() if not isinstance(codec, MemberCodec)]:
            del known[name]


def codec_of_head(head: bytes) -> Codec | None:
    """Return the codec that a file's first bytes (16 or more) show, None where they show none.

    zstd and lz4 share skippable frames; where nothing else is seen after one, it is taken for
    zstd's, whose tools write them.
    """
    while size := skippable_size(head):
        head = head[size:]
        if not head:
            return CODECS["zstd"]
    return next((codec for codec in BUILT_IN.values() if head.startswith(codec.magics)), None)


def codec_of_name(name: str) -> Codec | None:
    """Return the codec that a file's name shows by its suffix.

    >>> codec_of_name("web/part-0.jsonl.GZ").name
    'gzip'
    """
    return BY_SUFFIX.get(posixpath.splitext(name)[1].lower())


def strip_suffix(name: str) -> str:
    """Return a file's name without one codec's suffix.

    >>> strip_suffix("part-0.jsonl.zst"), strip_suffix("part-0.jsonl")
    ('part-0.jsonl', 'part-0.jsonl')
    """
    return posixpath.splitext(name)[0] if codec_of_name(name) else name


def skippable_size(head: bytes) -> int:
    """Return the size of the skippable frame that begins here, header included, else 0."""
    if len(head) < _SKIPPABLE or head[1:4] != b"\x2a\x4d\x18" or head[0] >> 4 != 5:
        return 0
    return _SKIPPABLE + int.from_bytes(head[4:8], "little")
