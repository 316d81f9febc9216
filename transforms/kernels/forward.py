"""From a text's begin to its end: what is known of all paths to each position.

Each kernel takes Tables, a Record, a Part of it and the Carry, and fills the positions after the
part's bytes. Candidates for a position come longest piece first, as they do in both
reference implementations, and the unknown character last.

``total``, the law ``exact``
    the sum over all paths to a position of their pieces' weights' products (the forward filter).
``challenge``, the law ``viterbi_sampling``
    one path to each position: each candidate takes the place of the one before it with probability
    new / (new + current), which is sigmoid(alpha * (new score - current score)) without an exp.
``wide``
    both of these, with an exponent beside every value, for weights or texts beyond float64's range.
``best`` and ``best_float32``, the law ``off``
    the path of the highest score, the first of equals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from transforms.kernels.compiled import kernel
from transforms.kernels.lattice import (
    HIGH,
    LOW,
    ONE,
    UNKNOWN,
    count_of,
    difference,
    ends_character,
    is_cut,
    is_single,
    length_of,
    rescale,
    times_power,
    uniform,
)

# sentencepiece 0.2.3 lets scores begin anew at 0 where one is beyond this (unigram_model.cc,
# EncodeOptimized), which moves the roundings of all later ones
_RESET = np.float32(100000.0)


@kernel
def total(t: Any, record: Any, part: Any, carry: Any) -> Any:
    """Fill positions with sums over paths; return whether float64's range was enough."""
    entries, lattice, base = t.entries, part.lattice, part.base
    start, scale = np.uint64(carry.start[0]), carry.scale[0]
    for before in range(part.begin, part.stop):
        end = before + ONE
        at = end - base
        first = np.uint64(part.heads[before - part.first])
        facts = entries[first].facts
        value = 0.0
        for j in range(first, first + count_of(facts)):
            value += entries[j].weight * lattice[at - length_of(entries[j].facts)].value
        if t.characters and ends_character(record, start, end):
            if not is_single(facts):
                value += t.unknown_weights[end - start] * lattice[start - base].value
            start = end
        lattice[at].value = value
        lattice[at].entry = first
        lattice[at].scale = np.int32(scale)
        if not LOW <= value <= HIGH and value != 0.0:
            by, fits = rescale(lattice, at, t.longest)
            scale += by
            if not fits:
                return False
    carry.start[0], carry.scale[0] = start, scale
    return True


@kernel
def challenge(t: Any, record: Any, part: Any, carry: Any) -> Any:
    """Fill positions with one path each; return whether float64's range was enough."""
    entries, lattice, base = t.entries, part.lattice, part.base
    start, scale = np.uint64(carry.start[0]), carry.scale[0]
    drawn = np.uint64(carry.drawn[0])
    for before in range(part.begin, part.stop):
        end = before + ONE
        at = end - base
        first = np.uint64(part.heads[before - part.first])
        facts = entries[first].facts
        chosen: Any = np.uint64(0)
        value = 0.0
        for j in range(first, first + count_of(facts)):
            new = entries[j].weight * lattice[at - length_of(entries[j].facts)].value
            wins = uniform(record, drawn) * (new + value) < new
            value, chosen = (new, j) if wins else (value, chosen)
            drawn += ONE
        if t.characters and ends_character(record, start, end):
            if not is_single(facts):
                new = t.unknown_weights[end - start] * lattice[start - base].value
                if uniform(record, drawn) * (new + value) < new:
                    value, chosen = new, np.uint64(UNKNOWN)
                drawn += ONE
            start = end
        lattice[at].value = value
        lattice[at].entry = chosen
        lattice[at].scale = np.int32(scale)
        if not LOW <= value <= HIGH and value != 0.0:
            by, fits = rescale(lattice, at, t.longest)
            scale += by
            if not fits:
                return False
    carry.start[0], carry.scale[0] = start, scale
    carry.drawn[0] = drawn
    return True


@kernel
def wide(t: Any, record: Any, part: Any, carry: Any, challenging: Any) -> None:
    """Do what ``total`` or ``challenge`` does, each position with a scale of its own."""
    entries, lattice, base = t.wide, part.lattice, part.base
    start = np.uint64(carry.start[0])
    drawn = np.uint64(carry.drawn[0])
    for before in range(part.begin, part.stop):
        end = before + ONE
        at = end - base
        first = np.uint64(part.heads[before - part.first])
        facts = entries[first].facts
        last = first + count_of(facts)
        reference = lattice[at - ONE].scale
        chosen: Any = np.uint64(0)
        value = 0.0
        exponent: Any = np.int64(0)
        ended = t.characters and ends_character(record, start, end)
        for j in range(first, last + ONE if ended and not is_single(facts) else last):
            if j < last:
                back = length_of(entries[j].facts)
                new, by = entries[j].weight, np.int64(t.exponents[j])
            else:
                back = end - start
                new, by = t.unknown_wide[back], np.int64(t.unknown_exponents[back])
            new *= lattice[at - back].value
            by += difference(reference, lattice[at - back].scale)
            if new != 0.0:
                if value == 0.0:
                    exponent = by
                elif by > exponent:
                    value, exponent = times_power(value, exponent - by), by
                else:
                    new = times_power(new, by - exponent)
                if not challenging:
                    value += new
                elif uniform(record, drawn) * (new + value) < new:
                    value, chosen = new, (j if j < last else np.uint64(UNKNOWN))
            drawn += ONE
        if ended:
            start = end
        value, extra = math.frexp(value)
        exponent = exponent + extra if value != 0.0 else np.int64(0)
        lattice[at].value = value
        lattice[at].entry = chosen if challenging else first
        lattice[at].scale = np.int32(np.int64(reference) - exponent)
        carry.scale[0] -= exponent
    carry.start[0], carry.drawn[0] = start, drawn


