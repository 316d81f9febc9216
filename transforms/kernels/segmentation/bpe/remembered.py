"""What pre-tokens came to under BPE dropout, by how many candidates each step dropped.

A pre-token's merges depend on those numbers alone. So it has a graph: a node is the pre-token as it
is after some steps, its edge k leads to what it becomes where the next step drops k candidates. A
pre-token that comes again is followed through its graph, a draw a step; only where the graph ends is it
merged again, and what that came to is added. Draws aren't kept, and nothing here changes the ids.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.compiled import fetch, load_word, unowning_part
from transforms.kernels.segmentation.lattice import mix, uniform

LONGEST = 40
"""Of how many bytes a pre-token may be that is remembered."""

MOST_CHARACTERS, MOST_BYTES = 24, 14
"""How many symbols it may begin as, at most 32. Of more steps something else is dropped each time."""

_NODES, _IDS, _FANOUT = 24, 44, 3
_WORDS = 1 << 15
PATIENCE = np.uint8(3)

WORD = np.dtype(
    [
        ("word", "u8"),
        ("size", "u1"),
        ("nodes", "u1"),
        ("held", "u1"),
        ("patience", "u1"),
        ("graph", "u1", (8 * _NODES,)),
        ("ids", "u4", (_IDS,)),
        ("gone", "u4", (_NODES,)),
        ("more", "u8", (4,)),
    ],
    align=True,
)
"""A pre-token's bytes and its graph, in eight lines of a processor's cache, of which a short word needs
the first few.

Node i is ``graph[8 * i:]``: its three edges (0: not known); how many candidates it has; and, where the
pre-token ended there, where its ids begin in ``ids``, and how many they are. A bit of ``gone[i]`` for
each of the first symbols says whether it became part of one before it; that says all of the node.
``patience`` is how many other pre-tokens of this place are turned away before one is taken."""

_ONE, _TWO, _THREE, _FOUR, _FIVE = (np.uint64(i) for i in range(1, 6))
_LAST = np.uint64(2**64 - 1)
_ODD = np.uint64(0x9E3779B97F4A7C15)


def memory() -> npt.NDArray[np.void]:
    """Return WORD[2**15], empty: 16 MiB, for one model and one thread."""
    room = np.zeros(_WORDS * WORD.itemsize + 64, np.uint8)
    begin = -room.ctypes.data % 64
    return room[begin : begin + _WORDS * WORD.itemsize].view(WORD)


@unowning_part
def place_of(kept: Any, text: Any, begin: Any, size: Any) -> Any:
    """Return a pre-token's place, by its size, its first bytes and its last ones, and fetch it.

    8 bytes from its begin on have to lie in the text.
    """
    word = load_word(text, begin)
    if size <= 8:
        word &= _LAST >> np.uint64(-8 * size & 63)
    else:
        word += load_word(text, begin + size - 8) * _ODD
    place = mix(word + np.uint64(size)) & np.uint64(kept.size - 1)
    fetch(kept, place)
    return place


@unowning_part
def is_there(word: Any, text: Any, begin: Any, size: Any) -> Any:
    """Say whether a pre-token of up to 40 bytes is the one of a place.

    40 bytes from its begin on have to lie in the text.
    """
    if word.size != size:
        return False
    last = _LAST >> np.uint64(-8 * size & 63)
    if size <= 8:
        return word.word == load_word(text, begin) & last
    same = word.word == load_word(text, begin)
    most = (size - 1) >> 3
    for i in range(1, most):
        same &= word.more[i - 1] == load_word(text, begin + 8 * i)
    return same and word.more[most - 1] == load_word(text, begin + 8 * most) & last


@unowning_part
def follow(word: Any, key: Any, stride: Any, p: Any, ids: Any, free: Any) -> Any:
    """Draw through a graph, and write the ids; return how many, 0 where the graph ends."""
    graph = word.graph
    square, cube = p * p, p * p * p
    at, step = np.uint64(0), np.uint64(0)
    while True:
        candidates = graph[at + _THREE]
        if candidates == 0:
            break
        u = uniform(key, stride, step)
        k = np.uint64(0)
        if u < p:
            k = _ONE if u >= square else _TWO if u >= cube else _THREE
            if k >= candidates:
                break
            if k == _THREE:
                return 0
        following = graph[at + k]
        if following == 0:
            return 0
        at = np.uint64(following) << _THREE
        step += _ONE
    first, count = np.uint64(graph[at + _FOUR]), np.uint64(graph[at + _FIVE])
    to = np.uint64(free)
    for i in range(_FOUR):  # four at once: there is room behind, on both sides
        ids[to + i] = word.ids[first + i]
    for i in range(_FOUR, count):
        ids[to + i] = word.ids[first + i]
    return np.int64(count)


@unowning_part
def remember(word: Any, trace: Any, steps: Any, symbols: Any, count: Any) -> None:
    """Add to a graph what a pre-token came to.

    Args:
        word: WORD.
        trace: uint32[.., 3], of each step how many candidates there were, how many were dropped, and
            which symbols were gone before it; behind the last one too, where none was dropped.
        steps: how many there were.
        symbols, count: what they came to.
    """
    graph = word.graph
    if word.nodes == 0:
        word.nodes, word.gone[0], graph[3] = 1, 0, trace[0, 0]
    node = np.int64(0)
    for step in range(steps):
        k = np.int64(trace[step, 1])
        if k >= _FANOUT:
            return
        following = np.int64(graph[8 * node + k])
        if following == 0:
            following = np.int64(1)
            while following < word.nodes and word.gone[following] != trace[step + 1, 2]:
                following += 1
            if following == word.nodes:
                if following == _NODES:
                    return
                word.nodes = following + 1
                word.gone[following] = trace[step + 1, 2]
                for i in range(8):
                    graph[8 * following + i] = 0
                graph[8 * following + 3] = trace[step + 1, 0]
            graph[8 * node + k] = following
        node = following
    held = np.int64(word.held)
    if graph[8 * node + 5] == 0 and held + max(count, 4) <= _IDS:
        graph[8 * node + 4], graph[8 * node + 5] = held, count
        word.held = held + count
        for i in range(count):
            word.ids[held + i] = symbols[i]


@unowning_part
def claim(word: Any, text: Any, begin: Any, size: Any) -> Any:
    """Say whether a pre-token may be kept in another's place; if so, it is its own from now on."""
    if word.patience > 0:
        word.patience -= np.uint8(1)
        return False
    last = _LAST >> np.uint64(-8 * size & 63)
    most = (size - 1) >> 3
    word.word = load_word(text, begin) & (last if most == 0 else _LAST)
    for i in range(1, most + 1):
        word.more[i - 1] = load_word(text, begin + 8 * i) & (last if i == most else _LAST)
    word.size, word.nodes, word.held, word.patience = size, 0, 0, PATIENCE
    for i in range(8):
        word.graph[i] = 0
    return True
