"""Room for a text's n-grams, and stretch by stretch their hashes, compiled."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from transforms.kernels.arrays import I32, I64, U8, U32, U64
from transforms.kernels.compiled import inlined
from transforms.kernels.likeness.ngrams import AT_ONCE, hash_characters, hash_words
from transforms.kernels.likeness.spec import Kinds
from transforms.kernels.likeness.written import room_for


class Room(NamedTuple):
    """Room to work in."""

    text: U8
    """A text as n-grams are cut from it."""

    words: U8
    """The same text's words."""

    places: I64
    heads: U32
    codes: U32
    ends: I64
    state: I64
    counts: I32
    """int32[buckets]: sums of signs; all 0 between texts."""

    marks: U64
    """uint64[buckets / 64 or 1]: a bit for each bucket that a text has; all 0 between texts."""

    marked: U64
    """uint64[len(marks) / 64 or 1]: a bit for each of ``marks`` that isn't 0."""


def make_room(longest: int, kinds: Kinds) -> Room:
    """Return room for texts of up to so many bytes."""
    most = max(kind[1] for kind in kinds)
    codes = AT_ONCE * max(kind[1] - kind[0] + 1 for kind in kinds)
    buckets = max(kind[2] for kind in kinds)
    return Room(
        text=np.empty(room_for(longest), np.uint8),
        words=np.empty(room_for(longest), np.uint8),
        places=np.empty(AT_ONCE + most + 1, np.int64),
        heads=np.empty((4, AT_ONCE), np.uint32),
        codes=np.empty(codes, np.uint32),
        ends=np.empty((codes, 2), np.int64),
        state=np.zeros(3 + most, np.int64),
        counts=np.zeros(buckets, np.int32),
        marks=np.zeros(-(-buckets // 64), np.uint64),
        marked=np.zeros(-(-buckets // 64**2), np.uint64),
    )


@inlined
def hash_next(kind: Any, ngrams: Any, size: Any, plain: Any, at: Any, table: Any, room: Any) -> Any:
    """Put the codes of a text's next n-grams into the room; return how many, and where to go on."""
    shortest, longest, buckets = ngrams
    if kind == 0:
        return hash_characters(
            room.text,
            size,
            plain,
            at,
            shortest,
            longest,
            buckets - 1,
            room.places,
            room.heads,
            room.codes,
        )
    count = hash_words(
        room.text,
        size,
        plain,
        table,
        shortest,
        longest,
        buckets - 1,
        room.state,
        room.words,
        room.ends,
        room.codes,
    )
    return count, room.state[0]
