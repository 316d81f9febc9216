"""Going through JSON lines in a buffer, compiled: one pass, and no object for each line. It takes out
texts, or finds where objects close.

A line that is JSON by RFC 8259 to the letter gives what was asked; of any other line nothing is said,
and whoever asked has to look closer. So what is odd (NaN, halves of surrogate pairs, names with escapes,
many levels) costs time, and never an error of its own kind. UTF-8 is checked on the way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U8, read_only
from transforms.kernels.compiled import (
    copy_block,
    equal_bytes,
    first_bit,
    inlined,
    kernel,
    least_bytes,
    load_word,
    store_word,
)
from transforms.kernels.utf8 import BLOCK, characters_at, size_at, write_character

_WHOLE = BLOCK - 3  # bytes of a block in which nothing stops, less a character that it cuts off
_LEVELS = 60  # of objects and arrays: a bit each in a word

_QUOTE, _BACKSLASH, _MINUS, _COMMA, _COLON = (np.uint8(ord(c)) for c in '"\\-,:')
_OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST = (np.uint8(ord(c)) for c in "{}[]")
_SPACE, _TAB, _NEWLINE, _RETURN = (np.uint8(ord(c)) for c in " \t\n\r")
_U, _0, _1, _9 = (np.uint8(ord(c)) for c in "u019")

_CONTROLS = np.uint8(0x20)  # below which they are

_ONES = np.uint64(0x0101010101010101)
_HIGH = np.uint64(0x8080808080808080)
_QUOTES, _BACKSLASHES = _ONES * np.uint64(_QUOTE), _ONES * np.uint64(_BACKSLASH)
_LEAST, _1U = _ONES * np.uint64(_CONTROLS), np.uint64(1)

_TRUE, _FALSE, _NULL = (np.frombuffer(word, np.uint8) for word in (b"true", b"false", b"null"))
_UNESCAPED = np.zeros(256, np.uint8)  # what stands behind a backslash; 0 for what mustn't
for _sign, _meant in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
    _UNESCAPED[_sign] = _meant
_HEX = np.full(256, 255, np.uint8)
for _place, _sign in enumerate(b"0123456789abcdef"):
    _HEX[_sign] = _HEX[ord(chr(_sign).upper())] = _place


def take_texts(
    values: U8, offsets: I64, *, end: int, field: bytes, scalars: bool = False
) -> tuple[U8, I64, npt.NDArray[np.intp]]:
    r"""Take a field's text out of each of some JSON lines.

    Args:
        values: uint8[size].
        offsets: int64[n + 1], where each line begins, and where the last one's terminator ends.
        end: bytes of a terminator, 0 or 1.
        field: name of the field, at the top of each line's object, in UTF-8.
        scalars: take numbers, true and false, as they stand there, in place of texts.

    Returns:
        uint8[m], the texts; int64[n + 1], where each begins in them, and the last one ends; and the
        places of lines of which nothing is known, whose texts are empty here.

    >>> values = np.frombuffer(b'{"a": "\\u00e9\\n"}\n{"a": NaN}\n', np.uint8)
    >>> texts, offsets, odd = take_texts(values, np.array([0, 18, 29]), end=1, field=b"a")
    >>> texts.tobytes().decode(), offsets.tolist(), odd.tolist()
    ('é\n', [0, 3, 3], [1])
    """
    count = len(offsets) - 1
    texts = np.empty(int(offsets[-1] - offsets[0]) + BLOCK, np.uint8)  # blocks are written whole
    places, odd = np.zeros(count + 1, np.int64), np.zeros(count, np.bool_)
    name = np.frombuffer(field, np.uint8)
    lines, word = (read_only(values), read_only(offsets)), read_only(name)
    _take_texts(*lines, end, word, scalars, texts, places, odd)
    texts.resize(int(places[-1]), refcheck=False)
    return texts, places, np.flatnonzero(odd)


def closings(
    values: U8, offsets: I64, *, end: int, field: bytes
) -> tuple[I64, npt.NDArray[np.intp]]:
    r"""Find where the objects of some JSON lines close, which don't have a field yet.

    Args:
        values, offsets, end, field: as of ``take_texts``.

    Returns:
        int64[n], the place of each line's last brace in ``values``; and the places of lines of which
        nothing is known: what isn't JSON to the letter, or no object, what has the field or may have it.

    >>> values = np.frombuffer(b'{"b": {}} \n{"a": 1}\n', np.uint8)
    >>> found, odd = closings(values, np.array([0, 11, 20]), end=1, field=b"a")
    >>> found[0].item(), odd.tolist()
    (8, [1])
    """
    count = len(offsets) - 1
    longest = int(np.diff(offsets).max(initial=0))
    aside = np.empty(longest + BLOCK, np.uint8)  # blocks are written whole
    places, odd = np.zeros(count, np.int64), np.zeros(count, np.bool_)
    name = np.frombuffer(field, np.uint8)
    _closings(read_only(values), read_only(offsets), end, read_only(name), aside, places, odd)
    return places, np.flatnonzero(odd)


def load() -> None:
    """Load all of it, or compile what wasn't yet."""
    values, offsets = np.frombuffer(b"{}\n", np.uint8), np.array([0, 3])
    take_texts(values, offsets, end=1, field=b"a")
    closings(values, offsets, end=1, field=b"a")


