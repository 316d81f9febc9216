"""OLMo-core's table of documents, ``.csv.gz``, and what is checked of a shard's three files together."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from transforms.errors import DataError
from transforms.formats.codecs import BUILT_IN
from transforms.formats.members import Decoder
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.rows import Rows
from transforms.trainers.contract import Dataset

_NAME = "the table, .csv.gz"
_LINE = 1 << 10  # bytes of a line at most
_FIELDS = 5


def table_lines(rows: Rows, length: int, *, row: int, piece: int) -> bytes:
    """Return lines for the pieces of rows: start, end, number, nothing, row from 1.

    Args:
        rows: of ``length`` ids each.
        length: L.
        row, piece: how many stand before them.
    """
    begins = _begins(rows, length) + row * length
    numbers = np.repeat(np.arange(len(rows)), np.diff(rows.piece_offsets)) + row + 1
    columns = begins.tolist(), (begins + rows.lengths).tolist(), numbers.tolist()
    return "".join(
        f"{begin},{end},{number},,{of}\n"
        for number, (begin, end, of) in enumerate(zip(*columns, strict=True), piece)
    ).encode()


class Table:
    """The pieces of a file, read as they are needed."""

    def __init__(self, file: BinaryIO) -> None:
        self._decoder = Decoder(file, BUILT_IN["gzip"], _NAME)
        self._lines = io.BufferedReader(self._decoder)
        self._next: tuple[int, int] | None = None
        self._number = 0
        self._step()

    def _step(self) -> None:
        """Read a line."""
        line = self._lines.readline(_LINE)
        if not line:
            self._next = None
            return
        parts = line.rstrip(b"\n").split(b",")
        good = (
            line.endswith(b"\n") and len(parts) == _FIELDS and all(p.isdigit() for p in parts[:3])
        )
        if not good or int(parts[2]) != self._number or parts[3]:
            raise DataError(
                f"{_NAME}, line {self._number + 1}: expected start, end, {self._number}, "
                f"nothing, and a row, got {line[:80]!r}; the file is damaged, make it again"
            )
        self._next = int(parts[0]), int(parts[1])
        self._number += 1

    def until(self, end: int) -> tuple[I64, I64]:
        """Return where pieces begin and end that begin before a place, those that weren't yet."""
        found = []
        while self._next is not None and self._next[0] < end:
            found.append(self._next)
            self._step()
        both = np.array(found, np.int64).reshape(-1, 2)
        return both[:, 0], both[:, 1]

    def require_end(self, size: int) -> None:
        """Raise a DataError where there is more."""
        if self._next is not None or self._decoder.trailing:
            raise DataError(
                f"{_NAME}: expected pieces of {size} ids, got more; the files aren't of one shard"
            )


def _begins(rows: Rows, length: int) -> I64:
    """Return int64[pieces], where each begins among rows of a length."""
    ends = offsets_of(rows.lengths)
    counts = np.diff(rows.piece_offsets)
    inside = ends[:-1] - np.repeat(ends[rows.piece_offsets[:-1]], counts)
    begins: I64 = inside + np.repeat(np.arange(len(rows), dtype=np.int64) * length, counts)
    return begins


def rows_of(ids: npt.NDArray[Any], begins: I64, ends: I64, length: int, *, first: int) -> Rows:
    """Return rows of ids and their pieces.

    Raises:
        DataError: pieces overlap, cross rows, or leave a gap before a row's last one.
    """
    count = len(ids) // length
    row = begins // length
    pieces = np.searchsorted(row, np.arange(count + 1)).astype(np.int64)
    rows = Rows(
        ids,
        np.arange(count + 1, dtype=np.int64) * length,
        ends - begins,
        pieces,
        np.zeros(count, np.int64),
    )
    whole = bool(
        (begins < ends).all()
        and (np.diff(row) >= 0).all()
        and ((ends - 1) // length == row).all()
        and np.array_equal(_begins(rows, length), begins)
    )
    if not whole:
        raise DataError(
            f"{_NAME}: pieces of rows {first} to {first + count - 1}: expected one behind another, each "
            "inside of a row; the file is damaged, make it again"
        )
    return rows


def require_ends(rows: Rows, last: I64, dataset: Dataset, *, first: int) -> None:
    """Raise a DataError where EOS stands elsewhere than at the end of each piece.

    Args:
        rows: a batch.
        last: int64[pieces], place of each piece's last id in the batch.
        dataset: whose EOS it is.
        first: number of the batch's first row.
    """
    found = np.flatnonzero(rows.ids == dataset.eos)
    if np.array_equal(found, last):
        return
    place = int(np.setxor1d(found, last)[0])
    row = int(np.searchsorted(rows.offsets, place, side="right")) - 1
    where = f"row {first + row} of the shard, place {place - int(rows.offsets[row])}"
    if rows.ids[place] == dataset.eos:
        raise DataError(
            f"{where}: expected EOS ({dataset.eos}) at the end of documents alone, got one inside; "
            "leave such documents out, or let control strings be text"
        )
    raise DataError(
        f"{where}: expected EOS ({dataset.eos}) at the end of a document or a cut, got "
        f"{int(rows.ids[place])}; report this, with the recipe"
    )


def require_mask(mask: bytes, rows: Rows, begins: I64, *, at: int) -> None:
    """Raise a DataError where a mask isn't 1 in pieces and 0 outside."""
    edges = np.zeros(len(rows.ids) + 1, np.int8)
    edges[begins] += 1
    edges[begins + rows.lengths] -= 1
    if np.cumsum(edges[:-1], dtype=np.int8).tobytes() != mask:
        raise DataError(
            f".mask, bytes from {at} on: expected 1 in documents and 0 in filler, got something else; "
            "the file is damaged, make it again"
        )
