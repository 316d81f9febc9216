"""StochasTok: tokens of a segmentation split into pairs of pieces, after any tokenizer.

The law is that of Sims et al., "StochasTok" (2025, arXiv 2506.01687), and of their
``stochastok_processor.py``. A record of n tokens takes floor(p * n) steps. Each step takes a place of
the sequence as it then is, all equally likely; where the token there splits into two pieces of the
vocabulary, it becomes one of these pairs, all equally likely; where it doesn't, the step does nothing.
So a pair's parts may be split again.

Draws 2 t and 2 t + 1 of a record are those of step t: the place, and the pair.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import I32, I64, U32, U64, read_only
from transforms.kernels.compiled import unowning
from transforms.kernels.segmentation.lattice import stride_of, uniform


class Splits(NamedTuple):
    """Into which pairs each token splits."""

    starts: I32
    """int32[size + 1]: token i splits into pairs[starts[i]:starts[i + 1]]."""

    pairs: U32
    """uint32[n, 2]."""


def split(
    splits: Splits, ids: U32, offsets: I64, keys: U64, *, proportion: float
) -> tuple[U32, I64]:
    """Split tokens at random.

    Args:
        splits: of the vocabulary; ids beyond it stay.
        ids: uint32[k], the records' tokens one after another.
        offsets: int64[r + 1].
        keys: uint64[r], of the records' draws.
        proportion: p, as the decimal that Python writes it as: of 100 tokens 0.29 are 29.

    Returns:
        ids and offsets after it.
    """
    counts = np.diff(offsets)
    part = Fraction(repr(float(proportion)))
    steps = np.array([int(n * part) for n in counts.tolist()], np.int64)
    most = int((counts + steps).max(initial=0))
    out = np.empty(int(counts.sum() + steps.sum()), np.uint32)
    new = np.zeros(len(offsets), np.int64)
    room = Room(
        tree=np.empty(int(counts.max(initial=0)) + 1, np.int64),
        tokens=np.empty(most, np.uint32),
        behind=np.empty(most, np.int64),
    )
    _split_all(
        splits,
        read_only(ids, np.uint32),
        read_only(offsets, np.int64),
        read_only(keys, np.uint64),
        steps,
        room,
        out,
        new,
    )
    return out[: new[-1]], new


class Room(NamedTuple):
    """Room for a record's tokens."""

    tree: I64
    """A Fenwick tree over the record's tokens as they were: how many each has become."""

    tokens: U32
    behind: I64
    """Which token follows in what one has become, or -1."""


@unowning
def _split_all(
    splits: Any, ids: Any, offsets: Any, keys: Any, steps: Any, room: Any, out: Any, new: Any
) -> None:
    tree, tokens, behind = room.tree, room.tokens, room.behind
    free = 0
    for i in range(keys.size):
        first = offsets[i]
        n = offsets[i + 1] - first
        for j in range(n):
            tokens[j], behind[j] = ids[first + j], -1
            tree[j + 1] = (j + 1) & -(j + 1)
        top = 1
        while 2 * top <= n:
            top *= 2
        key, stride = keys[i], stride_of(keys[i])
        count = n
        for step in range(steps[i]):
            u = uniform(key, stride, np.uint64(2 * step))
            rest = min(np.int64(u * count), count - 1)
            # the token, of those that were, in which the place lies
            owner, jump = 0, top
            while jump:
                if owner + jump <= n and tree[owner + jump] <= rest:
                    owner += jump
                    rest -= tree[owner]
                jump >>= 1
            at = np.int64(owner)
            for _ in range(rest):
                at = behind[at]
            token = tokens[at]
            if np.int64(token) + 1 >= splits.starts.size:
                continue
            begin, end = np.int64(splits.starts[token]), np.int64(splits.starts[token + 1])
            if begin == end:
                continue
            u = uniform(key, stride, np.uint64(2 * step + 1))
            pair = begin + min(np.int64(u * (end - begin)), end - begin - 1)
            tokens[at], tokens[count] = splits.pairs[pair, 0], splits.pairs[pair, 1]
            behind[count], behind[at] = behind[at], count
            count += 1
            place = np.int64(owner) + 1
            while place <= n:
                tree[place] += 1
                place += place & -place
        for j in range(n):
            at = np.int64(j)
            while at >= 0:
                out[free] = tokens[at]
                free += 1
                at = behind[at]
        new[i + 1] = free
