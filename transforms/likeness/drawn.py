"""What was drawn: which records, how often each, and which contents, looked up by their hashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.datasets.identity import Origin
from transforms.kernels.arrays import I64, U64
from transforms.kernels.records import blocks
from transforms.kernels.records.contents import Hashes
from transforms.likeness.temporary_tables import read_table, write_tables
from transforms.shuffling.file_ranges import FileRange
from transforms.shuffling.packed import pack, unpack
from transforms.splitting.contents_of import by_identity

BYTES = 200
"""Memory that each draw takes at most, where draws are found and where they are looked up."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """What was drawn.

    Attributes:
        ids: two uint64[m], of the records' identities, sorted.
        times: int64[m], how often each was drawn, at least once.
        contents: two uint64[k], of their contents, sorted, each once.
    """

    ids: Hashes
    times: I64
    contents: Hashes

    @classmethod
    def of(cls, ids: Hashes, times: I64, contents: Hashes) -> Drawn:
        """Sort what was drawn, records in any order, each once."""
        order = np.lexsort(ids[::-1])
        pairs = np.lexsort(contents[::-1])
        first, second = contents[0][pairs], contents[1][pairs]
        new = np.ones(len(pairs), bool)
        new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        return cls((ids[0][order], ids[1][order]), times[order], (first[new], second[new]))

    def times_of(self, ids: Hashes) -> I64:
        """Return int64[n]: how often records were drawn, by the hashes of their identities."""
        places = find_pairs(ids, self.ids)
        found = np.zeros(len(places), np.int64)
        there = places >= 0
        found[there] = self.times[places[there]]
        return found

    def holds(self, contents: Hashes) -> npt.NDArray[np.bool_]:
        """Say which contents were drawn, in any of their records."""
        found: npt.NDArray[np.bool_] = find_pairs(contents, self.contents) >= 0
        return found

    def write(self, folder: str) -> bytes:
        """Write it to a temporary file of a folder; return a reference that travels."""
        records = _table({"id0": self.ids[0], "id1": self.ids[1], "times": self.times})
        contents = _table({"hash0": self.contents[0], "hash1": self.contents[1]})
        tables: Callable[[], Any] = lambda: [records, contents]  # noqa: E731
        return pack([[*where] for where in write_tables(folder, tables)])


@lru_cache(maxsize=2)  # several bundles of a process have it once
def read_drawn(reference: bytes) -> Drawn:
    """Read what ``Drawn.write`` wrote."""
    records, contents = (read_table(FileRange.of(where)) for where in unpack(reference)[0])
    id0, id1, times = (blocks.column(records, name) for name in ("id0", "id1", "times"))
    hash0, hash1 = (blocks.column(contents, name) for name in ("hash0", "hash1"))
    return Drawn((id0, id1), times, (hash0, hash1))


@dataclass(frozen=True)
class TimesDrawn:
    """Says how often records were drawn, to sample what was: Times, told a reference to Drawn."""

    def __call__(self, origin: Origin, block: pa.RecordBatch, told: bytes) -> I64:
        """Return int64[n]."""
        return read_drawn(told).times_of(by_identity(origin, block))


def find_pairs(pairs: tuple[U64, U64], known: tuple[U64, U64]) -> I64:
    """Return int64[n]: where each pair stands among known ones, -1 where it doesn't.

    Args:
        pairs: two uint64[n].
        known: two uint64[m], sorted by the first, then by the second.

    >>> known = np.array([3, 3, 7], np.uint64), np.array([1, 2, 0], np.uint64)
    >>> find_pairs((np.array([3, 7, 3], np.uint64), np.array([2, 1, 9], np.uint64)), known).tolist()
    [1, -1, -1]
    """
    first, second = known
    out = np.full(len(pairs[0]), -1, np.int64)
    places = np.searchsorted(first, pairs[0])
    left = np.arange(len(out))
    while len(left):  # as often as pairs have one first half: once, or a few times in a lifetime
        at = places[left]
        left, at = left[at < len(first)], at[at < len(first)]
        same = first[at] == pairs[0][left]
        left, at = left[same], at[same]
        found = second[at] == pairs[1][left]
        out[left[found]] = at[found]
        left = left[~found]
        places[left] += 1
    return out


def _table(columns: dict[str, Any]) -> pa.RecordBatch:
    return pa.record_batch({name: pa.array(values) for name, values in columns.items()})
