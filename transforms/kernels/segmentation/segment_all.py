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

from transforms.kernels.arrays import F64, I64, U32
from transforms.kernels.compiled import inlined, kernel, part
from transforms.kernels.segmentation.automaton import step
from transforms.kernels.segmentation.backward import set_out, walk
from transforms.kernels.segmentation.forward import EXACT, NBEST, begin, fill, is_decoding
from transforms.kernels.segmentation.lattice import (
    ONE,
    STRETCH,
    ZERO,
    count_of,
    length_of,
    stride_of,
)
from transforms.kernels.segmentation.nbest import draw_path
from transforms.kernels.segmentation.scan import scan
from transforms.kernels.segmentation.segment_some import segment_some


class Way(NamedTuple):
    """How to segment."""

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

    carried: Any
    """STRETCH[parts]: the same of what is carried."""

    ways: Any
    """WAY[n], for ``nbest``."""

    heads: U32
    """uint32[w]: a window of w bytes, for which it is known which pieces end there."""

    window: Any
    """uint64[1]: from which byte on."""

    trails: Any
    """TRAIL[1]."""

    some: Any
    """SOME[s]: as many records may be done together, if they have up to b bytes."""

    stretches: Any
    """STRETCH[s or 1, whichever is more]."""

    some_lattice: Any
    """POSITION[s + b]."""

    some_ids: U32
    """uint32[b]."""

    some_trails: Any
    """TRAIL[n], how many of them go back in turns."""


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
def segment_all(
    t: Any, text: Any, offsets: Any, keys: Any, law: Any, way: Any, room: Any, out: Any
) -> Any:
    """Segment records; return how many characters were unknown, and who failed, or -1.

    ``law`` is a tuple, as of ``forward``.
    """
    room.window[0] = text.size
    free, unknown, number = np.uint64(text.size), np.int64(0), np.int64(keys.size) - 1
    out.ends[keys.size] = free
    while number >= 0:
        _look_back(t, text, offsets, number, room)
        count = _choose(offsets, number, law, way, room)
        segment_some(t, text, offsets, keys, number, count, law, room)
        for i in range(max(count, 1)):
            if i < count and room.some[i].done:
                one = room.some[i]
                first = np.uint64(one.free)
                size = np.uint64(one.end) - first
                free -= size
                for j in range(size):
                    out.ids[free + j] = room.some_ids[first + j]
                unknown += one.unknown
                if len(law) == EXACT:
                    stretch = room.stretches[i]
                    _set_share(out, number, one.product, one.exponent, one.value, stretch.scale)
            elif offsets[number] < offsets[number + 1]:
                if not _segment_one(t, text, offsets, keys, number, law, way, room, out, free):
                    return unknown, number
                free = room.trails[0].free
                unknown += room.trails[0].unknown
            out.ends[number] = free
            number -= 1
    return unknown, np.int64(-1)


@part
def _choose(offsets: Any, last: Any, law: Any, way: Any, room: Any) -> Any:
    """Return how many records, from ``last`` back, are done together."""
    if len(law) == NBEST or way.wide:
        return 0
    first = last + 1
    least = max(offsets[first] - room.some_ids.size, np.int64(room.window[0]))
    while (
        first > 0
        and offsets[first - 1] >= least
        and offsets[first] - offsets[first - 1] <= way.chunk
        and last + 1 - first < room.some.size
    ):
        first -= 1
    return last + 1 - first


@part
def _set_share(out: Any, number: Any, product: Any, exponent: Any, value: Any, scale: Any) -> None:
    """Set a path's part of the sum over all, which is value * 2**-scale."""
    share, more = math.frexp(product / value)
    out.shares[number], out.exponents[number] = share, exponent + more + scale


