"""From a text's begin to its end: what is known of all paths to each position.

Each kernel takes Tables, the text, a lattice, ``heads`` (uint32[w]: where the list of the pieces
begins that end after each byte, from the byte ``first_head`` on) and STRETCH[s], and fills the
positions after the stretches' bytes. Stretches are many where records are short: to enter a
compiled function costs as much as some ten bytes. Candidates for a position come longest piece
first, as they do in both reference implementations, and the unknown character last.

``total``, the law ``exact``
    the sum over all paths to a position of their pieces' weights' products (the forward filter).
``challenge``, the law ``viterbi_sampling``
    one path to each position: each candidate takes the place of the one before it with probability
    new / (new + current), which is sigmoid(alpha * (new score - current score)) without an exp.
``wide``
    both of these, with an exponent beside every value, for weights or texts beyond float64's range.
``best`` and ``best_float32`` of ``decode``, the law ``off``
    the path of the highest score, the first of equals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, loop, part
from transforms.kernels.segmentation.decode import best, best_float32
from transforms.kernels.segmentation.lattice import (
    BLOCK,
    HIGH,
    LOW,
    ONE,
    THREE,
    TWO,
    UNKNOWN,
    ZERO,
    count_of,
    difference,
    ends_character,
    is_single,
    length_of,
    look_up,
    put,
    rescale,
    times_power,
    uniform,
)

OFF, OFF_FLOAT32, VITERBI_SAMPLING, EXACT, NBEST = range(1, 6)
"""The laws' numbers. Kernels take a law as a tuple of that length: numba knows lengths before it
compiles, and leaves out what another law would do, with all that only the other one calls."""


@inlined
def begin(lattice: Any, stretch: Any, law: Any, reach: Any) -> None:
    """Set the position where a record begins, and what is carried from there."""
    start = stretch.start
    at = start - stretch.base
    put(lattice, at, 0.0 if is_decoding(law) else 1.0, ZERO, 0)
    stretch.state, stretch.character, stretch.drawn = ZERO, start, ZERO
    stretch.reset = start - reach - ONE  # out of reach
    stretch.scale, stretch.moves, stretch.fits = 0, 0, True


@part
def fill(
    t: Any,
    text: Any,
    lattice: Any,
    heads: Any,
    first_head: Any,
    stretches: Any,
    law: Any,
    is_wide: Any,
) -> None:
    """Fill positions under a law."""
    if len(law) == OFF_FLOAT32:
        best_float32(t, text, lattice, heads, first_head, stretches)
    elif len(law) == OFF or len(law) == NBEST:
        best(t, text, lattice, heads, first_head, stretches)
    elif is_wide:
        wide(t, text, lattice, heads, first_head, stretches, len(law) == VITERBI_SAMPLING)
    elif len(law) == EXACT:
        total(t, text, lattice, heads, first_head, stretches)
    else:
        challenge(t, text, lattice, heads, first_head, stretches)


@inlined
def is_decoding(law: Any) -> Any:
    """Say whether values are scores, to be added."""
    return len(law) == OFF or len(law) == OFF_FLOAT32 or len(law) == NBEST


@inlined
def product(entries: Any, lattice: Any, entry: Any, at: Any) -> Any:
    """Return the weight of what leads to a position by an entry; 0 of one that only fills up."""
    return entries[entry].weight * lattice[at - length_of(entries[entry].facts)].value


@inlined
def sums(entries: Any, lattice: Any, entry: Any, at: Any) -> Any:
    """Return what the first one, two, three and all entries of a block add up to.

    In an order that lets the last one, for which mostly the position before is waited, come late.
    """
    one = product(entries, lattice, entry, at)
    two = one + product(entries, lattice, entry + ONE, at)
    third = product(entries, lattice, entry + TWO, at)
    return one, two, two + third, two + (third + product(entries, lattice, entry + THREE, at))


@loop
def total(t: Any, text: Any, lattice: Any, heads: Any, first_head: Any, stretches: Any) -> None:
    """Fill positions with sums over paths, as far as float64's range is enough."""
    entries = t.entries
    for i in range(np.uint64(stretches.size)):
        stretch = stretches[i]
        begin, stop, base = stretch.begin, stretch.stop, stretch.base
        origin, end_of_record = stretch.start, stretch.end
        start = stretch.character
        scale = stretch.scale
        for before in range(begin, stop):
            end = before + ONE
            at = end - base
            first, facts = look_up(entries, heads, before - first_head)
            value = 0.0
            if first != ZERO:  # inside of characters mostly nothing ends
                value = sums(entries, lattice, first, at)[3]
            j, last = first + BLOCK, first + count_of(facts)
            while j < last:
                value += sums(entries, lattice, j, at)[3]
                j += BLOCK
            if t.characters and ends_character(text, start, end, end_of_record):
                if not is_single(facts):
                    value += t.unknown_weights[end - start] * lattice[start - base].value
                start = end
            put(lattice, at, value, first, scale)
            if not LOW <= value <= HIGH and value != 0.0:
                scale += rescale(lattice, at, stretch, min(t.longest, end - origin))
                if not stretch.fits:
                    break
        stretch.character, stretch.scale = start, scale


