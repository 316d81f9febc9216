"""The steps of BPE dropout inside of one pre-token: two ways to find candidates, of one law.

See ``dropout`` for the law, and for ``Room``, which holds a pre-token's symbols and the merges between
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, unowning_part
from transforms.kernels.segmentation.bpe.merges import NONE, look_up
from transforms.kernels.segmentation.lattice import stride_of, uniform

_ONE = np.uint64(1)
_PLACE_BITS = np.uint32(6)
_PLACE = np.uint32(63)


@inlined
def _dropped(key: Any, stride: Any, step: Any, p: Any, most: Any) -> Any:
    """Draw how many candidates in a row are dropped, ``most`` for that many or more."""
    u = uniform(key, stride, step)
    power, k = p, 0
    while u < power and k < most:
        power *= p
        k += 1
    return k


@unowning_part
def merge_short(m: Any, room: Any, count: Any, key: Any, p: Any) -> Any:
    """Merge by looking at all candidates at every step.

    Returns how many symbols remain, and how many steps there were; ``room.trace`` has how many
    candidates each step had, how many it dropped, and which symbols were gone before.
    """
    symbols, merged, behind, before = room.symbols, room.merged, room.behind, room.before
    entries, trace = room.entries, room.trace
    lanes = np.uint64((count + 7) & -8)
    candidates = np.int64(0)
    for i in range(np.uint64(count)):
        behind[i], before[i] = i + _ONE, i - _ONE
    for i in range(np.uint64(count - 1)):
        entries[i] = _short_entry(room.ranks[i], np.uint32(i))
        candidates += room.ranks[i] != NONE
    for i in range(np.uint64(count - 1), lanes):
        entries[i] = NONE
    beyond = np.uint64(63)
    before[0], symbols[np.uint64(count)], symbols[beyond] = beyond, NONE, NONE
    entries[beyond] = NONE
    stride = stride_of(key)
    step = np.uint64(0)
    gone = np.uint32(0)
    best = _least(entries, lanes)
    while True:
        trace[step, 0], trace[step, 2] = candidates, gone
        if candidates == 0:
            break
        k = _dropped(key, stride, step, p, candidates)
        if k == candidates:
            break
        trace[step, 1] = k
        for _ in range(k):
            following = NONE
            for i in range(lanes):
                following = min(following, entries[i] if entries[i] > best else NONE)
            best = following
        step += _ONE
        where = np.uint64(best & _PLACE)
        right = np.uint64(behind[where])
        after = np.uint64(behind[right])
        left = np.uint64(before[where])
        gone |= np.uint32(_ONE << right)
        symbol = merged[where]
        symbols[where] = symbol
        behind[where] = after
        # beyond both ends lies what merges with nothing: so there is no end to guess
        before[after] = where
        candidates -= 1 + np.int64(entries[right] != NONE) + np.int64(entries[left] != NONE)
        entries[right] = entries[where] = entries[left] = NONE
        # the processor looks through what stays while it waits for what is new
        best = _least(entries, lanes)
        rank, merged[where] = look_up(m.pairs, symbol, symbols[after])
        entry = _short_entry(rank, np.uint32(where))
        entries[where] = entry
        best = min(best, entry)
        candidates += rank != NONE
        rank, merged[left] = look_up(m.pairs, symbols[left], symbol)
        entry = _short_entry(rank, np.uint32(left))
        entries[left] = entry
        best = min(best, entry)
        candidates += rank != NONE
    return _gather(symbols, behind, count), np.int64(step)


@inlined
def _gather(symbols: Any, behind: Any, count: Any) -> Any:
    """Bring the symbols that remain together; return how many they are."""
    at, remain = np.uint64(0), 0
    while at < np.uint64(count):
        symbols[remain] = symbols[at]
        remain += 1
        at = np.uint64(behind[at])
    return remain


@inlined
def _least(entries: Any, lanes: Any) -> Any:
    least = NONE
    for i in range(lanes):
        least = min(least, entries[i])
    return least


@unowning_part
def merge_long(m: Any, room: Any, count: Any, key: Any, p: Any) -> Any:
    """Do what ``merge_short`` does, with a heap of candidates and a list of symbols."""
    symbols, ranks, merged = room.symbols, room.ranks, room.merged
    before, behind, heap, aside = room.before, room.behind, room.heap, room.aside
    stride = stride_of(key)
    size = 0
    for i in range(count):
        before[i], behind[i] = i - 1, i + 1
    behind[count - 1] = -1
    ranks[count - 1] = NONE
    for i in range(count - 1):
        if ranks[i] != NONE:
            size = _push(heap, size, _entry(ranks[i], i))
    step = np.uint64(0)
    while True:
        k = -1  # not drawn: where there is no candidate, nothing is
        kept = 0
        chosen: Any = -1
        while size:
            entry = heap[0]
            size = _pop(heap, size)
            where = np.int64(entry & np.uint64(0xFFFFFFFF))
            stale = ranks[where] != np.uint32(entry >> np.uint64(32))
            if stale or (kept and aside[kept - 1] == entry):  # or it is there twice
                continue
            if k < 0:
                k = _dropped(key, stride, step, p, count)
            if kept == k:
                chosen = where
                break
            aside[kept] = entry
            kept += 1
        if chosen < 0:
            break
        step += _ONE
        for i in range(kept):
            size = _push(heap, size, aside[i])
        right = np.int64(behind[chosen])
        after = np.int64(behind[right])
        symbols[chosen] = merged[chosen]
        behind[chosen] = after
        ranks[right] = NONE
        ranks[chosen] = NONE
        if after >= 0:
            before[after] = chosen
            size = _renew(m, room, chosen, after, size)
        left = np.int64(before[chosen])
        if left >= 0:
            size = _renew(m, room, left, chosen, size)
    at, left_over = np.int64(0), 0
    while at >= 0:
        symbols[left_over] = symbols[at]
        left_over += 1
        at = np.int64(behind[at])
    return left_over


@unowning_part
def _renew(m: Any, room: Any, left: Any, right: Any, size: Any) -> Any:
    """Look up the merge of two symbols that have become neighbours; return the heap's new size."""
    rank, merged = look_up(m.pairs, room.symbols[left], room.symbols[right])
    room.ranks[left], room.merged[left] = rank, merged
    return size if rank == NONE else _push(room.heap, size, _entry(rank, left))


@inlined
def _short_entry(rank: Any, place: Any) -> Any:
    return NONE if rank == NONE else rank << _PLACE_BITS | place


@inlined
def _entry(rank: Any, where: Any) -> Any:
    return np.uint64(rank) << np.uint64(32) | np.uint64(where)


@unowning_part
def _push(heap: Any, size: Any, entry: Any) -> Any:
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if heap[parent] <= entry:
            break
        heap[at] = heap[parent]
        at = parent
    heap[at] = entry
    return size + 1


@unowning_part
def _pop(heap: Any, size: Any) -> Any:
    size -= 1
    entry = heap[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and heap[child + 1] < heap[child]:
            child += 1
        if heap[child] >= entry:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = entry
    return size
