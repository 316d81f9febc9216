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
import numpy.typing as npt

from transforms.kernels.randomness import U64, mix

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]

_MASK64 = 2**64 - 1
_C = np.uint64(0x9FB21C651E98DF25)
_RADIX = (0x9E3779B97F4A7C15, 0xD1B54A32D192ED03)
_WORDS = 1 << 15  # of a chunk: its scratch arrays stay in a core's cache
_S32, _S64 = np.uint64(32), np.uint64(64)
_LOW = np.array([(1 << (8 * k)) - 1 for k in range(9)], np.uint64)  # keeps the k low bytes


def _powers(radix: int, count: int) -> U64:
    out = np.empty(count, np.uint64)
    power = 1
    for i in range(count):
        out[i] = power
        power = power * radix & _MASK64
    return out


_POWERS = tuple(_powers(r, _WORDS) for r in _RADIX)
_INVERSES = tuple(_powers(pow(r, -1, 2**64), _WORDS) for r in _RADIX)
_STEP = np.arange(_WORDS, dtype=np.int64)


def record_hashes(values: U8, starts: I64, ends: I64) -> tuple[U64, U64]:
    """Hash records that lie in one buffer.

    Args:
        values: uint8[size], the buffer.
        starts: int64[n], where each record begins; not decreasing.
        ends: int64[n], where it ends, ``starts <= ends <= size``; not decreasing.

    Returns:
        Two uint64[n].
    """
    lengths = ends - starts
    words = np.maximum((lengths + 7) >> 3, 1)
    upto = np.cumsum(words)
    sums = (np.empty(len(starts), np.uint64), np.empty(len(starts), np.uint64))
    begin, done = 0, 0
    while begin < len(starts):
        end = int(np.searchsorted(upto, done + _WORDS, side="right"))
        if end == begin:  # one record longer than a chunk
            for out, total in zip(
                sums, _long_sums(values, int(starts[begin]), int(ends[begin])), strict=True
            ):
                out[begin] = total
            end = begin + 1
        else:
            part = slice(begin, end)
            chunk = _chunk_sums(
                values, starts[part], lengths[part], words[part], upto[part] - words[part] - done
            )
            for out, totals in zip(sums, chunk, strict=True):
                out[part] = totals
        begin, done = end, int(upto[end - 1])
    size = lengths.astype(np.uint64)
    first, second = (mix(out ^ mix(size + np.uint64(k + 1))) for k, out in enumerate(sums))
    return first, second


class _Scratch(threading.local):
    """Arrays of one chunk, kept from call to call: fresh ones cost page faults."""

    def __init__(self) -> None:
        self.aligned = np.empty(_WORDS * 2 + 2, np.uint64)  # a record of 1 byte has a word too
        self.word = np.empty(_WORDS, np.uint64)
        self.spare = np.empty(_WORDS, np.uint64)


_scratch = _Scratch()


def _chunk_sums(values: U8, starts: I64, lengths: I64, words: I64, first: I64) -> list[U64]:
    """Sum the words of records that together have at most _WORDS of them.

    ``first`` is the place of each record's first word among the chunk's.
    """
    low = int(starts[0])
    size = int(starts[-1] + lengths[-1]) - low
    span = size // 8 + 2  # zeros past the end, read by the last word
    aligned = _scratch.aligned[:span] if span <= 2 * _WORDS else np.empty(span, np.uint64)
    aligned[-2:] = 0
    aligned.view(np.uint8)[:size] = values[low : low + size]
    at = starts - low
    total = int(first[-1] + words[-1])
    word, spare = _scratch.word[:total], _scratch.spare[:total]
    index = np.repeat((at >> 3) - first, words)
    index += _STEP[:total]
    aligned.take(index, out=word, mode="clip")
    # a record's word lies across two aligned ones, shifted by the low bits of the record's start
    right = ((at & 7) << 3).astype(np.uint64)
    shift = np.repeat(_S64 - right, words)
    last = first + words - 1
    np.left_shift(word[1:], shift[:-1], out=spare[:-1])  # by 64 numpy gives 0
    spare[last] = aligned[index[last] + 1] << (_S64 - right)
    np.subtract(_S64, shift, out=shift)
    word >>= shift
    word |= spare
    word[last] &= _LOW[lengths - ((words - 1) << 3)]
    _premix(word, spare)
    sums = []
    for powers, inverses in zip(_POWERS, _INVERSES, strict=True):
        np.multiply(word, powers[:total], out=spare)
        # powers count from the chunk's first word: take each record's own start out again
        sums.append(np.add.reduceat(spare, first) * inverses[first])
    return sums


def _premix(word: U64, spare: U64) -> None:
    word *= _C
    np.right_shift(word, _S32, out=spare)
    word ^= spare


def _long_sums(values: U8, start: int, end: int) -> list[int]:
    sums = [0, 0]
    scale = [1, 1]
    for low in range(start, end, 8 * _WORDS):
        high = min(end, low + 8 * _WORDS)
        word = np.zeros((high - low + 7) // 8, np.uint64)
        word.view(np.uint8)[: high - low] = values[low:high]
        _premix(word, np.empty_like(word))
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
        out = cls()
        for digest in digests:
            out += digest
        return out

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
