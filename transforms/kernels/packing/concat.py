"""Streams joined and cut into rows: the law, and the loops that follow it.

A row has room for L ids. A document's stream, or what is left of it, goes into the row whole where it
fits. Where it doesn't, so much of it does as there is room for, and the row is full. With an end at
cuts it is one id less, and the end; and where a document ends and leaves room for one id, which could
hold none with an end behind it, a second end fills the row, a piece by itself without ids of the stream.

So without ends at cuts row r begins at place r * L. With them a row holds L places where a document
ends with it, else L - 1 and an end, and where it begins follows from all lengths before. In either way
all rows are full but the last, which ends where the places do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, kernel

PLACE, ROOM, ROWS = range(3)
"""Of a scan's state: places gone by, ids that still fit the row that is open, rows begun."""


@inlined
def _take(rest: Any, room: Any, at_cuts: Any) -> Any:
    """Return how much of a stream goes into the row."""
    return rest if rest <= room else room - at_cuts


@kernel
def cut_rows(
    lengths: Any, special: Any, length: Any, first: Any, last: Any, at_cuts: Any
) -> tuple[Any, Any, Any, Any, Any]:
    """Cut places [first, last) of joined streams into rows.

    Args:
        lengths: int64[n], of documents' bare ids; those of none have no stream.
        special: special ids of each stream.
        length: of rows.
        first, last: counted from where the first document's stream begins.
        at_cuts: 1 where a piece that is cut gets an end, also the one that ``last`` cuts; else 0.

    Returns:
        The attributes of ``Pieces``.
    """
    most_rows = max(last - first, 0) // (length - at_cuts) + 2
    most = len(lengths) + 2 * most_rows
    document, begin, taken = (
        np.empty(most, np.int64),
        np.empty(most, np.int64),
        np.empty(most, np.int64),
    )
    cut_end = np.zeros(most, np.bool_)
    row_offsets = np.empty(most_rows + 1, np.int64)
    place, room, rows, count = 0, 0, 0, 0
    for i in range(len(lengths)):
        if lengths[i] == 0:
            continue
        if place >= last:
            break
        stream = lengths[i] + special
        at, stop = max(first - place, 0), min(stream, last - place)
        place += stream
        beyond = 1 if stop < stream else 0  # of what is beyond, one is enough to cut
        while at < stop:
            if room == 0:
                row_offsets[rows] = count
                rows += 1
                room = length
            size = min(_take(stop - at + at_cuts * beyond, room, at_cuts), stop - at)
            cut = at_cuts if at + size < stream else 0
            document[count], begin[count], taken[count] = i, at, size
            cut_end[count] = cut > 0
            count += 1
            at += size
            room -= size + cut
            if room == 1 and at_cuts and not cut:
                document[count], begin[count], taken[count] = i, at, 0
                cut_end[count] = True
                count += 1
                room = 0
    row_offsets[rows] = count
    return (
        document[:count],
        begin[:count],
        taken[:count],
        cut_end[:count],
        row_offsets[: rows + 1],
    )


@kernel
def scan_rows(streams: Any, length: Any, at_cuts: Any, every: Any, state: Any, out: Any) -> Any:
    """Go through streams, and note where every so many-th row begins.

    Args:
        streams: int64[n], of their lengths.
        length, at_cuts: as of ``cut_rows``.
        every: rows 0, every, 2 * every and so on are noted.
        state: int64[3], changed.
        out: int64, long enough, takes the places.

    Returns:
        How many places were noted.
    """
    place, room, rows, found = state[PLACE], state[ROOM], state[ROWS], 0
    until = every - 1 - (rows - 1) % every  # rows that aren't noted before one is
    for i in range(len(streams)):
        rest = streams[i]
        while rest > 0:
            if room == 0:
                if until == 0:
                    out[found] = place
                    found += 1
                    until = every
                until -= 1
                rows += 1
                room = length
            size = _take(rest, room, at_cuts)
            place += size
            room = room - size if size == rest and room - size > at_cuts else 0
            rest -= size
    state[PLACE], state[ROOM], state[ROWS] = place, room, rows
    return found
