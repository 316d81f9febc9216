"""How many documents make so many rows, and hardly ever fewer; so many are laid down."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from transforms.kernels.arrays import I64
from transforms.kernels.packing.rows import Packing

_SIGMAS = 6  # deviations that are left room for


class Filling(NamedTuple):
    """What documents give to rows; adds up.

    Attributes:
        documents: how many.
        total, squares: sum of ``fillings_of`` them, and of their squares.
    """

    documents: int = 0
    total: int = 0
    squares: int = 0

    def __add__(self, other: Filling) -> Filling:  # type: ignore[override]
        return Filling(*(a + b for a, b in zip(self, other, strict=True)))

    @classmethod
    def of(cls, lengths: I64, packing: Packing) -> Filling:
        """Count documents with so many ids each, without special ones."""
        found = fillings_of(lengths, packing)
        squares = int(np.square(found.astype(np.float64)).sum())
        return cls(len(lengths), int(found.sum()), squares)


def fillings_of(lengths: I64, packing: Packing) -> I64:
    """Return int64[n], what each document gives: ids of its own in rows where these are filled up with
    several (``concat``, ``best_fit``), else rows.

    Args:
        lengths: int64[n], ids of each, without special ones.
        packing: how.

    >>> fillings_of(np.array([0, 3, 4, 9]), Packing(kind="pad", length=4)).tolist()
    [0, 1, 1, 3]
    >>> fillings_of(np.array([0, 3, 4, 9]), Packing(kind="best_fit", length=4, long="drop")).tolist()
    [0, 3, 4, 0]
    """
    if packing.kind == "none":
        return np.ones(len(lengths), np.int64)
    joined = packing.is_joined
    streams = lengths + packing.special
    cut = packing.most - packing.end_at_cuts
    rows = np.maximum(-((packing.most - streams) // cut), 0) + 1
    found = lengths.copy() if joined else np.where(lengths == 0, 0, rows)
    if packing.kind == "concat":
        return found
    long = streams > packing.most
    if packing.long == "drop":
        found[long] = 0
    if packing.long == "truncate":
        found[long] = cut - (packing.begin is not None) if joined else 1
    return found


def documents_for(
    rows: int, packing: Packing, drawn: Iterable[tuple[float, Filling]]
) -> int | None:
    """Return how many documents hardly ever make fewer rows; None where they make none at all.

    By the mean of what they give, with six deviations of draws, and of the mean where it is taken of a
    sample; that is then half of it at least.

    Args:
        rows: how many are asked for.
        packing: how.
        drawn: of each source, which share of the documents it gives, and what some of them give.
    """
    mean = square = 0.0
    for share, some in drawn:
        if share and some.total:
            own, spread = some.total / some.documents, some.squares / some.documents
            error = _SIGMAS * math.sqrt(spread / some.documents)
            mean += share * max(own - error, own / 2)
            square += share * spread
    if not mean:
        return None
    wanted = rows * (packing.most if packing.is_joined else 1)
    # n * mean - sigmas * sqrt(n * square) = wanted
    root = _SIGMAS * math.sqrt(square)
    return math.ceil(((root + math.sqrt(root**2 + 4 * mean * wanted)) / (2 * mean)) ** 2)
