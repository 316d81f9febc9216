"""BPE dropout: the merges of a pre-token, of which each step leaves some out.

The law is Algorithm 1 of Provilkov, Emelianenko and Voita, "BPE-Dropout" (2020, arXiv 1910.13267). A
pre-token begins as its characters (or bytes). At each step its candidates are all places where two
neighbouring symbols merge, in order: by the rank of the merge, those of one rank from the left. Each
candidate is dropped with probability p, independently of all others and of earlier steps; the
first one that remains is applied; where none remains, the pre-token stays as it is.

So a step with m candidates applies the k-th, counted from 0, with probability (1 - p) * p**k, and ends
the pre-token with probability p**m. That is how it is drawn here: one number u in [0, 1) a step, and k
is how many of p, p**2, p**3, … it is below. Draw t of a pre-token is ``uniform`` of its key, which is
made of the record's key and the pre-token's number in its record.

Others differ. subword-nmt applies all places of the chosen pair that weren't dropped in one step.
tokenizers keeps in its queue what earlier merges made impossible, and where such an entry isn't dropped,
all dropped ones get another chance within the step. sentencepiece draws once for each candidate, when it
comes up, and never considers it again unless a neighbour changes; of long words without spaces it
leaves more apart, for here a candidate that was dropped returns as long as the word has others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64, U8, U32, U64, read_only
from transforms.kernels.compiled import kernel, unowning, unowning_part
from transforms.kernels.segmentation.bpe.dropout_steps import merge_long, merge_short
from transforms.kernels.segmentation.bpe.merges import NONE, Merges, look_up, token_of
from transforms.kernels.segmentation.bpe.remembered import (
    LONGEST,
    MOST_BYTES,
    MOST_CHARACTERS,
    PATIENCE,
    claim,
    follow,
    is_there,
    memory,
    place_of,
    remember,
)
from transforms.kernels.segmentation.lattice import mix, stride_of

SHORT = 48
"""Pre-tokens of up to so many symbols (at most 63) are searched whole at every step; longer ones keep a
heap. So ranks are below 2**26."""

_AHEAD = 8
"""How many pre-tokens ahead memory is asked for what is kept of one."""


class Merged(NamedTuple):
    """What pre-tokens came to."""

    ids: U32
    """uint32[k]."""

    offsets: I64
    """int64[s + 1]: pre-token j has ``ids[offsets[j]:offsets[j + 1]]``."""

    failed: int
    """The first pre-token with a character that has no symbol and that nothing stands for, or -1."""


def merge(
    merges: Merges,
    text: U8,
    segments: I64,
    keys: U64,
    *,
    dropout: float,
    short: int = SHORT,
    kept: npt.NDArray[np.void] | None = None,
) -> Merged:
    """Merge pre-tokens.

    Memory: 4 bytes of ids a byte of text (16 where bytes are spelled out), and 40 a symbol of the
    longest pre-token.

    Args:
        merges: what ``build`` gave.
        text: uint8[m]; valid UTF-8, save that a pre-token of four bytes that are a code point from
            0x110000 + i on stands for the id i.
        segments: int64[s + 1], from 0 to m, rising: pre-token j is text[segments[j]:segments[j + 1]].
        keys: uint64[s], of each pre-token's draws.
        dropout: p, 0 to 1.
        short: see ``SHORT``. Never changes the ids.
        kept: what earlier calls left of ``memory``, with the same merges. Never changes the ids.
    """
    lengths = np.diff(segments)
    longest = max(int(lengths.max(initial=1)) + 4, 64)
    room = Room(
        symbols=np.empty(longest, np.uint32),
        ranks=np.empty(longest, np.uint32),
        merged=np.empty(longest, np.uint32),
        before=np.empty(longest, np.int32),
        behind=np.empty(longest, np.int32),
        heap=np.empty(3 * longest, np.uint64),
        aside=np.empty(longest, np.uint64),
        entries=np.empty(64, np.uint32),
        trace=np.empty((64, 3), np.uint32),
        places=np.zeros(_AHEAD, np.uint64),
        kept=memory() if kept is None else kept,
    )
    ids = np.empty(len(text) + 4, np.uint32)
    offsets = np.zeros(len(segments), np.int64)
    failed = _merge_all(
        merges,
        read_only(text, np.uint8),
        read_only(segments, np.int64),
        read_only(keys, np.uint64),
        np.float64(dropout),
        short,
        room,
        ids,
        offsets,
    )
    return Merged(ids[: offsets[-1]], offsets, int(failed))


class Room(NamedTuple):
    """Room for a pre-token's symbols."""

    symbols: Any
    ranks: Any
    merged: Any
    before: Any
    behind: Any
    heap: Any
    aside: Any
    entries: Any
    trace: Any
    places: Any
    kept: Any
    """WORD[2**k]."""


