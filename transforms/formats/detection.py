"""Which format a file has: by its first and last bytes, with its name as a hint."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO, Literal, get_args

from transforms.errors import InputError
from transforms.formats.arrow_messages import begins_old_stream
from transforms.formats.codecs import (
    BY_SUFFIX,
    CODECS,
    Codec,
    codec_of_head,
    codec_of_name,
    skippable_size,
)
from transforms.formats.foreign import HEAD, foreign

Kind = Literal["lines", "parquet", "arrow", "arrow_stream"]

Format = Literal["auto", "lines", "csv"]
"""What files are read as: what each is, or what is said of all of them. CSV is lines, too; its rows are
kept whole by quotes."""

_PARQUET, _ARROW = b"PAR1", b"ARROW1"
_CONTINUES = b"\xff\xff\xff\xff"  # each message of an Arrow stream begins so
CANONICAL = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), ".jsonl"),
    **dict.fromkeys((".parquet", ".pq"), ".parquet"),
    **dict.fromkeys((".arrow", ".arrows", ".feather", ".ipc"), ".arrow"),
    **dict.fromkeys((".txt", ".text"), ".txt"),
    **{name: name for name in (".csv", ".tsv", ".md")},
}
"""Extensions whose kind of file is known, each with the one that stands for all of its kind."""
_SKIPPED, _BEHIND = 1 << 20, 64  # of a beginning: how far frames are skipped, what is read then
_WORDS = {"lines": "lines", "parquet": "Parquet", "arrow": "Arrow IPC", "arrow_stream": "Arrow IPC"}
EXTENSIONS = {"parquet": ".parquet", "arrow": ".arrow", "arrow_stream": ".arrow"}
"""Of shards that hold rows; shards of lines keep the inputs' own."""


@dataclass(frozen=True, slots=True)
class FileFormat:
    """What a file is: its kind and, of compressed lines, the codec."""

    kind: Kind
    codec: Codec | None = None

    @classmethod
    def told(cls, kind: Kind, compression: str) -> FileFormat:
        """Return what a manifest says that its shards are; ValueError where there is no such thing."""
        known = get_args(Kind) if kind != "lines" or compression in ("none", *CODECS) else ()
        if kind not in known:
            raise ValueError(
                f"expected a known format of shards, got {kind!r} with compression "
                f"{compression!r}; if the codec is your own, load it with --codec_module"
            )
        return cls(kind, CODECS.get(compression) if kind == "lines" else None)

    @property
    def is_rows(self) -> bool:
        """Whether its records are rows."""
        return self.kind != "lines"

    @property
    def word(self) -> str:
        """What a message calls it."""
        return self.codec.name if self.codec else _WORDS[self.kind]


def detect(
    file: io.RawIOBase | BinaryIO, *, name: str, size: int, said: Format = "auto"
) -> FileFormat:
    """Say what a file is; leaves it at its beginning.

    Args:
        file: open for reading, seekable.
        name: its name, a hint, and what errors call it.
        size: in bytes.
        said: what the caller says that it is: lines, compressed or not, whatever its bytes look like,
            or csv, which rows of other formats aren't.

    Raises:
        InputError: its name says otherwise, it is broken, or it is of a kind that isn't read.
    """
    file.seek(0)
    named = codec_of_name(name)
    if named is not None and not named.magics and size:  # a user's, known by its name alone
        return FileFormat("lines", named)
    head = file.read(HEAD) or b""
    codec = _codec_of(file, head, size, name)
    found = FileFormat("lines", codec)
    if codec is None and said != "lines":
        found = _by_content(file, head, size)
    if said == "csv" and found.is_rows:
        raise InputError(
            f"{name}: expected CSV (--format=csv), got {found.word}, by its first bytes "
            f"{head[:8]!r}; leave out --format, or leave out such files, for example with "
            "--extension=.csv"
        )
    file.seek(0)
    hint, codec = _hint(name), named
    if said != "lines" and found == FileFormat("lines") and (kind := foreign(head, size)):
        raise InputError(
            f"{name}: expected lines, Parquet or Arrow, got {kind.word}, by its first bytes "
            f"{head[:8]!r}; {kind.remedy}, or pass --format=lines to read its bytes as lines"
        )
    if said != "auto":
        if codec is not None and found.codec != codec and size:
            raise _mismatch(name, codec.name, found, head)
        return found
    begins = head.startswith(_PARQUET + b"\x15") or (hint == "parquet" and head[:4] == _PARQUET)
    if found.kind == "lines" and found.codec is None and begins:
        raise InputError(
            f"{name}: begins as Parquet but doesn't end as Parquet, at byte {size}: it is "
            "truncated, or data was appended; fetch it again"
        )
    if codec is not None and found.codec != codec and size:  # nothing is compressed there
        raise _mismatch(name, codec.name, found, head)
    if (
        codec is None
        and hint is not None
        and (_WORDS[hint], None) != (_WORDS[found.kind], found.codec)
    ):
        raise _mismatch(name, _WORDS[hint], found, head)
    return found


