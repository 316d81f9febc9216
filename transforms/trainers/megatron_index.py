"""The ``.idx`` of Megatron's indexed dataset: written and read some sequences at a time.

Little-endian: MMIDIDX and two zeros; u64 version 1; u8 code of the ids' type; u64 sequences S; u64
boundaries D, one more than documents; i32[S] lengths in ids; i64[S] byte offsets into the ``.bin``;
i64[D] boundaries of documents as sequence numbers, from 0 to S. So it can't be begun before all lengths
are known, which are walked four times. Source: NVIDIA/Megatron-LM,
megatron/core/datasets/indexed_dataset.py (``_IndexWriter``, ``_IndexReader``, ``DType``).
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from transforms.errors import DataError
from transforms.kernels.arrays import I64
from transforms.storage import files as storage
from transforms.trainers import raw

_MAGIC, _VERSION = b"MMIDIDX\x00\x00", 1
_HEAD = struct.Struct("<9sQBQQ")
CODES = {np.dtype(np.uint16): 8, np.dtype(np.int32): 4}
"""The types that we write, and what the index calls them."""
LONGEST = 2**31 - 1
"""Ids of a sequence, at most: lengths are i32. A longer document is several sequences."""
MOST = 2**31 - 1
"""Sequences of a prefix, at most: its readers number them by i32."""
_CHUNK = 1 << 17  # sequences at a time
_SPOOL = 4 << 20  # bytes of lengths in memory, before they go to a temporary file


class Lengths(Protocol):
    """The documents' lengths, in order, as often as they are asked for."""

    def __iter__(self) -> Iterator[I64]:
        """Yield int64[n], each at least 1, some at a time."""


