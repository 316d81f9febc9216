"""The compiled loop over records, and over the parts of long ones.

Records are done from the last to the first, and each from its end to its begin, so that ids are
written backwards into one array without gaps. A record longer than a chunk is gone through twice: the
first time, what is known at the begin of each part is saved; then, from the last part to the first,
the part's positions are filled again from there, and the way back goes through them. Filling a part
twice gives the same positions, so the cut changes nothing.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels import backward, forward
from transforms.kernels.automaton import I64, U32, step
from transforms.kernels.compiled import inlined, kernel
from transforms.kernels.lattice import (
    F64,
    ZERO,
    Carry,
    Part,
    Record,
    count_of,
    length_of,
    stride_of,
)
from transforms.kernels.nbest import draw_path
from transforms.kernels.scan import scan

OFF, OFF_FLOAT32, VITERBI_SAMPLING, EXACT, NBEST = range(5)


class Way(NamedTuple):
    """How to segment."""

    mode: int
    alpha: float

    wide: bool
    """Whether weights are beyond float64's range."""

    chunk: int
    """Of how many bytes positions are at hand at once, at most."""


class Room(NamedTuple):
    """Room to work in."""

    lattice: Any
    """POSITION[longest + chunk + 1]."""

    saved: Any
    """POSITION[parts, longest + 1]: the last positions before each part; none for one part."""

    carries: I64
    """int64[parts, 4]: the carry at the begin of each part."""

    ways: Any
    """WAY[n], for ``nbest``."""

    heads: U32
    """uint32[w]: a window of w bytes, for which it is known which pieces end there."""

    window: Any
    """uint64[2]: which bytes these are, from and to."""


class Out(NamedTuple):
    """What comes out."""

    ids: U32
    """uint32[m + 1], filled from ``ends[0]`` to m."""

    ends: I64
    """int64[r + 1]: where each record's ids begin, and the last one's end."""

    shares: F64
    """float64[r]: of ``exact`` and ``nbest`` each segmentation's probability, as
    share * 2**exponent; else 1."""

    exponents: I64
    """int64[r]."""


@kernel
def segment_all(t: Any, text: Any, offsets: Any, keys: Any, way: Any, room: Any, out: Any) -> Any:
    """Segment records; return how many characters were unknown, and who failed, or -1."""
    carry = Carry(
        np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64), np.zeros(1, np.int64)
    )
    trail = backward.Trail(
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.zeros(1, np.int64),
        np.ones(1, np.float64),
        np.zeros(1, np.int64),
    )
    decoding = way.mode == OFF or way.mode == OFF_FLOAT32 or way.mode == NBEST
    unreached = -np.inf if decoding else 0.0
    trail.free[0] = text.size
    room.window[0], room.window[1] = text.size, text.size
    out.ends[keys.size] = text.size
    for i in range(keys.size - 1, -1, -1):
        start, end = np.uint64(offsets[i]), np.uint64(offsets[i + 1])
        record = Record(text, start, end, keys[i], stride_of(keys[i]))
        trail.at[0], trail.tokens[0], trail.after_unknown[0] = record.end, 0, 0
        trail.product[0], trail.exponent[0] = 1.0, 0
        if record.start < record.end:
            wide = way.wide
            _look_back(t, record, offsets, i, room)
            if not _go_forward(t, record, offsets, way, room, carry, wide):
                wide = True
                _go_forward(t, record, offsets, way, room, carry, wide)
            last = _last_part(t, record, way, room)
            value = last.lattice[record.end - last.base].value
            if value == unreached:
                return trail.unknown[0], i
            if way.mode == NBEST:
                out.shares[i] = draw_path(t, record, last, room.ways, way.alpha)
            scale = carry.scale[0]
            _go_back(t, record, offsets, way, room, carry, trail, out.ids, wide)
            if way.mode == EXACT:  # the product's part of the sum, value * 2**-scale
                share, exponent = math.frexp(trail.product[0] / value)
                out.shares[i], out.exponents[i] = share, exponent + trail.exponent[0] + scale
        out.ends[i] = trail.free[0]
    return trail.unknown[0], -1


@inlined
def _parts(record: Any, way: Any) -> Any:
    return (np.int64(record.end - record.start) + way.chunk - 1) // way.chunk


@inlined
def _part(t: Any, record: Any, way: Any, room: Any, number: Any) -> Any:
    begin = record.start + np.uint64(number * way.chunk)
    stop = min(begin + np.uint64(way.chunk), record.end)
    return Part(begin, stop, room.lattice, begin - t.longest, room.heads, room.window[0])


@inlined
def _last_part(t: Any, record: Any, way: Any, room: Any) -> Any:
    return _part(t, record, way, room, _parts(record, way) - 1)