@kernel
def best(t: Any, record: Any, part: Any, carry: Any, anew: Any) -> None:
    """Fill positions with the best path to each, in float64, as bytepiece does.

    ``anew`` says that scores begin at 0 after a cut, which changes roundings and so ties. ``scale``,
    of no other use here, says where the list begins: ``nbest`` looks at all of it.
    """
    entries, lattice, base = t.entries, part.lattice, part.base
    start = np.uint64(carry.start[0])
    for before in range(part.begin, part.stop):
        end = before + ONE
        at = end - base
        first = np.uint64(part.heads[before - part.first])
        facts = entries[first].facts
        chosen: Any = np.uint64(0)
        value = -np.inf
        for j in range(first, first + count_of(facts)):
            new = lattice[at - length_of(entries[j].facts)].value + entries[j].weight
            wins = new > value
            value, chosen = (new, j) if wins else (value, chosen)
        if t.characters and ends_character(record, start, end):
            if not is_single(facts):
                new = lattice[start - base].value + t.unknown_log_prob
                if new > value:
                    value, chosen = new, np.uint64(UNKNOWN)
            start = end
        if anew and t.cuts and value > -np.inf and is_cut(record, end):
            value = 0.0
        lattice[at].value = value
        lattice[at].entry = chosen
        lattice[at].scale = np.int32(first)
    carry.start[0] = start


@kernel
def best_float32(t: Any, record: Any, part: Any, carry: Any) -> None:
    """Fill positions with the best path to each, in float32, as sentencepiece does.

    Where scores begin anew, ``scale`` is 1, ``value`` what was subtracted, and the score 0.
    """
    entries, lattice, base = t.entries, part.lattice, part.base
    start = np.uint64(carry.start[0])
    reset, limit = np.uint64(carry.drawn[0]), np.uint64(t.longest)
    for before in range(part.begin, part.stop):
        end = before + ONE
        at = end - base
        first = np.uint64(part.heads[before - part.first])
        facts = entries[first].facts
        chosen: Any = np.uint64(0)
        value = np.float32(-np.inf)
        if end - reset <= limit:
            value, chosen = _best_across(t, first, lattice, at)
        else:
            for j in range(first, first + count_of(facts)):
                score = np.float32(lattice[at - length_of(entries[j].facts)].value)
                new = np.float32(score + np.float32(entries[j].weight))
                wins = new > value
                value, chosen = (new, j) if wins else (value, chosen)
        if t.characters and ends_character(record, start, end):
            if not is_single(facts):
                score = np.float32(lattice[start - base].value)
                if lattice[start - base].scale:
                    score = np.float32(0.0)
                new = np.float32(score + np.float32(t.unknown_log_prob))
                if new > value:
                    value, chosen = new, np.uint64(UNKNOWN)
            start = end
        lattice[at].value = value
        lattice[at].entry = chosen
        lattice[at].scale = 0
        if abs(value) > _RESET and value > -np.inf and end < record.end:
            lattice[at].scale = 1
            reset = end
    carry.start[0], carry.drawn[0] = start, reset


@kernel
def _best_across(t: Any, first: Any, lattice: Any, at: Any) -> Any:
    """Return the best candidate's score and entry, where scores began anew in reach of a piece.

    What was the best so far is moved by each beginning before it is compared with later candidates:
    sentencepiece goes through starts, not ends, and moves what is under way.
    """
    entries = t.entries
    chosen: Any = np.uint64(0)
    value = np.float32(-np.inf)
    moved = at - t.longest
    for j in range(first, first + count_of(entries[first].facts)):
        before = at - length_of(entries[j].facts)
        while moved < before:
            moved += ONE
            if lattice[moved].scale:
                value = np.float32(value - np.float32(lattice[moved].value))
        score = np.float32(lattice[before].value)
        if lattice[before].scale:
            score = np.float32(0.0)
        new = np.float32(score + np.float32(entries[j].weight))
        if new > value:
            value, chosen = new, j
    while moved < at - ONE:
        moved += ONE
        if lattice[moved].scale:
            value = np.float32(value - np.float32(lattice[moved].value))
    return value, chosen
