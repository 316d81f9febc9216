r"""Pre-tokens: where the usual rules cut a text, by a scanner instead of a regular expression.

Each rule gives what its regular expression gives in the packages, whose alternatives are tried in
order at every place. A rule cuts each segment by itself, as the steps of a ``Sequence`` do.

Sources: the patterns of GPT-2 (``ByteLevel``), cl100k_base (Llama 3 and Qwen 2: with 3 and 1
digits) and o200k_base, in tiktoken's ``tiktoken_ext/openai_public.py`` and ``tokenizer.json`` files.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import I64, U8, read_only
from transforms.kernels.compiled import inlined, unowning, unowning_part
from transforms.kernels.segmentation.bpe.unicode_classes import (
    LETTER,
    LOWER,
    NUMBER,
    SPACE,
    UPPER,
    classes,
)

GPT2, CL100K, O200K, NUMBERS, WORDS, MARKS = range(6)

_NEVER = 1 << 30
_NEWLINE, _RETURN, _BLANK, _QUOTE, _SLASH = 0x0A, 0x0D, 0x20, 0x27, 0x2F


class Rule(NamedTuple):
    """One way to cut."""

    kind: int
    r"""GPT2, CL100K, O200K: by their patterns. NUMBERS: ``\p{N}`` from all else. WORDS: before each
    U+2581 that follows another character. MARKS: before each U+2581."""

    digits: int = _NEVER
    """How many digits stay together: of CL100K, O200K and NUMBERS."""

    tail: bool = False
    r"""Whether white space at the end is one pre-token (``\s++$`` before ``\s*[\r\n]``): of CL100K as
    tiktoken has it."""


def cut(rule: Rule, text: U8, segments: I64, records: I64) -> tuple[I64, I64]:
    """Cut segments into smaller ones.

    Args:
        rule: how.
        text: uint8[m], valid UTF-8 in each segment.
        segments: int64[s + 1], from 0 to m, rising.
        records: int64[r + 1]: record i is the segments records[i] to records[i + 1].

    Returns:
        segments and records after it.
    """
    out = np.empty(len(text) + 1, np.int64)
    of_records = np.zeros(len(records), np.int64)
    where = read_only(text, np.uint8), read_only(segments, np.int64), read_only(records, np.int64)
    if rule.kind in (WORDS, MARKS):
        count = _cut_at_marks(rule.kind == MARKS, *where, out, of_records)
    elif rule.kind == GPT2:
        count = _cut_as_gpt2(classes(), *where, out, of_records)
    else:
        count = _cut_by_kind(rule.kind, rule.digits, rule.tail, classes(), *where, out, of_records)
    return out[: count + 1], of_records


# three kernels, so that a model waits for no other's scanners to be compiled


@unowning
def _cut_at_marks(
    each: Any, text: Any, segments: Any, records: Any, out: Any, of_records: Any
) -> Any:
    count = 0
    out[0] = 0
    for i in range(records.size - 1):
        for j in range(records[i], records[i + 1]):
            at, end = segments[j], segments[j + 1]
            while at < end:
                at = _marks(text, at, end, each)
                count += 1
                out[count] = at
        of_records[i + 1] = count
    return count


@unowning
def _cut_as_gpt2(
    table: Any, text: Any, segments: Any, records: Any, out: Any, of_records: Any
) -> Any:
    count = 0
    out[0] = 0
    for i in range(records.size - 1):
        for j in range(records[i], records[i + 1]):
            at, end = segments[j], segments[j + 1]
            while at < end:
                at = _gpt2(table, text, at, end)
                count += 1
                out[count] = at
        of_records[i + 1] = count
    return count


@unowning
def _cut_by_kind(
    kind: Any,
    digits: Any,
    tail: Any,
    table: Any,
    text: Any,
    segments: Any,
    records: Any,
    out: Any,
    of_records: Any,
) -> Any:
    count = 0
    out[0] = 0
    for i in range(records.size - 1):
        for j in range(records[i], records[i + 1]):
            at, end = segments[j], segments[j + 1]
            while at < end:
                if kind == CL100K:
                    at = _cl100k(table, text, at, end, digits, tail)
                elif kind == O200K:
                    at = _o200k(table, text, at, end, digits)
                else:
                    at = _numbers(table, text, at, end, digits)
                count += 1
                out[count] = at
        of_records[i + 1] = count
    return count


@inlined
def _read(table: Any, text: Any, at: Any, end: Any) -> Any:
    """Return the classes of the character at a place, and the place behind it."""
    first = text[np.uint64(at)]
    if first < 0x80:
        return table[np.uint64(first)], at + 1
    return _read_long(table, text, at, end)


@unowning_part
def _read_long(table: Any, text: Any, at: Any, end: Any) -> Any:
    first = np.int64(text[at])
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    if at + size > end:
        return np.uint8(0), at + 1
    point = first & (0x7F >> size)
    for i in range(1, size):
        point = point << 6 | (np.int64(text[at + i]) & 63)
    return table[min(point, np.int64(0x10FFFF))], at + size


@inlined
def _run(table: Any, text: Any, at: Any, end: Any, wanted: Any) -> Any:
    """Return where a run of characters of a class ends."""
    while at < end:
        c, after = _read(table, text, at, end)
        if not c & wanted:
            break
        at = after
    return at


@inlined
def _others(table: Any, text: Any, at: Any, end: Any) -> Any:
    r"""Return where a run of ``[^\s\p{L}\p{N}]`` ends."""
    while at < end:
        c, after = _read(table, text, at, end)
        if c & (SPACE | LETTER | NUMBER):
            break
        at = after
    return at


@unowning_part
def _spaces(table: Any, text: Any, at: Any, end: Any, lines: Any, tail: Any) -> Any:
    r"""Return where white space is cut: ``\s*[\r\n]+`` (with ``lines``), ``\s+(?!\S)`` or ``\s+``."""
    last, line, place = at, at, at
    while place < end:
        c, after = _read(table, text, place, end)
        if not c & SPACE:
            break
        if text[place] == _NEWLINE or text[place] == _RETURN:
            line = after
        last, place = place, after
    if tail and place == end:
        return end
    if lines and line > at:
        return line
    if place == end or last == at:
        return place
    return last  # the last one goes with what follows


@unowning_part
def _contraction(text: Any, at: Any, end: Any, any_case: Any) -> Any:
    """Return where 's, 't, 'm, 'd, 're, 've or 'll ends, or ``at``."""
    if at + 1 >= end or text[at] != _QUOTE:
        return at
    one = text[at + 1]
    if any_case and one == 0xC5 and at + 2 < end and text[at + 2] == 0xBF:
        return at + 3  # U+017F is an s to those who ignore case
    if any_case and 0x41 <= one <= 0x5A:
        one |= 0x20
    if one in (0x73, 0x74, 0x6D, 0x64):
        return at + 2
    if at + 2 >= end:
        return at
    two = text[at + 2]
    if any_case and 0x41 <= two <= 0x5A:
        two |= 0x20
    if (two == 0x65 and one in (0x72, 0x76)) or (one == 0x6C and two == 0x6C):
        return at + 3
    return at


