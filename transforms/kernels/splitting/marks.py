"""Marks: which contents have records of several splits, or of several labels.

Every record gives its content's hashes and its mark, the number of its split or the hash of its label.
Where all that is given of a content meets, its marks can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from transforms.kernels.arrays import U64

MARKED = np.dtype([("hash0", "<u8"), ("hash1", "<u8"), ("mark", "<u8"), ("records", "<u4")])
"""A row for each content and mark: both hashes, the mark, and how many records have them."""

Marked = npt.NDArray[np.void]
"""Rows of MARKED."""


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


def mark_contents(hash0: U64, hash1: U64, marks: Any) -> Marked:
    """Return what records give: a row for those that are alike.

    Args:
        hash0, hash1: uint64[n], the hashes of their contents.
        marks: [n], unsigned integers.
    """
    given = np.empty(len(hash0), MARKED)
    given["hash0"], given["hash1"], given["mark"], given["records"] = hash0, hash1, marks, 1
    order, begins = _groups(given, ("hash0", "hash1", "mark"))
    given = given[order[begins]]
    given["records"] = np.diff(np.append(begins, len(order)))
    return given


def find_several(found: Marked) -> SeveralMarks:
    """Find contents with several marks.

    Args:
        found: all that ``mark_contents`` gave of some contents.
    """
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
    given: Marked, names: Sequence[str]
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
