"""The lists of pieces that end after each byte, for some bytes at a time.

Each state of the automaton follows from the one before it, so a processor waits for memory at every
byte. But the state also follows from the last few bytes alone, as many as the longest piece has. So
four parts of the bytes are read in turns, and their waits overlap; each begins a piece's length
early.

A turn is one attempt: to go from a state to its child, or else to the state to go on from. How many
a byte takes depends on the text, and a processor that guessed would guess wrong at every third byte;
here nothing is guessed, and a part that needs more attempts just falls behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, part
from transforms.kernels.segmentation.automaton import step
from transforms.kernels.segmentation.lattice import ZERO

_LANES = np.uint64(4)


@part
def scan(t: Any, text: Any, offsets: Any, begin: Any, stop: Any, state: Any, heads: Any) -> Any:
    """Find where the list of the pieces begins that end after each of some bytes.

    Args:
        t: Tables.
        text: uint8[m].
        offsets: int64[r + 1] of the records, which no piece crosses.
        begin: uint64, the first byte.
        stop: uint64, after the last one.
        state: uint64, the automaton's before ``begin``.
        heads: uint32[stop - begin or more], written.

    Returns:
        uint64: the state after the last byte.
    """
    states = t.states
    size = (stop - begin) // _LANES
    if size <= t.longest:
        return _finish(states, text, offsets, begin, begin, stop, state, heads)
    stop0, stop1, stop2 = begin + size, begin + size + size, begin + size + size + size
    at0, at1, at2, at3 = begin, stop0, stop1, stop2
    state0 = state
    end0, next0 = _end_of(offsets, at0)
    state1, end1, next1 = _warm(t, text, offsets, at1)
    state2, end2, next2 = _warm(t, text, offsets, at2)
    state3, end3, next3 = _warm(t, text, offsets, at3)
    while True:
        at0, state0 = _attempt(states, text, begin, heads, at0, state0)
        at1, state1 = _attempt(states, text, begin, heads, at1, state1)
        at2, state2 = _attempt(states, text, begin, heads, at2, state2)
        at3, state3 = _attempt(states, text, begin, heads, at3, state3)
        if at0 >= min(end0, stop0):
            if at0 >= stop0:
                break
            state0 = ZERO
            end0, next0 = _next_end(offsets, at0, next0)
        if at1 >= min(end1, stop1):
            if at1 >= stop1:
                break
            state1 = ZERO
            end1, next1 = _next_end(offsets, at1, next1)
        if at2 >= min(end2, stop2):
            if at2 >= stop2:
                break
            state2 = ZERO
            end2, next2 = _next_end(offsets, at2, next2)
        if at3 >= min(end3, stop):
            if at3 >= stop:
                break
            state3 = ZERO
            end3, next3 = _next_end(offsets, at3, next3)
    _finish(states, text, offsets, begin, at0, stop0, state0, heads)
    _finish(states, text, offsets, begin, at1, stop1, state1, heads)
    _finish(states, text, offsets, begin, at2, stop2, state2, heads)
    return _finish(states, text, offsets, begin, at3, stop, state3, heads)


@inlined
def _attempt(states: Any, text: Any, begin: Any, heads: Any, at: Any, state: Any) -> Any:
    """Return the place and the state after an attempt to read the byte at ``at``.

    What it writes of an attempt that failed, the next one writes over.
    """
    base, fail = np.uint64(states[state].base), np.uint64(states[state].fail)
    child = base ^ np.uint64(text[at])
    found = np.uint64(states[child].check) == base
    after = child if found else fail
    heads[at - begin] = states[after].ends
    return at + np.uint64(found), after


@part
def _finish(
    states: Any, text: Any, offsets: Any, begin: Any, at: Any, stop: Any, state: Any, heads: Any
) -> Any:
    """Read on to the end of a part; return the state after it."""
    if at >= stop:
        return state
    end, following = _end_of(offsets, at)
    if at > ZERO and offsets[following - 1] == np.int64(at):
        state = ZERO
    while at < stop:
        until = min(stop, end)
        for now in range(at, until):
            state = step(states, state, text[now])
            heads[now - begin] = states[state].ends
        at = until
        if at == end:
            state = ZERO
            end, following = _next_end(offsets, at, following)
    return state


@inlined
def _end_of(offsets: Any, at: Any) -> Any:
    """Return where the record ends that holds a byte, and its number plus 1."""
    before, i = np.int64(0), np.int64(offsets.size)
    while before < i:  # numpy's search takes long to compile
        middle = (before + i) >> 1
        if offsets[middle] <= np.int64(at):
            before = middle + 1
        else:
            i = middle
    i = min(i, np.int64(offsets.size) - 1)
    return np.uint64(offsets[i]), i


@inlined
def _next_end(offsets: Any, at: Any, following: Any) -> Any:
    """Return the same of the record that begins at ``at``, where the one before it ends."""
    while following < offsets.size - 1 and offsets[following] <= np.int64(at):
        following += 1
    return np.uint64(offsets[following]), following


@part
def _warm(t: Any, text: Any, offsets: Any, at: Any) -> Any:
    """Return the state before a byte, where its record ends, and its number plus 1."""
    end, following = _end_of(offsets, at)
    start = np.uint64(offsets[following - 1])
    state = ZERO
    for before in range(max(start, at - min(at, t.longest)), at):
        state = step(t.states, state, text[before])
    return state, end, following
