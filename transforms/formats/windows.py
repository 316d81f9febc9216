"""How much of what it has decoded a decoder must hold, by a compressed file's first bytes."""

from __future__ import annotations

from backports import zstd

from transforms.formats.codec_table import skippable_size

_ZSTD, _XZ = b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0"
_XZ_HEADER = 12  # of a stream, before its first block's header
_LZMA2 = 0x21


def window_of(head: bytes) -> int:
    """Return the window, in bytes, of a file's first member; 0 where the codec's is small.

    Args:
        head: the file's first 64 bytes, fewer where it has fewer.

    Source: RFC 8878, section 3.1.1.1.2; the .xz file format 1.2.1, sections 3.1 and 5.3.1.
    """
    while size := skippable_size(head):
        head = head[size:]
    if head.startswith(_ZSTD):
        return _of_zstd_frame(head)
    if head.startswith(_XZ):
        return _of_xz_block(head[_XZ_HEADER:])
    return 0


def _of_zstd_frame(head: bytes) -> int:
    """Return what a frame's header says; its whole content where it is to be held as one segment."""
    try:
        size = zstd.get_frame_info(head).decompressed_size
    except zstd.ZstdError:  # cut: the decoder says so
        return 0
    if head[4] & 0x20:
        return int(size or 0)
    return (8 | head[5] & 7) << (head[5] >> 3) + 7


def _of_xz_block(header: bytes) -> int:
    """Return the dictionary size of the last filter, which is always LZMA2; 0 where it isn't there."""
    if len(header) < 2 or not header[0]:
        return 0
    flags, at = header[1], 2
    for _ in range((flags >> 6 & 1) + (flags >> 7)):  # compressed and uncompressed size
        _, at = _number(header, at)
    for _ in range((flags & 3) + 1):
        filter_id, at = _number(header, at)
        size, at = _number(header, at)
        if filter_id == _LZMA2 and at < len(header):
            bits = header[at] & 0x3F
            return (1 << 32) - 1 if bits >= 40 else (2 | bits & 1) << (bits // 2 + 11)
        at += size
    return 0


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number of 7 bits a byte, and return it with where it ends."""
    value = shift = 0
    while at < len(data):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            break
    return value, at
