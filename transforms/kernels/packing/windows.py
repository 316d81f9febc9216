"""Windows: of each token the tokens before it, as n-gram models take them.

A document of m tokens gives m windows: the first has a context of padding alone, and each token is the
target of one. So all tokens are predicted once, whatever the length of the context, and none from
another document.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import I64

Ids = npt.NDArray[Any]


def windows(
    ids: Ids, offsets: I64, *, length: int, pad: int, tokens: tuple[int, int] | None = None
) -> tuple[Ids, Ids]:
    """Return each token's context, and the token itself, its target.

    Args:
        ids: integers[m], documents one after another.
        offsets: int64[n + 1], rising: document i is ids[offsets[i]:offsets[i + 1]].
        length: tokens of a context, at least 1.
        pad: what stands in a context before a document's first token.
        tokens: from which place in ids on, and up to which, windows are wanted; None for all documents.

    Returns:
        integers[w, length], of which the last column is the token just before the target; and
        integers[w]. Both have the type of ``ids``.

    Raises:
        ValueError: the length is less than 1, or the padding isn't of the ids' type.

    >>> contexts, targets = windows(np.array([5, 6, 7, 8]), np.array([0, 3, 4]), length=2, pad=0)
    >>> contexts.tolist(), targets.tolist()
    ([[0, 0], [0, 5], [5, 6], [0, 0]], [5, 6, 7, 8])
    """
    require_window(length, pad, ids.dtype)
    begin, end = (int(offsets[0]), int(offsets[-1])) if tokens is None else tokens
    known = min(length, begin)
    stream = np.full(length + end - begin, pad, ids.dtype)
    stream[length - known :] = ids[begin - known : end]
    if begin == end:
        return np.empty((0, length), ids.dtype), stream[length:]
    contexts = np.lib.stride_tricks.sliding_window_view(stream, length)[:-1].copy()
    before = places_in_documents(offsets, begin, end)
    short = np.flatnonzero(before < length)  # of those others' tokens go
    outside = np.arange(length) < length - before[short][:, np.newaxis]
    contexts[short] = np.where(outside, ids.dtype.type(pad), contexts[short])
    return contexts, stream[length:]


def require_window(length: int, pad: int, dtype: npt.DTypeLike) -> None:
    """Raise ValueError where contexts can't be so long, or padded so."""
    if length < 1:
        raise ValueError(f"expected a context of at least 1 token, got length={length}")
    limits = np.iinfo(np.dtype(dtype))
    if not limits.min <= pad <= limits.max:
        raise ValueError(f"expected a padding that fits {np.dtype(dtype)}, got pad={pad}")


def places_in_documents(offsets: I64, begin: int, end: int) -> I64:
    """Return int64[end - begin]: how many tokens of its document stand before each token.

    Args:
        offsets: as of ``windows``.
        begin, end: places of tokens, between the first offset and the last.
    """
    first = int(np.searchsorted(offsets, begin, side="right")) - 1
    last = int(np.searchsorted(offsets, end, side="left"))
    edges: I64 = np.clip(offsets[first : last + 1], begin, end)
    inside: I64 = np.diff(edges)
    starts: I64 = np.repeat(offsets[first:last], inside)
    return np.arange(begin, end, dtype=np.int64) - starts
