"""Files that are neither lines, Parquet nor Arrow, known by their first bytes; what to do with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

HEAD = 512
"""Bytes of a file's beginning by which its kind is known: a tar's first header."""


class Foreign(NamedTuple):
    """A kind of file that isn't read: what a message calls it, and what can be done."""

    word: str
    remedy: str


_UNPACK = "unpack it, and pass the files in it"
_AGAIN = "decompress it, or compress it with gzip or zstd"
_ROWS = "convert it to Parquet or JSON lines"
_TEXT = "extract its text to lines, JSON lines or Parquet"
_NOT_TEXT = "leave it out"
_UTF8 = "convert it to UTF-8, for example with iconv -f {} -t UTF-8"

# magics with a byte that text doesn't have, or that are long
_BY_MAGIC: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"\xff\xfe\0\0", Foreign("text in UTF-32", _UTF8.format("UTF-32"))),
    (0, b"\0\0\xfe\xff", Foreign("text in UTF-32", _UTF8.format("UTF-32"))),
    (0, b"\xff\xfe", Foreign("text in UTF-16", _UTF8.format("UTF-16"))),
    (0, b"\xfe\xff", Foreign("text in UTF-16", _UTF8.format("UTF-16"))),
    (
        0,
        b"PK\x03\x04",
        Foreign("a zip archive (as docx, xlsx, npz, jar and .pt are, too)", _UNPACK),
    ),
    (0, b"PK\x05\x06", Foreign("an empty zip archive", _UNPACK)),
    (0, b"PK\x07\x08", Foreign("a zip archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7z archive", _UNPACK)),
    (0, b"Rar!\x1a\x07", Foreign("a rar archive", _UNPACK)),
    (257, b"ustar", Foreign("a tar archive", _UNPACK)),
    (0, b"MSCF\0\0\0\0", Foreign("a cab archive", _UNPACK)),
    (0, b"!<arch>\n", Foreign("an ar archive", _UNPACK)),
    (0, b"xar!\0", Foreign("a xar archive", _UNPACK)),
    (0, b"\xed\xab\xee\xdb", Foreign("an RPM package", _UNPACK)),
    (0, b"LZIP\x01", Foreign("compressed by lzip", _AGAIN)),
    (0, b"\x1f\x9d", Foreign("compressed by compress (.Z)", _AGAIN)),
    (0, b"\x1f\xa0", Foreign("compressed by compress (LZH)", _AGAIN)),
    (0, b"\x89LZO\0\r\n\x1a\n", Foreign("compressed by lzop", _AGAIN)),
    (0, b"\x02\x21\x4c\x18", Foreign("in lz4's legacy format", _AGAIN)),
    (0, b"\xff\x06\0\0sNaPpY", Foreign("compressed by snappy", _AGAIN)),
    (0, b"LRZI\0", Foreign("compressed by lrzip", _AGAIN)),
    (0, b"SQLite format 3\0", Foreign("an SQLite database", _ROWS)),
    (8, b"DUCK\x40\0\0\0", Foreign("a DuckDB database", _ROWS)),
    (16, b"\xde\xc0\xef\xbe", Foreign("an LMDB database", _ROWS)),
    (0, b"\0\x01\0\0Standard ", Foreign("an Access database", _ROWS)),
    (0, b"\x93NUMPY", Foreign("a NumPy array (.npy)", _ROWS)),
    (0, b"\x89HDF\r\n\x1a\n", Foreign("an HDF5 file", _ROWS)),
    (0, b"Obj\x01", Foreign("an Avro file", _ROWS)),
    (0, b"SEQ\x06", Foreign("a Hadoop sequence file", _ROWS)),
    (0, b"SEQ\x05", Foreign("a Hadoop sequence file", _ROWS)),
    (0, b"MMIDIDX\0\0", Foreign("a Megatron index", _ROWS)),
    (0, b"MATLAB 5.0 MAT-file", Foreign("a MATLAB file", _ROWS)),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Foreign("an Office document from before 2007", _TEXT)),
    (0, b"{\\rtf1", Foreign("an RTF document", _TEXT)),
    (0, b"\x89PNG\r\n\x1a\n", Foreign("a PNG image", _NOT_TEXT)),
    (0, b"\xff\xd8\xff", Foreign("a JPEG image", _NOT_TEXT)),
    (0, b"II*\0", Foreign("a TIFF image", _NOT_TEXT)),
    (0, b"MM\0*", Foreign("a TIFF image", _NOT_TEXT)),
    (0, b"OggS\0", Foreign("an Ogg file", _NOT_TEXT)),
    (0, b"fLaC\0", Foreign("a FLAC file", _NOT_TEXT)),
    (0, b"\x1a\x45\xdf\xa3", Foreign("a Matroska file", _NOT_TEXT)),
    (0, b"MZ\x90\0", Foreign("a Windows program", _NOT_TEXT)),
    (0, b"\x7fELF", Foreign("an ELF program", _NOT_TEXT)),
    (0, b"\xca\xfe\xba\xbe", Foreign("a Java class or a Mach-O program", _NOT_TEXT)),
    (0, b"\xcf\xfa\xed\xfe", Foreign("a Mach-O program", _NOT_TEXT)),
    (0, b"\0asm", Foreign("a WebAssembly module", _NOT_TEXT)),
    (0, b"PACK\0\0\0\x02", Foreign("a git pack", "check out the files in it")),
    (0, b"DIRC\0\0\0", Foreign("a git index", "pass the files themselves")),
)
# magics that text may well begin with: what follows has to be no text
_WEAK: tuple[tuple[int, bytes, Foreign], ...] = (
    (
        0,
        b"PARE",
        Foreign("an encrypted Parquet file", "decrypt it first, because Dovetail takes no keys"),
    ),
    (
        0,
        b"FEA1",
        Foreign("Feather, version 1", "write it as Arrow IPC (Feather, version 2) or Parquet"),
    ),
    (0, b"hsqs", Foreign("a squashfs image", _UNPACK)),
    (0, b"PGDMP", Foreign("a PostgreSQL dump", _ROWS)),
    (0, b"GIF87a", Foreign("a GIF image", _NOT_TEXT)),
    (0, b"GIF89a", Foreign("a GIF image", _NOT_TEXT)),
    (4, b"ftyp", Foreign("an MP4 or HEIF file", _NOT_TEXT)),
    (0, b"ORC", Foreign("an ORC file", _ROWS)),
)
_BY_PATTERN = (
    (rb"%PDF-\d\.\d\s", Foreign("a PDF document", _TEXT)),
    (rb"RIFF.{4}(WAVE|AVI |WEBP)", Foreign("a RIFF file (sound, film or WebP)", _NOT_TEXT)),
    (rb"ID3[\x02-\x04].[\0-\xf0]", Foreign("an MP3 file", _NOT_TEXT)),
    (rb"BM.{4}\0{4}", Foreign("a BMP image", _NOT_TEXT)),
    (rb"GGUF[\x01-\x0f]\0{3}", Foreign("a model in GGUF", _NOT_TEXT)),
    (rb"\x80[\x02-\x05][\x95\x8c\x8a\x88\x89}\](c)XKJMGN]", Foreign("a pickle", _ROWS)),
    (rb"WARC/[01]\.\d+\r?\n", Foreign("a WARC file", "extract the texts of its pages first")),
)
_PATTERNS = tuple((re.compile(pattern, re.DOTALL).match, kind) for pattern, kind in _BY_PATTERN)
# of what begins with text alone, or with bytes that Latin-1 has; all else has control characters
_BEGINS = re.compile(
    rb"\xff\xfe|\xfe\xff|\xff\xd8|%PDF|RIFF|WARC/|!<arch>\n|\{\\rtf1|MATLAB 5\.0|\x80"
).match
_WIDE = (("UTF-32LE", 4, 0), ("UTF-32BE", 4, 3), ("UTF-16LE", 2, 0), ("UTF-16BE", 2, 1))
"""Encodings, the bytes of a unit of theirs, and which of these holds a Latin letter."""
_LEAST_UNITS = 8  # fewer may be anything
_NO_TEXT = re.compile(rb"[\0-\x08\x0b\x0e-\x1f\x7f-\x9f]").search
_CONTROL = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def foreign(head: bytes, size: int | None = None) -> Foreign | None:
    """Say what kind of file begins so, None where it may be lines.

    Args:
        head: its first 512 bytes, fewer where it has fewer.
        size: of the file, where that is known.
    """
    controls = _CONTROL.search(head) is not None
    if not controls and not _BEGINS(head):  # as text does, and quickly so
        return None
    for place, magic, kind in _BY_MAGIC:
        if head.startswith(magic, place):
            return kind
    if controls:
        for place, magic, kind in _WEAK:
            if head.startswith(magic, place):
                return kind
    for matches, kind in _PATTERNS:
        if matches(head):
            return kind
    return next((kind for known, kind in _BY_RULE if known(head, size)), None) or _unmarked(head)


