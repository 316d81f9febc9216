"""OLMo-core's table of documents, ``.csv.gz``, and what is checked of a shard's three files together."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pc

from transforms.errors import DataError
from transforms.formats.codecs import BUILT_IN
from transforms.formats.members import Decoder
from transforms.kernels.arrays import I64, offsets_of
from transforms.kernels.packing.rows import Rows
from transforms.trainers.contract import Dataset

_NAME = "the table, .csv.gz"
_READ = 1 << 18  # bytes of it at a time
_NUMBERS = ("start", "end", "id", "loc")
_COLUMNS = pa.schema(
    [
        (name, pa.int64() if name in _NUMBERS else pa.string())
        for name in ("start", "end", "id", "src", "loc")
    ]
)
_TYPES = pc.ConvertOptions(
    column_types=_COLUMNS, null_values=[], strings_can_be_null=False, include_columns=_COLUMNS.names
)
_NAMES = pc.ReadOptions(column_names=_COLUMNS.names, use_threads=False)
_LINES = pc.WriteOptions(include_header=False, quoting_style="none")


def table_lines(rows: Rows, length: int, *, row: int, piece: int) -> bytes:
    """Return lines for the pieces of rows: start, end, number, nothing, row from 1.

    Args:
        rows: of ``length`` ids each.
        length: L.
        row, piece: how many stand before them.
    """
    begins = _begins(rows, length) + row * length
    count = len(begins)
    columns = [
        pa.array(begins),
        pa.array(begins + rows.lengths),
        pa.array(np.arange(piece, piece + count)),
        pa.repeat("", count),
        pa.array(np.repeat(np.arange(len(rows)), np.diff(rows.piece_offsets)) + row + 1),
    ]
    out = io.BytesIO()
    pc.write_csv(pa.RecordBatch.from_arrays(columns, schema=_COLUMNS), out, _LINES)
    return out.getvalue()


class Table:
    """The pieces of a file, read as they are needed.

    Args:
        file: stands at its beginning.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._decoder = Decoder(file, BUILT_IN["gzip"], _NAME)
        self._file = io.BufferedReader(self._decoder)
        self._rest = b""  # of a line
        self._number = 0  # of the next piece
        self._begins = self._ends = np.zeros(0, np.int64)  # read, not yet asked for
        self._ended = False

    def _read(self) -> None:
        """Read some lines."""
        data = self._file.read(_READ)
        self._ended = not data
        if self._ended and self._rest:
            raise self._damaged("its last line isn't complete")
        lines = self._rest + data
        end = lines.rfind(b"\n") + 1
        lines, self._rest = lines[:end], lines[end:]
        if not lines:
            return
        try:
            found = pc.read_csv(io.BytesIO(lines), _NAMES, convert_options=_TYPES)
        except pa.ArrowException as error:
            raise self._damaged(str(error)) from None
        numbers = found["id"].to_numpy()
        if not np.array_equal(numbers, np.arange(self._number, self._number + len(numbers))):
            raise self._damaged("pieces aren't counted one by one")
        self._number += len(numbers)
        self._begins = np.concatenate([self._begins, found["start"].to_numpy()])
        self._ends = np.concatenate([self._ends, found["end"].to_numpy()])

    def _damaged(self, why: str) -> DataError:
        return DataError(
            f"{_NAME}, after piece {self._number}: expected lines of start, end, number, nothing "
            f"and row: {why}: the file is damaged; make it again"
        )

    def until(self, end: int) -> tuple[I64, I64]:
        """Return where pieces begin and end that begin before a place, those that weren't yet."""
        while not self._ended and not (len(self._begins) and self._begins[-1] >= end):
            self._read()
        count = int(np.searchsorted(self._begins, end, side="left"))
        found = self._begins[:count], self._ends[:count]
        self._begins, self._ends = self._begins[count:], self._ends[count:]
        return found

    def require_end(self, size: int) -> None:
        """Raise a DataError where there is more."""
        while not self._ended and not len(self._begins):
            self._read()
        if len(self._begins) or self._decoder.trailing:
            raise DataError(
                f"{_NAME}: expected pieces of {size} ids, got more: the files aren't of one "
                "shard; make them again"
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
        (begins >= 0).all()
        and (begins < ends).all()
        and (ends <= len(ids)).all()
        and (np.diff(row) >= 0).all()
        and ((ends - 1) // length == row).all()
        and np.array_equal(_begins(rows, length), begins)
    )
    if not whole:
        raise DataError(
            f"{_NAME}: pieces of rows {first} to {first + count - 1}: expected each inside a "
            "row, one right after another: the file is damaged; make it again"
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
            f"{where}: expected EOS ({dataset.eos}) only at the end of documents, got one "
            "inside; leave such documents out, or pass --special_tokens=text"
        )
    raise DataError(
        f"{where}: expected EOS ({dataset.eos}) at the end of a document or a cut, got "
        f"{int(rows.ids[place])}: a bug in Dovetail; report it with the recipe"
    )


def require_mask(mask: bytes, rows: Rows, begins: I64, *, at: int) -> None:
    """Raise a DataError where a mask isn't 1 in pieces and 0 outside."""
    edges = np.zeros(len(rows.ids) + 1, np.int8)
    edges[begins] += 1
    edges[begins + rows.lengths] -= 1
    if np.cumsum(edges[:-1], dtype=np.int8).tobytes() != mask:
        raise DataError(
            f".mask, bytes from {at} on: expected 1 in documents and 0 in filler, got something "
            "else: the file is damaged; make it again"
        )
