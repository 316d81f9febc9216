"""Building an automaton: a trie of the pieces, laid into a double array, and what states fall back to.

All in compiled loops: 80,000 pieces take 0.1 s, against 12 in Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import kernel

STATE = np.dtype([("base", "u4"), ("check", "u4"), ("fail", "u4"), ("ends", "u4")], align=True)
"""A state's child is ``base ^ byte``, if that one's ``check`` is the base; no two states have one base,
save that a state without children has the base of the next shorter suffix that has some. Where there
is no child, ``fail`` is the state to go on from. ``ends`` is where the list of the pieces that end
here begins; 0 is an empty one.

The root has a child for every byte, so that going on ends there: where no piece begins with a byte,
that child is a copy of the root."""

FREE = np.uint32(0)  # the check of a slot without a state; no base is 0
_ROOT_BASE = 256

BLOCK = 4
"""Lists begin at multiples of so many entries, and are filled up to one: a block of them is a line of
a processor's cache, and kernels look at a block's entries without asking how many there are."""

# an entry's facts in 32 bits: its length, how many entries its list has from here on, and whether
# the last of them is a single character
COUNT_SHIFT = np.uint32(15)
SINGLE_SHIFT = np.uint32(30)

FILLING = np.uint32(1)
"""The facts of an entry that only fills up a block: one byte long, no entries left."""

_MOST_TRIES = 256  # free slots looked at for one state's children, before a block is added


@kernel
def build_states(buffer: Any, starts: Any, lengths: Any, order: Any) -> Any:
    """Return STATE[s], uint32[e], uint32[e]: what an Automaton holds.

    Args:
        buffer: uint8[m], the pieces one after another.
        starts: int64[n].
        lengths: int64[n].
        order: int64[n], which piece comes first when they are sorted, which second, and so on.
    """
    parents, labels, terminals = _trie(buffer, starts, lengths, order)
    states, places = _place(parents, labels)
    suffixes = _suffixes(states, places, parents, labels)
    facts, entry_pieces = _list_ends(states, places, suffixes, terminals, buffer, starts, lengths)
    _fall_back(states, places, parents, labels, suffixes)
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
    states, used = np.empty(room, STATE), np.zeros(room, np.bool_)  # used: which bases are taken
    following, previous = np.zeros(room, np.int64), np.zeros(room, np.int64)
    places = np.zeros(nodes, np.int64)
    size = _add_block(states, following, previous, 0)
    size = _add_block(states, following, previous, size)
    used[0] = used[_ROOT_BASE] = True  # base 0 is FREE
    first = _place_below_root(states, following, previous, parents, labels, places)
    for node in range(1, nodes):
        last = first
        while last < nodes and parents[last] == node:
            last += 1
        if first == last:
            continue
        base, tries, slot = -1, 0, following[0]
        while slot and tries < _MOST_TRIES:
            base = slot ^ labels[first]
            if used[base]:
                base = -1
            for child in range(first + 1, last if base >= 0 else first):
                other = base ^ labels[child]
                if states[other].check != FREE or other == 0:
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
                used = np.concatenate((used, np.zeros_like(used)))
            base = size
            size = _add_block(states, following, previous, size)
        states[places[node]].base = base
        used[base] = True
        for child in range(first, last):
            slot = base ^ labels[child]
            states[slot].check = base
            places[child] = slot
            _take(following, previous, slot)
        first = last
    return states[:size].copy(), places


@kernel
def _place_below_root(
    states: Any, following: Any, previous: Any, parents: Any, labels: Any, places: Any
) -> Any:
    """Lay the root's children, and its copies, into a block of their own; return the next node."""
    states[0].base = _ROOT_BASE
    for slot in range(_ROOT_BASE, _ROOT_BASE + 256):
        states[slot].base = states[slot].check = _ROOT_BASE
        _take(following, previous, slot)
    first = 1
    while first < parents.size and parents[first] == 0:
        places[first] = _ROOT_BASE ^ labels[first]
        states[places[first]].base = FREE
        first += 1
    return first


@kernel
def _grown(states: Any) -> Any:
    out = np.empty(2 * states.size, STATE)
    out[: states.size] = states
    return out


@kernel
def _add_block(states: Any, following: Any, previous: Any, size: Any) -> Any:
    """Add 256 free slots at the ring's end."""
    for slot in range(size, size + 256):
        states[slot].base, states[slot].check = 0, FREE
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
def _suffixes(states: Any, places: Any, parents: Any, labels: Any) -> Any:
    """Return int64[nodes]: the longest proper suffix of each node that is a node."""
    nodes = parents.size
    by_place = np.zeros(states.size, np.int64)
    for node in range(nodes):
        by_place[places[node]] = node
    suffixes = np.zeros(nodes, np.int64)
    for node in range(1, nodes):
        at = parents[node]
        while at:
            at = suffixes[at]
            base = states[places[at]].base
            child = np.int64(base) ^ np.int64(labels[node])
            if base != FREE and states[child].check == base:
                suffixes[node] = by_place[child]
                break
    return suffixes


@kernel
def _list_ends(
    states: Any, places: Any, suffixes: Any, terminals: Any, buffer: Any, starts: Any, lengths: Any
) -> Any:
    """Make the lists of pieces that end at each state, and point the states to them.

    A state that is a piece has a list of its own, the piece and then its suffix's list; others share
    their suffix's.
    """
    nodes = places.size
    counts = np.zeros(nodes, np.int64)
    total = BLOCK  # the first ones are the empty list
    for node in range(1, nodes):
        counts[node] = counts[suffixes[node]]
        if terminals[node] >= 0:
            counts[node] += 1
            total += (counts[node] + BLOCK - 1) // BLOCK * BLOCK
    if total > 2**31:
        raise ValueError("too many pieces are suffixes of others")
    facts, entry_pieces = np.full(total, FILLING), np.zeros(total, np.uint32)
    heads = np.zeros(nodes, np.int64)
    at = BLOCK
    for node in range(1, nodes):
        below = heads[suffixes[node]]
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
            at += (counts[node] + BLOCK - 1) // BLOCK * BLOCK
        states[places[node]].ends = heads[node]
    return facts, entry_pieces


@kernel
def _first_character(buffer: Any, start: Any, length: Any) -> Any:
    """Say whether a piece is no longer than the character that its first byte announces."""
    high = buffer[start] >> 4
    announced: Any = 1
    if high >= 12:
        announced = 2 if high < 14 else np.int64(high) - 11
    return announced == length


@kernel
def _fall_back(states: Any, places: Any, parents: Any, labels: Any, suffixes: Any) -> None:
    """Set every state's ``fail``.

    It is the longest suffix that may help: suffixes with no child but those that the state has
    are passed by. A state without children is, from here on, the suffix that it would fall back to.
    """
    nodes = places.size
    children = np.zeros((nodes, 4), np.uint64)
    for node in range(1, nodes):
        byte = np.uint64(labels[node])
        children[parents[node], np.int64(byte >> np.uint64(6))] |= np.uint64(1) << (
            byte & np.uint64(63)
        )
    helps = np.zeros(nodes, np.int64)
    for node in range(1, nodes):
        to: Any = suffixes[node]
        while to:
            new = np.uint64(0)
            for i in range(4):
                new |= children[to, i] & ~children[node, i]
            if new:
                break
            to = helps[to]
        helps[node] = to
        place, other = places[node], places[to]
        if states[place].base == FREE:
            states[place].base, states[place].fail = states[other].base, states[other].fail
        else:
            states[place].fail = other
