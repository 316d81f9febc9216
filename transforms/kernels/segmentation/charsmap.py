"""SentencePiece's normalizer, compiled: texts in one buffer to normalized texts in another.

At each place the longest key of the map that begins there is replaced by what it maps to, and where
there is none a character stays. Spaces at both ends go and those that follow each other are one, if the
model says so; the rest are written as U+2581. Agrees with sentencepiece 0.2.3 (``src/normalizer.cc``:
``Normalizer::Normalize``, ``NormalizePrefix``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import I64, U8, U32, read_only
from transforms.kernels.compiled import first_bit, inlined, kernel, load_word, store_word
from transforms.kernels.segmentation.double_array import goes_on, has_more, longest_key
from transforms.kernels.utf8 import size_at

_BMP = 0x10000
_WORD = 8  # bytes that may be written beyond what counts
_SIGN = 3  # bytes of U+2581
_ROOM = 2 * _WORD  # for a word, and a sign behind the text
_NOT_UTF8, _DAMAGED = np.int64(-1), np.int64(-2)
# in the place of a string's place: a character stays as it is; one has to look for a key
_STAYS, _UNKNOWN = np.int64(0xFFFFFFFE), np.int64(0xFFFFFFFF)
_SPACE = np.uint8(0x20)
_ASCII = np.uint8(0x80)
_ONES = np.uint64(0x0101010101010101)
_HIGH, _FIRST_SEEN, _DELETES = (_ONES * np.uint64(byte) for byte in (0x80, 0x21, 0x7F))
_THREE, _IS_THREE = np.uint64(0xC0C0F0), np.uint64(0x8080E0)
_HIGH_HALF, _MIDDLE, _LOW_HALF = np.uint64(0x0F), np.uint64(0x3F00), np.uint64(0x3F0000)
_2, _12, _16 = np.uint64(2), np.uint64(12), np.uint64(16)


class Rules(NamedTuple):
    """How a model normalizes."""

    units: U32
    """uint32[n], the double array; empty where nothing is replaced."""

    strings: U8
    """uint8[m], what keys map to, each with a zero byte behind it, and a zero byte at the end."""

    longest: int
    """Bytes of the longest of them."""

    prefix: bool
    """Whether a space is put before each text."""

    suffix: bool
    """Whether one is put behind it."""

    squeeze: bool
    """Whether spaces at both ends go, and those that follow others."""

    escape: bool
    """Whether spaces become U+2581."""

    ones: U32
    """uint32[128]: where the string of an ASCII character before another one is, STAYS or UNKNOWN."""

    visible: bool
    """Whether all ASCII characters that are seen, from 0x21 to 0x7E, stay before another one."""

    threes: U32
    """uint32[2**16]: the same of characters of three bytes, whatever follows."""


def make_rules(
    charsmap: bytes, *, prefix: bool, suffix: bool, squeeze: bool, escape: bool
) -> Rules | None:
    """Prepare the rules of a model; arguments as of ``Rules``.

    Args:
        charsmap: ``precompiled_charsmap`` of the model's file: four bytes that say how large the double
            array is, that, and the strings. May be empty.

    Returns:
        None where the map isn't one.
    """
    size = int.from_bytes(charsmap[:4], "little")
    strings = charsmap[4 + size :] + b"\0"
    if size % 4 or (charsmap and size >= len(charsmap) - 4):
        return None
    rules = Rules(
        units=np.frombuffer(charsmap, np.dtype("<u4"), size // 4, 4 if charsmap else 0),
        strings=np.frombuffer(strings, np.uint8),
        longest=max(map(len, strings.split(b"\0"))),
        prefix=prefix,
        suffix=suffix,
        squeeze=squeeze,
        escape=escape,
        ones=np.full(128, _UNKNOWN, np.uint32),
        visible=False,
        threes=np.full(_BMP, _UNKNOWN, np.uint32),
    )
    pairs = bytes(sign for first in range(128) for second in range(128) for sign in (first, second))
    threes = "".join([chr(p) for p in range(0x800, _BMP) if not 0xD800 <= p < 0xE000]).encode()
    every = (read_only(np.frombuffer(signs, np.uint8)) for signs in (pairs, threes))
    _look_up_all(read_only(rules.units), rules.ones, rules.threes, *every)
    return rules._replace(
        units=read_only(rules.units),
        strings=read_only(rules.strings),
        ones=read_only(rules.ones),
        threes=read_only(rules.threes),
        visible=bool((rules.ones[0x21:0x7F] == _STAYS).all()),
    )


def normalize(rules: Rules, text: U8, offsets: I64) -> tuple[U8, I64] | None:
    """Normalize records.

    Args:
        rules: of the model.
        text: uint8[m].
        offsets: int64[r + 1], from 0 to m: record i is text[offsets[i]:offsets[i + 1]].

    Returns:
        The same of what they become; None where a record isn't UTF-8, or the map is
        damaged.
    """
    count = len(offsets) - 1
    room = len(text) * 3 // 2 + 2 * _SIGN * count
    out = np.empty(room + rules.longest * _SIGN + _ROOM, np.uint8)
    ends = np.zeros(count + 1, np.int64)
    text, offsets = read_only(text), read_only(offsets)
    done = np.int64(0)
    while True:
        done = _normalize(rules, text, offsets, done, out, ends)
        if done < 0:
            return None
        if done == count:
            out.resize(int(ends[-1]), refcheck=False)
            return out, ends
        larger = np.empty(2 * len(out), np.uint8)
        larger[: ends[done]] = out[: ends[done]]
        out = larger


@kernel
def _normalize(rules: Any, text: Any, offsets: Any, first: Any, out: Any, ends: Any) -> Any:
    """Normalize records from one on; return that for which there is no room, or how many there are."""
    # from there on no room is left for a key
    room = np.int64(len(out)) - rules.longest * _SIGN - _ROOM
    last = np.int64(len(text)) - _WORD
    # taken out of the tuple once: each time would count references to the array
    units, strings, ones, threes = rules.units, rules.strings, rules.ones, rules.threes
    squeeze, escape, visible = rules.squeeze, rules.escape, rules.visible
    for record in range(first, len(offsets) - 1):
        at, end, begin = offsets[record], offsets[record + 1], ends[record]
        to = begin
        if squeeze:
            at = _skip_spaces(units, strings, text, at, end)
        if at == end:
            ends[record + 1] = to
            continue
        if to > room:
            return np.int64(record)
        if rules.prefix:
            to = _put_space(escape, out, to)
        spaced = squeeze  # what stands before ends in a space
        while at < end:
            if to > room:
                return np.int64(record)
            byte = text[at]
            size, place = np.int64(0), _UNKNOWN
            if byte < _ASCII:
                if byte > _SPACE and visible and at <= last:
                    run = min(_visible_run(load_word(text, at)), end - at)
                    if run:
                        store_word(out, to, load_word(text, at))
                        at += run
                        to += run
                        spaced = False
                        continue
                if at + 1 == end or text[at + 1] < _ASCII:
                    size, place = np.int64(1), np.int64(ones[byte])
            elif at <= last:
                word = load_word(text, at)
                if (word & _THREE) == _IS_THREE and at + 3 <= end:
                    size, place = np.int64(3), np.int64(threes[_point_of(word)])
            if place == _UNKNOWN:
                size, place = longest_key(units, text, at, end)
                if size == 0:
                    size, place = np.int64(size_at(text, at, end)), _STAYS
                if size == 0:
                    return _NOT_UTF8
            if place == _STAYS:
                if byte != _SPACE:
                    if at <= last:
                        store_word(out, to, load_word(text, at))
                    else:
                        for i in range(size):
                            out[to + i] = text[at + i]
                    to += size
                    spaced = False
                elif not spaced:
                    to = _put_space(escape, out, to)
                    spaced = squeeze
            else:
                if place >= len(strings):
                    return _DAMAGED
                while spaced and strings[place] == _SPACE:
                    place += 1
                if strings[place]:
                    while strings[place]:
                        if strings[place] == _SPACE:
                            to = _put_space(escape, out, to)
                        else:
                            out[to] = strings[place]
                            to += 1
                        place += 1
                    spaced = squeeze and strings[place - 1] == _SPACE
            at += size
        if squeeze:
            to = _strip(escape, out, begin, to)
        if rules.suffix:
            to = _put_space(escape, out, to)
        ends[record + 1] = to
    return np.int64(len(offsets)) - 1


@inlined
def _visible_run(word: Any) -> Any:
    """Return how many bytes at the begin of a word are seen, and stand before another of ASCII."""
    # the lowest bit that is set is that of the first byte that isn't seen
    other = (word | (word - _FIRST_SEEN) | ((word ^ _DELETES) - _ONES)) & _HIGH
    run = first_bit(other) >> 3
    if run == 8:
        return np.int64(7)
    if run and (word >> np.uint64(8 * run)) & np.uint64(0x80):
        return run - 1
    return run


@inlined
def _point_of(word: Any) -> Any:
    """Return the character of the first three bytes of a word, which are one."""
    point = (word & _HIGH_HALF) << _12
    point |= (word & _MIDDLE) >> _2
    return point | ((word & _LOW_HALF) >> _16)


@inlined
def _skip_spaces(units: Any, strings: Any, text: Any, at: Any, end: Any) -> Any:
    """Go behind characters that become one space each."""
    while at < end:
        size, place = longest_key(units, text, at, end)
        if size == 0:
            if text[at] != _SPACE:
                break
            size = 1
        elif place >= len(strings) or strings[place] != _SPACE or strings[place + 1]:
            break
        at += size
    return at


@inlined
def _put_space(escape: Any, out: Any, to: Any) -> Any:
    if not escape:
        out[to] = _SPACE
        return to + 1
    out[to], out[to + 1], out[to + 2] = 0xE2, 0x96, 0x81
    return to + 3


@inlined
def _strip(escape: Any, out: Any, begin: Any, to: Any) -> Any:
    """Return where a text ends without its last spaces, or without U+2581, which they became."""
    if not escape:
        while to > begin and out[to - 1] == _SPACE:
            to -= 1
        return to
    while to >= begin + 3 and out[to - 3] == 0xE2 and out[to - 2] == 0x96 and out[to - 1] == 0x81:
        to -= 3
    return to


@kernel
def _look_up_all(units: Any, ones: Any, threes: Any, pairs: Any, signs: Any) -> None:
    """Fill ``ones`` and ``threes`` of Rules, by all pairs of ASCII characters and all of three bytes."""
    for byte in range(128):
        at = 256 * byte
        ones[byte] = _alone(units, pairs, at, at + 1)
        for more in range(128):
            if goes_on(units, pairs, at + 2 * more, 2):
                ones[byte] = _UNKNOWN
    for at in range(0, len(signs), 3):
        point = (signs[at] & 15) << 12 | (signs[at + 1] & 63) << 6 | (signs[at + 2] & 63)
        if not has_more(units, signs, at, at + 3):
            threes[point] = _alone(units, signs, at, at + 3)


@inlined
def _alone(units: Any, text: Any, at: Any, end: Any) -> Any:
    """Return where the string of a character is, if it has one."""
    size, place = longest_key(units, text, at, end)
    if size == end - at:
        return place
    return _STAYS if size == 0 else _UNKNOWN
