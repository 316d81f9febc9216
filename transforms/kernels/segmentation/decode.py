"""From a text's begin to its end: the best path to each position, the first of equals.

What its kernels take and do is said in ``forward``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, loop, part
from transforms.kernels.segmentation.lattice import (
    BLOCK,
    ONE,
    THREE,
    TWO,
    UNKNOWN,
    ZERO,
    count_of,
    ends_character,
    is_single,
    length_of,
    look_up,
    put,
)

# sentencepiece 0.2.3 lets scores begin anew at 0 where one is beyond this (unigram_model.cc,
# EncodeOptimized), which moves the roundings of all later ones
_RESET = np.float32(100000.0)


@loop
def best(t: Any, text: Any, lattice: Any, heads: Any, first_head: Any, stretches: Any) -> None:
    """Fill positions with the best path to each, in float64, as bytepiece does.

    ``scale``, of no other use here, says where the list begins: ``nbest`` looks at all of it.
    """
    entries = t.entries
    for i in range(np.uint64(stretches.size)):
        stretch = stretches[i]
        begin, stop, base = stretch.begin, stretch.stop, stretch.base
        end_of_record = stretch.end
        start = stretch.character
        for before in range(begin, stop):
            end = before + ONE
            at = end - base
            first, facts = look_up(entries, heads, before - first_head)
            last, j = first + count_of(facts), first
            chosen: Any = ZERO
            value = -np.inf
            while first != ZERO:
                new, entry = best_of(score, entries, lattice, j, at)
                value, chosen = (new, entry) if new > value else (value, chosen)
                j += BLOCK
                if j >= last:
                    break
            if t.characters and ends_character(text, start, end, end_of_record):
                if not is_single(facts):
                    new = lattice[start - base].value + t.unknown_log_prob
                    if new > value:
                        value, chosen = new, np.uint64(UNKNOWN)
                start = end
            put(lattice, at, value, chosen, first)
        stretch.character = start


@loop
def best_float32(
    t: Any, text: Any, lattice: Any, heads: Any, first_head: Any, stretches: Any
) -> None:
    """Fill positions with the best path to each, in float32, as sentencepiece does.

    Where scores begin anew, ``scale`` is 1, ``value`` what was subtracted, and the score 0.
    """
    entries = t.entries
    limit = np.uint64(t.longest)
    for i in range(np.uint64(stretches.size)):
        stretch = stretches[i]
        begin, stop, base = stretch.begin, stretch.stop, stretch.base
        origin, end_of_record = stretch.start, stretch.end
        start = stretch.character
        reset = stretch.reset
        for before in range(begin, stop):
            end = before + ONE
            at = end - base
            first, facts = look_up(entries, heads, before - first_head)
            chosen: Any = np.uint64(0)
            value = np.float32(-np.inf)
            if end - reset <= limit:
                value, chosen = _best_across(t, first, lattice, at, min(limit, end - origin))
            else:
                last, j = first + count_of(facts), first
                while first != ZERO:
                    new, entry = best_of(score_float32, entries, lattice, j, at)
                    value, chosen = (new, entry) if new > value else (value, chosen)
                    j += BLOCK
                    if j >= last:
                        break
            if t.characters and ends_character(text, start, end, end_of_record):
                if not is_single(facts):
                    before_it = np.float32(lattice[start - base].value)
                    if lattice[start - base].scale:
                        before_it = np.float32(0.0)
                    new = np.float32(before_it + np.float32(t.unknown_log_prob))
                    if new > value:
                        value, chosen = new, np.uint64(UNKNOWN)
                start = end
            put(lattice, at, value, chosen, 0)
            if abs(value) > _RESET and value > -np.inf and end < end_of_record:
                lattice[at].scale = 1
                reset = end
        stretch.character, stretch.reset = start, reset


@part
def _best_across(t: Any, first: Any, lattice: Any, at: Any, reach: Any) -> Any:
    """Return the best candidate's score and entry, where scores began anew in reach of a piece.

    What was the best so far is moved by each beginning before it is compared with later candidates:
    sentencepiece goes through starts, not ends, and moves what is under way.
    """
    entries = t.entries
    chosen: Any = np.uint64(0)
    value = np.float32(-np.inf)
    moved = at - reach
    for j in range(first, first + count_of(entries[first].facts)):
        before = at - length_of(entries[j].facts)
        while moved < before:
            moved += ONE
            if lattice[moved].scale:
                value = np.float32(value - np.float32(lattice[moved].value))
        reached = np.float32(lattice[before].value)
        if lattice[before].scale:
            reached = np.float32(0.0)
        new = np.float32(reached + np.float32(entries[j].weight))
        if new > value:
            value, chosen = new, j
    while moved < at - ONE:
        moved += ONE
        if lattice[moved].scale:
            value = np.float32(value - np.float32(lattice[moved].value))
    return value, chosen


@inlined
def best_of(score: Any, entries: Any, lattice: Any, entry: Any, at: Any) -> Any:
    """Return the best of the scores of a block and its entry, the first of equals."""
    score0 = score(entries, lattice, entry, at)
    score1 = score(entries, lattice, entry + ONE, at)
    score2 = score(entries, lattice, entry + TWO, at)
    score3 = score(entries, lattice, entry + THREE, at)
    left, first = (score1, entry + ONE) if score1 > score0 else (score0, entry)
    right, second = (score3, entry + THREE) if score3 > score2 else (score2, entry + TWO)
    return (right, second) if right > left else (left, first)


@inlined
def score(entries: Any, lattice: Any, entry: Any, at: Any) -> Any:
    """Return the score of what leads to a position by an entry; -inf by one that only fills up."""
    return lattice[at - length_of(entries[entry].facts)].value + entries[entry].weight


@inlined
def score_float32(entries: Any, lattice: Any, entry: Any, at: Any) -> Any:
    """Do what ``score`` does in float32."""
    before = np.float32(lattice[at - length_of(entries[entry].facts)].value)
    return np.float32(before + np.float32(entries[entry].weight))
