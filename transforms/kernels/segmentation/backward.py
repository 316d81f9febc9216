"""From a text's end to its begin: one segmentation, chosen or drawn, and its ids.

Ids are written from the end of an array towards its begin, so that records done in reverse order
leave one run of ids without gaps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, loop, part
from transforms.kernels.segmentation.forward import EXACT, sums
from transforms.kernels.segmentation.lattice import (
    BLOCK,
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

TRAIL = np.dtype(
    [
        *((name, "u8") for name in ("start", "key", "stride", "at", "until", "base")),
        *((name, "u8") for name in ("free", "tokens", "number")),
        *((name, "i8") for name in ("unknown", "exponent")),
        ("product", "f8"),
        ("level", "?"),
        ("after_unknown", "?"),
    ],
    align=True,
)
"""The way back through a record, as far as it has come.

It is ``at`` a position of the text, which is ``lattice[at - base]``, and goes on to ``until`` or
one piece further; ids were written down to ``free``. ``tokens`` pieces were taken, which is the
index of the next draw; of the pieces drawn the weights' product is product * 2**exponent.
``unknown`` characters were met. ``start``, ``key`` and ``stride`` are the record's, ``number`` is
for whoever follows several; ``level`` says that all positions have one scale, ``after_unknown``
that the last piece was an unknown character."""


@inlined
def set_out(trail: Any, stretch: Any, free: Any, level: Any) -> None:
    """Begin at the end of a record."""
    trail.start, trail.key, trail.stride = stretch.start, stretch.key, stretch.stride
    trail.at, trail.until, trail.base = stretch.end, stretch.start, stretch.base
    trail.free, trail.tokens, trail.unknown = free, ZERO, 0
    trail.product, trail.exponent = 1.0, 0
    trail.level, trail.after_unknown = level, False


@loop
def walk(
    t: Any, text: Any, lattice: Any, trails: Any, live: Any, ids: Any, law: Any, wide: Any
) -> None:
    """Go back, a piece of each trail in turn, until one or more have come to where they go.

    Their waits overlap: each piece follows from the one taken before, by loads and sums that a processor
    can only wait for.

    Args:
        t: Tables.
        text: uint8[m].
        lattice: POSITION[p], filled.
        trails: TRAIL[n].
        live: uint64, how many of them go: 1 to n, none of which is where it goes to.
        ids: uint32[m], written before each trail's ``free``.
        law: a tuple, as of ``forward``: of EXACT a piece is drawn from a position's list by the sums of
            ``total``; of others ``entry`` is the one that was chosen.
        wide: under EXACT, whether the sums are those of ``wide``.
    """
    entries, exponents = t.wide if wide else t.entries, t.exponents
    going = True
    while going:
        for i in range(live):
            trail = trails[i]
            chosen = ZERO
            if len(law) == EXACT:
                if trail.level:
                    u = uniform(trail.key, trail.stride, trail.tokens)
                    chosen = _draw_level(entries, lattice, trail.at - trail.base, u)
                if chosen == ZERO:
                    chosen = _draw(t, lattice, trails, i, wide)
            else:
                chosen = np.uint64(lattice[trail.at - trail.base].entry)
            trail.tokens += ONE
            if chosen == UNKNOWN or chosen == ZERO:  # 0: only of bytes that are no UTF-8
                _take_unknown(t, text, trails, i, ids, law)
            else:
                at, free = trail.at - length_of(entries[chosen].facts), trail.free - ONE
                ids[free] = entries[chosen].id
                if len(law) == EXACT:
                    product = trail.product * entries[chosen].weight
                    if wide:
                        trail.exponent += exponents[chosen]
                    if not LOW <= product <= HIGH:
                        product, exponent = math.frexp(product)
                        trail.exponent += exponent
                    trail.product = product
                trail.at, trail.free, trail.after_unknown = at, free, False
            going &= trail.at > trail.until


@part
def _take_unknown(t: Any, text: Any, trails: Any, i: Any, ids: Any, law: Any) -> None:
    """Take the character before a position as unknown."""
    trail = trails[i]
    at, free = trail.at, trail.free
    before = begin_of_character(text, trail.start, at)
    trail.unknown += 1
    if t.byte_ids.size:
        for back in range(at - before):
            free -= ONE
            ids[free] = t.byte_ids[text[at - ONE - np.uint64(back)]]
    elif not trail.after_unknown:
        free -= ONE
        ids[free] = t.unknown_id
    trail.at, trail.free, trail.after_unknown = before, free, True
    if len(law) == EXACT:
        product, exponent = math.frexp(trail.product * t.unknown_wide[at - before])
        trail.product = product
        trail.exponent += exponent + t.unknown_exponents[at - before]


@inlined
def _draw_level(entries: Any, lattice: Any, at: Any, u: Any) -> Any:
    """Draw what ``_draw`` draws, where scales are one, or 0 where that has to be asked.

    A block of entries at a time, without a guess at which one it will be.
    """
    j = np.uint64(lattice[at].entry)
    goal = u * lattice[at].value
    one, two, three, four = sums(entries, lattice, j, at)
    last, before = j + count_of(entries[j].facts), 0.0
    while not four > goal:
        j += BLOCK
        if j >= last:
            return ZERO
        before = four
        one, two, three, four = sums(entries, lattice, j, at)
        one, two, three, four = before + one, before + two, before + three, before + four
    return j + (np.uint64(one <= goal) + np.uint64(two <= goal) + np.uint64(three <= goal))


@part
def _draw(t: Any, lattice: Any, trails: Any, i: Any, wide: Any) -> Any:
    """Draw an entry of a position's list, each with its part of the position's sum.

    The parts are added up one by one, as ``wide`` adds them; where ``total`` added them in another order
    their sum may differ from the position's by a rounding, and so may the last entry's share.
    """
    trail = trails[i]
    entries, at = t.wide if wide else t.entries, trail.at - trail.base
    first, scale = np.uint64(lattice[at].entry), lattice[at].scale
    facts = entries[first].facts
    last = first + count_of(facts)
    chosen: Any = np.uint64(UNKNOWN)
    goal, value = uniform(trail.key, trail.stride, trail.tokens) * lattice[at].value, 0.0
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