@inlined
def _few(table: Any, text: Any, at: Any, end: Any, most: Any) -> Any:
    """Return where a run of numbers ends that is no longer than ``most``."""
    count = 0
    while at < end and count < most:
        c, after = _read(table, text, at, end)
        if not c & NUMBER:
            break
        at = after
        count += 1
    return at


@unowning_part
def _gpt2(table: Any, text: Any, at: Any, end: Any) -> Any:
    r"""``'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+``."""
    found = _contraction(text, at, end, False)
    if found > at:
        return found
    start = at + 1 if text[at] == _BLANK and at + 1 < end else at
    c, after = _read(table, text, start, end)
    if c & LETTER:
        return _run(table, text, after, end, LETTER)
    if c & NUMBER:
        return _run(table, text, after, end, NUMBER)
    if not c & SPACE:
        return _others(table, text, after, end)
    return _spaces(table, text, at, end, False, False)


@unowning_part
def _marked(table: Any, text: Any, at: Any, end: Any, digits: Any, slash: Any, tail: Any) -> Any:
    r"""``\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+``; ``slash``: ``[\r\n/]*``."""
    c, after = _read(table, text, at, end)
    if c & NUMBER:
        return _few(table, text, at, end, digits)
    start = at
    if text[at] == _BLANK and at + 1 < end:
        start = at + 1
        c, after = _read(table, text, start, end)
    if c & (SPACE | LETTER | NUMBER):
        return _spaces(table, text, at, end, True, tail)
    found = _others(table, text, after, end)
    while found < end and (
        text[found] == _NEWLINE or text[found] == _RETURN or (slash and text[found] == _SLASH)
    ):
        found += 1
    return found


