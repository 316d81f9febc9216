"""Every segmentation of a pre-token into pieces of the vocabulary, equally likely.

From a pre-token's end to its begin it is counted in how many ways what lies behind a place can be
segmented; then it is walked forward, each piece in proportion to the ways behind it. It is the law
``exact`` with all weights 1, for texts so short that what surrounds a text takes longer than the text.

Source: the counts are those of arXiv 2604.16037; the pieces that begin at a place are found in a trie
that lies in the double array of an ``Automaton``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from transforms.kernels import elementary
from transforms.kernels.arrays import F64, I64, U8, U32, U64, read_only
from transforms.kernels.compiled import inlined, kernel, unowning, unowning_part
from transforms.kernels.segmentation.automaton import Automaton
from transforms.kernels.segmentation.bpe.merges import NONE, token_of
from transforms.kernels.segmentation.lattice import stride_of, uniform

NODE = np.dtype([("base", "u4"), ("check", "u4"), ("depth", "u4"), ("id", "u4")], align=True)
"""A state, by the length of its own string, and the id of the piece that it is, or ``NONE``."""

_SCALE = 400
_DOWN = 2.0**-_SCALE
_ONE = np.uint64(1)


class Trie(NamedTuple):
    """A vocabulary, by what its pieces begin with."""

    nodes: Any
    """NODE[s]."""

    characters: bool
    """Whether a character without a piece of its own is an edge."""

    unknown: np.uint32
    """What stands for it; neighbouring ones become one."""

    byte_ids: U32
    """uint32[256]: what it is spelled by instead; or uint32[0]."""


class Drawn(NamedTuple):
    """Segmentations."""

    ids: U32
    """uint32[k]."""

    offsets: I64
    """int64[s + 1]: pre-token j has ``ids[offsets[j]:offsets[j + 1]]``."""

    surprises: F64
    """float64[s]: the logarithm of how many segmentations each has."""

    failed: int
    """The first pre-token that no pieces cover, or -1."""


def build(
    automaton: Automaton, ids: U32, *, unknown: int | None = None, byte_ids: Any = ()
) -> Trie:
    """Build the tables.

    Args:
        automaton: of n pieces.
        ids: uint32[n], of the pieces.
        unknown, byte_ids: what a character without a piece becomes; without both it has no way.
    """
    nodes = np.zeros(len(automaton.states), NODE)
    numbers = np.ascontiguousarray(ids, np.uint32)
    _number(automaton.states, automaton.facts, automaton.entry_pieces, numbers, nodes)
    return Trie(
        nodes=nodes,
        characters=unknown is not None or len(byte_ids) > 0,
        unknown=NONE if unknown is None else np.uint32(unknown),
        byte_ids=np.asarray(byte_ids, np.uint32),
    )


@kernel
def _number(states: Any, facts: Any, entry_pieces: Any, ids: Any, nodes: Any) -> None:
    """Find each state's depth, breadth first: a state without children has the base of a shorter one."""
    for i in range(states.size):
        nodes[i].base, nodes[i].check, nodes[i].id = states[i].base, states[i].check, NONE
    claimed = np.zeros(states.size, np.bool_)
    queue = np.zeros(states.size, np.int64)
    first, last = 0, 1
    while first < last:
        state = queue[first]
        first += 1
        base = np.int64(states[state].base)
        if claimed[base]:
            continue
        claimed[base] = True
        for byte in range(256):
            child = base ^ byte
            if np.int64(states[child].check) != base:
                continue
            nodes[child].depth = nodes[state].depth + 1
            head = states[child].ends
            if head and (facts[head] & 0x7FFF) == nodes[child].depth:
                nodes[child].id = ids[entry_pieces[head]]
            queue[last] = child
            last += 1


def draw(trie: Trie, text: U8, segments: I64, keys: U64) -> Drawn:
    """Draw a segmentation of each pre-token.

    Args:
        trie: what ``build`` gave.
        text: uint8[m], valid UTF-8 where characters may be unknown; save for pre-tokens that stand for
            an id, as of ``dropout.merge``.
        segments: int64[s + 1], from 0 to m, rising: pre-token j is text[segments[j]:segments[j + 1]].
        keys: uint64[s], of each pre-token's draws: draw i is for its i-th piece.
    """
    longest = int(np.diff(segments).max(initial=1)) + 1
    ids = np.empty(len(text) + 1, np.uint32)
    offsets = np.zeros(len(segments), np.int64)
    ways, exponents = np.ones(len(keys)), np.zeros(len(keys), np.int64)
    failed = _draw_all(
        trie,
        read_only(text, np.uint8),
        read_only(segments, np.int64),
        read_only(keys, np.uint64),
        np.empty(longest),
        np.empty(longest, np.int64),
        ids,
        offsets,
        ways,
        exponents,
    )
    surprises = elementary.log(ways) + exponents * _SCALE * elementary.LN2
    return Drawn(ids[: offsets[-1]], offsets, surprises, int(failed))


