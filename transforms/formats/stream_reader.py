"""What readers of lines share, and of JSON that becomes lines: a stream, and blocks of its records."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from transforms.formats import compressed
from transforms.formats.limits import TooLarge
from transforms.formats.readers import ReadTask
from transforms.kernels.arrays import I64, U8
from transforms.kernels.records import blocks
from transforms.kernels.records.digest import Digest

_ROWS = 1 << 17  # of a block: lines of no length must not make a block of a chunk's bytes of rows


class StreamReader:
    """Reads a stream, compressed or not, and knows what of it is in no record.

    Args:
        file: open for reading, seekable.
        task: the span, and how to read it.

    Attributes:
        whole: bytes of the file, decompressed, known at the end; None in spans that have no part of a
            compressed one.
        blank: lines that were left out so far, as they are blank.
        marks: byte order marks that were left out, 0 or 1.
    """

    def __init__(self, file: io.RawIOBase | BinaryIO, task: ReadTask) -> None:
        self._task, self._codec, self._check = task, task.codec, task.options.check
        self._file: Any = file
        self.whole: int | None = task.size
        if task.codec is not None:
            self._file = compressed.reader(file, task.codec, task.name, window=task.options.window)
            self.whole = None
        self.blank = self.marks = 0
        self._beside = 0  # bytes of the file that are in no record, less the ends of lines

    @property
    def trailing(self) -> int:
        """How many bytes that belong to nothing stand behind a compressed file's last member."""
        return 0 if self._codec is None else self._file.trailing

    @property
    def consumed(self) -> int:
        """How many bytes of the file were read so far."""
        at: int = self._file.tell() if self._codec is None else self._file.consumed
        return at - self._task.start

    def covered(self, digest: Digest) -> int:
        """Return how much of ``whole`` the records with this digest are, with all that is beside."""
        return digest.bytes + digest.records + self._beside


def line_blocks(
    task: ReadTask, values: U8, offsets: I64, *, at: int, places: I64 | None = None
) -> Iterator[pa.RecordBatch]:
    """Make blocks of lines.

    Args:
        task: what they are read for.
        values: uint8[size], the lines, with their ends.
        offsets: int64[n + 1], where each begins, and the last one ends.
        at: the place in the file from which places are counted.
        places: int64[n], where each begins there; None for where it begins in ``values``.

    Yields:
        Blocks with ``position``, ``record``, and hashes, if texts aren't taken from them.

    Raises:
        TooLarge: a line is larger than ``record_limit``.
    """
    options, count = task.options, len(offsets) - 1
    places = offsets if places is None else places
    if count:
        sizes = np.diff(offsets) - 1
        longest = int(sizes.argmax())
        if sizes[longest] > options.record_limit:
            raise too_large(task, at + int(places[longest]), int(sizes[longest]))
    for low in range(0, count, _ROWS):
        high = min(low + _ROWS, count)
        yield blocks.from_buffer(
            values,
            offsets=offsets[low : high + 1],
            positions=(places[low:high] + at).astype(np.uint64),
            line_end=bytes([options.line_format.separator]),
            source=task.source,
            hashed=options.text_field is None,  # else digests are of the texts
        )


def too_large(task: ReadTask, position: int, size: int, *, more: bool = False) -> TooLarge:
    """Return the error that the record at a byte of the file is too large."""
    where = f"{task.name}: the record at byte {position}"
    return TooLarge(where, size=size, limit=task.options.record_limit, more=more)
