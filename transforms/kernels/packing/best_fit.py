"""Best-fit decreasing: pieces into rows, the longest first, each into the row that it fills up best.

As in "Fewer Truncations Improve Language Modeling" (arXiv 2404.10830), where a segment tree over the
room that is left finds the row. Here it is a tree of bits, 64 to a node: bit r says whether some row
has room for r ids, so that the next one from a length on is found in a few steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import first_bit, inlined, kernel

_ONE = np.uint64(1)


@inlined
def _next_room(leaves: Any, nodes: Any, room: Any) -> Any:
    """Return the least room from ``room`` on that some row has, or -1."""
    word = room >> 6
    bits = leaves[word] >> np.uint64(room & 63)
    if bits:
        return room + first_bit(bits)
    word += 1
    node = word >> 6
    bits = nodes[node] >> np.uint64(word & 63)
    if bits:
        word += first_bit(bits)
    else:
        node += 1
        while node < len(nodes) and not nodes[node]:
            node += 1
        if node == len(nodes):
            return -1
        word = (node << 6) + first_bit(nodes[node])
    return (word << 6) + first_bit(leaves[word])


@kernel
def fit(sizes: Any, length: Any) -> tuple[Any, Any]:
    """Find a row for each piece.

    Pieces come in decreasing size, equal ones in their order. Each goes into the row with the least
    room that holds it; of several, into the one that has had this room for longest; where there is
    none, into a new row.

    Args:
        sizes: int64[m], from 1 to ``length``.
        length: of rows.

    Returns:
        int32[m], the row of each piece, counted as they were opened; and how many there are.
    """
    count = len(sizes)
    places = np.zeros(length + 2, np.int64)  # where pieces of each size begin, the longest first
    for i in range(count):
        places[length - sizes[i] + 1] += 1
    for size in range(1, length + 1):
        places[size] += places[size - 1]
    in_turn = np.empty(count, np.int32)
    for i in range(count):
        slot = length - sizes[i]
        in_turn[places[slot]] = i
        places[slot] += 1
    leaves = np.zeros((length >> 6) + 2, np.uint64)
    nodes = np.zeros((len(leaves) >> 6) + 2, np.uint64)
    # rows of the same room stand in a queue
    head, tail = np.empty(length + 1, np.int32), np.empty(length + 1, np.int32)
    behind = np.empty(count, np.int32)
    row_of = np.empty(count, np.int32)
    rows = 0
    for turn in range(count):
        piece = in_turn[turn]
        size = sizes[piece]
        room = _next_room(leaves, nodes, size)
        if room < 0:
            row, room = rows, length
            rows += 1
        else:
            row = int(head[room])
            if row == tail[room]:
                leaves[room >> 6] &= ~(_ONE << np.uint64(room & 63))
                if not leaves[room >> 6]:
                    nodes[room >> 12] &= ~(_ONE << np.uint64((room >> 6) & 63))
            else:
                head[room] = behind[row]
        row_of[piece] = row
        room -= size
        if room:
            bit = _ONE << np.uint64(room & 63)
            if leaves[room >> 6] & bit:
                behind[tail[room]] = row
            else:
                leaves[room >> 6] |= bit
                nodes[room >> 12] |= _ONE << np.uint64((room >> 6) & 63)
                head[room] = row
            tail[room] = row
    return row_of, rows


@kernel
def arrange(row_of: Any, place_of: Any, in_turn: Any) -> tuple[Any, Any]:
    """Lay pieces into rows.

    Args:
        row_of: int32[m], the row of each piece.
        place_of: int64[rows], where each row comes.
        in_turn: int64[m], pieces as they come inside of their rows.

    Returns:
        int64[m], the pieces, row after row; and int64[rows + 1], where rows begin.
    """
    offsets = np.zeros(len(place_of) + 1, np.int64)
    for i in range(len(row_of)):
        offsets[place_of[row_of[i]] + 1] += 1
    for row in range(len(place_of)):
        offsets[row + 1] += offsets[row]
    at = offsets[:-1].copy()
    order = np.empty(len(row_of), np.int64)
    for i in range(len(in_turn)):
        place = place_of[row_of[in_turn[i]]]
        order[at[place]] = in_turn[i]
        at[place] += 1
    return order, offsets
