"""The order-independent digest that proves that nothing was lost.

Of every record two 64-bit hashes are taken and summed mod 2**64 over the records, beside their
count and bytes. A record of L bytes is read as little-endian 64-bit words w_0 … w_m, the last one
filled with zeros (no bytes at all: one word of 0). Each word is premixed,
``u = w * C mod 2**64; v = u ^ (u >> 32)``, because in a sum mod 2**64 the high bits of a word are
weak (words that differ in their top three bits could swap places unseen); then

    hash_k = mix((sum over i of v_i * R_k**i mod 2**64) ^ mix(L + k + 1))

for k in 0, 1 with odd constants R_k. The last mixer keeps the sum over records from being linear:
without it words swapped between two records would go unseen. It is not a cryptographic hash: it
finds accidents, and each shard's SHA-256 stands beside it in the manifest.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.kernels.arrays import I64, U8, U64, cuts
from transforms.kernels.randomness import mix
from transforms.kernels.records import compiling

PARTS = ("records", "bytes", "hash0", "hash1")
"""Of a digest; the first two are int64 in tables, the sums uint64."""

_MASK64 = 2**64 - 1
_C = np.uint64(0x9FB21C651E98DF25)
_RADIX = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_WORDS = 1 << 15  # of a chunk: its scratch arrays stay in a core's cache
_SLICE = 3 << 19  # bytes that are copied apart at a time
_ROWS = 1 << 16  # records at a time, which grow by 8 bytes at most
_S32 = np.uint64(32)
_FILLS = pa.array([bytes(k) for k in range(9)], pa.large_binary())
_NOTHING = pa.scalar(b"", pa.large_binary())


def _powers(radix: int) -> U64:
    steps = np.full(_WORDS, radix, np.uint64)
    steps[0] = 1
    return np.cumprod(steps)


_POWERS = tuple(map(_powers, _RADIX))
_TABLE = np.stack(_POWERS)
_INVERSES = tuple(_powers(pow(r, -1, 2**64)) for r in _RADIX)
_TERMS = np.array([int(_C) << (8 * k) & _MASK64 for k in range(8)], np.uint64)


def record_hashes(values: U8, offsets: I64, terminator: bytes = b"") -> tuple[U64, U64]:
    """Hash records that lie one after another in one buffer.

    Args:
        values: uint8[size], the buffer.
        offsets: int64[n + 1], where each record begins, and where the last one's terminator ends.
        terminator: the byte that follows each record and is not hashed, or nothing.

    Returns:
        Two uint64[n].
    """
    offsets = np.ascontiguousarray(offsets)
    loops = compiling.loops_for(int(offsets[-1] - offsets[0]))
    if loops is not None:
        found: tuple[U64, U64] = loops.record_hashes(
            np.ascontiguousarray(values), offsets, len(terminator), _C, _TABLE
        )
        return found
    sums = (np.empty(len(offsets) - 1, np.uint64), np.empty(len(offsets) - 1, np.uint64))
    for begin, end in cuts(offsets, limit=_SLICE, most=_ROWS):
        if offsets[end] - offsets[begin] > _SLICE:
            last = int(offsets[end]) - len(terminator)
            for out, total in zip(sums, _long_sums(values, int(offsets[begin]), last), strict=True):
                out[begin] = total
        else:
            part = _slice_sums(values, offsets[begin : end + 1], terminator)
            sums[0][begin:end], sums[1][begin:end] = part
    size = (np.diff(offsets) - len(terminator)).astype(np.uint64)
    first, second = (mix(out ^ mix(size + np.uint64(k + 1))) for k, out in enumerate(sums))
    return first, second


class _Scratch(threading.local):
    """Arrays of one chunk, kept from call to call: fresh ones cost page faults."""

    def __init__(self) -> None:
        self.word = np.empty(_WORDS, np.uint64)
        self.spare = np.empty(_WORDS, np.uint64)


_scratch = _Scratch()


def _slice_sums(values: U8, offsets: I64, terminator: bytes) -> tuple[U64, U64]:
    """Sum the words of records that together have _SLICE bytes at most.

    Arrow copies them apart, each filled up with zeros to whole words, so that all words lie aligned.
    Words of zeros past a record's end add nothing to its sum.
    """
    count = len(offsets) - 1
    lengths = np.diff(offsets)
    fill = -lengths & 7
    fill[lengths == 0] = 8
    records = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(values)]
    )
    padded = pc.binary_join_element_wise(records, _FILLS.take(pa.array(fill)), _NOTHING)
    _, places, content = padded.buffers()
    at = np.frombuffer(places, np.int64, count + 1) >> 3
    words = np.frombuffer(content, np.uint64, int(at[-1]))
    sums = np.empty(count, np.uint64), np.empty(count, np.uint64)
    for begin, end in cuts(at, limit=_WORDS):
        if at[end] - at[begin] > _WORDS:  # one record longer than a chunk
            stop = int(offsets[end]) - len(terminator)
            for out, total in zip(sums, _long_sums(values, int(offsets[begin]), stop), strict=True):
                out[begin] = total
        else:
            low, high = int(at[begin]), int(at[end])
            first = at[begin:end] - low
            word, spare = _scratch.word[: high - low], _scratch.spare[: high - low]
            np.multiply(words[low:high], _C, out=word)
            if terminator:  # taken out again: (w - t) * C = w * C - t * C
                bare = lengths[begin:end] - 1
                word[first + (bare >> 3)] -= _TERMS[bare & 7] * np.uint64(terminator[0])
            _shift_in(word, spare)
            for out, powers, inverses in zip(sums, _POWERS, _INVERSES, strict=True):
                np.multiply(word, powers[: high - low], out=spare)
                # powers count from the chunk's first word: take each record's own start out again
                out[begin:end] = np.add.reduceat(spare, first) * inverses[first]
    return sums


def _shift_in(word: U64, spare: U64) -> None:
    np.right_shift(word, _S32, out=spare)
    word ^= spare


def _long_sums(values: U8, start: int, end: int) -> list[int]:
    sums = [0, 0]
    scale = [1, 1]
    for low in range(start, end, 8 * _WORDS):
        high = min(end, low + 8 * _WORDS)
        word = np.zeros((high - low + 7) // 8, np.uint64)
        word.view(np.uint8)[: high - low] = values[low:high]
        word *= _C
        _shift_in(word, np.empty_like(word))
        for k in (0, 1):
            part = int((word * _POWERS[k][: len(word)]).sum(dtype=np.uint64))
            sums[k] = (sums[k] + part * scale[k]) & _MASK64
            scale[k] = scale[k] * pow(_RADIX[k], _WORDS, 2**64) & _MASK64
    return sums


@dataclass(frozen=True, slots=True)
class Digest:
    """Digest of a multiset of records; ``+`` joins two multisets.

    Attributes:
        records: how many.
        bytes: of the records themselves, without line ends.
        hash0, hash1: sums of their hashes, in [0, 2**64).
    """

    records: int = 0
    bytes: int = 0
    hash0: int = 0
    hash1: int = 0

    def __add__(self, other: Digest) -> Digest:
        return Digest(
            self.records + other.records,
            self.bytes + other.bytes,
            (self.hash0 + other.hash0) & _MASK64,
            (self.hash1 + other.hash1) & _MASK64,
        )

    def __sub__(self, other: Digest) -> Digest:
        return self + other.times(-1)

    @property
    def parts(self) -> tuple[int, int, int, int]:
        """The four numbers, as of PARTS."""
        return self.records, self.bytes, self.hash0, self.hash1

    def times(self, count: int) -> Digest:
        """Return the digest of a multiset with every record so many times."""
        return Digest(
            self.records * count,
            self.bytes * count,
            self.hash0 * count & _MASK64,
            self.hash1 * count & _MASK64,
        )

    @classmethod
    def of_hashes(cls, hash0: U64, hash1: U64, lengths: I64) -> Digest:
        """Sum what ``record_hashes`` gave for records of these lengths."""
        return cls(
            len(lengths),
            int(lengths.sum()),
            int(hash0.sum(dtype=np.uint64)),
            int(hash1.sum(dtype=np.uint64)),
        )

    @classmethod
    def total(cls, digests: Iterable[Digest]) -> Digest:
        """Join any number of digests."""
        return sum(digests, cls())

    def to_json(self) -> dict[str, Any]:
        """Return the form that stands in the manifest: counts, and the sums as 32 hex digits."""
        return {
            "records": self.records,
            "bytes": self.bytes,
            "hash": f"{self.hash0:016x}{self.hash1:016x}",
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Digest:
        """Read what ``to_json`` gave; raises ValueError or KeyError on anything else."""
        text = data["hash"]
        if len(text) != 32:
            raise ValueError(f"expected 32 hex digits, got {text!r}")
        return cls(int(data["records"]), int(data["bytes"]), int(text[:16], 16), int(text[16:], 16))
