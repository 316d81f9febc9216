"""From a text's end to its begin: one segmentation, chosen or drawn, and its ids.

Ids are written from the end of an array towards its begin, so that records done in reverse order
leave one run of ids without gaps.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.automaton import I64
from transforms.kernels.compiled import inlined, kernel
from transforms.kernels.lattice import (
    F64,
    HIGH,
    LOW,
    ONE,
    UNKNOWN,
    ZERO,
    begin_of_character,
    count_of,
    difference,
    is_single,
    length_of,
    times_power,
    uniform,
)


class Trail(NamedTuple):
    """Where the way back has come to. Arrays of one number each, which ``walk`` changes."""

    at: I64
    """The position in the text."""

    free: I64
    """Where in the ids the last one was written."""

    tokens: I64
    """How many pieces were taken in this record: the index of the next draw."""

    after_unknown: I64
    """Whether the last one was an unknown character."""

    unknown: I64
    """How many characters were unknown, of all records."""

    product: F64
    """The product of the weights of the pieces drawn in this record, as product * 2**exponent."""

    exponent: I64


@kernel
def walk(t: Any, record: Any, part: Any, trail: Any, ids: Any, drawing: Any, wide: Any) -> None:
    """Go back to where a part begins, or one piece further.

    Args:
        t: Tables.
        record: Record.
        part: Part, filled.
        trail: Trail.
        ids: uint32[m], written before ``trail.free``.
        drawing: whether a piece is drawn from a position's list by the sums of ``total``; otherwise
            ``entry`` is the one that was chosen.
        wide: whether the sums are those of ``wide``.
    """
    lattice, base, entries = part.lattice, part.base, t.wide if wide else t.entries
    at, free, tokens = np.uint64(trail.at[0]), np.uint64(trail.free[0]), np.uint64(trail.tokens[0])
    after_unknown, product = trail.after_unknown[0], trail.product[0]
    while at > part.begin:
        if drawing:
            chosen = _draw(t, entries, lattice, at - base, uniform(record, tokens), wide)
        else:
            chosen = np.uint64(lattice[at - base].entry)
        if chosen == UNKNOWN or chosen == ZERO:  # 0: only of bytes that are no UTF-8
            before = begin_of_character(record, at)
            trail.unknown[0] += 1
            if drawing:
                product *= t.unknown_wide[at - before]
                trail.exponent[0] += t.unknown_exponents[at - before]
            if t.byte_ids.size:
                for i in range(at - before):
                    free -= ONE
                    ids[free] = t.byte_ids[record.text[at - ONE - np.uint64(i)]]
            elif not after_unknown:
                free -= ONE
                ids[free] = t.unknown_id
            after_unknown = 1
        else:
            before = at - length_of(entries[chosen].facts)
            free -= ONE
            ids[free] = entries[chosen].id
            after_unknown = 0
            if drawing:
                product *= entries[chosen].weight
                if wide:
                    trail.exponent[0] += t.exponents[chosen]
        if not LOW <= product <= HIGH:
            product, exponent = math.frexp(product)
            trail.exponent[0] += exponent
        tokens += ONE
        at = before
    trail.at[0], trail.free[0], trail.tokens[0] = at, free, tokens
    trail.after_unknown[0], trail.product[0] = after_unknown, product


@inlined
def _draw(t: Any, entries: Any, lattice: Any, at: Any, u: Any, wide: Any) -> Any:
    """Draw an entry of a position's list, each with its part of the position's sum.

    The parts are added up in the order in which ``total`` added them, so that their sum is the
    position's to the last digit and the draw never runs past it.
    """
    first, scale = np.uint64(lattice[at].entry), lattice[at].scale
    facts = entries[first].facts
    last = first + count_of(facts)
    chosen: Any = np.uint64(UNKNOWN)
    goal, value = u * lattice[at].value, 0.0
    for j in range(first, last):
        back = at - length_of(entries[j].facts)
        new = entries[j].weight * lattice[back].value
        if wide or lattice[back].scale != scale:
            by = difference(scale, lattice[back].scale)
            new = times_power(new, by + np.int64(t.exponents[j]) if wide else by)
        value += new
        if new != 0.0:
            chosen = j
        if value > goal:
            return chosen
    if t.characters and not is_single(facts):
        return np.uint64(UNKNOWN)
    return chosen