@unowning
def _merge_all(
    m: Any,
    text: Any,
    segments: Any,
    keys: Any,
    p: Any,
    short: Any,
    room: Any,
    ids: Any,
    offsets: Any,
) -> Any:
    free = 0
    longest = MOST_BYTES if m.by_byte else LONGEST
    for j in range(_AHEAD):
        _look_ahead(room, text, segments, j)
    for j in range(segments.size - 1):
        begin, end = segments[j], segments[j + 1]
        offsets[j] = free
        place = room.places[np.uint64(j) & (_AHEAD - 1)]
        _look_ahead(room, text, segments, j + _AHEAD)
        token = token_of(text, begin, end)
        if token != NONE:
            ids[free] = token
            free += 1
            continue
        key = keys[j]
        size = end - begin
        near = 0 < size <= longest and begin + LONGEST <= text.size
        known = False
        if near:
            word = room.kept[place]
            known = is_there(word, text, begin, size)
            if known:
                count = follow(word, key, stride_of(key), p, ids, free)
                if count > 0:
                    word.patience = PATIENCE
                    free += count
                    continue
        count = _begin(m, text, begin, end, room)
        if count < 0:
            return j
        if count == 0:
            continue
        if count > short:
            count = merge_long(m, room, count, key, p)
        else:
            near &= count <= MOST_CHARACTERS
            count, steps = merge_short(m, room, count, key, p)
            if near and (known or claim(room.kept[place], text, begin, size)):
                remember(room.kept[place], room.trace, steps, room.symbols, count)
        for i in range(count):
            ids[free + i] = room.symbols[i]
        free += count
    offsets[segments.size - 1] = free
    return -1


@unowning_part
def _look_ahead(room: Any, text: Any, segments: Any, j: Any) -> None:
    """Find the place of a pre-token that comes later."""
    if j < segments.size - 1:
        begin = segments[j]
        if begin + LONGEST <= text.size:
            size = segments[j + 1] - begin
            room.places[np.uint64(j) & (_AHEAD - 1)] = place_of(room.kept, text, begin, size)


@unowning_part
def _begin(m: Any, text: Any, begin: Any, end: Any, room: Any) -> Any:
    """Lay down a pre-token's first symbols and the merges between them; return how many, or -1."""
    symbols, ranks, merged = room.symbols, room.ranks, room.merged
    if m.by_byte:
        count = end - begin
        for i in range(count):
            symbol = m.symbols[text[begin + i]]
            if symbol == NONE:
                return -1
            symbols[i] = symbol
        for i in range(count - 1):
            index = np.uint64(text[begin + i]) << np.uint64(8) | np.uint64(text[begin + i + 1])
            ranks[i], merged[i] = m.near[index, 0], m.near[index, 1]
        return count
    count, at, after_unknown = 0, begin, False
    before = np.int64(256)  # the code point of the character before, where it is below 256
    while at < end:
        first = text[at]
        size = 1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        size = min(size, end - at)
        point = np.int64(first)
        if size > 1:
            point = point & (0x7F >> size)
            for i in range(1, size):
                point = point << 6 | (np.int64(text[at + i]) & 63)
        symbol = m.symbols[min(point, np.int64(0x10FFFF))]
        unknown = symbol == NONE
        if not unknown:
            symbols[count] = symbol
            if count:
                if before < 256 and point < 256:
                    index = np.uint64(before << 8 | point)
                    ranks[count - 1], merged[count - 1] = m.near[index, 0], m.near[index, 1]
                else:
                    ranks[count - 1], merged[count - 1] = look_up(
                        m.pairs, symbols[count - 1], symbol
                    )
            count += 1
        elif m.byte_symbols.size:
            for i in range(size):
                count = _add(m, room, count, m.byte_symbols[text[at + i]])
        elif m.unknown == NONE:
            return -1
        elif not (m.fused and after_unknown):
            count = _add(m, room, count, m.unknown)
        before = np.int64(256) if unknown else point
        after_unknown = unknown
        at += size
    return count


@unowning_part
def _add(m: Any, room: Any, count: Any, symbol: Any) -> Any:
    """Lay down one more symbol, and the merge with the one before it; return how many there are."""
    room.symbols[count] = symbol
    if count:
        rank, merged = look_up(m.pairs, room.symbols[count - 1], symbol)
        room.ranks[count - 1], room.merged[count - 1] = rank, merged
    return count + 1


@kernel
def pretoken_keys(keys: Any, records: Any) -> Any:
    """Return uint64[s]: each pre-token's key, of its record's and its number in there.

    Args:
        keys: uint64[r].
        records: int64[r + 1]: record i is the pre-tokens records[i] to records[i + 1].
    """
    out = np.empty(records[records.size - 1], np.uint64)
    for i in range(keys.size):
        for j in range(records[i], records[i + 1]):
            out[j] = mix(keys[i] + mix(np.uint64(j - records[i])))
    return out
