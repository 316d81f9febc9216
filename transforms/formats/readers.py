"""What a reader is told, what it is, and what it finds: good records, and bad ones with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from transforms.formats.codecs import WINDOW, Codec
from transforms.formats.detection import Format
from transforms.formats.kept import Kept
from transforms.formats.limits import MemoryFor
from transforms.formats.line_format import LineFormat
from transforms.kernels.records import blocks, find_bad
from transforms.kernels.records.digest import Digest
from transforms.kernels.records.find_bad import Check

Validator = Callable[[pa.RecordBatch], dict[int, str]]
"""Says which records of a good block are bad all the same, by place, and why."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is looked at beside whole records: see ``transforms.formats.beside``.

    Attributes:
        text_field: the field or column of their text, a path or a template; None for ``text`` where
            there is one; "" for none, so that whole records are the content.
        fields: what else is kept beside them, of JSON lines and rows.
    """

    text_field: str | None = None
    fields: Kept | None = None


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """What every reader is told.

    Attributes:
        line_format: of line files.
        format: what all files are said to be, as of ``detect``. ``lines`` are nothing but lines: a byte
            order mark, blank lines of JSON and open quotes of CSV are data.
        rows: whether the records are rows, not lines.
        schema: that rows have to have; None where any will do.
        check: what a line has to be.
        chunk_bytes: how much to read at a time; also about the size of a block.
        record_limit: the most bytes that a record may have; a row of Parquet half of them.
        memory: what more memory would allow, for errors.
        text_known: whether the text of Parquet rows was checked when it was written.
        group_bytes: the most logical bytes that a row group of Parquet has, save those of its last row;
            None where nobody knows, so that rows are looked at before many are read.
        text_field: the field or column whose text alone is read, of files of any format.
        kept: what is read beside it, of JSON lines and rows.
        beside: what is looked at beside whole records; not together with ``text_field``.
        window: bytes that a decoder may hold; a compressed file that needs more is refused.
        codec_modules: that register users' codecs, imported in every worker.
        validate: says which of the records, or of the texts, are bad all the same.
    """

    line_format: LineFormat = field(default_factory=LineFormat)
    format: Format = "auto"
    rows: bool = False
    schema: pa.Schema | None = None
    check: Check = "none"
    chunk_bytes: int = 2 << 20
    record_limit: int = 256 << 20
    memory: MemoryFor | None = None
    text_known: bool = False
    group_bytes: int | None = None
    text_field: str | None = None
    kept: Kept | None = None
    beside: Beside | None = None
    window: int = WINDOW
    codec_modules: tuple[str, ...] = ()
    validate: Validator | None = None


@dataclass(frozen=True, kw_only=True)
class ReadTask:
    """One span of a file, and how it is to be read.

    Attributes:
        name: what errors call the file.
        size: of the file, in bytes.
        start, stop: the span, in bytes; spans that tile a file give each record once.
        source: index for a ``source`` column.
        codec: by which a file of lines is compressed.
        options: what every reader is told.
    """

    name: str
    size: int
    start: int = 0
    stop: int
    source: int | None = None
    codec: Codec | None = None
    options: ReadOptions = field(default_factory=ReadOptions)


class Found(NamedTuple):
    """A block of good records, and one of bad ones with a reason each."""

    block: pa.RecordBatch
    bad: pa.RecordBatch | None = None
    reasons: tuple[str, ...] = ()

    @classmethod
    def sort_out(cls, block: pa.RecordBatch, bad: dict[int, str]) -> Found:
        """Split a block by the places of its bad records."""
        if not bad:
            return cls(block)
        good, rest = find_bad.split(block, bad)
        return cls(good, rest, tuple(bad[place] for place in sorted(bad)))

    def validated(self, validate: Validator | None, block: pa.RecordBatch) -> Found:
        """Take out what is judged to be bad, too: as it stands in ``block``, where this was found."""
        bad = {} if validate is None else validate(self.block)
        if not bad:
            return self
        good, rest = find_bad.split(self.block, bad)
        parts = [(rest, [bad[place] for place in sorted(bad)])]
        if self.bad is not None:
            parts.append((self.bad, list(self.reasons)))
        known = blocks.column(block, "position")
        why: dict[int, str] = {}
        for part, reasons in parts:
            places = np.searchsorted(known, blocks.column(part, "position"))  # positions rise
            why |= zip(places.tolist(), reasons, strict=True)
        return Found.sort_out(block, why)._replace(block=good)


class Reader(Protocol):
    """Reads one span; see ``transforms.formats``."""

    @property
    def whole(self) -> int | None:
        """What the file holds: bytes of lines or rows; None where this span doesn't know."""

    @property
    def consumed(self) -> int:
        """How many bytes of the file were read so far."""

    @property
    def blank(self) -> int:
        """How many blank lines were left out so far."""

    @property
    def marks(self) -> int:
        """How many byte order marks were left out, 0 or 1."""

    @property
    def trailing(self) -> int:
        """How many bytes that belong to nothing stand behind a compressed file's last member."""

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found."""

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the records with this digest are."""


class ValidatingReader:
    """A reader whose good records are judged once more; all else is the inner reader's."""

    def __init__(self, inner: Reader, validate: Validator) -> None:
        self._inner, self._validate = inner, validate

    def __iter__(self) -> Iterator[Found]:
        """Yield what is found."""
        for found in self._inner:
            if found.bad is not None:  # bad lines and good ones are no longer together
                yield found._replace(block=found.block.slice(0, 0))
            yield Found(found.block).validated(self._validate, found.block)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
