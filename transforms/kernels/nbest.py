"""The law ``nbest``: one of the n best segmentations, drawn in proportion to P**alpha.

A path that differs from another at one position, and follows the best one before it, scores less by
what the other piece scores less there: known at once, from the best scores of ``forward.best``. So
the n best are found one after another from a list of at most n ways to differ, and each way is
followed only once it turned out to be one of the n.

Source: the law is Kudo's (2018, "Subword regularization"); the search is A* from the end with exact
scores for the rest, as in sentencepiece, with paths kept as differences (Eppstein 1998).
"""

from __future__ import annotations

from typing import Any

import numba as nb
import numpy as np

from transforms.kernels.elementary import exp_parts
from transforms.kernels.lattice import (
    UNKNOWN,
    begin_of_character,
    count_of,
    is_single,
    length_of,
    times_power,
)

WAY = np.dtype([("loss", "f8"), ("at", "i8"), ("parent", "i4"), ("entry", "u4")], align=True)
"""A way to differ: what it loses against the best path, where, from which path, by which entry."""

MOST_NBEST = 1024

_exp_parts = nb.njit(nogil=True, cache=True)(exp_parts)


@nb.njit(nogil=True, cache=True)
def draw_path(
    t: Any,
    text: Any,
    start: Any,
    end: Any,
    lattice: Any,
    base: Any,
    ways: Any,
    nbest: Any,
    alpha: Any,
    u: Any,
) -> Any:
    """Draw one of the n best paths, and write it into the lattice's chosen entries.

    Args:
        t: Tables.
        text: uint8[m].
        start: where the record begins.
        end: where it ends.
        lattice: POSITION[p], filled by ``forward.best``; position q at q - base.
        base: see lattice.
        ways: WAY[nbest], room to work in.
        nbest: how many paths, 1 to MOST_NBEST.
        alpha: float64, from 0.
        u: float64 in [0, 1), the draw.

    Returns:
        float64: the path's probability under this law.
    """
    found = _find(t, text, start, end, lattice, base, ways, nbest)
    total = 0.0
    for i in range(found):
        total += _weight(alpha * ways[i].loss)
    goal, value, chosen = u * total, 0.0, 0
    for i in range(found):
        value += _weight(alpha * ways[i].loss)
        if value > goal:
            chosen = i
            break
    probability = _weight(alpha * ways[chosen].loss) / total
    while chosen:
        way = ways[chosen]
        lattice[way.at - base].entry = way.entry
        chosen = way.parent
    return probability


@nb.njit(nogil=True, cache=True, forceinline=True)
def _weight(loss: Any) -> Any:
    if loss > 700.0:
        return 0.0
    m, k = _exp_parts(-loss)
    return times_power(m, np.int64(k))


@nb.njit(nogil=True, cache=True)
def _find(
    t: Any, text: Any, start: Any, end: Any, lattice: Any, base: Any, ways: Any, nbest: Any
) -> Any:
    """Find the n best paths, best first, as ways to differ; return how many there are.

    ``ways[:found]`` are paths; from there on, up to n in all, what may follow, the least loss first.
    """
    ways[0].loss, ways[0].at, ways[0].parent, ways[0].entry = 0.0, end, 0, 0
    found, known = 0, 1
    while found < known and found < nbest:
        if found == nbest - 1:  # no more are wanted
            return nbest
        loss, at = ways[found].loss, ways[found].at
        if found:
            at = _before(t, text, start, at, ways[found].entry)
        while at > start:
            here = lattice[at - base]
            known = _add_ways(t, text, start, lattice, base, ways, nbest, found, known, loss, at)
            at = _before(t, text, start, at, here.entry)
        found += 1
    return found


@nb.njit(nogil=True, cache=True, forceinline=True)
def _before(t: Any, text: Any, start: Any, at: Any, entry: Any) -> Any:
    if entry == UNKNOWN or entry == 0:  # 0: only of bytes that are no UTF-8
        return begin_of_character(text, at, start)
    return at - length_of(t.entries[entry].facts)


@nb.njit(nogil=True, cache=True, forceinline=True)
def _add_ways(
    t: Any,
    text: Any,
    start: Any,
    lattice: Any,
    base: Any,
    ways: Any,
    nbest: Any,
    parent: Any,
    known: Any,
    loss: Any,
    at: Any,
) -> Any:
    """Add the ways to differ at one position that are among the n best so far."""
    here = lattice[at - base]
    chosen, first = here.entry, np.int64(here.scale)
    facts = t.entries[first].facts
    count = count_of(facts)
    unknown = t.characters and not is_single(facts)
    for j in range(first, first + count + (1 if unknown else 0)):
        if j < first + count:
            entry, before = np.uint32(j), at - length_of(t.entries[j].facts)
            weight = t.entries[j].weight
        else:
            entry, before = UNKNOWN, begin_of_character(text, at, start)
            weight = t.unknown_log_prob
        if entry == chosen:
            continue
        score = lattice[before - base].value + weight
        if score == -np.inf:
            continue
        worse = loss + (here.value - score)
        if known == nbest and worse >= ways[known - 1].loss:
            continue
        i = known if known < nbest else known - 1
        while i > parent + 1 and ways[i - 1].loss > worse:
            ways[i] = ways[i - 1]
            i -= 1
        ways[i].loss, ways[i].at, ways[i].parent, ways[i].entry = worse, at, parent, entry
        known = min(known + 1, nbest)
    return known
