r"""n-grams of texts to buckets, compiled: the very same as those of scikit-learn's HashingVectorizer.

A text is written once as what its n-grams are cut from: in lower case, each stretch of two or more
white spaces as one blank. An n-gram's bucket and sign follow from MurmurHash3 (x86, 32 bits, seed 0)
of its UTF-8. Where n is at most 4, hashes of many places are reckoned at once.

What has to be equal, of scikit-learn 1.9: ``_VectorizerMixin`` of ``feature_extraction/text.py``,
``feature_extraction/_hashing_fast.pyx``; MurmurHash3 is Austin Appleby's, in the public domain.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import (
    equal_bytes,
    first_bit,
    inlined,
    least_bytes,
    load_word,
    store_word,
    unowning_part,
)
from transforms.kernels.likeness.characters import CASED, IGNORED, LOWER, SPACE, WORD
from transforms.kernels.utf8 import point_at, size_at, write_character

PADDING = 64
"""Bytes that have to lie behind a written text."""
AT_ONCE = 1 << 12
"""Places whose n-grams are hashed at a time."""

_C1, _C2 = np.uint32(0xCC9E2D51), np.uint32(0x1B873593)
_FIVE, _ADDED = np.uint32(5), np.uint32(0xE6546B64)
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_BLANK = 0x20
_0, _BEHIND_9, _A, _BEHIND_Z, _UNDERSCORE = (np.uint8(ord(mark)) for mark in "0:a{_")
_BLOCK = 64  # bytes whose classes are one mask
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
    if high < 0x80:
        return _write_plain(values, begin, end, out), True
    to, blanks, last = 0, 0, 0
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
def _write_plain(values: Any, begin: Any, end: Any, out: Any) -> Any:
    """Write a text of ASCII alone; return its bytes."""
    size = end - begin
    for i in range(size):
        byte = values[begin + i]
        out[i] = np.uint8(byte + (np.uint8(np.uint8(byte - 65) < 26) << np.uint8(5)))
    stretches = np.uint8(0)
    for i in range(size - 1):
        stretches |= np.uint8(_is_white(out[i]) & _is_white(out[i + 1]))
    if not stretches:
        return size
    to, blanks = 0, 0
    for i in range(size):
        byte = out[i]
        if _is_white(byte):
            if blanks:
                out[to - 1] = _BLANK
                continue
            blanks = 1
        else:
            blanks = 0
        out[to] = byte
        to += 1
    return to


@inlined
def _is_white(byte: Any) -> Any:
    r"""Return whether a character of ASCII is of ``\s``."""
    return (np.uint8(byte - 9) < 5) | (np.uint8(byte - 28) < 5)


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
def _taken(h: Any, four: Any, left: Any) -> Any:
    """Return a hash that goes on with the next bytes: four where as many are left, else the rest.

    Without a branch, so that many hashes go on at once.
    """
    left = np.int32(left)
    few = np.uint32(min(max(left, np.int32(0)), np.int32(3)))
    mixed = _mixed(np.uint32(four & np.uint32((np.uint32(1) << np.uint32(8 * few)) - 1)))
    return _taken_in(h, four) if left >= 4 else np.uint32(h ^ mixed)


@inlined
def _two(text: Any, at: Any) -> Any:
    """Return two bytes as a uint32, the first the lowest."""
    return np.uint32(
        np.uint32(text[at]) | np.uint32(np.uint32(text[at + np.uint64(1)]) << np.uint32(8))
    )


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
    heads: Any,
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
        heads: uint32[4, AT_ONCE], the same.
        codes: uint32[AT_ONCE * (longest - shortest + 1)]: takes the codes (``code_of``): for each n,
            those of all places.

    Returns:
        The number of codes, and where to go on.
    """
    mask = np.uint32(mask)
    if plain and longest <= 4:
        stop = min(size, at + AT_ONCE)
        count = _hash_plain(text, size, at, stop, shortest, longest, mask, codes)
        return count, stop
    held, place = 0, at
    while held < AT_ONCE + longest and place < size:
        places[held] = place
        place += step_of(text[place])
        held += 1
    places[held] = place  # where the last one ends, or the next begins
    begins = min(held, AT_ONCE)
    if longest <= 4:
        count = _hash_few(text, begins, held, shortest, longest, mask, places, heads, codes)
        return count, places[begins]
    count = 0
    for n in range(shortest, longest + 1):
        for i in range(min(begins, held - n + 1)):
            codes[count] = code_of(hash_bytes(text, places[i], places[i + n]), mask)
            count += 1
    return count, places[begins]


