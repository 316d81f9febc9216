r"""n-grams of texts to buckets, compiled: the very same as those of scikit-learn's HashingVectorizer.

An n-gram's bucket and sign follow from the hash of its UTF-8 (``murmur``). Where n is at most 4, hashes
of many places are reckoned at once. What has to be equal: ``_VectorizerMixin`` of scikit-learn 1.9,
``feature_extraction/text.py``.
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
from transforms.kernels.likeness.characters import WORD
from transforms.kernels.likeness.murmur import code_of, ended, hash_bytes, taken
from transforms.kernels.likeness.written import step_of
from transforms.kernels.utf8 import point_at

AT_ONCE = 1 << 12
"""Places whose n-grams are hashed at a time."""

_BLANK = 0x20
_0, _BEHIND_9, _A, _BEHIND_Z, _UNDERSCORE = (np.uint8(ord(mark)) for mark in "0:a{_")
_BLOCK = 64  # bytes whose classes are one mask


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
            h = taken(np.uint32(0), np.uint32(low | high), n)
            codes[to + i] = code_of(ended(h, n), mask)
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
            h = taken(np.uint32(0), heads[0, i], length)
            if n > 1:  # four bytes a character at most
                h = taken(h, heads[1, i], length - 4)
            if n > 2:
                h = taken(h, heads[2, i], length - 8)
            if n > 3:
                h = taken(h, heads[3, i], length - 12)
            codes[to + i] = code_of(ended(h, length), mask)
        count += number
    return count


@inlined
def _two(text: Any, at: Any) -> Any:
    """Return two bytes as a uint32, the first the lowest."""
    return np.uint32(
        np.uint32(text[at]) | np.uint32(np.uint32(text[at + np.uint64(1)]) << np.uint32(8))
    )


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
