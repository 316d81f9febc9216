"""Texts to rows of hashed features, or at once to their products with weights: the compiled loops.

A bucket's count is the sum of its n-grams' signs. Counts, their squares' sums, and products with whole
weights are integers, so that the order in which n-grams are gone through has no part in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import F64, I32, I64, U8, U32, U64, read_only
from transforms.kernels.compiled import first_bit, inlined, unowning
from transforms.kernels.likeness.characters import characters
from transforms.kernels.likeness.ngrams import (
    AT_ONCE,
    PADDING,
    code_of,
    hash_bytes,
    hash_characters,
    hash_words,
    room_for,
    step_of,
    write_text,
)
from transforms.kernels.likeness.spec import Kinds

Bools = npt.NDArray[np.bool_]

_PRODUCED = 1 << 21  # features made at a time, which take 12 bytes each


class _Room(NamedTuple):
    """Room to work in."""

    text: U8
    """A text as n-grams are cut from it."""

    words: U8
    """The same text's words."""

    places: I64
    heads: U32
    codes: U32
    ends: I64
    state: I64
    counts: I32
    """int32[buckets]: sums of signs; all 0 between texts."""

    marks: U64
    """uint64[buckets / 64 or 1]: a bit for each bucket that a text has; all 0 between texts."""

    marked: U64
    """uint64[len(marks) / 64 or 1]: a bit for each of ``marks`` that isn't 0."""


