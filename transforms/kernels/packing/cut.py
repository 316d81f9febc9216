"""Streams cut into pieces that fit a row, each by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from transforms.kernels.compiled import inlined, kernel

SPLIT, TRUNCATE, DROP, FAIL = range(4)


@inlined
def _pieces_of(stream: Any, length: Any, at_cuts: Any, long: Any) -> Any:
    """Return how many pieces a stream makes."""
    if stream <= length:
        return 1
    if long == SPLIT:
        step = length - at_cuts
        return (stream - length + step - 1) // step + 1
    return 0 if long == DROP else 1


@kernel
def cut_streams(
    lengths: Any, special: Any, length: Any, at_cuts: Any, long: Any, keep_empty: Any
) -> tuple[Any, Any, Any, Any, Any]:
    """Cut streams that are longer than a row.

    Args:
        lengths: int64[n], of documents' bare ids.
        special: special ids of each stream.
        length: of rows.
        at_cuts: 1 where a piece that is cut gets an end, else 0.
        long: SPLIT into pieces of ``length`` and a rest; TRUNCATE to the first of them; DROP; FAIL.
        keep_empty: whether documents without ids make a piece.

    Returns:
        document, begin, length, cut_end as of ``Pieces``, in order; and the first document that must not
        be so long, or -1.
    """
    count = 0
    for i in range(len(lengths)):
        if lengths[i] > 0 or keep_empty:
            if long == FAIL and lengths[i] + special > length:
                none = np.empty(0, np.int64)
                return none, none, none, np.empty(0, np.bool_), i
            count += _pieces_of(lengths[i] + special, length, at_cuts, long)
    document, begin, taken = (
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
    )
    cut_end = np.zeros(count, np.bool_)
    piece = 0
    for i in range(len(lengths)):
        if lengths[i] == 0 and not keep_empty:
            continue
        stream, at = lengths[i] + special, 0
        for _ in range(_pieces_of(stream, length, at_cuts, long)):
            rest = stream - at
            cut = at_cuts if rest > length else 0
            document[piece], begin[piece] = i, at
            taken[piece] = min(rest, length - cut)
            cut_end[piece] = cut > 0
            at += taken[piece]
            piece += 1
    return document, begin, taken, cut_end, -1
