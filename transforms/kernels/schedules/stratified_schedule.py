"""The stratified schedule: every prefix stays close to every source's share, by closed forms.

Weights are the leaves of a Huffman tree. Of the first n arrivals at an inner node, its lighter
child gets ``floor(n * p + 1/2)`` and the heavier one the others, with p the lighter one's ratio as
a multiple of 2**-64. So what a source gets of the first N positions is a closed form that grows by
0 or 1 with N. Nothing is random here: the schedule is a function of the
weights alone, and of equal weights every seed and epoch has the same (what stands at a rank is
shuffled all the same).

**How close.** Let a leaf of depth d have ancestors of weights W_0 = 1 (the root), W_1, ..., and
W_d = w its own. Step k rounds: what node k gets of its parent's arrivals is off by at most 1/2.
That error is passed down in the ratio w / W_k, so the source's count of the first N positions is
off from N * w by at most

    1/2 * (w / W_1 + w / W_2 + ... + w / W_d)

With 2 sources d = 1, and it is 1/2. With 3 sources d <= 2, and it is at most 1/2 * (1 + 1) = 1.
In general, Huffman's algorithm always joins the two lightest nodes, so when node k and its sibling
were joined, the sibling of their parent either was there and not lighter than either, or was made
later and is not lighter than the two together. So W_(k-2) = W_(k-1) + sibling >= W_(k-1) + W_k. The
weights up the path grow at least like Fibonacci's numbers: W_d = w, W_(d-1) >= w, W_(d-2) >= 2 w,
then 3 w, 5 w, 8 w, ... The sum is at most 1 + 1/1 + 1/2 + 1/3 + 1/5 + ... = 3.35989 (the sum of the
reciprocals of Fibonacci's numbers), and the bound **1.67995**.

Ratios are rounded to 2**-64 (the root's is exact), which adds up to N * 2**-65 a step in the same
way, less than N * 2**-63 in all. At N = 2**40 that is 2**-23 of a record.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U16, U64
from transforms.kernels.schedules.schedule import Schedule, check_sources
from transforms.kernels.schedules.weights import WHOLE, check_scaled

MOST_POSITIONS = 2**60
"""Products of positions and ratios stay exact, and the bound below 2, up to here."""

_HALF = 2**63
_PIECE = 2**18  # positions placed at once: more would leave the cache, fewer cost more calls
_RAMP = np.arange(_PIECE, dtype=np.uint64)


class StratifiedSchedule(Schedule):
    """Sources as evenly as may be: see the module for the bound and its proof.

    Args:
        weights: integers that sum to 2**64, from ``weights.scale``; zero is never drawn.
    """

    length = None

    def __init__(self, weights: Sequence[int]) -> None:
        check_scaled(weights)
        self.weights = tuple(weights)
        self.sources = len(weights)
        check_sources(self.sources)
        self._tree = _huffman(weights)

    @property
    def counted_to(self) -> int:
        return MOST_POSITIONS

    def sources_of(self, begin: int, end: int) -> U16:
        out = np.empty(end - begin, np.uint16)
        for at in range(0, end - begin, _PIECE):
            piece = out[at : at + _PIECE]
            _fill(piece, self._tree, first=begin + at, places=_RAMP[: len(piece)].view(np.int64))
        return out

    def counts_before(self, position: int) -> I64:
        if not 0 <= position <= MOST_POSITIONS:
            raise IndexError(f"expected a position from 0 to {MOST_POSITIONS}, got {position}")
        out = np.zeros(self.sources, np.int64)
        waiting: list[tuple[_Tree, int]] = [(self._tree, position)]
        while waiting:
            tree, count = waiting.pop()
            if isinstance(tree, int):
                out[tree] = count
            else:
                light = tree.to_light(count)
                waiting += [(tree.light, light), (tree.heavy, count - light)]
        return out


class _Fork(NamedTuple):
    """An inner node."""

    light: _Tree
    heavy: _Tree
    ratio: int
    """The share of the lighter child, times 2**64: from 1 to 2**63."""

    def to_light(self, count: int) -> int:
        """How many of the first ``count`` arrivals go to the lighter child."""
        return (count * self.ratio + _HALF) >> 64


_Tree: TypeAlias = int | _Fork


def _huffman(weights: Sequence[int]) -> _Tree:
    """Join the two lightest until one is left; of equal ones those that were there first."""
    made: list[_Tree] = list(range(len(weights)))
    heap = [(weight, number) for number, weight in enumerate(weights) if weight]
    heapq.heapify(heap)
    while len(heap) > 1:
        (light, first), (heavy, second) = heapq.heappop(heap), heapq.heappop(heap)
        total = light + heavy
        made.append(_Fork(made[first], made[second], ((light << 64) + total // 2) // total))
        heapq.heappush(heap, (total, len(made) - 1))
    return made[heap[0][1]]


def _fill(out: U16, tree: _Tree, *, first: int, places: I64) -> None:
    """Write the sources of consecutive arrivals at a node, ``first`` on, to their places."""
    if isinstance(tree, int):
        out[places] = tree
    elif len(places):
        to_light = _is_light(_RAMP[: len(places)], tree.ratio, first=first)
        light = tree.to_light(first)
        _fill(out, tree.light, first=light, places=places.compress(to_light))
        np.logical_not(to_light, out=to_light)
        _fill(out, tree.heavy, first=first - light, places=places.compress(to_light))


def _is_light(arrivals: U64, ratio: int, *, first: int) -> npt.NDArray[np.bool_]:
    """Which of the arrivals ``first + n`` go to the lighter child.

    Those at which ``floor(n * p + 1/2)`` is about to grow: whose fraction is 1 - p or above.
    """
    fractions = arrivals * np.uint64(ratio)
    fractions += np.uint64((first * ratio + _HALF) % WHOLE)
    return fractions >= np.uint64(WHOLE - ratio)