def _room(longest: int, kinds: Kinds) -> _Room:
    most = max(kind[1] for kind in kinds)
    codes = AT_ONCE * max(kind[1] - kind[0] + 1 for kind in kinds)
    buckets = max(kind[2] for kind in kinds)
    return _Room(
        text=np.empty(room_for(longest), np.uint8),
        words=np.empty(room_for(longest), np.uint8),
        places=np.empty(AT_ONCE + most + 1, np.int64),
        heads=np.empty((4, AT_ONCE), np.uint32),
        codes=np.empty(codes, np.uint32),
        ends=np.empty((codes, 2), np.int64),
        state=np.zeros(3 + most, np.int64),
        counts=np.zeros(buckets, np.int32),
        marks=np.zeros(-(-buckets // 64), np.uint64),
        marked=np.zeros(-(-buckets // 64**2), np.uint64),
    )


def load() -> None:
    """Load what makes features and scores, or compile what wasn't yet."""
    texts, kinds = (np.zeros(1, np.uint8), np.arange(2)), ((1, 1, 1), (1, 1, 1))
    multiply_texts(*texts, kinds, np.zeros((1, 2), np.int32), np.zeros(1, np.uint8))
    lay_texts(*texts, kinds, True)
    hash_texts(*texts, 1)


def multiply_texts(
    values: U8, offsets: I64, kinds: Kinds, weights: I32, models: U8
) -> tuple[I64, I64]:
    """Multiply texts' counts by weights, without laying them down.

    Args:
        values: uint8[m], in UTF-8.
        offsets: int64[n + 1]: text i is values[offsets[i]:offsets[i + 1]].
        kinds: which n-grams.
        weights: int32[k, buckets of all kinds].
        models: uint8[n], below k: whose weights each text is multiplied by.

    Returns:
        int64[n, 2]: of n-grams of characters and of words, the product of counts and weights; and int64
        [n, 2]: the sum of the counts' squares. 0 where there are none.
    """
    count = len(offsets) - 1
    products, squares = np.zeros((count, 2), np.int64), np.zeros((count, 2), np.int64)
    if count and kinds != ((0, 0, 0),) * 2:
        _multiply(
            read_only(values),
            read_only(offsets),
            read_only(characters()),
            kinds,
            read_only(weights.reshape(-1)),
            weights.shape,
            read_only(models),
            _room(int(np.diff(offsets).max()), kinds),
            products,
            squares,
        )
    return products, squares


@unowning
def _multiply(
    values: Any,
    offsets: Any,
    table: Any,
    kinds: Any,
    weights: Any,
    shape: Any,
    models: Any,
    room: Any,
    products: Any,
    squares: Any,
) -> None:
    for model in range(shape[0]):  # one after another: a model's weights stay near
        for i in range(len(models)):
            if models[i] != model:
                continue
            size, plain = write_text(values, offsets[i], offsets[i + 1], table, room.text)
            base = model * shape[1]
            for kind in range(2):
                buckets = kinds[kind][2]
                if not buckets:
                    continue
                at, count, rounds, product = 0, 0, 0, np.int64(0)
                room.state[:] = 0
                while at < size:
                    count, at = _hash_next(kind, kinds[kind], size, plain, at, table, room)
                    rounds += 1
                    product += _count_and_multiply(room.codes, count, room.counts, weights, base)
                products[i, kind] = product
                if rounds > 1:
                    squares[i, kind] = _square_all(room.counts, buckets)
                else:
                    squares[i, kind] = _square(room.codes, count, room.counts)
                base += buckets


@inlined
def _hash_next(
    kind: Any, ngrams: Any, size: Any, plain: Any, at: Any, table: Any, room: Any
) -> Any:
    """Put the codes of a text's next n-grams into the room; return how many, and where to go on."""
    shortest, longest, buckets = ngrams
    if kind == 0:
        return hash_characters(
            room.text,
            size,
            plain,
            at,
            shortest,
            longest,
            buckets - 1,
            room.places,
            room.heads,
            room.codes,
        )
    count = hash_words(
        room.text,
        size,
        plain,
        table,
        shortest,
        longest,
        buckets - 1,
        room.state,
        room.words,
        room.ends,
        room.codes,
    )
    return count, room.state[0]


@inlined
def _count_and_multiply(codes: Any, size: Any, counts: Any, weights: Any, base: Any) -> Any:
    """Add signs to their buckets' counts; return the sum of signs times weights."""
    product = np.int64(0)
    first = np.uint64(base)
    for j in range(size):
        code = np.uint64(codes[j])
        bucket = code >> np.uint64(1)
        sign = np.int32(1 - np.int32((code & np.uint64(1)) << np.uint64(1)))
        counts[bucket] += sign
        product += np.int64(sign) * np.int64(weights[first + bucket])
    return product


@inlined
def _square(codes: Any, size: Any, counts: Any) -> Any:
    """Return the sum of the squares of counts, which are 0 again."""
    total = np.int64(0)
    for j in range(size):
        bucket = np.uint64(codes[j]) >> np.uint64(1)
        count = np.int64(counts[bucket])
        counts[bucket] = 0
        total += count * count
    return total


@inlined
def _square_all(counts: Any, buckets: Any) -> Any:
    total = np.int64(0)
    for bucket in range(buckets):
        count = np.int64(counts[bucket])
        total += count * count
        counts[bucket] = 0
    return total


def lay_texts(values: U8, offsets: I64, kinds: Kinds, normed: bool) -> tuple[I64, I32, F64]:
    """Return texts' counts as the rows of a CSR matrix: int64[n + 1], int32[m], float64[m].

    The features of words stand behind those of characters. Buckets whose n-grams' signs cancel out are
    there, too, with 0.

    Args:
        values: uint8[...], in UTF-8.
        offsets: int64[n + 1]: text i is values[offsets[i]:offsets[i + 1]].
        kinds: which n-grams.
        normed: whether each kind's counts are divided by the root of their squares' sum.
    """
    count = len(offsets) - 1
    indptr = np.zeros(count + 1, np.int64)
    if not count or kinds == ((0, 0, 0),) * 2:
        return indptr, np.zeros(0, np.int32), np.zeros(0)
    longest = int(np.diff(offsets).max())
    room = _room(longest, kinds)
    most = sum(
        min((last - first + 1) * 2 * (longest + 1), buckets) for first, last, buckets in kinds
    )
    indices, data = np.empty(max(most, _PRODUCED), np.int32), np.empty(max(most, _PRODUCED))
    made: list[tuple[I32, F64]] = []
    done = 0
    while done < count:
        before = done
        done = _lay(
            read_only(values),
            read_only(offsets),
            read_only(characters()),
            kinds,
            normed,
            room,
            most,
            done,
            indptr,
            indices,
            data,
        )
        size = int(indptr[done] - indptr[before])
        made.append((indices[:size].copy(), data[:size].copy()))
    return (
        indptr,
        np.concatenate([indices for indices, _ in made]),
        np.concatenate([data for _, data in made]),
    )


@unowning
def _lay(
    values: Any,
    offsets: Any,
    table: Any,
    kinds: Any,
    normed: Any,
    room: Any,
    most: Any,
    first: Any,
    indptr: Any,
    indices: Any,
    data: Any,
) -> Any:
    """Lay texts from ``first`` on while there is room for ``most`` more features; return the end."""
    filled, i = 0, first
    while i < len(offsets) - 1 and filled + most <= len(data):
        size, plain = write_text(values, offsets[i], offsets[i + 1], table, room.text)
        base = 0
        for kind in range(2):
            buckets = kinds[kind][2]
            if not buckets:
                continue
            at = 0
            room.state[:] = 0
            while at < size:
                count, at = _hash_next(kind, kinds[kind], size, plain, at, table, room)
                _count(room.codes, count, room.counts, room.marks, room.marked)
            end, square = _take_counts(room, base, filled, indices, data)
            if normed and square:
                root = np.sqrt(np.float64(square))
                for j in range(filled, end):
                    data[j] /= root
            filled = end
            base += buckets
        indptr[i + 1] = indptr[first] + filled
        i += 1
    return i


@inlined
def _count(codes: Any, size: Any, counts: Any, marks: Any, marked: Any) -> Any:
    """Add signs to their buckets' counts, and mark these."""
    for j in range(size):
        code = np.uint64(codes[j])
        bucket = code >> np.uint64(1)
        counts[bucket] += np.int32(1 - np.int32((code & np.uint64(1)) << np.uint64(1)))
        mark = bucket >> np.uint64(6)
        marks[mark] |= np.uint64(1) << (bucket & np.uint64(63))
        marked[mark >> np.uint64(6)] |= np.uint64(1) << (mark & np.uint64(63))


@inlined
def _take_counts(room: Any, base: Any, filled: Any, indices: Any, data: Any) -> Any:
    """Move counts, by rising buckets, to where features are filled to; return to where they are now, and
    the sum of the squares.
    """
    total = np.int64(0)
    for outer in range(len(room.marked)):
        above = room.marked[outer]
        room.marked[outer] = 0
        while above:
            mark = 64 * outer + first_bit(above)
            above &= above - np.uint64(1)
            inner = room.marks[mark]
            room.marks[mark] = 0
            while inner:
                bucket = 64 * mark + first_bit(inner)
                inner &= inner - np.uint64(1)
                count = np.int64(room.counts[bucket])
                room.counts[bucket] = 0
                total += count * count
                indices[filled] = base + bucket
                data[filled] = count
                filled += 1
    return filled, total


def hash_texts(values: U8, offsets: I64, buckets: int) -> U32:
    """Return uint32[n]: of whole texts 2 * bucket, and 1 more where the sign is minus.

    Args:
        values: uint8[m].
        offsets: int64[n + 1]: text i is values[offsets[i]:offsets[i + 1]].
        buckets: a power of two.
    """
    codes = np.empty(len(offsets) - 1, np.uint32)
    _hash(np.concatenate([values, np.zeros(PADDING, np.uint8)]), read_only(offsets), buckets, codes)
    return codes


@unowning
def _hash(values: Any, offsets: Any, buckets: Any, codes: Any) -> None:
    for i in range(len(codes)):
        codes[i] = code_of(hash_bytes(values, offsets[i], offsets[i + 1]), np.uint32(buckets - 1))


def find_ngrams(
    values: U8, offsets: I64, kinds: Kinds, wanted: Bools
) -> Iterator[tuple[int, bytes]]:
    """Yield the buckets that are wanted with each n-gram that is hashed into them, text by text.

    Args:
        values: uint8[m], in UTF-8.
        offsets: int64[n + 1]: text i is values[offsets[i]:offsets[i + 1]].
        kinds: which n-grams.
        wanted: bool[buckets of all kinds].
    """
    if len(offsets) < 2 or not wanted.any():
        return
    room = _room(int(np.diff(offsets).max()), kinds)
    found = np.empty((1 << 12, 3), np.int64)
    for i in range(len(offsets) - 1):
        base = 0
        for kind in range(2):
            while True:
                count = _find(
                    read_only(values),
                    (offsets[i], offsets[i + 1]),
                    read_only(characters()),
                    kind,
                    kinds[kind],
                    read_only(wanted),
                    base,
                    room,
                    found,
                )
                if count <= len(found):
                    break
                found = np.empty((2 * count, 3), np.int64)
            text = room.words if kind else room.text
            for bucket, begin, end in found[:count].tolist():
                yield bucket, text[begin:end].tobytes()
            base += kinds[kind][2]


@unowning
def _find(
    values: Any,
    where: Any,
    table: Any,
    kind: Any,
    ngrams: Any,
    wanted: Any,
    base: Any,
    room: Any,
    found: Any,
) -> Any:
    """Find a text's n-grams in buckets that are wanted.

    Args:
        found: int64[r, 3]: takes the first r: the bucket, and where the n-gram begins and ends in the
            room's text, or words.

    Returns:
        How many there are.
    """
    shortest, longest, buckets = ngrams
    hits = 0
    if buckets == 0:
        return hits
    size, plain = write_text(values, where[0], where[1], table, room.text)
    mask, at = np.uint32(buckets - 1), 0
    if kind == 0:
        while at < size:
            end = at
            for n in range(1, longest + 1):
                if end >= size:
                    break
                end += step_of(room.text[end])
                if n >= shortest:
                    code = code_of(hash_bytes(room.text, at, end), mask)
                    hits = _keep(code, base, wanted, at, end, found, hits)
            at += step_of(room.text[at])
        return hits
    room.state[:] = 0
    while at < size:
        count, at = _hash_next(kind, ngrams, size, plain, at, table, room)
        for j in range(count):
            begin, end = room.ends[j, 0], room.ends[j, 1]
            hits = _keep(room.codes[j], base, wanted, begin, end, found, hits)
    return hits


@inlined
def _keep(code: Any, base: Any, wanted: Any, begin: Any, end: Any, found: Any, hits: Any) -> Any:
    bucket = base + np.int64(code >> np.uint32(1))
    if not wanted[bucket]:
        return hits
    if hits < len(found):
        found[hits, 0], found[hits, 1], found[hits, 2] = bucket, begin, end
    return hits + 1
