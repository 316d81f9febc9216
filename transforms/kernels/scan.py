"""The lists of pieces that end after each byte, for some bytes at a time.

Each state of the automaton follows from the one before it, so a processor waits for memory at every
byte. But the state also follows from the last few bytes alone, as many as the longest piece has. So
four parts of the bytes are read in turns, and their waits overlap; each begins a piece's length
early.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.automaton import step
from transforms.kernels.compiled import inlined, kernel
from transforms.kernels.lattice import ONE, ZERO

_LANES = np.uint64(4)


@kernel
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
    states, fails, cuts = t.states, t.fails, t.cuts
    size = (stop - begin) // _LANES
    if size < t.longest:
        size = ZERO
    begin1, begin2, begin3 = begin + size, begin + size + size, begin + size + size + size
    state0, end0 = state, _end_of(offsets, begin)
    state1, end1 = _warm(t, text, offsets, begin1, size)
    state2, end2 = _warm(t, text, offsets, begin2, size)
    state3, end3 = _warm(t, text, offsets, begin3, size)
    done = ZERO
    while done < size:
        # up to where the next of the four records ends
        until = min(size, end0 - begin, end1 - begin1, end2 - begin2, end3 - begin3)
        for i in range(done, until):
            state0 = _read(states, fails, cuts, text, begin + i, state0)
            heads[i] = states[state0].ends
            state1 = _read(states, fails, cuts, text, begin1 + i, state1)
            heads[size + i] = states[state1].ends
            state2 = _read(states, fails, cuts, text, begin2 + i, state2)
            heads[size + size + i] = states[state2].ends
            state3 = _read(states, fails, cuts, text, begin3 + i, state3)
            heads[size + size + size + i] = states[state3].ends
        done = until
        if end0 == begin + done:
            state0, end0 = ZERO, _end_of(offsets, end0)
        if end1 == begin1 + done:
            state1, end1 = ZERO, _end_of(offsets, end1)
        if end2 == begin2 + done:
            state2, end2 = ZERO, _end_of(offsets, end2)
        if end3 == begin3 + done:
            state3, end3 = ZERO, _end_of(offsets, end3)
    at = begin3 + size
    if size == ZERO:
        at, state3, end3 = begin, state0, end0
    while at < stop:
        until = min(stop, end3)
        for before in range(at, until):
            state3 = _read(states, fails, cuts, text, before, state3)
            heads[before - begin] = states[state3].ends
        at = until
        if at == end3:
            state3, end3 = ZERO, _end_of(offsets, end3)
    return state3


@inlined
def _read(states: Any, fails: Any, cuts: Any, text: Any, at: Any, state: Any) -> Any:
    """Return the state after the byte at ``at``, whose record begins there if the state is 0."""
    if cuts and state != ZERO and text[at - ONE] == 10 and text[at] != 10:
        state = ZERO
    return step(states, fails, state, text[at])


@kernel
def _end_of(offsets: Any, at: Any) -> Any:
    """Return where the record ends that holds a byte; anything after the last record."""
    i = np.searchsorted(offsets, np.int64(at), side="right")
    return np.uint64(offsets[min(i, offsets.size - 1)])


@kernel
def _warm(t: Any, text: Any, offsets: Any, at: Any, size: Any) -> Any:
    """Return the state before a byte, and where its record ends."""
    if size == ZERO:
        return ZERO, ZERO
    i = np.searchsorted(offsets, np.int64(at), side="right")
    start, end = np.uint64(offsets[i - 1]), np.uint64(offsets[i])
    state = ZERO
    for before in range(max(start, at - min(at, t.longest)), at):
        state = _read(t.states, t.fails, t.cuts, text, before, state)
    return state, end