@part
def _segment_one(
    t: Any,
    text: Any,
    offsets: Any,
    keys: Any,
    number: Any,
    law: Any,
    way: Any,
    room: Any,
    out: Any,
    free: Any,
) -> Any:
    """Segment one record, of any length; return whether its end can be reached."""
    stretch = np.empty(1, STRETCH)  # ``room.stretches`` may be read yet
    start, end, key = np.uint64(offsets[number]), np.uint64(offsets[number + 1]), keys[number]
    stretch[0].start, stretch[0].end = start, end
    stretch[0].key, stretch[0].stride = key, stride_of(key)
    wide = way.wide
    while not _go_forward(t, text, offsets, stretch, law, way, room, wide):
        wide = not wide  # it wasn't: of such values all fit
    base, scale = stretch[0].base, stretch[0].scale
    value = room.lattice[end - base].value
    if value == (-np.inf if is_decoding(law) else 0.0):
        return False
    if len(law) == NBEST:
        out.shares[number] = draw_path(t, text, room.lattice, stretch[0], room.ways, way.alpha)
    trail = room.trails[0]
    set_out(trail, stretch[0], free, stretch[0].moves == 0 and not wide)
    parts = _parts(start, end, way.chunk)
    for j in range(parts):
        part_number = parts - 1 - j
        if j:
            for i in range(room.saved.shape[1]):
                room.lattice[i] = room.saved[part_number, i]
            stretch[0] = room.carried[part_number]
            _fill(t, text, offsets, stretch, room, law, wide)
        trail.base = stretch[0].base
        trail.until = start + np.uint64(part_number * way.chunk)
        if trail.at > trail.until:
            if len(law) == EXACT:
                walk(t, text, room.lattice, room.trails, ONE, out.ids, law, wide)
            else:
                walk(t, text, room.lattice, room.trails, ONE, out.ids, law, False)
    if len(law) == EXACT:
        _set_share(out, number, trail.product, trail.exponent, value, scale)
    return True


@inlined
def _parts(start: Any, end: Any, chunk: Any) -> Any:
    return (np.int64(end - start) + chunk - 1) // chunk


@part
def _go_forward(
    t: Any, text: Any, offsets: Any, stretch: Any, law: Any, way: Any, room: Any, wide: Any
) -> Any:
    """Fill all parts, of which the last one stays; return whether float64's range was enough."""
    one, lattice, reach = stretch[0], room.lattice, np.int64(t.longest)
    for j in range(reach):
        lattice[j].value = -np.inf if is_decoding(law) else 0.0
        lattice[j].entry, lattice[j].scale = 0, 0
    one.begin, one.base = one.start, one.start - t.longest
    begin(lattice, one, law, t.longest)
    parts = _parts(one.start, one.end, way.chunk)
    for number in range(parts):
        if number:
            for j in range(reach + 1):  # no chunk is shorter, save a record's only one
                lattice[j] = lattice[way.chunk + j]
        one.begin = one.start + np.uint64(number * way.chunk)
        one.stop = min(one.begin + np.uint64(way.chunk), one.end)
        one.base = one.begin - t.longest
        if parts > 1:
            for j in range(reach + 1):
                room.saved[number, j] = lattice[j]
            room.carried[number] = one
        if not _fill(t, text, offsets, stretch, room, law, wide):
            return False
    return True


@part
def _look_back(t: Any, text: Any, offsets: Any, number: Any, room: Any) -> None:
    """Fill the window with a record's bytes and those of as many records before it as fit.

    A record longer than the window fills it part by part, later.
    """
    size, start, end = room.heads.size, offsets[number], offsets[number + 1]
    if start >= np.int64(room.window[0]) or end - start > size:
        return
    first = number
    while first > 0 and end - offsets[first - 1] <= size:
        first -= 1
    room.window[0] = offsets[first]
    scan(t, text, offsets, np.uint64(offsets[first]), np.uint64(end), ZERO, room.heads)


@part
def _fill(t: Any, text: Any, offsets: Any, stretch: Any, room: Any, law: Any, wide: Any) -> Any:
    """Fill one part's positions, a window at a time; return whether float64's range was enough."""
    one, size = stretch[0], np.uint64(room.heads.size)
    begin, stop = one.begin, one.stop
    while one.begin < stop and one.fits:
        one.stop = min(one.begin + size, stop)
        if one.end - one.start > size:
            room.window[0] = one.begin
            one.state = scan(t, text, offsets, one.begin, one.stop, one.state, room.heads)
        fill(t, text, room.lattice, room.heads, room.window[0], stretch, law, wide)
        one.begin = one.stop
    one.begin, one.stop = begin, stop
    return one.fits


@kernel
def furthest(t: Any, text: Any, start: Any, end: Any) -> Any:
    """Return the last position that some path from a record's begin reaches."""
    reached = np.zeros(np.int64(t.longest) + 1, np.bool_)  # position p at p modulo its size
    reached[start % reached.size] = True
    last, state = start, np.uint64(0)
    for at in range(start + 1, end + 1):
        state = step(t.states, state, text[at - 1])
        first = np.uint64(t.states[state].ends)
        found = False
        for j in range(first, first + count_of(t.entries[first].facts)):
            length = np.int64(length_of(t.entries[j].facts))
            found = found or reached[(at - length) % reached.size]
        reached[at % reached.size] = found
        if found:
            last = at
    return last