def _unmarked(head: bytes) -> Foreign | None:
    """Return the kind of text in UTF-16 or UTF-32 that has no byte order mark, None for all else.

    Most of it are characters of Latin-1, of whose bytes all but one are zero; a space or a newline is
    among them, which tells it from records of one character each that end in a zero byte.
    """
    for name, width, low in _WIDE:
        units = len(head) // width
        if units < _LEAST_UNITS:
            continue
        places = [head[place : units * width : width] for place in range(width)]
        narrow = bytes(unit[low] for unit in zip(*places, strict=True) if sum(unit) == unit[low])
        if (
            4 * len(narrow) >= 3 * units
            and (b" " in narrow or b"\n" in narrow)
            and not _NO_TEXT(narrow)
        ):
            return Foreign(f"text in {name} (without a byte order mark)", _UTF8.format(name))
    return None


def _is_tar(head: bytes, size: int | None) -> bool:
    """Say whether a header as of before POSIX has the sum that it names."""
    field = head[148:156].strip(b"\0 ")
    if len(head) < HEAD or not head[0] or not re.fullmatch(rb"[0-7]+", field):
        return False
    return int(field, 8) == sum(head[:148]) + 8 * ord(" ") + sum(head[156:HEAD])


def _is_lzma(head: bytes, size: int | None) -> bool:
    """Say whether a file begins as lzma's old format: properties, dictionary, size, and a zero byte."""
    if len(head) < 14 or head[0] != 0x5D or head[13]:
        return False
    dictionary, length = (int.from_bytes(head[a:b], "little") for a, b in ((1, 5), (5, 13)))
    odd = dictionary // (dictionary & -dictionary) if dictionary else 0
    return odd in (1, 3) and (length == (1 << 64) - 1 or length < 1 << 48)


def _is_safetensors(head: bytes, size: int | None) -> bool:
    length = int.from_bytes(head[:8], "little")
    return head[8:10] == b'{"' and 2 <= length < (size or 1 << 32)


def _is_tfrecord(head: bytes, size: int | None) -> bool:
    """Say whether a length and its checksum, masked as TensorFlow does, come first."""
    length, check = head[:8], int.from_bytes(head[8:12], "little")
    if len(head) < 12 or int.from_bytes(length, "little") > (size or 1 << 40):
        return False
    crc = _crc32c(length)
    return check == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


_BY_RULE: tuple[tuple[Callable[[bytes, int | None], bool], Foreign], ...] = (
    (_is_tar, Foreign("a tar archive", _UNPACK)),
    (_is_lzma, Foreign("compressed by lzma", _AGAIN)),
    (_is_safetensors, Foreign("a safetensors file", _NOT_TEXT)),
    (_is_tfrecord, Foreign("a TFRecord file", _ROWS)),
)
