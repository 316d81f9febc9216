"""Which pieces of a vocabulary end at each byte of a text: an Aho-Corasick automaton.

Reading a byte moves the automaton to the longest suffix of the text that begins some piece. All
pieces that end there follow from that suffix, so each state points to one list of them, longest
first: the order in which both reference implementations meet their candidates. A trie walked from
every byte would find the same pieces by where they begin, with more steps (5.3 a byte of English
against 1.5) and not in that order.

Memory is 16 bytes a state and 16 a list's entry: about 8 MB for 80,000 pieces.

Source: Aho and Corasick, "Efficient string matching" (1975); the states lie in a double array (Aoe,
1989; ``base ^ byte`` as in darts-clone, so that a state's children share a block of 256).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.compiled import inlined, kernel

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

LONGEST_PIECE = 2**15 - 1

STATE = np.dtype([("base", "u4"), ("check", "u4"), ("fail", "u4"), ("ends", "u4")], align=True)
"""``base ^ byte`` is the child, if its ``check`` is the parent; where there is none, go on from
``fail``. ``ends`` is where the list of the pieces that end here begins; 0 is an empty one."""

NO_STATE = np.uint32(2**32 - 1)

# an entry's facts in 32 bits: its length, how many entries its list has from here on, and whether
# the last of them is a single character
LENGTH_BITS = np.uint32(2**15 - 1)
COUNT_SHIFT = np.uint32(15)
COUNT_BITS = np.uint32(2**15 - 1)
SINGLE_SHIFT = np.uint32(30)

_MOST_TRIES = 256  # free slots looked at for one state's children, before a block is added


@dataclass(frozen=True, kw_only=True)
class Automaton:
    """The states, and the lists of the pieces that end at them."""

    states: npt.NDArray[np.void]
    """STATE[s], s a multiple of 256; the root is 0."""

    facts: U32
    """uint32[e], the lists one after another, longest piece first; see ``LENGTH_BITS``."""

    entry_pieces: U32
    """uint32[e], which piece each entry is."""

    lengths: I64
    """int64[n], of each piece in bytes."""

    longest: int
    """The length of the longest piece."""


def build(pieces: Sequence[bytes]) -> Automaton:
    """Build the automaton of some pieces.

    Args:
        pieces: n distinct byte strings of 1 to ``LONGEST_PIECE`` bytes.

    Raises:
        ValueError: there are none, one is empty or too long, or two are equal.

    >>> automaton = build([b"a", b"aa"])
    >>> automaton.entry_pieces.tolist()  # nothing; a; aa and a
    [0, 0, 1, 0]
    """
    lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
    if not len(pieces):
        raise ValueError("expected at least one piece, got none")
    for wrong in np.flatnonzero((lengths < 1) | (lengths > LONGEST_PIECE)).tolist():
        raise ValueError(
            f"piece {wrong}: expected 1 to {LONGEST_PIECE} bytes, got {lengths[wrong]}"
        )
    order = sorted(range(len(pieces)), key=pieces.__getitem__)
    for left, right in itertools.pairwise(order):
        if pieces[left] == pieces[right]:
            raise ValueError(f"pieces {left} and {right} are equal: {pieces[left]!r}")
    buffer = np.frombuffer(b"".join(pieces), np.uint8)
    starts = np.cumsum(lengths) - lengths
    states, facts, entry_pieces = _build(buffer, starts, lengths, np.array(order, np.int64))
    return Automaton(
        states=states,
        facts=facts,
        entry_pieces=entry_pieces,
        lengths=lengths,
        longest=int(lengths.max()),
    )


@inlined
def step(states: Any, state: Any, byte: Any) -> Any:
    """Return the state after one more byte, as uint64."""
    at = np.uint64(state)  # numba makes a float of a signed and an unsigned integer
    while True:
        child = np.uint64(states[at].base) ^ np.uint64(byte)
        if np.uint64(states[child].check) == at:
            return child
        if at == 0:
            return at
        at = np.uint64(states[at].fail)


@kernel
def _build(buffer: Any, starts: Any, lengths: Any, order: Any) -> Any:
    parents, labels, terminals = _trie(buffer, starts, lengths, order)
    states, places = _place(parents, labels)
    fails = _fail(states, places, parents, labels)
    facts, entry_pieces = _list_ends(states, places, fails, terminals, buffer, starts, lengths)
    _skip(states, places, parents, labels, fails)
    return states, facts, entry_pieces


@kernel
def _trie(buffer: Any, starts: Any, lengths: Any, order: Any) -> Any:
    """Return parent, byte and piece (-1 for none) of every node, breadth first, the root first.

    Sorted, the pieces below a node are a range, and its children are the range's parts.
    """
    most = 1 + lengths.sum()
    parents, labels = np.zeros(most, np.int64), np.zeros(most, np.uint8)
    terminals = np.full(most, -1, np.int64)
    begins, ends, depths = (
        np.zeros(most, np.int64),
        np.zeros(most, np.int64),
        np.zeros(most, np.int64),
    )
    ends[0] = order.size
    count = 1
    node = 0
    while node < count:
        at, depth = begins[node], depths[node]
        if lengths[order[at]] == depth:
            terminals[node] = order[at]
            at += 1
        while at < ends[node]:
            byte = buffer[starts[order[at]] + depth]
            parents[count], labels[count], depths[count] = node, byte, depth + 1
            begins[count] = at
            while at < ends[node] and buffer[starts[order[at]] + depth] == byte:
                at += 1
            ends[count] = at
            count += 1
        node += 1
    return parents[:count], labels[:count], terminals[:count]


@kernel
def _place(parents: Any, labels: Any) -> Any:
    """Lay the nodes into a double array; return its states and int64[nodes], where each went.

    Breadth first, so that the states nearest to the root, which texts visit most, lie together. The
    free slots are a ring, in which slot 0 stands for its own end and is the root.
    """
    nodes = parents.size
    room = (nodes // 256 + 2) * 512
    states = np.empty(room, STATE)
    following, previous = np.zeros(room, np.int64), np.zeros(room, np.int64)
    places = np.zeros(nodes, np.int64)
    size = _add_block(states, following, previous, 0)
    first = 1  # of the node's children
    for node in range(nodes):
        last = first
        while last < nodes and parents[last] == node:
            last += 1
        if first == last:
            continue
        base, tries, slot = -1, 0, following[0]
        while slot and tries < _MOST_TRIES:
            base = slot ^ labels[first]
            for child in range(first + 1, last):
                if states[base ^ labels[child]].check != NO_STATE or base ^ labels[child] == 0:
                    base = -1
                    break
            if base >= 0:
                break
            slot = following[slot]
            tries += 1
        if base < 0:
            if size + 256 > states.size:
                states = _grown(states)
                following = np.concatenate((following, np.zeros_like(following)))
                previous = np.concatenate((previous, np.zeros_like(previous)))
            base = size
            size = _add_block(states, following, previous, size)
        states[places[node]].base = base
        for child in range(first, last):
            slot = base ^ labels[child]
            states[slot].check = places[node]
            places[child] = slot
            _take(following, previous, slot)
        first = last
    return states[:size].copy(), places


@kernel
def _grown(states: Any) -> Any:
    out = np.empty(2 * states.size, STATE)
    out[: states.size] = states
    return out


@kernel
def _add_block(states: Any, following: Any, previous: Any, size: Any) -> Any:
    """Add 256 free slots at the ring's end."""
    for slot in range(size, size + 256):
        states[slot].base, states[slot].check = 0, NO_STATE
        states[slot].fail, states[slot].ends = 0, 0
        last = previous[0]
        following[last], previous[slot] = slot, last
        following[slot], previous[0] = 0, slot
    return size + 256


