"""Marks: which contents have records of several splits, or of several labels.

Every record gives its content's hashes and its mark, the number of its split or the hash of its label.
Where all that is given of a content meets, its marks can be compared. It travels through the exchange as
a block, whose positions are the contents' first hashes, so that what is equal comes out together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from transforms.kernels.arrays import U64
from transforms.kernels.records import blocks

_MARKED = np.dtype([("hash0", "<u8"), ("hash1", "<u8"), ("mark", "<u8"), ("records", "<u4")])


class SeveralMarks(NamedTuple):
    """Contents that have several marks.

    Attributes:
        contents: distinct ones.
        records: that have them.
        first: the hashes of the first of them, None where there is none.
    """

    contents: int = 0
    records: int = 0
    first: tuple[int, int] | None = None

    def __add__(self, other: Any) -> SeveralMarks:
        """Join what was found of other contents."""
        firsts = [found.first for found in (self, other) if found.first is not None]
        first = min(firsts, default=None)
        return SeveralMarks(self.contents + other.contents, self.records + other.records, first)


def mark_contents(hash0: U64, hash1: U64, marks: Any) -> pa.RecordBatch:
    """Make a block of what records give: of those that are alike one, with how many they are.

    Args:
        hash0, hash1: uint64[n], the hashes of their contents.
        marks: [n], unsigned integers.
    """
    given = np.empty(len(hash0), _MARKED)
    given["hash0"], given["hash1"], given["mark"], given["records"] = hash0, hash1, marks, 1
    order, begins = _groups(given, ("hash0", "hash1", "mark"))
    given = given[order[begins]]
    given["records"] = np.diff(np.append(begins, len(order)))
    offsets = np.arange(len(given) + 1, dtype=np.int64) * _MARKED.itemsize
    values = given.view(np.uint8) if len(given) else np.zeros(0, np.uint8)
    return blocks.from_buffer(
        values, offsets=offsets, positions=given["hash0"].copy(), line_end=b""
    )


def find_several(given: Sequence[pa.RecordBatch]) -> SeveralMarks:
    """Find contents with several marks.

    Args:
        given: all that ``mark_contents`` made of some contents.
    """
    found = np.concatenate(
        [np.zeros(0, _MARKED), *(np.frombuffer(blocks.payload(one), _MARKED) for one in given)]
    )
    order, begins = _groups(found, ("hash0", "hash1"))
    sizes = np.diff(np.append(begins, len(order)))
    alone = sizes == 1
    if alone.all():
        return SeveralMarks()
    found = found[order[np.repeat(~alone, sizes)]]
    sizes = sizes[~alone]
    ends = np.cumsum(sizes)
    begins = ends - sizes
    marks = found["mark"]
    several = np.minimum.reduceat(marks, begins) != np.maximum.reduceat(marks, begins)
    records = np.add.reduceat(found["records"].astype(np.int64), begins)
    if not several.any():
        return SeveralMarks()
    first = found[begins[several][0]]
    return SeveralMarks(
        int(np.count_nonzero(several)),
        int(records[several].sum()),
        (int(first["hash0"]), int(first["hash1"])),
    )


def _groups(
    given: npt.NDArray[np.void], names: Sequence[str]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return an order in which equal ones stand together, and where each group of them begins."""
    order = np.argsort(given[names[0]])  # by the first hash alone: nearly always enough
    first = given[names[0]][order]
    tied = first[1:] == first[:-1]
    if tied.any():
        touched = np.concatenate([tied, [False]]) | np.concatenate([[False], tied])
        places = np.flatnonzero(touched)
        among = given[order[places]]
        order[places] = order[places][np.lexsort([among[name] for name in reversed(names)])]
    new = np.ones(len(order), bool)
    new[1:] = ~tied
    for name in names[1:]:
        sorted_by = given[name][order]
        new[1:] |= sorted_by[1:] != sorted_by[:-1]
    return order, np.flatnonzero(new)
