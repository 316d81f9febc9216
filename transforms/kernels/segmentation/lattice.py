"""The lattice of a text's segmentations, as the kernels of segmentation see it.

A segmentation is a path from the text's begin to its end, piece by piece. The kernels keep one
``POSITION`` a byte: what is known of all paths to it. The pieces that end there follow from the
automaton, so edges are not stored.

Kernels index with unsigned integers: numba looks at every signed one whether it counts from the end,
which took a fifth of the time.

Values are kept in range by powers of two, which change no digit of them: a position's true value is
``value * 2**-scale``. Only differences of scales within reach of one piece matter, so that scales
may wrap around.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import F64, I32, U32
from transforms.kernels.compiled import fetch, inlined, part
from transforms.kernels.segmentation import automaton_build

POSITION = np.dtype([("value", "f8"), ("entry", "u4"), ("scale", "i4")], align=True)
"""``entry`` is the list of the pieces that end here, or the one piece that was chosen of it."""

ENTRY = np.dtype([("weight", "f8"), ("facts", "u4"), ("id", "u4")], align=True)
"""An entry of the automaton's lists with its weight under a law, and its piece's id."""

UNKNOWN = np.uint32(2**32 - 1)
"""The chosen entry where a character is taken that no piece covers."""

MOST_BYTES = np.uint64(4)  # of a character

ZERO, ONE, TWO, THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)
BLOCK = np.uint64(automaton_build.BLOCK)

AHEAD = np.uint64(16)
"""For which byte a list is fetched while one is at hand: some hundred steps of a processor ahead."""

# a value outside of LOW to HIGH moves the scale; in reach of a piece nothing may lie beyond LEAST
# to MOST, weights included, so that no product loses digits and no sum overflows
LOW, HIGH = 2.0**-200, 2.0**200
LEAST, MOST = 2.0**-480, 2.0**480

POWERS = np.ldexp(1.0, np.arange(-1022, 1024))


class Tables(NamedTuple):
    """All that a kernel needs of a vocabulary under one law."""

    states: Any
    """STATE[s], the automaton's."""

    entries: Any
    """ENTRY[e], with weights that fit float64."""

    wide: Any
    """ENTRY[e], whose weights stand for ``weight * 2**exponent``: for where the others don't do."""

    exponents: I32
    """int32[e], for ``wide``."""

    longest: np.uint64
    """How far an edge reaches back at most."""

    characters: bool
    """Whether one character may be taken where no piece is just that character."""

    unknown_weights: F64
    """float64[5]: the weight of an unknown character, by its length in bytes."""

    unknown_wide: F64
    unknown_exponents: I32
    unknown_log_prob: float
    unknown_id: int

    byte_ids: U32
    """uint32[256]: what an unknown character's bytes become; empty: the unknown id, merged."""


STRETCH = np.dtype(
    [
        *((name, "u8") for name in ("start", "end", "key", "stride", "begin", "stop", "base")),
        *((name, "u8") for name in ("state", "character", "drawn", "reset")),
        *((name, "i8") for name in ("scale", "moves")),
        ("fits", "?"),
    ],
    align=True,
)
"""A part of a record, and what is carried from one part to the next.

The record is the text from ``start`` to ``end``; its draws come from ``key`` and ``stride``, which
``stride_of`` makes of the key. Of the part, from ``begin`` to ``stop``, positions are at hand: q is
``lattice[q - base]``, modulo 2**64, and as many before ``begin`` as the longest piece has bytes, as
far as the record goes.

``state`` is the automaton's at ``begin``, where a record is longer than a window; ``character``
where the character begins that is being read; ``drawn`` how many challenges there were; ``reset``
where scores in float32 last began anew; ``scale`` that of the last position, without wrapping
around; ``moves`` how often it was moved: where it never was, all positions have one. ``fits`` says
whether float64's range was enough."""