@unowning
def _draw_all(
    trie: Any,
    text: Any,
    segments: Any,
    keys: Any,
    counts: Any,
    scales: Any,
    ids: Any,
    offsets: Any,
    ways: Any,
    exponents: Any,
) -> Any:
    free = np.int64(0)
    for j in range(segments.size - 1):
        begin, end = segments[j], segments[j + 1]
        offsets[j] = free
        token = token_of(text, begin, end)
        if token != NONE:  # its bytes may be pieces
            ids[free] = token
            free += 1
            continue
        _count(trie, text, begin, end, counts, scales)
        ways[j], exponents[j] = counts[0], scales[0]
        if counts[0] == 0.0:
            return j
        free = _walk(trie, text, begin, end, counts, scales, keys[j], ids, free)
    offsets[segments.size - 1] = free
    return -1


@unowning_part
def _count(trie: Any, text: Any, begin: Any, end: Any, counts: Any, scales: Any) -> None:
    """Count the ways from each place to the end: counts[i] * 2**(400 * scales[i])."""
    nodes = trie.nodes
    size = end - begin
    far = size >= _SCALE  # else a count is below 2**400
    counts[size], scales[size] = 1.0, 0
    scale = np.int64(0)
    for back in range(size):
        i = size - 1 - back
        scales[i] = scale
        if trie.characters and (text[begin + i] & 0xC0) == 0x80 and i > 0:
            counts[i] = 0.0
            continue
        total = 0.0
        single = False
        width = _width(text[begin + i]) if trie.characters else np.int64(0)
        state = np.uint32(0)
        depth = np.uint32(0)
        for place in range(np.uint64(begin + i), np.uint64(end)):
            base = nodes[state].base
            state = base ^ np.uint32(text[place])
            depth += np.uint32(1)
            if nodes[state].check != base or nodes[state].depth != depth:
                break
            if nodes[state].id != NONE:
                after = i + np.int64(depth)
                total += _scaled(counts, scales, after, scale) if far else counts[after]
                single |= np.int64(depth) == width
        if trie.characters and not single:
            after = min(i + width, size)
            total += _scaled(counts, scales, after, scale)
        if total > 2.0**_SCALE:
            total *= _DOWN
            scale += 1
            scales[i] = scale
        counts[i] = total


@inlined
def _width(first: Any) -> Any:
    """Return how many bytes a character has that begins so."""
    return np.int64(1 if first < 0x80 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4)


@inlined
def _scaled(counts: Any, scales: Any, at: Any, scale: Any) -> Any:
    value = counts[at]
    for _ in range(min(scale - scales[at], 3)):
        value *= _DOWN
    return value


@unowning_part
def _walk(
    trie: Any,
    text: Any,
    begin: Any,
    end: Any,
    counts: Any,
    scales: Any,
    key: Any,
    ids: Any,
    free: Any,
) -> Any:
    """Draw one way, and write its ids; return where they end."""
    nodes = trie.nodes
    size = end - begin
    stride = stride_of(key)
    at, index, after_unknown = np.int64(0), np.uint64(0), False
    while at < size:
        goal = uniform(key, stride, index) * counts[at]
        index += _ONE
        scale = scales[at]
        total, single = 0.0, False
        width = _width(text[begin + at]) if trie.characters else np.int64(0)
        chosen, chosen_id = np.int64(0), NONE
        state = np.uint32(0)
        depth = np.uint32(0)
        for place in range(np.uint64(begin + at), np.uint64(end)):
            base = nodes[state].base
            state = base ^ np.uint32(text[place])
            depth += np.uint32(1)
            if nodes[state].check != base or nodes[state].depth != depth:
                break
            if nodes[state].id != NONE:
                more = _scaled(counts, scales, at + np.int64(depth), scale)
                total += more
                single |= np.int64(depth) == width
                if more != 0.0:
                    chosen, chosen_id = np.int64(depth), nodes[state].id
                if total > goal:
                    break
        if not total > goal and trie.characters and not single:
            chosen, chosen_id = min(width, size - at), NONE
        if chosen_id != NONE:
            ids[free] = chosen_id
            free += 1
        elif trie.byte_ids.size:
            for i in range(chosen):
                ids[free] = trie.byte_ids[text[begin + at + i]]
                free += 1
        elif not after_unknown:
            ids[free] = trie.unknown
            free += 1
        after_unknown = chosen_id == NONE
        at += chosen
    return free
