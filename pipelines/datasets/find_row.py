"""Where a row of a dataset stands, by its number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

from transforms.errors import UsageError

_Shard = TypeVar("_Shard")


@dataclass(frozen=True)
class Place:
    """Where a row stands: the main file of its shard, and its number there, from 0."""

    path: str
    row: int


def find(
    shards: Sequence[_Shard], counts: Sequence[int], row: int, *, what: str
) -> tuple[_Shard, int]:
    """Return the shard that holds a row, and the row's number in it."""
    before = 0
    for shard, end in zip(shards, accumulate(counts), strict=True):
        if row < end:
            return shard, row - before
        before = end
    there = f"they are counted from 0 to {before - 1:,}" if before else "there are none"
    raise UsageError(f"--row={row}: there are {before:,} {what}; {there}")