class SpooledLengths:
    """Lengths that come once and are walked several times: beyond a million they lie in a file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(_SPOOL)  # noqa: SIM115  # close() closes it

    def add(self, lengths: I64) -> None:
        """Take more of them: int64[n]."""
        with storage.disk_full_is_ours(tempfile.gettempdir()):
            self._file.write(np.ascontiguousarray(lengths, np.int64).tobytes())

    def __iter__(self) -> Iterator[I64]:
        self._file.seek(0)
        while data := self._file.read(_CHUNK * 8):
            yield np.frombuffer(data, np.int64)

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()

    __del__ = close  # also where writing ends in an error


class EqualLengths:
    """Of so many rows, all of one length."""

    def __init__(self, count: int, length: int) -> None:
        self._count, self._length = count, length

    def __iter__(self) -> Iterator[I64]:
        for begin in range(0, self._count, _CHUNK):
            yield np.full(min(_CHUNK, self._count - begin), self._length, np.int64)


class Counts(NamedTuple):
    """What an index counts: sequences, and boundaries of documents, one more than there are."""

    sequences: int
    boundaries: int


def counts_of(size: int, *, documents: int) -> Counts:
    """Return what an index of so many bytes counts.

    >>> counts_of(34 + 12 * 3 + 8 * 3, documents=2)
    Counts(sequences=3, boundaries=3)
    """
    boundaries = documents + 1
    return Counts((size - _HEAD.size - 8 * boundaries) // 12, boundaries)


def write_index(file: BinaryIO, lengths: Lengths, dtype: npt.DTypeLike) -> Counts:
    """Write an index; memory doesn't grow with the lengths.

    Args:
        file: open for writing from its beginning; it need not seek.
        lengths: of the documents, in ids.
        dtype: of the ids, one of ``CODES``.

    Raises:
        DataError: more sequences than its readers number.
    """
    kind = np.dtype(dtype)
    sequences = documents = 0
    for some in lengths:
        sequences += int(_sequences(some).sum())
        documents += len(some)
    if sequences > MOST:
        raise DataError(
            f"expected at most {MOST:,} sequences in a file, the most that Megatron can number, "
            f"got {sequences:,}; pass a larger --num_shards or a smaller --shard_size"
        )
    file.write(_HEAD.pack(_MAGIC, _VERSION, CODES[kind], sequences, documents + 1))
    for some in lengths:
        _put(file, _cut(some), "<i4")
    offset = 0
    for some in lengths:
        ends = offset + np.cumsum(_cut(some)) * kind.itemsize
        _put(file, np.concatenate([[offset], ends[:-1]]), "<i8")
        offset = int(ends[-1])
    _put(file, np.zeros(1, np.int64), "<i8")
    boundary = 0
    for some in lengths:
        ends = boundary + np.cumsum(_sequences(some))
        _put(file, ends, "<i8")
        boundary = int(ends[-1])
    return Counts(sequences, documents + 1)


def _sequences(lengths: I64) -> I64:
    """Return how many sequences each document is."""
    return -(-lengths // LONGEST)


def _cut(lengths: I64) -> I64:
    """Return the lengths of the sequences: whole ones, then what is left of a document."""
    counts = _sequences(lengths)
    if not (counts > 1).any():
        return lengths
    cut = np.full(int(counts.sum()), LONGEST, np.int64)
    cut[np.cumsum(counts) - 1] = lengths - (counts - 1) * LONGEST
    return cut


def _put(file: BinaryIO, values: npt.NDArray[Any], dtype: str) -> None:
    file.write(np.ascontiguousarray(values, dtype).data.cast("B"))


class Index:
    """An index that is read: what it counts, and the documents' lengths, some at a time.

    Args:
        file: open for reading, seekable.
        dtype: of the ids, as it has to say.

    Raises:
        DataError: it isn't an index, not of such ids, or not of the size that it says.
    """

    def __init__(self, file: BinaryIO, dtype: npt.DTypeLike) -> None:
        self._file, self._dtype = file, np.dtype(dtype)
        size = raw.size_of(file)
        head = raw.read_exactly(file, _HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(_MAGIC):
            raise DataError(
                f"expected an index that begins {_MAGIC!r}, got {head[:9]!r}: the file is "
                "damaged, or isn't a Megatron .idx; fetch or make it again"
            )
        _, version, code, sequences, boundaries = _HEAD.unpack(head)
        if (version, code) != (_VERSION, CODES[self._dtype]):
            raise DataError(
                f"expected an index of version {_VERSION} and type {CODES[self._dtype]} "
                f"({self._dtype.name}), got version {version} and type {code}: it was written "
                "for another vocabulary, or is damaged; make it again"
            )
        expected = _HEAD.size + 12 * sequences + 8 * boundaries
        if size != expected or not 1 <= boundaries <= sequences + 1:
            raise DataError(
                f"expected {expected:,} bytes of {sequences:,} sequences and {boundaries:,} "
                f"boundaries of documents, as the index says, got {size:,}: the file is "
                "truncated or damaged; fetch or make it again"
            )
        self.counts = Counts(sequences, boundaries)

    def lengths(self) -> Iterator[I64]:
        """Yield the documents' lengths in ids, some at a time.

        Raises:
            DataError: the three arrays don't agree, or a sequence or document is empty.
        """
        sequences, count = self.counts
        boundaries = self._array(_HEAD.size + 12 * sequences, count, "<i8")
        ahead = next(boundaries)  # boundaries that haven't been come to
        if ahead[0] != 0:
            raise _wrong(f"the first document begins at sequence {int(ahead[0])}, not 0")
        ahead = ahead[1:]
        offsets = self._array(_HEAD.size + 4 * sequences, sequences, "<i8")
        seen = place = boundary = told = 0  # sequences, their ids; of them in whole documents
        for each in self._array(_HEAD.size, sequences, "<i4"):
            if int(each.min()) < 1:
                at = seen + int(np.argmax(each < 1))
                raise _wrong(f"sequence {at} has {int(each.min())} ids")
            ends = place + np.cumsum(each)
            begins = np.concatenate([[place], ends[:-1]]) * self._dtype.itemsize
            found = next(offsets)
            if not np.array_equal(found, begins):
                at = int(np.argmax(found != begins))
                raise _wrong(f"sequence {seen + at} begins at byte {found[at]}, not {begins[at]}")
            last = seen + len(each)
            while not len(ahead) or ahead[-1] <= last:
                if (more := next(boundaries, None)) is None:
                    break
                ahead = np.concatenate([ahead, more])
            if (np.diff(ahead, prepend=boundary) < 1).any():
                raise _wrong(f"the documents' boundaries don't rise after sequence {boundary}")
            within = int(np.searchsorted(ahead, last, side="right"))
            if within:
                closed = ends[ahead[:within] - seen - 1]
                yield np.diff(closed, prepend=told)
                told, boundary = int(closed[-1]), int(ahead[within - 1])
            ahead, seen, place = ahead[within:], last, int(ends[-1])
        if boundary != sequences or len(ahead) or next(boundaries, None) is not None:
            raise _wrong(f"the last document doesn't end with sequence {sequences}")

    def document(self, number: int) -> tuple[int, int]:
        """Return at which byte of the ``.bin`` a document begins, and how many ids it has.

        Raises:
            DataError: there is none of this number, or the index doesn't say.
        """
        sequences, count = self.counts
        if not 0 <= number < count - 1:
            raise DataError(f"expected a document {number}, the index has only {count - 1:,}")
        boundaries = _HEAD.size + 12 * sequences + 8 * number
        [(begin, end)] = self._array(boundaries, 2, "<i8")
        if not 0 <= begin < end <= sequences:
            raise _wrong(f"document {number} consists of sequences {begin} to {end}")
        [(place,)] = self._array(_HEAD.size + 4 * sequences + 8 * int(begin), 1, "<i8")
        lengths = self._array(_HEAD.size + 4 * int(begin), int(end - begin), "<i4")
        total = sum(int(some.sum()) for some in lengths)
        if place < 0 or total < 1:
            raise _wrong(f"document {number} begins at byte {place} and has {total:,} ids")
        return int(place), total

    def _array(self, offset: int, count: int, dtype: str) -> Iterator[I64]:
        """Yield an array of the file, some of it at a time; others may be read meanwhile."""
        width = np.dtype(dtype).itemsize
        for begin in range(0, count, _CHUNK):
            size = min(_CHUNK, count - begin) * width
            self._file.seek(offset + begin * width)
            data = raw.read_exactly(self._file, size)
            if len(data) != size:
                raise _wrong(f"it ends inside its array at byte {offset}")
            yield np.frombuffer(data, dtype).astype(np.int64)


def _wrong(what: str) -> DataError:
    return DataError(
        f"expected an index whose arrays agree: {what}: the .idx is damaged; fetch or make it again"
    )