@inlined
def mix(value: Any) -> Any:
    """Return what ``randomness.mix`` gives for one number."""
    out = value ^ (value >> np.uint64(27))
    out *= np.uint64(0x3C79AC492BA7B653)
    out ^= out >> np.uint64(33)
    out *= np.uint64(0x1C69B3F74AC4AE35)
    out ^= out >> np.uint64(27)
    return out


@inlined
def stride_of(key: Any) -> Any:
    """Return the odd number by which a record's counter moves.

    With one stride for all, the counters of two records could run into each other, and their draws
    would be equal from there on.
    """
    return mix(key ^ np.uint64(0x9E3779B97F4A7C15)) | np.uint64(1)


@inlined
def uniform(key: Any, stride: Any, index: Any) -> Any:
    """Return draw ``index`` of a record: a multiple of 2**-53 in [0, 1)."""
    return np.float64(mix(key + stride * np.uint64(index)) >> np.uint64(11)) * 2.0**-53


@inlined
def ends_character(text: Any, start: Any, end: Any, stop: Any) -> Any:
    """Say whether a character that begins at ``start`` ends before ``end``, in a record to ``stop``.

    Of well-formed UTF-8. Of other bytes it is what keeps kernels within their arrays.
    """
    return end == stop or (text[end] & 0xC0) != 0x80 or end - start >= MOST_BYTES


@inlined
def begin_of_character(text: Any, start: Any, end: Any) -> Any:
    """Return where the character begins that ends before ``end``, in a record from ``start``."""
    at = end - ONE
    while at > start and (text[at] & 0xC0) == 0x80 and end - at < MOST_BYTES:
        at -= ONE
    return at


@inlined
def count_of(facts: Any) -> Any:
    """Return how many entries a list has, from its first one's facts, as uint64."""
    return (np.uint64(facts) >> np.uint64(15)) & np.uint64(0x7FFF)


@inlined
def length_of(facts: Any) -> Any:
    """Return the length of an entry's piece, as uint64."""
    return np.uint64(facts) & np.uint64(0x7FFF)


@inlined
def is_single(facts: Any) -> Any:
    """Say whether a list's last piece is a single character, from its first one's facts."""
    return (facts >> np.uint32(30)) != 0


@inlined
def times_power(value: Any, exponent: Any) -> Any:
    """Return value * 2**exponent, or 0 where the power is too small for a float64."""
    if exponent == 0:
        return value
    if exponent < -1022:
        return 0.0
    return value * POWERS[np.uint64(min(exponent, 1023) + 1022)]


@inlined
def difference(left: Any, right: Any) -> Any:
    """Return the difference of two scales that may have wrapped around."""
    return np.int64(np.int32(np.int64(left) - np.int64(right)))


@inlined
def look_up(entries: Any, heads: Any, index: Any) -> Any:
    """Return the first entry of a byte's list and its facts, and fetch the list of a later byte."""
    fetch(entries, np.uint64(heads[min(index + AHEAD, np.uint64(heads.size - 1))]))
    first = np.uint64(heads[index])
    return first, entries[first].facts


@inlined
def put(lattice: Any, at: Any, value: Any, entry: Any, scale: Any) -> None:
    """Fill a position."""
    lattice[at].value = value
    lattice[at].entry = entry
    lattice[at].scale = np.int32(scale)


@part
def rescale(lattice: Any, at: Any, stretch: Any, longest: Any) -> Any:
    """Bring the value at a position to between 1/2 and 1, and all in reach of a piece with it.

    The stretch no longer ``fits`` where a value isn't within LEAST and MOST. Returns by how much the
    scale rose.
    """
    exponent = -math.frexp(lattice[at].value)[1]
    factor = POWERS[np.uint64(exponent + 1022)]
    stretch.moves += 1
    for i in range(at - longest, at + ONE):
        value = lattice[i].value * factor
        lattice[i].value = value
        lattice[i].scale = np.int32(np.int64(lattice[i].scale) + exponent)
        if value != 0.0 and not LEAST <= value <= MOST:
            stretch.fits = False
    return exponent
