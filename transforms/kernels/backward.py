"""From a text's end to its begin: one segmentation, chosen or drawn, and its ids.

Ids are written from the end of an array towards its begin, so that records done in reverse order
leave one run of ids without gaps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.automaton import I64
from transforms.kernels.compiled import inlined, kernel
from transforms.kernels.lattice import (
    F64,
    UNKNOWN,
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

    log_prob: F64
    """The sum of the pieces' log-probabilities in this record."""


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
    at, free, tokens = trail.at[0], trail.free[0], trail.tokens[0]
    after_unknown, log_prob = trail.after_unknown[0], trail.log_prob[0]
    while at > part.begin:
        chosen = part.lattice[at - part.base].entry
        if drawing:
            u = uniform(record, tokens)
            chosen = _draw(t, t.wide if wide else t.entries, part.lattice, at - part.base, u, wide)
        if chosen == UNKNOWN or chosen == 0:  # 0: only of bytes that are no UTF-8
            before = begin_of_character(record, at)
            trail.unknown[0] += 1
            log_prob += t.unknown_log_prob
            if t.byte_ids.size:
                for i in range(at - 1, before - 1, -1):
                    free -= 1
                    ids[free] = t.byte_ids[record.text[i]]
            elif not after_unknown:
                free -= 1
                ids[free] = t.unknown_id
            after_unknown = 1
        else:
            entry = t.entries[chosen]
            before = at - length_of(entry.facts)
            log_prob += t.log_probs[entry.piece]
            free -= 1
            ids[free] = t.ids[entry.piece]
            after_unknown = 0
        tokens += 1
        at = before
    trail.at[0], trail.free[0], trail.tokens[0] = at, free, tokens
    trail.after_unknown[0], trail.log_prob[0] = after_unknown, log_prob


@inlined
def _draw(t: Any, entries: Any, lattice: Any, at: Any, u: Any, wide: Any) -> Any:
    """Draw an entry of a position's list, each with its part of the position's sum.

    The parts are added up in the order in which ``total`` added them, so that their sum is the
    position's to the last digit and the draw never runs past it.
    """
    here = lattice[at]
    scale, first = here.scale, np.int64(here.entry)
    facts = entries[first].facts
    goal, value, chosen = u * here.value, 0.0, UNKNOWN
    for j in range(first, first + count_of(facts)):
        before = lattice[at - length_of(entries[j].facts)]
        part = entries[j].weight * before.value
        by = difference(scale, before.scale)
        if wide:
            by += np.int64(t.exponents[j])
        value += times_power(part, by)
        if part != 0.0:
            chosen = np.uint32(j)
        if value > goal:
            return chosen
    if t.characters and not is_single(facts):
        return UNKNOWN
    return chosen
