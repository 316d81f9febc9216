"""What is done to a text before it is cut: spaces marked, a prefix put, added tokens taken out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U8, U32, read_only
from transforms.kernels.compiled import unowning, unowning_part
from transforms.kernels.segmentation.automaton import Automaton
from transforms.kernels.segmentation.bpe.unicode_classes import COMPOSED, classes

MARK = "\u2581".encode()
"""What stands for a space in pieces."""


def rewrite(
    text: U8, offsets: I64, *, prefix: bytes = b"", marked: bool = False, unless: bool = False
) -> tuple[U8, I64]:
    """Put a prefix before each record, and MARK in the place of each space.

    Args:
        text: uint8[m].
        offsets: int64[r + 1]; an empty record stays empty.
        prefix: a space, or MARK.
        marked: whether spaces become MARK.
        unless: leave the prefix out where the record begins with it (once spaces are marked).

    Returns:
        the new text and offsets.
    """
    out = np.empty(len(text) * (len(MARK) if marked else 1) + len(prefix) * len(offsets), np.uint8)
    new = np.zeros(len(offsets), np.int64)
    _rewrite(
        read_only(text, np.uint8),
        read_only(offsets, np.int64),
        read_only(np.frombuffer(prefix, np.uint8), np.uint8),
        marked,
        unless,
        out,
        new,
    )
    return out[: new[-1]], new


@unowning
def _rewrite(
    text: Any, offsets: Any, prefix: Any, marked: Any, unless: Any, out: Any, new: Any
) -> None:
    free = 0
    for i in range(offsets.size - 1):
        begin, end = offsets[i], offsets[i + 1]
        put = begin < end and prefix.size > 0
        if put and unless:
            same = end - begin >= prefix.size
            for j in range(prefix.size if same else 0):
                same &= text[begin + j] == prefix[j]
            put = not same and not (marked and text[begin] == 0x20)
        if put:
            for j in range(prefix.size):
                out[free] = prefix[j]
                free += 1
        for at in range(begin, end):
            byte = text[np.uint64(at)]
            if marked and byte == 0x20:
                out[free], out[free + 1], out[free + 2] = 0xE2, 0x96, 0x81
                free += 3
            else:
                out[np.uint64(free)] = byte
                free += 1
        new[i + 1] = free


def decomposed(text: U8, offsets: I64) -> npt.NDArray[np.bool_]:
    """Say of each record whether it may differ from its NFC. Not of one that holds no mark, no part of
    a Hangul syllable, nothing that has another form, and nothing newer than Unicode 14.

    Args:
        text: uint8[m], valid UTF-8.
        offsets: int64[r + 1].

    Returns:
        bool[r].
    """
    found = np.zeros(len(offsets) - 1, np.bool_)
    _find_without(
        classes(), COMPOSED, read_only(text, np.uint8), read_only(offsets, np.int64), found
    )
    return found


@unowning
def _find_without(table: Any, wanted: Any, text: Any, offsets: Any, found: Any) -> None:
    for i in range(offsets.size - 1):
        at, end = offsets[i], offsets[i + 1]
        while at < end:
            first = np.int64(text[at])
            if first < 0x80:
                at += 1
                continue
            size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
            size = min(size, end - at)
            point = first & (0x7F >> size)
            for j in range(1, size):
                point = point << 6 | (np.int64(text[at + j]) & 63)
            if not table[min(point, np.int64(0x10FFFF))] & wanted:
                found[i] = True
                break
            at += size


def take_out(
    added: Automaton, numbers: U32, text: U8, segments: I64, records: I64
) -> tuple[U8, I64, I64]:
    """Make of each added token a segment of its own: from the left, the longest one first.

    Args:
        added: of the tokens' texts.
        numbers: uint32[n], what each stands for.
        text: uint8[m].
        segments: int64[s + 1], none empty.
        records: int64[r + 1]: record i is the segments records[i] to records[i + 1].

    Returns:
        text, segments and records after it. A token is the four bytes that are the code point
        0x110000 + its number by UTF-8's pattern.
    """
    first = np.zeros(256, np.bool_)
    states = added.states
    base = int(states[0]["base"])
    for byte in range(256):
        first[byte] = states[base ^ byte]["check"] == base and bool(_goes_on(states, base ^ byte))
    most = 4 * len(text) + 1
    out, cut = np.empty(most, np.uint8), np.empty(len(text) + 1, np.int64)
    of_records = np.zeros(len(records), np.int64)
    free, count = _take_out(
        states,
        read_only(added.facts, np.uint32),
        read_only(added.entry_pieces, np.uint32),
        read_only(numbers, np.uint32),
        first,
        read_only(text, np.uint8),
        read_only(segments, np.int64),
        read_only(records, np.int64),
        out,
        cut,
        of_records,
    )
    return out[:free], cut[: count + 1], of_records


def _goes_on(states: Any, state: int) -> bool:
    """Say whether a state is not the copy of the root that a byte has with which no piece begins."""
    return bool(states[state]["base"] != states[0]["base"] or states[state]["ends"] != 0)


@unowning
def _take_out(
    states: Any,
    facts: Any,
    entry_pieces: Any,
    numbers: Any,
    first: Any,
    text: Any,
    segments: Any,
    records: Any,
    out: Any,
    cut: Any,
    of_records: Any,
) -> Any:
    free, count = 0, 0
    cut[0] = 0
    for i in range(records.size - 1):
        for j in range(records[i], records[i + 1]):
            at, end = segments[j], segments[j + 1]
            while at < end:
                size, piece = 0, np.uint32(0)
                if first[text[at]]:
                    size, piece = _longest(states, facts, entry_pieces, text, at, end)
                if size == 0:
                    out[free] = text[at]
                    free += 1
                    at += 1
                    continue
                if free > cut[count]:
                    count += 1
                    cut[count] = free
                point = 0x110000 + np.int64(numbers[piece])
                out[free] = 0xF0 | point >> 18
                for k in range(1, 4):
                    out[free + k] = 0x80 | (point >> (18 - 6 * k)) & 63
                free += 4
                count += 1
                cut[count] = free
                at += size
            if free > cut[count]:
                count += 1
                cut[count] = free
        of_records[i + 1] = count
    return free, count


@unowning_part
def _longest(states: Any, facts: Any, entry_pieces: Any, text: Any, at: Any, end: Any) -> Any:
    """Return the length and number of the longest piece that begins at a place, or 0."""
    state, size, piece = np.uint32(0), 0, np.uint32(0)
    for place in range(at, end):
        base = states[state].base
        child = base ^ np.uint32(text[place])
        if states[child].check != base:
            break
        state = child
        head = states[state].ends
        depth = place + 1 - at
        # the list's first entry is the longest piece that ends here: the way itself, where it is one
        if head and np.int64(facts[head] & 0x7FFF) == depth:
            size, piece = depth, entry_pieces[head]
    return size, piece