@inlined
def _hash_plain(
    text: Any,
    size: Any,
    at: Any,
    stop: Any,
    shortest: Any,
    longest: Any,
    mask: Any,
    codes: Any,
) -> Any:
    """Hash the n-grams, up to 4, that begin from ``at`` on and before ``stop``, of a text of ASCII."""
    count = 0
    for n in range(shortest, longest + 1):
        number = max(min(stop, size - n + 1) - at, 0)
        # unsigned: else a place might be meant from the end, and nothing is done at once
        first, to = np.uint64(at), np.uint64(count)
        for i in range(np.uint64(number)):
            low = _two(text, first + i)
            high = np.uint32(_two(text, first + i + np.uint64(2)) << np.uint32(16))
            h = _taken(np.uint32(0), np.uint32(low | high), n)
            codes[to + i] = code_of(_ended(h, n), mask)
        count += number
    return count


@inlined
def _hash_few(
    text: Any,
    begins: Any,
    held: Any,
    shortest: Any,
    longest: Any,
    mask: Any,
    places: Any,
    heads: Any,
    codes: Any,
) -> Any:
    """Hash the n-grams, up to 4, that begin at the first places, of which more are known."""
    for i in range(begins):
        low, high = load_word(text, places[i]), load_word(text, places[i] + 8)
        heads[0, i], heads[1, i] = np.uint32(low), np.uint32(low >> np.uint64(32))
        heads[2, i], heads[3, i] = np.uint32(high), np.uint32(high >> np.uint64(32))
    count = 0
    for n in range(shortest, longest + 1):
        number = max(min(begins, held - n + 1), 0)
        to, behind = np.uint64(count), np.uint64(n)
        for i in range(np.uint64(number)):
            length = np.int32(places[i + behind] - places[i])
            h = _taken(np.uint32(0), heads[0, i], length)
            if n > 1:  # four bytes a character at most
                h = _taken(h, heads[1, i], length - 4)
            if n > 2:
                h = _taken(h, heads[2, i], length - 8)
            if n > 3:
                h = _taken(h, heads[3, i], length - 12)
            codes[to + i] = code_of(_ended(h, length), mask)
        count += number
    return count


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
    words: Any,
    ends: Any,
    codes: Any,
) -> Any:
    r"""Hash the next n-grams of words of a text.

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
        words: uint8[len(text)]: takes the words, a blank between two.
        ends: int64[len(codes), 2]: where each n-gram begins and ends there.
        codes: uint32[...], ``longest`` or more: takes their codes.

    Returns:
        The number of codes; there are more to come where state[0] is below ``size``.
    """
    mask = np.uint32(mask)
    at, to, number = state[0], state[1], state[2]
    count, room = 0, len(codes) - longest
    block, marks = at - _BLOCK, np.uint64(0)
    while at < size and count <= room:
        if plain:
            begin, at, block, marks = _next_plain(text, at, size, block, marks)
            if at - begin < 2:
                continue
        else:
            begin, behind, characters = at, at, 0
            while behind < size:
                step = step_of(text[behind])
                if not table[point_at(text, behind, step)] & WORD:
                    break
                behind += step
                characters += 1
            at = behind
            if behind < size:
                at += step_of(text[behind])
            if characters < 2:
                continue
        if number:
            words[to] = _BLANK
            to += 1
        state[3 + number % longest] = to
        length = (at if plain else behind) - begin
        for i in range(0, length, 8):
            store_word(words, to + i, load_word(text, begin + i))
        to += length
        number += 1
        for n in range(shortest, min(longest, number) + 1):
            first = state[3 + (number - n) % longest]
            codes[count] = code_of(hash_bytes(words, first, to), mask)
            ends[count, 0] = first
            ends[count, 1] = to
            count += 1
    state[0], state[1], state[2] = at, to, number
    return count


@inlined
def _next_plain(text: Any, at: Any, size: Any, block: Any, marks: Any) -> Any:
    """Find the next characters of words that stand together in a text of ASCII.

    Args:
        block: from which byte on ``marks`` are known: a bit for each byte that is such a character.

    Returns:
        Where they begin and end, the text's end twice where there are none; and what is known now.
    """
    begin = size
    inside = np.uint64(0)  # all bits are set once they have begun
    while at < size:
        if at - block >= _BLOCK:
            block, marks = at, _marks(text, at)
        rest = (marks ^ inside) >> np.uint64(at - block)
        if rest == 0:
            at = block + _BLOCK
            continue
        at += first_bit(rest)
        if inside:
            break
        begin = min(at, size)
        inside = ~inside
    return begin, min(at, size), block, marks


@inlined
def _marks(text: Any, at: Any) -> Any:
    """Return a bit for each of 64 bytes in lower case that is a character of words."""
    digits = least_bytes(text, at, _0) & ~least_bytes(text, at, _BEHIND_9)
    letters = least_bytes(text, at, _A) & ~least_bytes(text, at, _BEHIND_Z)
    return digits | letters | equal_bytes(text, at, _UNDERSCORE)