@kernel
def _take(following: Any, previous: Any, slot: Any) -> None:
    following[previous[slot]] = following[slot]
    previous[following[slot]] = previous[slot]


@kernel
def _fail(states: Any, places: Any, parents: Any, labels: Any) -> Any:
    """Set every state's ``fail``, its longest proper suffix that is a state; return it by node."""
    nodes = parents.size
    by_place = np.zeros(states.size, np.int64)
    for node in range(nodes):
        by_place[places[node]] = node
    fails = np.zeros(nodes, np.int64)
    for node in range(1, nodes):
        if parents[node]:
            found = step(states, states[places[parents[node]]].fail, labels[node])
            states[places[node]].fail = found
            fails[node] = by_place[np.int64(found)]
    return fails


@kernel
def _list_ends(
    states: Any, places: Any, fails: Any, terminals: Any, buffer: Any, starts: Any, lengths: Any
) -> Any:
    """Make the lists of pieces that end at each state, and point the states to them.

    A state that is a piece has a list of its own, the piece and then the list of its ``fail``;
    others share the one of their ``fail``.
    """
    nodes = places.size
    counts = np.zeros(nodes, np.int64)
    total = 1  # entry 0 is the empty list
    for node in range(1, nodes):
        counts[node] = counts[fails[node]]
        if terminals[node] >= 0:
            counts[node] += 1
            total += counts[node]
    if total > 2**31:
        raise ValueError("too many pieces are suffixes of others")
    facts, entry_pieces = np.zeros(total, np.uint32), np.zeros(total, np.uint32)
    heads = np.zeros(nodes, np.int64)
    at = 1
    for node in range(1, nodes):
        below = heads[fails[node]]
        if terminals[node] < 0:
            heads[node] = below
        else:
            heads[node], piece = at, terminals[node]
            if counts[node] > 1:
                single = facts[below] >> SINGLE_SHIFT
            else:
                single = np.uint32(_first_character(buffer, starts[piece], lengths[piece]))
            facts[at] = (
                np.uint32(lengths[piece])
                | (np.uint32(counts[node]) << COUNT_SHIFT)
                | (single << SINGLE_SHIFT)
            )
            entry_pieces[at] = piece
            for i in range(counts[node] - 1):
                facts[at + 1 + i] = facts[below + i]
                entry_pieces[at + 1 + i] = entry_pieces[below + i]
            at += counts[node]
        states[places[node]].ends = heads[node]
    return facts, entry_pieces


@kernel
def _first_character(buffer: Any, start: Any, length: Any) -> Any:
    """Say whether a piece is no longer than the character that its first byte announces."""
    high = buffer[start] >> 4
    announced = 1
    if high >= 12:
        announced = 2 if high < 14 else np.int64(high) - 11
    return announced == length


@kernel
def _skip(states: Any, places: Any, parents: Any, labels: Any, fails: Any) -> None:
    """Let ``fail`` pass by the states that can't help: those with no child but the state's own.

    The lists were made before, from every suffix.
    """
    nodes = places.size
    children = np.zeros((nodes, 4), np.uint64)
    for node in range(1, nodes):
        byte = np.uint64(labels[node])
        children[parents[node], np.int64(byte >> np.uint64(6))] |= np.uint64(1) << (
            byte & np.uint64(63)
        )
    for node in range(1, nodes):
        to: Any = fails[node]
        while to:
            new = np.uint64(0)
            for i in range(4):
                new |= children[to, i] & ~children[node, i]
            if new:
                break
            to = fails[to]
        fails[node] = to
        states[places[node]].fail = places[to]
