r"""n-grams of texts to buckets, compiled: the very same as those of scikit-learn's HashingVectorizer.

A text is written once as what its n-grams are cut from: in lower case, each stretch of two or more
white spaces as one blank. An n-gram's bucket and sign follow from MurmurHash3 (x86, 32 bits, seed 0)
of its UTF-8. Where a text is ASCII and n at most 4, hashes of many places are reckoned at once.

What has to be equal, of scikit-learn 1.9: ``_VectorizerMixin`` of ``feature_extraction/text.py``,
``feature_extraction/_hashing_fast.pyx``; MurmurHash3 is Austin Appleby's, in the public domain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, load_word, unowning_part
from transforms.kernels.likeness.characters import CASED, IGNORED, LOWER, SPACE, WORD
from transforms.kernels.utf8 import point_at, size_at, write_character

PADDING = 16
"""Bytes that have to lie behind a written text."""
AT_ONCE = 1 << 12
"""Places whose n-grams are hashed at a time."""

_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
_FIVE, _ADDED = np.uint32(5), np.uint32(0xE6546B64)
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_BLANK = 0x20
_STRAY = 0x1A  # the control character for what can't be shown
_DOTTED_I, _DOT_ABOVE = 0x130, 0x307
_SIGMA, _FINAL_SIGMA = 0x3A3, 0x3C2


def room_for(longest: int) -> int:
    """Return the bytes that a written text needs, of one that has so many: some grow in lower case."""
    return longest + longest // 2 + PADDING


@inlined
def _turned(x: Any, by: Any) -> Any:
    """Rotate a uint32 to the left."""
    return np.uint32((x << np.uint32(by)) | (x >> np.uint32(32 - by)))


@inlined
def _mixed(four: Any) -> Any:
    """Return what four bytes, the first the lowest, do to a hash."""
    return np.uint32(_turned(np.uint32(four * _C1), 15) * _C2)


@inlined
def _taken_in(h: Any, four: Any) -> Any:
    """Return a hash that goes on with four more bytes."""
    return np.uint32(_turned(np.uint32(h ^ _mixed(four)), 13) * _FIVE + _ADDED)


@inlined
def _ended(h: Any, size: Any) -> Any:
    """Return the hash of so many bytes, all of which were taken in."""
    h = np.uint32(h ^ np.uint32(size))
    h = np.uint32((h ^ (h >> np.uint32(16))) * _F1)
    h = np.uint32((h ^ (h >> np.uint32(13))) * _F2)
    return np.uint32(h ^ (h >> np.uint32(16)))


@inlined
def hash_bytes(data: Any, begin: Any, end: Any) -> Any:
    """Return the hash, uint32, of data[begin:end]; 8 bytes more have to lie behind."""
    h = np.uint32(0)
    at = begin
    while at + 4 <= end:
        h = _taken_in(h, np.uint32(load_word(data, at)))
        at += 4
    rest = np.uint32(load_word(data, at)) & np.uint32((1 << (8 * (end - at))) - 1)
    return _ended(np.uint32(h ^ _mixed(np.uint32(rest))), end - begin)


@inlined
def code_of(h: Any, mask: Any) -> Any:
    """Return 2 * bucket, and 1 more where the sign is minus: uint32.

    The hash is taken as an int32. The bucket is its absolute value modulo the buckets, whose number is a
    power of two: ``mask`` is one less.
    """
    minus = np.uint32(h >> np.uint32(31))
    size = np.uint32((h ^ np.uint32(-np.int32(minus))) + minus)
    return np.uint32((np.uint32(size & mask) << np.uint32(1)) | minus)


@unowning_part
def write_text(values: Any, begin: Any, end: Any, table: Any, out: Any) -> Any:
    """Write values[begin:end] as what n-grams are cut from.

    A byte that is no UTF-8 counts as the control character U+001A.

    Args:
        values: uint8[...]: texts.
        begin: where this one begins.
        end: where it ends.
        table: ``characters()``.
        out: uint8[room_for(end - begin)] or more.

    Returns:
        Bytes written, and whether they are ASCII alone.
    """
    high = np.uint8(0)
    for at in range(begin, end):
        high |= values[at]
    to, blanks, last = 0, 0, 0
    if high < 0x80:
        for at in range(begin, end):
            found = table[values[at]]
            if found & SPACE:
                if blanks:
                    out[to - 1] = _BLANK
                    continue
                blanks = 1
            else:
                blanks = 0
            out[to] = found & 0x7F
            to += 1
        return to, True
    cased = False  # as a capital sigma sees it
    at = begin
    while at < end:
        size = size_at(values, at, end)
        point = point_at(values, at, size) if size else _STRAY
        at += max(size, 1)
        found = np.int64(table[point])
        if found & SPACE:
            if blanks:
                out[last] = _BLANK
                to = last + 1
                continue
            blanks, last = 1, to
        else:
            blanks = 0
        if point == _SIGMA and cased and _ends_word(values, at, end, table):
            to = write_character(out, to, _FINAL_SIGMA)
        elif point == _DOTTED_I:
            to = write_character(out, write_character(out, to, 0x69), _DOT_ABOVE)
        else:
            to = write_character(out, to, found & LOWER)
        if not found & IGNORED:
            cased = (found & CASED) != 0
    return to, False


@inlined
def _ends_word(values: Any, at: Any, end: Any, table: Any) -> Any:
    """Return whether what follows makes a capital sigma a final one."""
    while at < end:
        size = size_at(values, at, end)
        if size == 0:
            return True
        found = table[point_at(values, at, size)]
        if not found & IGNORED:
            return (found & CASED) == 0
        at += size
    return True


@inlined
def step_of(lead: Any) -> Any:
    """Return the bytes of a character of UTF-8 by its first."""
    if lead < 0x80:
        return 1
    return 2 + (lead >= 0xE0) + (lead >= 0xF0)


@unowning_part
def hash_characters(
    text: Any,
    size: Any,
    plain: Any,
    at: Any,
    shortest: Any,
    longest: Any,
    mask: Any,
    places: Any,
    codes: Any,
) -> Any:
    """Hash the n-grams of characters that begin at the next places of a text.

    Args:
        text: what ``write_text`` wrote.
        size: its bytes.
        plain: whether they are ASCII.
        at: where to go on, below ``size``.
        shortest: characters.
        longest: characters.
        mask: buckets, less one.
        places: int64[AT_ONCE + longest + 1], for what is needed meanwhile.
        codes: uint32[AT_ONCE * (longest - shortest + 1)]: takes the codes (``code_of``): for each n,
            those of all places.

    Returns:
        The number of codes, and where to go on.
    """
    mask = np.uint32(mask)
    count = 0
    if plain and longest <= 4:
        stop = min(size, at + AT_ONCE)
        for n in range(shortest, longest + 1):
            last = min(stop, size - n + 1)
            if n == 1:
                for i in range(at, last):
                    k = np.uint32(text[i])
                    codes[count + i - at] = code_of(_ended(_mixed(k), 1), mask)
            elif n == 2:
                for i in range(at, last):
                    k = np.uint32(
                        np.uint32(text[i]) | np.uint32(np.uint32(text[i + 1]) << np.uint32(8))
                    )
                    codes[count + i - at] = code_of(_ended(_mixed(k), 2), mask)
            elif n == 3:
                for i in range(at, last):
                    k = np.uint32(
                        np.uint32(text[i]) | np.uint32(np.uint32(text[i + 1]) << np.uint32(8))
                    )
                    k = np.uint32(k | np.uint32(np.uint32(text[i + 2]) << np.uint32(16)))
                    codes[count + i - at] = code_of(_ended(_mixed(k), 3), mask)
            else:
                for i in range(at, last):
                    k = np.uint32(
                        np.uint32(text[i]) | np.uint32(np.uint32(text[i + 1]) << np.uint32(8))
                    )
                    k = np.uint32(k | np.uint32(np.uint32(text[i + 2]) << np.uint32(16)))
                    k = np.uint32(k | np.uint32(np.uint32(text[i + 3]) << np.uint32(24)))
                    codes[count + i - at] = code_of(_ended(_taken_in(np.uint32(0), k), 4), mask)
            count += max(last - at, 0)
        return count, stop
    held, place = 0, at
    while held < AT_ONCE + longest and place < size:
        places[held] = place
        place += step_of(text[place])
        held += 1
    places[held] = place  # where the last one ends, or the next begins
    begins = min(held, AT_ONCE)
    for n in range(shortest, longest + 1):
        for i in range(min(begins, held - n + 1)):
            codes[count] = code_of(hash_bytes(text, places[i], places[i + n]), mask)
            count += 1
    return count, places[begins]


@unowning_part
def hash_words(
    text: Any,
    size: Any,
    plain: Any,
    table: Any,
    shortest: Any,
    longest: Any,
    mask: Any,
    state: Any,
    ends: Any,
    codes: Any,
) -> Any:
    r"""Hash the next n-grams of words of a text, which is overwritten: then it has words alone.

    A word is two or more characters of words that no more of them stand beside (``\b\w\w+\b``).

    Args:
        text: what ``write_text`` wrote.
        size: its bytes.
        plain: whether they are ASCII.
        table: ``characters()``.
        shortest: words.
        longest: words.
        mask: buckets, less one.
        state: int64[3 + longest], of zeros when a text begins: where to go on reading, and writing; the
            number of words before; where the last of them begin.
        ends: int64[len(codes), 2]: where each n-gram begins and ends in what is overwritten.
        codes: uint32[...], ``longest`` or more: takes their codes.

    Returns:
        The number of codes; there are more to come where state[0] is below ``size``.
    """
    mask = np.uint32(mask)
    at, to, words = state[0], state[1], state[2]
    count, room = 0, len(codes) - longest
    while at < size and count <= room:
        begin, characters = at, 0
        if plain:
            while at < size and table[text[at]] & WORD:
                at += 1
            characters = at - begin
            behind = at + 1
        else:
            step = 0
            while at < size:
                step = step_of(text[at])
                if not table[point_at(text, at, step)] & WORD:
                    break
                at += step
                characters += 1
            behind = at + step
        if characters >= 2:
            if words:
                text[to] = _BLANK
                to += 1
            state[3 + words % longest] = to
            for i in range(begin, at):
                text[to] = text[i]
                to += 1
            words += 1
            for n in range(shortest, min(longest, words) + 1):
                first = state[3 + (words - n) % longest]
                codes[count] = code_of(hash_bytes(text, first, to), mask)
                ends[count, 0] = first
                ends[count, 1] = to
                count += 1
        at = min(behind, size)
    state[0], state[1], state[2] = at, to, words
    return count
