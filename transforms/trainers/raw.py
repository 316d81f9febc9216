"""Files of ids one after another, of one type, little-endian: read some at a time."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from transforms.errors import DataError
from transforms.kernels.packing.rows import Rows
from transforms.trainers.contract import Dataset

READ_IDS = 1 << 18
"""Ids read at a time, a row that is longer aside."""


def size_of(file: BinaryIO) -> int:
    """Return a file's size; it stands at its beginning after."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    return size


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Read as many bytes as asked, fewer only at the file's end."""
    parts, missing = [], size
    while missing:
        part = file.read(missing)
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_ids(
    file: BinaryIO, *, count: int, dtype: npt.DTypeLike, dataset: Dataset, at_a_time: int = READ_IDS
) -> Iterator[npt.NDArray[Any]]:
    """Yield ids in the dataset's type.

    Args:
        file: stands at the first.
        count: how many.
        dtype: of the file.
        dataset: how many ids there can be.
        at_a_time: how many, but for the last ones.

    Raises:
        DataError: the file ends early, or an id isn't one of the dataset's.
    """
    kind = np.dtype(dtype).newbyteorder("<")
    for begin in range(0, count, at_a_time):
        size = min(at_a_time, count - begin)
        data = read_exactly(file, size * kind.itemsize)
        if len(data) != size * kind.itemsize:
            raise DataError(
                f"expected {count:,} ids of {kind.itemsize} bytes, the file ends inside id "
                f"{begin + len(data) // kind.itemsize}: it is truncated; fetch or make it again"
            )
        yield known_ids(np.frombuffer(data, kind), dataset=dataset, first=begin)


def known_ids(ids: npt.NDArray[Any], *, dataset: Dataset, first: int) -> npt.NDArray[Any]:
    """Return ids of a file in the dataset's type.

    Args:
        ids: of any type of integers.
        dataset: how many ids there can be.
        first: place of the first in the file.

    Raises:
        DataError: one isn't one of the dataset's.
    """
    if len(ids) and (int(ids.max()) >= dataset.ids or int(ids.min()) < 0):
        place = int(np.argmax((ids >= dataset.ids) | (ids < 0)))
        raise DataError(
            f"id {first + place} of the file: expected one from 0 to {dataset.ids - 1}, got "
            f"{int(ids[place])}: the file is damaged, or belongs to another tokenizer; make it "
            "again"
        )
    return ids.astype(dataset.ids_type, copy=False)


def as_rows(ids: npt.NDArray[Any], length: int | None) -> Rows:
    """Return ids as rows of a length, the last of what is left, each of one piece; None for one row."""
    ends = np.arange(0, len(ids), length or max(len(ids), 1), dtype=np.int64)
    offsets = np.append(ends, len(ids))
    each = np.arange(len(offsets), dtype=np.int64)
    return Rows(ids, offsets, np.diff(offsets), each, np.zeros(len(offsets) - 1, np.int64))