@loop
def challenge(t: Any, text: Any, lattice: Any, heads: Any, first_head: Any, stretches: Any) -> None:
    """Fill positions with one path each, as far as float64's range is enough."""
    entries = t.entries
    for i in range(np.uint64(stretches.size)):
        stretch = stretches[i]
        begin, stop, base = stretch.begin, stretch.stop, stretch.base
        origin, end_of_record = stretch.start, stretch.end
        start = stretch.character
        scale = stretch.scale
        key, stride, drawn = stretch.key, stretch.stride, stretch.drawn
        for before in range(begin, stop):
            end = before + ONE
            at = end - base
            first, facts = look_up(entries, heads, before - first_head)
            last = first + count_of(facts)
            # the first challenge is won whatever is drawn, save by a path that isn't there
            value = product(entries, lattice, first, at)
            chosen: Any = first if value != 0.0 else ZERO
            j, index = first + ONE, drawn + ONE
            while first != ZERO:
                new = product(entries, lattice, j, at)
                wins = uniform(key, stride, index) * (new + value) < new
                value, chosen = (new, j) if wins else (value, chosen)
                j, index = j + ONE, index + ONE
                if j >= last:
                    break
                new = product(entries, lattice, j, at)
                wins = uniform(key, stride, index) * (new + value) < new
                value, chosen = (new, j) if wins else (value, chosen)
                j, index = j + ONE, index + ONE
            drawn += last - first
            if t.characters and ends_character(text, start, end, end_of_record):
                if not is_single(facts):
                    new = t.unknown_weights[end - start] * lattice[start - base].value
                    if uniform(key, stride, drawn) * (new + value) < new:
                        value, chosen = new, np.uint64(UNKNOWN)
                    drawn += ONE
                start = end
            put(lattice, at, value, chosen, scale)
            if not LOW <= value <= HIGH and value != 0.0:
                scale += rescale(lattice, at, stretch, min(t.longest, end - origin))
                if not stretch.fits:
                    break
        stretch.character, stretch.scale, stretch.drawn = start, scale, drawn


@loop
def wide(
    t: Any,
    text: Any,
    lattice: Any,
    heads: Any,
    first_head: Any,
    stretches: Any,
    challenging: Any,
) -> None:
    """Do what ``total`` or ``challenge`` does, each position with a scale of its own."""
    entries = t.wide
    for i in range(np.uint64(stretches.size)):
        stretch = stretches[i]
        begin, stop, base = stretch.begin, stretch.stop, stretch.base
        end_of_record = stretch.end
        start = stretch.character
        key, stride, drawn = stretch.key, stretch.stride, stretch.drawn
        for before in range(begin, stop):
            end = before + ONE
            at = end - base
            first, facts = look_up(entries, heads, before - first_head)
            last = first + count_of(facts)
            reference = lattice[at - ONE].scale
            chosen: Any = np.uint64(0)
            value = 0.0
            exponent: Any = np.int64(0)
            ended = t.characters and ends_character(text, start, end, end_of_record)
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
                    elif uniform(key, stride, drawn) * (new + value) < new:
                        value, chosen = new, (j if j < last else np.uint64(UNKNOWN))
                drawn += ONE
            if ended:
                start = end
            value, extra = math.frexp(value)
            exponent = exponent + extra if value != 0.0 else np.int64(0)
            put(
                lattice, at, value, chosen if challenging else first, np.int64(reference) - exponent
            )
            stretch.scale -= exponent
        stretch.character, stretch.drawn = start, drawn