def _codec_of(file: io.RawIOBase | BinaryIO, head: bytes, size: int, name: str) -> Codec | None:
    """Return the codec that the first member shows; where there is none, that of the name, or zstd,
    whose tools write skippable frames.
    """
    begin = behind_skippable(file, head, size)
    found = codec_of_head(begin)
    if begin is head or (found is not None and found.skippable):
        return found
    named = codec_of_name(name)
    return named if named is not None and named.skippable else CODECS["zstd"]


def behind_skippable(file: io.RawIOBase | BinaryIO, head: bytes, size: int) -> bytes:
    """Return the first bytes behind the skippable frames that zstd and lz4 files may begin with.

    Args:
        file: open for reading, seekable.
        head: its first bytes, returned where there is no such frame.
        size: in bytes.
    """
    at = 0
    while at < min(size, _SKIPPED) and (frame := skippable_size(head)):
        at += frame
        file.seek(at)
        head = file.read(_BEHIND) or b""
    return head


def _by_content(file: io.RawIOBase | BinaryIO, head: bytes, size: int) -> FileFormat:
    if head.startswith(_PARQUET) and size >= 12:
        file.seek(size - 4)
        if file.read(4) == _PARQUET:
            return FileFormat("parquet")
    if head.startswith(_ARROW + b"\0\0"):
        return FileFormat("arrow")
    if head.startswith(_CONTINUES) and 0 < int.from_bytes(head[4:8], "little") < size:
        return FileFormat("arrow_stream")
    if head[2:4] == b"\0\0":  # a length that text doesn't begin with
        file.seek(0)
        if begins_old_stream(file.read(4 + int.from_bytes(head[:2], "little")) or b"", size):
            return FileFormat("arrow_stream")
    return FileFormat("lines")


def extension_of(name: str) -> str:
    """Return a file's extension in lower case, before a codec's suffix.

    >>> extension_of("a/b.JSONL.gz")
    '.jsonl'
    """
    parts = name[name.rfind("/") + 1 :].lower().rsplit(".", 2)
    if len(parts) > 1 and f".{parts[-1]}" in BY_SUFFIX:
        parts.pop()
    return f".{parts[-1]}" if len(parts) > 1 else ""


def _hint(name: str) -> str | None:
    found = CANONICAL.get(extension_of(name))
    return {None: None, ".parquet": "parquet", ".arrow": "arrow"}.get(found, "lines")


def _mismatch(name: str, expected: str, found: FileFormat, head: bytes) -> InputError:
    got = "nothing: it is empty" if not head else f"those of {found.word}: {head[:8]!r}"
    what = "plain lines" if found == FileFormat("lines") else found.word
    return InputError(
        f"{name}: expected {expected}, by its name, but its first bytes are "
        f"{got if found != FileFormat('lines') or not head else f'{head[:8]!r}'}, at byte 0; "
        f"rename it for what it holds ({what}), or fetch it again"
    )


def refuse_inside(head: bytes, *, name: str) -> None:
    """Raise InputError where a compressed stream holds not lines but a file of another kind.

    Args:
        head: the stream's first HEAD bytes, fewer where it has fewer.
        name: what the error calls the file.
    """
    codec = codec_of_head(head)
    word, remedy = codec.name if codec else "", "unpack it"
    for magic, kind in ((_PARQUET + b"\x15", "parquet"), (_ARROW + b"\0\0", "arrow")):
        if head.startswith(magic):
            word = _WORDS[kind]
    if not word and (other := foreign(head)):
        word = other.word
        remedy = f"{other.remedy}, or pass --format=lines to read its bytes as lines"
    if word:
        raise InputError(
            f"{name}: expected compressed lines, got compressed data that is {word}; {remedy}"
        )