@kernel
def _take_texts(
    values: Any,
    offsets: Any,
    end: Any,
    name: Any,
    scalars: Any,
    texts: Any,
    places: Any,
    odd: Any,
) -> None:
    """Fill texts, places and odd."""
    at = np.int64(0)
    for line in range(len(offsets) - 1):
        begins, ends = offsets[line], offsets[line + 1] - end
        close, stop = _take_text(values, begins, ends, name, scalars, texts, at)
        if close < 0 or stop < 0:
            odd[line] = True
        else:
            at = stop
        places[line + 1] = at


@kernel
def _closings(
    values: Any, offsets: Any, end: Any, name: Any, aside: Any, places: Any, odd: Any
) -> None:
    """Fill places and odd."""
    begin = np.int64(0)
    for line in range(len(offsets) - 1):
        begins, ends = offsets[line], offsets[line + 1] - end
        close, stop = _take_text(values, begins, ends, name, False, aside, begin)
        places[line] = close
        odd[line] = close < 0 or stop >= 0


@inlined
def _take_text(
    values: Any, at: Any, end: Any, name: Any, scalars: Any, texts: Any, begin: Any
) -> Any:
    """Write a line's text to ``texts`` from ``begin`` on; or its number, true or false.

    Returns:
        Where its object closes, -1 where it is odd; and where the text ends in ``texts``, -1 where
        there is none.
    """
    odd = np.int64(-1), np.int64(-1)
    close, stop = odd
    free = begin  # what isn't the text is written behind it, and over again
    at = _skip_space(values, at, end)
    if at >= end or values[at] != _OPEN:
        return odd
    level, objects = 1, _1U  # the lowest bit is that of the innermost level
    at = _skip_space(values, at + 1, end)
    closed = at < end and values[at] == _CLOSE  # what opened last is closed at once
    while True:
        if closed:
            close = at
            at += 1
            level -= 1
            objects >>= _1U
            if level == 0:
                break
        else:
            mine = False
            if objects & _1U:
                if at >= end or values[at] != _QUOTE:
                    return odd
                begins = at + 1
                at, _, escaped = _string(values, begins, end, texts, free)
                if at < 0:
                    return odd
                if level == 1:
                    if escaped:
                        return odd
                    mine = _is_word(values, begins, at - 1, name)
                at = _skip_space(values, at, end)
                if at >= end or values[at] != _COLON:
                    return odd
                at = _skip_space(values, at + 1, end)
            if at >= end:
                return odd
            first = values[at]
            if mine and scalars:
                begins = at
                at = np.int64(-1) if first == _NULL[0] else _scalar(values, at, end)
                free = begin
                for place in range(begins, at):
                    texts[free] = values[place]
                    free += 1
                stop = free
            elif first == _QUOTE:
                # of a name that comes twice the last counts
                at, behind, _ = _string(values, at + 1, end, texts, begin if mine else free)
                if mine:
                    stop = free = behind
            elif mine:
                return odd
            elif first in (_OPEN, _OPEN_LIST):
                if level == _LEVELS:
                    return odd
                level += 1
                objects = (objects << _1U) | (_1U if first == _OPEN else np.uint64(0))
                at = _skip_space(values, at + 1, end)
                if at >= end:
                    return odd
                closed = values[at] == (_CLOSE if first == _OPEN else _CLOSE_LIST)
                continue
            else:
                at = _scalar(values, at, end)
            if at < 0:
                return odd
        # a value has ended
        at = _skip_space(values, at, end)
        if at >= end:
            return odd
        closed = False
        if values[at] == _COMMA:
            at = _skip_space(values, at + 1, end)
        elif values[at] == (_CLOSE if objects & _1U else _CLOSE_LIST):
            closed = True
        else:
            return odd
    at = _skip_space(values, at, end)
    return (close, stop) if at == end else odd


@inlined
def _skip_space(values: Any, at: Any, end: Any) -> Any:
    while at < end and (
        values[at] == _SPACE
        or values[at] == _TAB
        or values[at] == _NEWLINE
        or values[at] == _RETURN
    ):
        at += 1
    return at


@inlined
def _is_word(values: Any, at: Any, end: Any, word: Any) -> Any:
    if end - at != len(word):
        return False
    for i in range(len(word)):
        if values[at + i] != word[i]:
            return False
    return True


