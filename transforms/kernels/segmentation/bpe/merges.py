"""The merges of a BPE model as tables: which two symbols become one, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import I32, I64
from transforms.kernels.compiled import inlined, unowning

PAIR = np.dtype([("left", "u4"), ("right", "u4"), ("rank", "u4"), ("merged", "u4")], align=True)
"""Two neighbouring symbols, the rank of their merge (a lower one comes first), and what they become."""

NONE = np.uint32(2**32 - 1)
"""No symbol, or no rank."""


class Merges(NamedTuple):
    """All that a kernel needs of a BPE model. A symbol is the id of a piece."""

    pairs: Any
    """PAIR[2**k], a hash table with open addressing from even places on, most of it free: ``NONE``
    everywhere."""

    near: Any
    """uint32[65536, 2] of two bytes, or of two code points below 256: the rank of their merge, and what
    they become, ``NONE`` where they don't merge."""

    symbols: Any
    """uint32[256] by byte, or uint32[0x110000] by character: its symbol, ``NONE`` where it has none."""

    by_byte: bool
    """Whether text begins as bytes rather than as characters."""

    unknown: np.uint32
    """What stands for a character without a symbol; ``NONE`` where nothing does."""

    fused: bool
    """Whether neighbouring unknown characters become one."""

    byte_symbols: Any
    """uint32[256]: what a character without a symbol is spelled by; uint32[0]: by ``unknown``."""


def build(
    pairs: Any,
    symbols: dict[int, int],
    *,
    by_byte: bool,
    unknown: int | None = None,
    fused: bool = False,
    byte_symbols: Any = (),
) -> Merges:
    """Build the tables.

    Args:
        pairs: int64[n, 4]: left and right symbol, rank, merged symbol; of equal pairs the last counts.
        symbols: byte, or code point, to symbol.
        by_byte, unknown, fused, byte_symbols: as of ``Merges``.
    """
    rows = np.asarray(pairs, np.int64).reshape(-1, 4)
    table = np.empty(1 << max(int(3 * len(rows)).bit_length(), 2), PAIR)
    table.view(np.uint32)[:] = NONE  # not left alone: what merges with nothing is looked up too
    _fill(table, np.ascontiguousarray(rows.astype(np.uint32)))
    starts = np.full(256 if by_byte else 0x110000, NONE, np.uint32)
    starts[list(symbols)] = list(symbols.values())
    near = np.empty((65536, 2), np.uint32)
    _fill_near(table, starts, near)
    return Merges(
        pairs=table,
        near=near,
        symbols=starts,
        by_byte=by_byte,
        unknown=NONE if unknown is None else np.uint32(unknown),
        fused=fused,
        byte_symbols=np.asarray(byte_symbols, np.uint32),
    )


def pairs_of(pieces: dict[bytes, int], rank: Callable[[int], int]) -> I64:
    """Return the pairs of a model that merges any two pieces that make one: tiktoken's, SentencePiece's.

    Args:
        pieces: each piece's id.
        rank: of the piece with an id.

    Returns:
        int64[n, 4], as of ``build``.
    """
    find = pieces.get
    rows = []
    for piece, number in pieces.items():
        size = len(piece)
        if size > 1:
            first = rank(number)
            for at in range(1, size):
                left = find(piece[:at])
                if left is not None:
                    right = find(piece[at:])
                    if right is not None:
                        rows.append((left, right, first, number))
    return np.array(rows, np.int64).reshape(-1, 4)


def split_pairs(rows: I64, size: int) -> tuple[I32, Any]:
    """Return which pairs each symbol splits into.

    Args:
        rows: int64[n, 4], as of ``build``.
        size: one more than the largest symbol.

    Returns:
        int32[size + 1], uint32[n, 2]: symbol i splits into pairs[starts[i]:starts[i + 1]].
    """
    order = np.lexsort((rows[:, 1], rows[:, 0], rows[:, 3]))
    rows = rows[order]
    starts = np.searchsorted(rows[:, 3], np.arange(size + 1))
    return starts.astype(np.int32), np.ascontiguousarray(rows[:, :2].astype(np.uint32))


@inlined
def place(left: Any, right: Any) -> Any:
    """Return a pair's hash, as uint64."""
    mixed = (np.uint64(left) << np.uint64(32) | np.uint64(right)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(32)
    return (mixed * np.uint64(0xC2B2AE3D27D4EB4F)) >> np.uint64(32)


@inlined
def look_up(pairs: Any, left: Any, right: Any) -> Any:
    """Return rank and merged symbol of a pair, ``NONE`` twice where it doesn't merge.

    A pair lies at an even place or behind it, and beyond only where these two are taken: both are
    looked at without a branch, which a processor would guess wrong half of the time.
    """
    mask = np.uint64(pairs.size - 2)
    at = place(left, right) & mask
    while True:
        one, two = at, at | np.uint64(1)
        first = (pairs[one].left == left) & (pairs[one].right == right)
        second = (pairs[two].left == left) & (pairs[two].right == right)
        rank = pairs[one].rank if first else pairs[two].rank
        merged = pairs[one].merged if first else pairs[two].merged
        found = first | second
        rank, merged = (rank if found else NONE), (merged if found else NONE)
        if found | (pairs[two].left == NONE):
            return rank, merged
        at = (at + np.uint64(2)) & mask


@inlined
def token_of(text: Any, begin: Any, end: Any) -> Any:
    """Return the id that a pre-token stands for: four bytes that are a code point from 0x110000 + id on,
    by UTF-8's pattern. ``NONE`` where it is text.
    """
    if end - begin != 4 or text[begin] < 0xF4:
        return NONE
    if text[begin] == 0xF4 and text[begin + 1] < 0x90:
        return NONE
    point = (np.int64(text[begin]) & 7) << 18
    point |= (np.int64(text[begin + 1]) & 63) << 12
    point |= (np.int64(text[begin + 2]) & 63) << 6
    point |= np.int64(text[begin + 3]) & 63
    return np.uint32(point - 0x110000)


@unowning
def _fill(pairs: Any, rows: Any) -> None:
    last = np.uint64(pairs.size - 1)
    for i in range(rows.shape[0]):
        left, right = rows[i, 0], rows[i, 1]
        at = place(left, right) & (last - np.uint64(1))
        while pairs[at].left != NONE and not (pairs[at].left == left and pairs[at].right == right):
            at = (at + np.uint64(1)) & last
        pairs[at].left, pairs[at].right = left, right
        pairs[at].rank, pairs[at].merged = rows[i, 2], rows[i, 3]


@unowning
def _fill_near(pairs: Any, symbols: Any, near: Any) -> None:
    for i in range(256):
        for j in range(256):
            rank, merged = look_up(pairs, symbols[i], symbols[j])
            near[i * 256 + j, 0] = rank
            near[i * 256 + j, 1] = merged