@unowning_part
def _cl100k(table: Any, text: Any, at: Any, end: Any, digits: Any, tail: Any) -> Any:
    r"""``(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|``, and what ``_marked`` has."""
    found = _contraction(text, at, end, True)
    if found > at:
        return found
    c, after = _read(table, text, at, end)
    if c & LETTER:
        return _run(table, text, after, end, LETTER)
    if not c & NUMBER and text[at] != _NEWLINE and text[at] != _RETURN:
        found = _run(table, text, after, end, LETTER)
        if found > after:
            return found
    return _marked(table, text, at, end, digits, False, tail)


@unowning_part
def _o200k(table: Any, text: Any, at: Any, end: Any, digits: Any) -> Any:
    r"""``[^\r\n\p{L}\p{N}]?U*V+(?i:'s|…)?|[^\r\n\p{L}\p{N}]?U+V*(?i:'s|…)?|``, and ``_marked``'s.

    U is ``[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]``, V is ``[\p{Ll}\p{Lm}\p{Lo}\p{M}]``.
    """
    c, after = _read(table, text, at, end)
    found = at
    if not c & (LETTER | NUMBER) and text[at] != _NEWLINE and text[at] != _RETURN:
        # a mark is itself of U and V, and the first alternative without it as a prefix comes
        # before the second one with it
        found = _cased(table, text, after, end, c & UPPER)
        found = at if found == after else found
    if found == at and c & (UPPER | LOWER):
        found = _cased(table, text, at, end, False)
    if found > at:
        return _contraction(text, found, end, True)
    return _marked(table, text, at, end, digits, True, False)


@unowning_part
def _cased(table: Any, text: Any, at: Any, end: Any, first: Any) -> Any:
    """Return where ``U*V+`` ends, or else, if not only the ``first`` counts, ``U+V*``, or ``at``."""
    place, both = at, at  # behind the last character that is of U and of V
    while place < end:
        c, after = _read(table, text, place, end)
        if not c & UPPER:
            if c & LOWER:
                return _run(table, text, after, end, LOWER)
            break
        place = after
        if c & LOWER:
            both = after
    # U* gives back until V+ finds one
    return both if both > at or first else place


@unowning_part
def _numbers(table: Any, text: Any, at: Any, end: Any, digits: Any) -> Any:
    """Cut numbers from all else."""
    c, after = _read(table, text, at, end)
    if c & NUMBER:
        return _few(table, text, at, end, digits)
    while after < end:
        c, behind = _read(table, text, after, end)
        if c & NUMBER:
            break
        after = behind
    return after


@unowning_part
def _marks(text: Any, at: Any, end: Any, each: Any) -> Any:
    """Cut before U+2581: before each, or before each that follows another character."""
    marked = not each and _is_mark(text, at, end)
    at += 1
    while at < end:
        here = _is_mark(text, at, end)
        if here and not marked:
            return at
        if not each and (here or (text[at] & 0xC0) != 0x80):
            marked = here
        at += 1
    return end


@inlined
def _is_mark(text: Any, at: Any, end: Any) -> Any:
    return at + 2 < end and text[at] == 0xE2 and text[at + 1] == 0x96 and text[at + 2] == 0x81