@inlined
def _go_forward(
    t: Any, record: Any, offsets: Any, way: Any, room: Any, carry: Any, wide: Any
) -> Any:
    """Fill all parts, of which the last one stays; return whether float64's range was enough."""
    reach, lattice = np.int64(t.longest), room.lattice
    decoding = way.mode == OFF or way.mode == OFF_FLOAT32 or way.mode == NBEST
    for j in range(reach + 1):
        lattice[j].value = -np.inf if decoding else 0.0
        lattice[j].entry, lattice[j].scale = 0, 0
    lattice[reach].value = 0.0 if decoding else 1.0
    carry.state[0], carry.start[0], carry.drawn[0], carry.scale[0] = 0, record.start, 0, 0
    if way.mode == OFF_FLOAT32:
        carry.drawn[0] = np.int64(record.start) - reach - 1  # where scores began anew: out of reach
    parts = _parts(record, way)
    for number in range(parts):
        if number:
            lattice[: reach + 1] = lattice[way.chunk : way.chunk + reach + 1]
        if parts > 1:
            room.saved[number] = lattice[: reach + 1]
            saved = room.carries[number]
            saved[0], saved[1], saved[2] = carry.state[0], carry.start[0], carry.drawn[0]
            saved[3] = carry.scale[0]
        part = _part(t, record, way, room, number)
        if not _fill(t, record, offsets, part, room, carry, way.mode, wide):
            return False
    return True


@inlined
def _go_back(
    t: Any,
    record: Any,
    offsets: Any,
    way: Any,
    room: Any,
    carry: Any,
    trail: Any,
    ids: Any,
    wide: Any,
) -> None:
    """Write a record's ids, from the last part, which is filled, to the first."""
    parts = _parts(record, way)
    for number in range(parts - 1, -1, -1):
        part = _part(t, record, way, room, number)
        if number < parts - 1:
            room.lattice[: room.saved.shape[1]] = room.saved[number]
            saved = room.carries[number]
            carry.state[0], carry.start[0], carry.drawn[0] = saved[0], saved[1], saved[2]
            carry.scale[0] = saved[3]
            _fill(t, record, offsets, part, room, carry, way.mode, wide)
        backward.walk(t, record, part, trail, ids, way.mode == EXACT, wide)


@kernel
def _look_back(t: Any, record: Any, offsets: Any, number: Any, room: Any) -> None:
    """Fill the window with a record's bytes and those of as many records before it as fit.

    A record longer than the window fills it part by part, later.
    """
    size = np.uint64(room.heads.size)
    if record.start >= room.window[0] or record.end - record.start > size:
        return
    first = number
    while first > 0 and record.end - np.uint64(offsets[first - 1]) <= size:
        first -= 1
    room.window[0], room.window[1] = offsets[first], record.end
    scan(t, record.text, offsets, np.uint64(offsets[first]), record.end, ZERO, room.heads)


@inlined
def _fill(
    t: Any, record: Any, offsets: Any, part: Any, room: Any, carry: Any, mode: Any, wide: Any
) -> Any:
    """Fill one part's positions, a window at a time; return whether float64's range was enough."""
    at, size = part.begin, np.uint64(room.heads.size)
    while at < part.stop:
        stop = min(at + size, part.stop)
        if record.end - record.start > size:
            room.window[0], room.window[1] = at, stop
            state = np.uint64(carry.state[0])
            carry.state[0] = scan(t, record.text, offsets, at, stop, state, room.heads)
        some = Part(at, stop, part.lattice, part.base, room.heads, room.window[0])
        if not _fill_some(t, record, some, carry, mode, wide):
            return False
        at = stop
    return True


@inlined
def _fill_some(t: Any, record: Any, part: Any, carry: Any, mode: Any, wide: Any) -> Any:
    """Fill positions under a law; return whether float64's range was enough."""
    if mode == OFF_FLOAT32:
        forward.best_float32(t, record, part, carry)
    elif mode == OFF or mode == NBEST:
        forward.best(t, record, part, carry, mode == OFF)
    elif wide:
        forward.wide(t, record, part, carry, mode == VITERBI_SAMPLING)
    elif mode == EXACT:
        return forward.total(t, record, part, carry)
    else:
        return forward.challenge(t, record, part, carry)
    return True


@kernel
def furthest(t: Any, text: Any, start: Any, end: Any) -> Any:
    """Return the last position that some path from a record's begin reaches."""
    reached = np.zeros(np.int64(t.longest) + 1, np.bool_)  # position p at p modulo its size
    reached[start % reached.size] = True
    last, state = start, np.uint64(0)
    for at in range(start + 1, end + 1):
        state = step(t.states, t.fails, state, text[at - 1])
        first = np.uint64(t.states[state].ends)
        found = False
        for j in range(first, first + count_of(t.entries[first].facts)):
            length = np.int64(length_of(t.entries[j].facts))
            found = found or reached[(at - length) % reached.size]
        reached[at % reached.size] = found
        if found:
            last = at
        if t.cuts and text[at - 1] == 10 and at < end and text[at] != 10:
            state = np.uint64(0)
    return last
