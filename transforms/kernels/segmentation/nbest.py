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

import numpy as np

from transforms.kernels.compiled import inlined, inlined_loop, loop
from transforms.kernels.elementary import exp_parts
from transforms.kernels.segmentation.lattice import (
    ONE,
    UNKNOWN,
    ZERO,
    begin_of_character,
    count_of,
    is_single,
    length_of,
    times_power,
    uniform,
)

WAY = np.dtype([("loss", "f8"), ("at", "u8"), ("parent", "i4"), ("entry", "u4")], align=True)
"""A way to differ: what it loses against the best path, where, from which path, by which entry."""

MOST_NBEST = 1024

_exp_parts = inlined(exp_parts)


@loop
def draw_path(t: Any, text: Any, lattice: Any, stretch: Any, ways: Any, alpha: Any) -> Any:
    """Draw one of the n best paths, and write it into the lattice's chosen entries.

    Args:
        t: Tables.
        text: uint8[m].
        lattice: POSITION[p], filled by ``decode.best``.
        stretch: of STRETCH, all of the record.
        ways: WAY[n], room to work in, for n paths: 1 to MOST_NBEST.
        alpha: float64, from 0.

    Returns:
        float64: the path's probability under this law.
    """
    found = _find(t, text, lattice, stretch, ways)
    total = 0.0
    for i in range(found):
        total += _weight(alpha * ways[i].loss)
    goal, value, chosen = uniform(stretch.key, stretch.stride, 0) * total, 0.0, 0
    for i in range(found):
        value += _weight(alpha * ways[i].loss)
        if value > goal:
            chosen = i
            break
    probability = _weight(alpha * ways[chosen].loss) / total
    while chosen:
        way = ways[chosen]
        lattice[way.at - stretch.base].entry = way.entry
        chosen = way.parent
    return probability


@inlined
def _weight(loss: Any) -> Any:
    if loss > 700.0:
        return 0.0
    m, k = _exp_parts(-loss)
    return times_power(m, np.int64(k))


@loop
def _find(t: Any, text: Any, lattice: Any, stretch: Any, ways: Any) -> Any:
    """Find the n best paths, best first, as ways to differ; return how many there are.

    ``ways[:found]`` are paths; from there on, up to n in all, what may follow, the least loss first.
    """
    ways[0].loss, ways[0].at, ways[0].parent, ways[0].entry = 0.0, stretch.end, 0, 0
    nbest, found, known = ways.size, np.int64(0), np.int64(1)
    while found < known and found < nbest:
        if found == nbest - 1:  # no more are wanted
            return nbest
        loss, at = ways[found].loss, np.uint64(ways[found].at)
        if found:
            at = _before(t, text, stretch, at, ways[found].entry)
        while at > stretch.start:
            here = lattice[at - stretch.base].entry
            known = _add_ways(t, text, lattice, stretch, ways, found, known, loss, at)
            at = _before(t, text, stretch, at, here)
        found += 1
    return found


@inlined
def _before(t: Any, text: Any, stretch: Any, at: Any, entry: Any) -> Any:
    if entry == UNKNOWN or entry == ZERO:  # 0: only of bytes that are no UTF-8
        return begin_of_character(text, stretch.start, at)
    return at - length_of(t.entries[np.uint64(entry)].facts)


@inlined_loop
def _add_ways(
    t: Any,
    text: Any,
    lattice: Any,
    stretch: Any,
    ways: Any,
    parent: Any,
    known: Any,
    loss: Any,
    at: Any,
) -> Any:
    """Add the ways to differ at one position that are among the n best so far."""
    nbest, here = ways.size, lattice[at - stretch.base]
    chosen, first = here.entry, np.uint64(here.scale)
    facts = t.entries[first].facts
    last = first + count_of(facts)
    for j in range(first, last if is_single(facts) or not t.characters else last + ONE):
        if j < last:
            entry, before = np.uint32(j), at - length_of(t.entries[j].facts)
            weight = t.entries[j].weight
        else:
            entry, before = UNKNOWN, begin_of_character(text, stretch.start, at)
            weight = t.unknown_log_prob
        if entry == chosen:
            continue
        score = lattice[before - stretch.base].value + weight
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