@kernel
def _string(values: Any, at: Any, end: Any, texts: Any, to: Any) -> Any:
    """Go through a string from behind its quote, and write what it says to ``texts``.

    There is room: what is written is never longer than what was read.

    Returns:
        Where the line goes on, -1 where the string is odd; where it ends in ``texts``; and whether an
        escape stands in it.
    """
    odd = np.int64(-1), np.int64(-1), False
    last = np.int64(len(values)) - BLOCK
    escaped = False
    if at <= last:  # names are short: a block takes longer than a word
        word = load_word(values, at)
        plain = _plain_in(word)
        if plain < 8 and at + plain < end and values[at + plain] == _QUOTE:
            store_word(texts, to, word)
            return at + plain + 1, to + plain, False
    while at < end:
        if at <= last and values[at] != _BACKSLASH:  # of escapes many may follow each other
            plain = characters_at(values, at, _stops(values, at))
            if plain < 0:
                return odd
            copy_block(texts, to, values, at)
            at += plain
            to += plain
            if plain >= _WHOLE or at >= end:
                continue
        byte = values[at]
        if byte == _QUOTE:
            return at + 1, to, escaped
        if byte == _BACKSLASH:
            escaped = True
            at += 1
            if at >= end:
                return odd
            meant = _UNESCAPED[values[at]]
            if meant:
                texts[to] = meant
                at += 1
                to += 1
                continue
            at, point = _code_point(values, at, end)
            if at < 0:
                return odd
            to = write_character(texts, to, point)
            continue
        if byte < 0x20:
            return odd
        size = size_at(values, at, end)
        if size == 0:
            return odd
        for i in range(size):
            texts[to + i] = values[at + i]
        at += size
        to += size
    return odd


@inlined
def _plain_in(word: Any) -> Any:
    """Return how many bytes of a word are plain text of ASCII, up to the first that isn't."""
    # the lowest bit that is set is that byte's
    special = word | ((word ^ _QUOTES) - _ONES) | ((word ^ _BACKSLASHES) - _ONES)
    return first_bit((special | (word - _LEAST)) & _HIGH) >> 3


@inlined
def _stops(values: Any, at: Any) -> Any:
    """Return a mask of what in a block isn't plain text: quotes, backslashes, controls."""
    marks = equal_bytes(values, at, _QUOTE) | equal_bytes(values, at, _BACKSLASH)
    return marks | ~least_bytes(values, at, _CONTROLS)


@kernel
def _code_point(values: Any, at: Any, end: Any) -> Any:
    """Return where an escape from its u on ends, -1 where it is odd; and the character that it says."""
    odd = np.int64(-1), np.int64(-1)
    if values[at] != _U:
        return odd
    point = _hexadecimal(values, at + 1, end)
    at += 5
    if 0xD800 <= point < 0xE000:  # half of a pair: the other has to follow
        low = np.int64(-1)
        if point < 0xDC00 and at + 1 < end and values[at] == _BACKSLASH and values[at + 1] == _U:
            low = _hexadecimal(values, at + 2, end)
        if low < 0xDC00 or low >= 0xE000:
            return odd
        at += 6
        point = 0x10000 + ((point - 0xD800) << 10) + (low - 0xDC00)
    return (at, point) if point >= 0 else odd


@inlined
def _hexadecimal(values: Any, at: Any, end: Any) -> Any:
    """Return what four hexadecimal digits say, -1 where there are none."""
    if at + 4 > end:
        return np.int64(-1)
    found = np.int64(0)
    for i in range(4):
        digit = _HEX[values[at + i]]
        if digit == 255:
            return np.int64(-1)
        found = (found << 4) | np.int64(digit)
    return found


@inlined
def _scalar(values: Any, at: Any, end: Any) -> Any:
    """Return where a number, true, false or null ends, -1 where there is none."""
    first = values[at]
    if first == _MINUS or (_0 <= first <= _9):
        return _number(values, at, end)
    for word in (_TRUE, _FALSE, _NULL):
        if first == word[0] and _is_word(values, at, min(at + len(word), end), word):
            return at + len(word)
    return np.int64(-1)


@inlined
def _number(values: Any, at: Any, end: Any) -> Any:
    if values[at] == _MINUS:
        at += 1
    if at < end and values[at] == _0:
        at += 1
    else:
        begins = at
        at = _digits(values, at, end)
        if at == begins:
            return np.int64(-1)
    if at < end and values[at] == 0x2E:  # a point
        begins = at + 1
        at = _digits(values, begins, end)
        if at == begins:
            return np.int64(-1)
    if at < end and (values[at] | 0x20) == 0x65:  # e
        at += 1
        if at < end and (values[at] == 0x2B or values[at] == _MINUS):
            at += 1
        begins = at
        at = _digits(values, begins, end)
        if at == begins:
            return np.int64(-1)
    return at


@inlined
def _digits(values: Any, at: Any, end: Any) -> Any:
    while at < end and _0 <= values[at] <= _9:
        at += 1
    return at
