"""Texts to rows of hashed features, or at once to their products with weights: the compiled loops.

A bucket's count is the sum of its n-grams' signs. Counts, their squares' sums, and products with whole
weights are integers, so that the order in which n-grams are gone through has no part in them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.arrays import F64, I32, I64, U8, U32, read_only
from transforms.kernels.compiled import first_bit, inlined, unowning
from transforms.kernels.likeness.characters import characters
from transforms.kernels.likeness.murmur import code_of, hash_bytes
from transforms.kernels.likeness.room import hash_next, make_room
from transforms.kernels.likeness.spec import Kinds
from transforms.kernels.likeness.written import PADDING, write_text

_PRODUCED = 1 << 21  # features made at a time, which take 12 bytes each


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
            make_room(int(np.diff(offsets).max()), kinds),
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
                    count, at = hash_next(kind, kinds[kind], size, plain, at, table, room)
                    rounds += 1
                    product += _count_and_multiply(room.codes, count, room.counts, weights, base)
                products[i, kind] = product
                if rounds > 1:
                    squares[i, kind] = _square_all(room.counts, buckets)
                else:
                    squares[i, kind] = _square(room.codes, count, room.counts)
                base += buckets


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
    room = make_room(longest, kinds)
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
                count, at = hash_next(kind, kinds[kind], size, plain, at, table, room)
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
